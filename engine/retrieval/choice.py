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

if TYPE_CHECKING:
    from engine.lake.store import Lake

NAMES: dict[tuple[str, str], str] = {("means", "learned"): "learned", ("means", "plain"): "means", ("blocks", "plain"): "blocks"}
"""Vectors in gold and how they are compared, to the representation's name."""


SIMPLEST = ("means", "blocks", "learned")
"""Neighbours that can serve by default, the simplest first: as they are, in a third of the dimensions; as they are; embedded by outcome.
The original recipe cannot: a share of nothing among 20 neighbours is no probability."""

CHOICES = {"any": SIMPLEST, "means": ("means", "learned"), "blocks": ("blocks",)}
"""Between which an audit chooses: any, and those that gold of a representation can serve."""


def choose(
    losses: Mapping[str, NDArray[np.float64]], skills: Mapping[str, tuple[float, float, float]], sessions: NDArray[np.generic]
) -> dict[str, Any]:
    """The representation with the best skill, or a simpler one that ties with it.

    A tie is a difference within its standard error, whole sessions taken together (the one-standard-error rule, Breiman et al. 1984).

    Parameters
    ----------
    losses : dict of float64 ``(n,)``
        Log loss of each event by representation, the simplest first; NaN where it did not answer. On the events that both answered
        two are compared: what each kept from answering says nothing of how well it answers.
    skills
        Skill and its 95% interval by representation.
    sessions : ``(n,)``

    Returns
    -------
    dict
        ``representation``; ``best``; ``tie``; and by representation ``skill``, ``low``, ``high``, how far it is ``behind`` the best (nats)
        and the ``error`` of that. Empty where none has a skill.
    """
    known = [n for n in losses if np.isfinite(skills[n][0])]
    if not known:
        return {}
    best = max(known, key=lambda n: skills[n][0])
    behind: dict[str, float] = {}
    error: dict[str, float] = {}
    for n in known:
        difference = losses[n] - losses[best]
        both = np.isfinite(difference)
        behind[n] = float(difference[both].mean()) if both.any() else float("nan")
        error[n] = paired_error(difference[both], sessions[both]) if both.any() else float("nan")
    chosen = next(n for n in known if n == best or behind[n] <= error[n])
    figures = {k: {n: _number(skills[n][i]) for n in known} for i, k in enumerate(("skill", "low", "high"))}
    figures |= {"behind": {n: _number(behind[n]) for n in known}, "error": {n: _number(error[n]) for n in known}}
    return {"representation": chosen, "best": best, "tie": chosen != best, **figures}


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
        others = ", ".join(f"{k} {v:+.4f}" for k, v in f["skill"].items() if k != self.representation)
        tie = f"; {f['best']} was best by less than the error of the difference, and a tie goes to the simpler" if f["tie"] else ""
        return f"{self.representation}, chosen by the audit {str(self.audit)[:12]} (skill {skill:+.4f}; {others}{tie})"


def audited(lake: Lake, symbol: str | None, representation: str, params: RetrievalParams) -> tuple[Choice | None, str]:
    """The kept audit's choice for gold of `representation`, and a sentence about it; None where there is no audit to go by.

    An audit that is stale, of another market, or of other knobs is none to go by; the sentence says what makes it anew.
    """
    from engine.retrieval.kept import audit_command, why_not_of
    from engine.retrieval.table import read_audit

    try:
        _, report = read_audit(lake.root)
    except (PartitionMissing, PartitionCorrupt) as e:
        return None, f"no audit to choose by: {e}"
    make = f"`{audit_command(lake, symbol, params.horizon)}` makes it anew"
    why = report["stale"] or why_not_of(report, lake, symbol, params)
    if why:
        return None, f"no audit to choose by: {why}; {make}"
    found = report["choices"].get(representation)
    if not found:
        return None, f"no audit to choose by: the kept one has nothing of {representation}; {make}"
    choice = Choice(found["representation"], "audit", report["digest"], found)
    overall = report["winner"]
    other = ""
    if overall not in found["skill"]:
        held = "blocks" if overall == "blocks" else "means"
        other = (
            f"; of all representations {overall} won, and gold holds {representation}: `spymaster rebuild --params FILE` with "
            f'{{"gold": {{"representation": "{held}"}}}} makes gold of it'
        )
    return choice, choice.said() + other
