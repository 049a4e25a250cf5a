"""Which representation serves: the one that an audit of the lake chose, or, said as such, none did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import PartitionCorrupt, PartitionMissing
from engine.retrieval.model import Recipe
from engine.retrieval.params import RetrievalParams
from engine.retrieval.scores import paired_error
from engine.vocab import root_of

if TYPE_CHECKING:
    from engine.lake.store import Lake

NAMES: dict[tuple[str, str], str] = {("means", "learned"): "learned", ("means", "plain"): "means", ("blocks", "plain"): "blocks"}
"""Vectors in gold and how they are compared, to the representation's name."""


SIMPLEST = ("means", "blocks", "learned")
"""Neighbours that can serve by default, the simplest first: as they are, in a third of the dimensions; as they are; embedded by outcome.
The original recipe cannot: a share of nothing among 20 neighbours is no probability."""

CHOICES = {"any": SIMPLEST, "means": ("means", "learned"), "blocks": ("blocks",)}
"""Between which an audit chooses: any, and those that gold of a representation can serve."""


FEWEST = 30
"""Events that all candidates answered without which none is chosen: as many as a row of counts needs not to be pale."""


def choose(
    losses: Mapping[str, NDArray[np.float64]], skills: Mapping[str, tuple[float, float, float]], sessions: NDArray[np.generic]
) -> dict[str, Any]:
    """The representation with the least mean loss on the events that all answered, or a simpler one that ties with it.

    A tie is a difference within its standard error, whole sessions taken together (the one-standard-error rule, Breiman et al. 1984).
    Skills, each on the events that one answered itself, cannot be ranked: who abstains from the hard events would win.

    Parameters
    ----------
    losses : dict of float64 ``(n,)``
        Log loss of each event by representation, the simplest first; NaN where it did not answer. One that answered fewer than
        `FEWEST` is no candidate.
    skills
        Skill and its 95% interval by representation, to be told with the choice.
    sessions : ``(n,)``

    Returns
    -------
    dict
        ``representation``; ``best``; ``tie``; ``events``, how many all answered; and by representation ``skill``, ``low``, ``high``, and on
        those events its ``loss``, how far that is ``behind`` the best (nats) and the ``error`` of that. Empty where they answered
        fewer than `FEWEST` events in common, or those of one session.
    """
    # One that answered next to nothing would shrink the comparison of all the others to that.
    known = [n for n in losses if np.isfinite(losses[n]).sum() >= FEWEST]
    common = np.logical_and.reduce([np.isfinite(losses[n]) for n in known]) if known else np.zeros(0, bool)
    if common.sum() < FEWEST or len(np.unique(sessions[common])) < 2:
        return {}
    loss = {n: float(losses[n][common].mean()) for n in known}
    best = min(known, key=lambda n: loss[n])
    behind = {n: loss[n] - loss[best] for n in known}
    error = {n: paired_error((losses[n] - losses[best])[common], sessions[common]) for n in known}
    chosen = next(n for n in known if n == best or behind[n] <= error[n])
    figures = {k: {n: _number(skills[n][i]) for n in known} for i, k in enumerate(("skill", "low", "high"))}
    figures |= {k: {n: _number(v[n]) for n in known} for k, v in (("loss", loss), ("behind", behind), ("error", error))}
    return {"representation": chosen, "best": best, "tie": chosen != best, "events": int(common.sum()), **figures}


def _number(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None


@dataclass(frozen=True)
class Choice:
    """The representation that serves.

    Attributes
    ----------
    representation : str
        ``means``, ``blocks`` or ``learned``.
    by : str
        ``audit``, or ``history``: no audit chose it; it forecasts the index's own events, other sessions answering, with the least loss.
    audit : str or None
        Digest of that audit.
    figures : dict
        What it was chosen by.
    """

    representation: str
    by: Literal["audit", "history"]
    audit: str | None
    figures: dict[str, Any]

    @property
    def recipe(self) -> Recipe:
        """How vectors are compared."""
        return "learned" if self.representation == "learned" else "plain"

    def to_json(self) -> dict[str, Any]:
        """For a manifest, with a sentence."""
        return {**asdict(self), "said": self.said()}

    def said(self) -> str:
        """In words."""
        if self.by == "history":
            return f"{self.representation}; no audit chose it: it forecasts these {self.figures['events']:,} events themselves best"
        f = self.figures
        skill = f["skill"][self.representation]
        others = "".join(f"; {k} {v:+.4f}" for k, v in f["skill"].items() if k != self.representation)
        events = f"the {f['events']:,} events that all answered"
        tie = f"; {f['best']} was best on {events}, by less than the error of the difference: a tie goes to the simpler"
        why = tie if f["tie"] else f"; best on {events}" if others else ""
        return f"{self.representation}, chosen by the audit {str(self.audit)[:12]} (skill {skill:+.4f}{others}{why})"


def audited(lake: Lake, symbol: str | None, representation: str, params: RetrievalParams) -> tuple[Choice | None, str]:
    """The kept audit's choice for gold of `representation`, and a sentence about it; None where there is no audit to go by.

    An audit that is stale, of another market or other sessions, of other knobs, or of only some of the candidates is none to go by; the
    sentence says what makes it anew.

    Raises
    ------
    NoData
        Where there is no gold of `symbol`.
    """
    from engine.lake.catalog import LADDER
    from engine.retrieval.gold import VECTORS, sessions_in
    from engine.retrieval.kept import audit_command, why_not_of
    from engine.retrieval.mend import gold_command
    from engine.retrieval.table import read_audit

    # Of a lake whose silver is of several markets an audit is told which; the index need not be, where its gold is of one.
    several = len({root_of(s).code for s, _ in lake.partitions(LADDER)}) > 1
    of = symbol or (root_of(sessions_in(lake, VECTORS, None)[0][0]).code if several else None)
    make_it = audit_command(lake, of, params)
    try:
        _, report = read_audit(lake.root)
    except (PartitionMissing, PartitionCorrupt) as e:
        # The error knows of no knobs: an audit of the usual ones would choose nothing here.
        usual = audit_command(lake, None)
        also = "" if make_it == usual else f"; for this index `{make_it}` does"
        return None, f"no audit to choose by: {e}{also}"
    make = f"`{make_it}` makes it anew"
    why = report["stale"] or why_not_of(report, lake, symbol, representation, params)
    if why:
        return None, f"no audit to choose by: {why}; {make}"
    found = report["choices"].get(representation)
    if not found:
        candidates = " and ".join(CHOICES[representation])
        return (
            None,
            f"no audit to choose by: in the kept one fewer than {FEWEST} events were answered by {candidates}; more dates help",
        )
    choice = Choice(found["representation"], "audit", report["digest"], found)
    overall = report["winner"]
    other = ""
    if overall and overall not in found["skill"]:
        held = "blocks" if overall == "blocks" else "means"
        sessions = sessions_in(lake, VECTORS, symbol)
        make = gold_command(lake, sessions[-1], [d for _, d in sessions], gold={"representation": held})
        other = f"; of all representations {overall} won, and gold holds {representation}: `{make}` makes gold of it"
    return choice, choice.said() + other
