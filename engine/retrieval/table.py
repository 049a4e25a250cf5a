"""The audit's result in the lake: a table under a contract, and beside it the whole report with its diagrams."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ContractError, PartitionCorrupt, PartitionMissing
from engine.lake.contract import enforce_contract, load_contract
from engine.lake.folder import AUDIT_DIR
from engine.lake.manifest import canonical, sha256_file, sha256_text
from engine.lake.store import Lake
from engine.lake.writer import write_frame, write_whole
from engine.retrieval.kept import why_partial, why_stale

if TYPE_CHECKING:
    import polars as pl

    from engine.retrieval.audit import Report

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


def keep_audit(root: Path, report: Report, made_of: dict[str, Any]) -> tuple[Path | None, str]:
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
    partial = why_partial(report.to_json())
    if partial:
        try:
            held = read_audit(root)[1]
        except (PartitionMissing, PartitionCorrupt):
            held = None
        if held is not None and not why_partial(held):
            return None, f"printed, not kept: this audit {partial}, and would replace a whole one"
    return write_audit(root, report, made_of), ""


def write_audit(root: Path, report: Report, made_of: dict[str, Any]) -> Path:
    """Replace the lake's audit: the table, and then the report, which holds the table's digest and its own.

    Two files are no one step: between them, or after a kill there, table and report do not match, and `read_audit` says so. The caller
    holds the lake's lock, so that of two writers each writes both.

    Parameters
    ----------
    made_of
        `engine.retrieval.kept.made_of` of the lake, before the audit read it: what changed meanwhile makes it stale.

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
    return frame, report | {"digest": digest, "stale": why_stale(Lake(root), report)}
