"""The audit stored in the lake: reading and writing it, whether it is stale, and the representation it chooses for an index."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from engine.errors import ContractError, NoData, PartitionCorrupt, PartitionMissing
from engine.lake.catalog import LADDER, LEVELS, TAPE, TRIGGERS, WALLS
from engine.lake.contract import enforce_contract, load_contract
from engine.lake.manifest import NOT_JSON, canonical, sha256_file, sha256_text, small_text
from engine.lake.store import AUDIT_DIR, Lake, input_key
from engine.lake.writer import write_parquet_atomic, write_text_atomic
from engine.params import AuditParams, RetrievalParams
from engine.provenance import accepted, code_of
from engine.retrieval.audit import CHOICES, MIN_COMMON_EVENTS, audit
from engine.retrieval.dataset import VECTORS, audit_events, sessions_in, without_walls
from engine.retrieval.hints import gold_command, retrieval_options
from engine.retrieval.model import WALLED, Recipe
from engine.retrieval.walk_forward import RECIPES, REPRESENTATIONS
from engine.vocab import root_of

if TYPE_CHECKING:
    import polars as pl

    from engine.retrieval.audit import Report


# ----------------------------------------------------------------------------
# Staleness: the inputs and the code of a stored audit compared with the lake's

AUDIT_INPUTS = (LADDER, TAPE, LEVELS, TRIGGERS)
"""Datasets an audit reads per session: silver, and gold for its parameters. A change in bronze shows in the digest of its ladder."""

NOT_COMPARED = ("kinds", "horizon")
"""Retrieval parameters in which an index may differ from its audit: an audit always scores armed events, whatever kinds may be neighbours;
the horizon has a check of its own."""


def audit_codes(market: str, profile: str | None) -> tuple[str, ...]:
    """Code versions whose audit of a lake is the same, the current one first."""
    families = ("vacuum_down", "vacuum_up", "tape", "wall")
    selection = {"ROOTS.code": {market}, "PROFILES.name": {str(profile)}, "MARKETS.name": {root_of(market).market}}
    return accepted(
        code_of(audit_events, audit), {**selection, "_FEATURES.name": None, "_FEATURES.family": families, "LEVELS.level_id": ()}
    )


def audit_inputs(lake: Lake, symbol: str | None) -> dict[str, Any]:
    """The current inputs of an audit: symbol, market, profile, code version, and the digest of every partition it reads.

    Raises `NoData` where the lake has no silver.
    """
    sessions = sessions_in(lake, LADDER, symbol)
    found = {input_key(key, s, d): lake.find_manifest(key, s, d) for s, d in sessions for key in AUDIT_INPUTS}
    market, profile = root_of(sessions[0][0]).code, lake.profile()
    inputs = {k: m.digest() for k, m in found.items() if m is not None}
    return {"symbol": symbol, "market": market, "profile": profile, "code": audit_codes(market, profile)[0], "inputs": inputs}


def why_audit_stale(lake: Lake, report: dict[str, Any]) -> str:
    """Why a stored report does not match the current lake; empty where it does."""
    was = report.get("made_of")
    if not was:
        return "the stored audit does not name its inputs"
    try:
        now = audit_inputs(lake, was["symbol"])
    except NoData as e:
        return f"the stored audit was made of sessions that are gone: {e}"
    for what in ("market", "profile", "code"):
        if was[what] != now[what] and not (what == "code" and was[what] in audit_codes(now["market"], now["profile"])):
            return f"the stored audit was made with another {what} ({str(was[what])[:12]}) than there is now ({str(now[what])[:12]})"
    old, new = was["inputs"], now["inputs"]
    changed = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
    if not changed:
        return ""
    key = changed[0]
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    if key not in old:
        return f"the stored audit was made without {key}, which is new{more}"
    return f"the stored audit was made of {key}, which {'was rebuilt' if key in new else 'is gone'}{more}"


def why_audit_unusable(report: dict[str, Any], lake: Lake, symbol: str | None, representation: str, params: RetrievalParams) -> str:
    """Why a stored report, though current, cannot choose the representation of an index of `symbol` with `params`; empty where it can.

    Every candidate computable from gold's `representation` (`CHOICES`) must have been audited: a comparison with none proves nothing.
    Raises `NoData` where there is no gold of `symbol` (a contract, a root, or all of gold where None).
    """
    was = report["made_of"]
    sessions = sessions_in(lake, VECTORS, symbol)
    markets = sorted({root_of(s).code for s, _ in sessions})
    if markets != [was["market"]]:
        return f"the stored audit is of {was['market']}, not of {', '.join(markets)}"
    unseen = [key for s, d in sessions if (key := input_key(VECTORS, s, d)) not in was["inputs"]]
    if unseen:
        more = f" and {len(unseen) - 1} more" if len(unseen) > 1 else ""
        return f"the stored audit does not include {unseen[0]}{more}"
    if report["horizon"] != params.horizon:
        return f"the stored audit is of horizon {report['horizon']}, not of {params.horizon}"
    wanted, had = params.model_dump(mode="json"), report["params"]["retrieval"]
    other = [k for k in wanted if k not in NOT_COMPARED and wanted[k] != had.get(k)]
    if other:
        return f"the stored audit was made with other parameters ({', '.join(other)})"
    partial = why_audit_partial(report, CHOICES[representation])
    return f"the stored audit {partial}" if partial else ""


def why_audit_partial(report: dict[str, Any], needed: Sequence[str] = REPRESENTATIONS) -> str:
    """Why a report is not a full audit: some of `needed` are missing, or it refitted at another pace; empty where it is one."""
    lacking = [n for n in needed if n not in report["representations"]]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    had, usual = report["params"]["refit_growth"], AuditParams().refit_growth
    return f"was refitted when history had grown by {had:.0%}, not by {usual:.0%}" if had != usual else ""


def audit_command(lake: Lake, symbol: str | None, params: RetrievalParams | None = None) -> str:
    """The command that rebuilds the stored audit with `params`; without ``kinds``, since an audit always scores armed events."""
    values = {k: v for k, v in (params or RetrievalParams()).model_dump(mode="json").items() if k != "kinds"}
    of = f" --symbol {symbol}" if symbol else ""
    return f"spymaster audit --lake {shlex.quote(str(lake.root))}{of}{retrieval_options(values, ('horizon',))}"


# ----------------------------------------------------------------------------
# Files: a table under a contract, and the full report with its reliability diagrams as JSON

TABLE, REPORT = f"{AUDIT_DIR}/mbo_audit.parquet", f"{AUDIT_DIR}/mbo_audit.json"
CONTRACT = "gold/mbo_audit.avsc"


def audit_frame(report: Report) -> pl.DataFrame:
    """The report as a table under its contract: one row per target and representation."""
    import polars as pl

    names = ("horizon", "sessions", "scored_sessions", "first_scored", "refits", "comparisons", "winner", "verdict")
    shared = {name: getattr(report, name) for name in names}
    rows = [asdict(r) | shared for r in report.rows]
    return pl.DataFrame(rows, schema=load_contract(CONTRACT).schema()).with_columns(pl.col(pl.Float64).fill_nan(None))


def store_audit(root: Path, report: Report, made_of: dict[str, Any]) -> tuple[Path | None, str]:
    """Store a report as the lake's audit, unless it is partial (`why_audit_partial`) and would replace a full one.

    Returns the table's place, None where it was not stored, and why not; raises as `write_audit`.
    """
    partial = why_audit_partial(report.to_json())
    if partial:
        with suppress(PartitionMissing, PartitionCorrupt):
            if not why_audit_partial(read_audit(root)[1]):
                return None, f"printed, not stored: this audit {partial}, and would replace a full one"
    return write_audit(root, report, made_of), ""


def write_audit(root: Path, report: Report, made_of: dict[str, Any]) -> Path:
    """Replace the lake's audit: first the table, then the report, which holds the table's digest and its own.

    The two writes are not atomic: after a kill between them table and report do not match, and `read_audit` raises. The caller must hold
    the lake's lock, so that two writers cannot interleave. `made_of` are the `audit_inputs` from before the audit read the lake, so that a
    change during the audit makes it stale.

    Raises `LakeWriteFailed` where the folder cannot be written.
    """
    frame = enforce_contract(audit_frame(report), load_contract(CONTRACT), f"audit of {root}")
    place = write_parquet_atomic(root / TABLE, frame)
    body = report.to_json() | {"made_of": made_of, "table": sha256_file(place)}
    write_text_atomic(root / REPORT, json.dumps(body | {"digest": sha256_text(canonical(body))}, indent=1) + "\n")
    return place


def read_audit(root: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The stored audit: its table, and its report with ``stale`` (`why_audit_stale`, empty where it is current).

    Raises `PartitionMissing` where there is none, `PartitionCorrupt` where it cannot be read, is of another version, or table and report
    are of two different audits.
    """
    import polars as pl

    command = f"`spymaster audit --lake {quote(str(root))}`"
    if not (root / TABLE).is_file():
        raise PartitionMissing(f"{root / TABLE}: no audit yet; {command} makes it")
    try:
        report = json.loads(small_text(root / REPORT, str(root / REPORT)))
        digest = report.pop("digest")
        if digest != sha256_text(canonical(report)):
            raise ValueError("a report that does not match its own digest")
        if report["table"] != sha256_file(root / TABLE):
            raise ValueError("a table that is not the report's: a write was interrupted between the two")
        frame = enforce_contract(pl.read_parquet(root / TABLE, glob=False), load_contract(CONTRACT), f"audit of {root}")
        stale = why_audit_stale(Lake(root), report)
    except KeyError as e:
        raise PartitionCorrupt(f"{root / TABLE}: expected an audit, found a report without {e}; {command} rebuilds it") from e
    except (*NOT_JSON, ContractError, PartitionCorrupt, pl.exceptions.PolarsError, pl.exceptions.PanicException) as e:
        raise PartitionCorrupt(f"{root / TABLE}: expected an audit, found {e}; {command} rebuilds it") from e
    return frame, report | {"digest": digest, "stale": stale}


# ----------------------------------------------------------------------------
# The default representation of an index: chosen by the stored audit, or by history's own loss where there is no usable audit

REPRESENTATION_NAMES: dict[tuple[str, Recipe], str] = {
    ("means", "stack"): "stack", ("means", "attention"): "attention", ("means", "wall"): "wall", ("means", "learned"): "learned",
    ("means", "plain"): "means", ("blocks", "plain"): "blocks",
}  # fmt: skip
"""(Representation of gold's vectors, recipe) to the name of the representation."""


@dataclass(frozen=True)
class Choice:
    """The chosen representation (of `REPRESENTATION_NAMES`), and what chose it (the digest of the audit), by which figures.
    Without an audit, `by` ``history``: the lowest leave-one-session-out loss on the index's own events.
    """

    representation: str
    by: Literal["audit", "history"]
    audit: str | None
    figures: dict[str, Any]

    @property
    def recipe(self) -> Recipe:
        """Recipe of the representation."""
        return RECIPES.get(self.representation, "plain")

    def to_json(self) -> dict[str, Any]:
        """Fields for a manifest, with the sentence `said`."""
        return {**asdict(self), "said": self.said()}

    def said(self) -> str:
        """A sentence: what was chosen, by what, and why."""
        if self.by == "history":
            return f"{self.representation}; no audit chose it: it forecasts these {self.figures['events']:,} events themselves best"
        f = self.figures
        skill = f["skill"][self.representation]
        others = "".join(f"; {k} {v:+.4f}" for k, v in f["skill"].items() if k != self.representation)
        events = f"the {f['events']:,} events that all answered"
        tie = f"; {f['best']} was best on {events}, by less than the error of the difference: a tie goes to the simpler"
        why = tie if f["tie"] else f"; best on {events}" if others else ""
        return f"{self.representation}, chosen by the audit {str(self.audit)[:12]} (skill {skill:+.4f}{others}{why})"


def audit_choice(lake: Lake, symbol: str | None, representation: str, params: RetrievalParams) -> tuple[Choice | None, str]:
    """The stored audit's choice for gold of `representation` and a sentence about it; None where there is no usable audit.

    An audit is not usable where it is stale, of another market, other sessions or other parameters, or lacks a candidate; the sentence
    then names the command that rebuilds it. Nor is a choice that compares wall features, where some session has none of its triggers as
    they are now: the sentence names the session and the command that makes them. Raises `NoData` where there is no gold of `symbol`.
    """
    # A lake with silver of several markets needs `--symbol` for an audit, even where its gold, and so the index, is of one.
    several = len({root_of(s).code for s, _ in lake.partitions(LADDER)}) > 1
    market = symbol or (root_of(sessions_in(lake, VECTORS, None)[0][0]).code if several else None)
    command = audit_command(lake, market, params)
    try:
        _, report = read_audit(lake.root)
    except (PartitionMissing, PartitionCorrupt) as e:
        # The error's command has default parameters; an audit with those would not be usable for this index.
        also = "" if command == audit_command(lake, None) else f"; for this index `{command}` does"
        return None, f"no audit to choose by: {e}{also}"
    why = report["stale"] or why_audit_unusable(report, lake, symbol, representation, params)
    if why:
        return None, f"no audit to choose by: {why}; `{command}` rebuilds it"
    found = report["choices"].get(representation)
    if not found:
        candidates = " and ".join(CHOICES[representation])
        return None, f"no audit to choose by: fewer than {MIN_COMMON_EVENTS} of its events were answered by {candidates}; add more dates"
    choice = Choice(found["representation"], "audit", report["digest"], found)
    sessions = sessions_in(lake, VECTORS, symbol)
    if choice.recipe in WALLED and (lacking := without_walls(lake, sessions)):
        (contract, date), more = lacking[0], f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        return None, (
            f"the audit {str(choice.audit)[:12]} chose {choice.representation}, for which every session needs wall features of its "
            f"triggers as they are now, {contract} {date}{more} has none; `{lake.repair_command(WALLS, contract, date)}` makes them"
        )
    winner = report["winner"]
    if not winner or winner in found["skill"]:
        return choice, choice.said()
    vectors = {"representation": "blocks" if winner == "blocks" else "means"}
    command = gold_command(lake, sessions[-1], [d for _, d in sessions], gold=vectors)
    return choice, f"{choice.said()}; of all representations {winner} won, and gold holds {representation}: `{command}` makes gold of it"
