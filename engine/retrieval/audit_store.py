"""The stored audit: its table and report, the inputs it was made of, whether it is stale, and the representation that it chooses."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine.errors import ContractError, PartitionCorrupt, PartitionMissing
from engine.lake.catalog import LADDER, LEVELS, TAPE, TRIGGERS
from engine.lake.contract import enforce_contract, load_contract
from engine.lake.manifest import canonical, sha256_file, sha256_text
from engine.lake.store import AUDIT_DIR, Lake
from engine.lake.writer import write_frame, write_whole
from engine.params import AuditParams, RetrievalParams
from engine.provenance import accepted, code_of
from engine.retrieval.audit import CHOICES, FEWEST, audit
from engine.retrieval.dataset import VECTORS, audit_events, sessions_in
from engine.retrieval.hints import retrieval_options
from engine.retrieval.model import Recipe
from engine.retrieval.walk_forward import REPRESENTATIONS
from engine.vocab import root_of

if TYPE_CHECKING:
    import polars as pl

    from engine.retrieval.audit import Report


# ----------------------------------------------------------------------------
# What a kept audit was made of, so that one that is not of the lake as it is now is not taken for one that is

READ = (LADDER, TAPE, LEVELS, TRIGGERS)
"""What an audit reads of a session: silver, and gold for its knobs. A bronze day is told by the digest of the ladder made of it."""

NOT_COMPARED = ("kinds", "horizon")
"""Knobs of retrieval in which an index may differ from its audit: armed events are scored whatever can be a neighbour; the horizon is
compared by itself."""


def audit_codes(market: str, profile: str | None) -> tuple[str, ...]:
    """Hashes of code that gives the same audit of the same lake of one market and session profile, today's first."""
    selection = {
        "ROOTS.code": {market},
        "PROFILES.name": {str(profile)},
        "_FEATURES.name": None,
        "_FEATURES.family": ("vacuum_down", "vacuum_up", "tape"),
        "LEVELS.level_id": (),
    }
    return accepted(code_of(audit_events, audit), selection)


def audit_inputs(lake: Lake, symbol: str | None) -> dict[str, Any]:
    """What an audit of the lake is made of as the lake is now: symbol, market, profile, code, and the digest of every partition it reads.

    Raises
    ------
    NoData
        Where the lake has no silver.
    """
    from engine.lake.store import input_key

    sessions = sessions_in(lake, LADDER, symbol)
    found = {input_key(key, s, d): lake.find_manifest(key, s, d) for s, d in sessions for key in READ}
    market, profile = root_of(sessions[0][0]).code, lake.profile()
    return {
        "symbol": symbol,
        "market": market,
        "profile": profile,
        "code": audit_codes(market, profile)[0],
        "inputs": {k: m.digest() for k, m in found.items() if m is not None},
    }


def why_audit_stale(lake: Lake, report: dict[str, Any]) -> str:
    """Why a kept report is not of the lake as it is now; empty where it is."""
    from engine.errors import NoData

    was = report.get("made_of")
    if not was:
        return "the kept audit does not say what it was made of"
    try:
        now = audit_inputs(lake, was["symbol"])
    except NoData as e:
        return f"the kept audit was made of sessions that are gone: {e}"
    for what in ("market", "profile", "code"):
        if was[what] != now[what] and not (what == "code" and was[what] in audit_codes(now["market"], now["profile"])):
            return f"the kept audit was made with another {what} ({str(was[what])[:12]}) than there is now ({str(now[what])[:12]})"
    old, new = was["inputs"], now["inputs"]
    changed = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
    if changed:
        key = changed[0]
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        with_it = "made without" if key not in old else "made of"
        state = "is new" if key not in old else "is gone" if key not in new else "was made anew"
        return f"the kept audit was {with_it} {key}, which {state}{more}"
    return ""


def why_audit_unusable(report: dict[str, Any], lake: Lake, symbol: str | None, representation: str, params: RetrievalParams) -> str:
    """Why a kept report, current as it may be, chooses nothing for an index of `symbol` with `params`; empty where it does.

    Parameters
    ----------
    symbol
        What the index is of: a contract, a root, or all of gold where None.
    representation
        Of its gold; every candidate that such gold can serve must have been audited, or the one that was has won against nobody.

    Raises
    ------
    NoData
        Where there is no gold of `symbol`.
    """
    from engine.lake.store import input_key

    was = report["made_of"]
    sessions = sessions_in(lake, VECTORS, symbol)
    markets = sorted({root_of(s).code for s, _ in sessions})
    if markets != [was["market"]]:
        return f"the kept audit is of {was['market']}, not of {', '.join(markets)}"
    unseen = [key for s, d in sessions if (key := input_key(VECTORS, s, d)) not in was["inputs"]]
    if unseen:
        more = f" and {len(unseen) - 1} more" if len(unseen) > 1 else ""
        return f"the kept audit has not seen {unseen[0]}{more}"
    if report["horizon"] != params.horizon:
        return f"the kept audit is of horizon {report['horizon']}, not of {params.horizon}"
    wanted, had = params.model_dump(mode="json"), report["params"]["retrieval"]
    other = [k for k in wanted if k not in NOT_COMPARED and wanted[k] != had.get(k)]
    if other:
        return f"the kept audit was made with other knobs ({', '.join(other)})"
    partial = why_audit_partial(report, CHOICES[representation])
    return f"the kept audit {partial}" if partial else ""


def why_audit_partial(report: dict[str, Any], needed: Sequence[str] = REPRESENTATIONS) -> str:
    """Why a report is not the audit, but a look at some of it: it lacks some of `needed`, or refitted at another pace; else empty."""
    lacking = [n for n in needed if n not in report["representations"]]
    if lacking:
        return f"has nothing of {', '.join(lacking)}"
    had, usual = report["params"]["refit_growth"], AuditParams().refit_growth
    return f"was refitted when history had grown by {had:.0%}, not by {usual:.0%}" if had != usual else ""


def audit_command(lake: Lake, symbol: str | None, params: RetrievalParams | None = None) -> str:
    """The command that makes the kept audit anew, with the knobs in `params`; an audit scores armed events whatever the kinds."""
    values = {k: v for k, v in (params or RetrievalParams()).model_dump(mode="json").items() if k != "kinds"}
    of = f" --symbol {symbol}" if symbol else ""
    return f"spymaster audit --lake {shlex.quote(str(lake.root))}{of}{retrieval_options(values, ('horizon',))}"


# ----------------------------------------------------------------------------
# The audit's result in the lake: a table under a contract, and beside it the whole report with its diagrams

TABLE = f"{AUDIT_DIR}/mbo_audit.parquet"

REPORT = f"{AUDIT_DIR}/mbo_audit.json"

CONTRACT = "gold/mbo_audit.avsc"


def audit_frame(report: Report) -> pl.DataFrame:
    """One row per target and representation, as the contract has them."""
    import polars as pl

    shared = {
        "horizon": report.horizon,
        "sessions": report.sessions,
        "scored_sessions": report.scored_sessions,
        "first_scored": report.first_scored,
        "refits": report.refits,
        "comparisons": report.comparisons,
        "winner": report.winner,
        "verdict": report.verdict,
    }
    schema = load_contract(CONTRACT).schema()
    rows = [{**asdict(r), **shared} for r in report.rows]
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col(pl.Float64).fill_nan(None))


def store_audit(root: Path, report: Report, made_of: dict[str, Any]) -> tuple[Path | None, str]:
    """Keep a report as the lake's audit, unless it is a look at some representations, or at another pace, and a whole one is kept.

    Returns
    -------
    place : Path or None
        The table, None where it was not kept.
    why : str
        Why it was not.

    Raises
    ------
    LakeWriteFailed
        As `write_audit`.
    """
    partial = why_audit_partial(report.to_json())
    if partial:
        try:
            held = read_audit(root)[1]
        except (PartitionMissing, PartitionCorrupt):
            held = None
        if held is not None and not why_audit_partial(held):
            return None, f"printed, not kept: this audit {partial}, and would replace a whole one"
    return write_audit(root, report, made_of), ""


def write_audit(root: Path, report: Report, made_of: dict[str, Any]) -> Path:
    """Replace the lake's audit: the table, and then the report, which holds the table's digest and its own.

    Two files are no one step: between them, or after a kill there, table and report do not match, and `read_audit` says so. The caller
    holds the lake's lock, so that of two writers each writes both.

    Parameters
    ----------
    made_of
        `engine.retrieval.audit_store.audit_inputs` of the lake, before the audit read it: what changed meanwhile makes it stale.

    Raises
    ------
    LakeWriteFailed
        Where the folder cannot be written.
    """
    frame = enforce_contract(audit_frame(report), load_contract(CONTRACT), f"audit of {root}")
    place = write_frame(root / TABLE, frame)
    body = report.to_json() | {"made_of": made_of, "table": sha256_file(place)}
    write_whole(root / REPORT, json.dumps(body | {"digest": sha256_text(canonical(body))}, indent=1) + "\n")
    return place


def read_audit(root: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The lake's audit: the table, and the whole report with ``stale``: why it is not of the lake as it is now, empty where it is.

    Raises
    ------
    PartitionMissing
        Where none was made.
    PartitionCorrupt
        Where one cannot be read, is of another version, or its table and its report are of two audits.
    """
    import polars as pl

    mend = f"`spymaster audit --lake {root}` makes it"
    if not (root / TABLE).is_file():
        raise PartitionMissing(f"{root / TABLE}: no audit yet; {mend}")
    try:
        report = json.loads((root / REPORT).read_text(encoding="utf-8"))
        digest = report.pop("digest")
        if digest != sha256_text(canonical(report)):
            raise ValueError("a report that does not match its own digest")
        if report["table"] != sha256_file(root / TABLE):
            raise ValueError("a table that is not the report's: writing them was stopped between the two")
        frame = enforce_contract(pl.read_parquet(root / TABLE), load_contract(CONTRACT), f"audit of {root}")
    except KeyError as e:
        raise PartitionCorrupt(f"{root / TABLE}: expected an audit, found a report without {e}; {mend} anew") from e
    except (OSError, ValueError, ContractError, pl.exceptions.PolarsError) as e:
        raise PartitionCorrupt(f"{root / TABLE}: expected an audit, found {e}; {mend} anew") from e
    return frame, report | {"digest": digest, "stale": why_audit_stale(Lake(root), report)}


# ----------------------------------------------------------------------------
# Which representation serves: the one that an audit of the lake chose, or, said as such, none did

NAMES: dict[tuple[str, str], str] = {("means", "learned"): "learned", ("means", "plain"): "means", ("blocks", "plain"): "blocks"}
"""Vectors in gold and how they are compared, to the representation's name."""


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
    from engine.retrieval.dataset import VECTORS, sessions_in
    from engine.retrieval.hints import gold_command

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
    why = report["stale"] or why_audit_unusable(report, lake, symbol, representation, params)
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
