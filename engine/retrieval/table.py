"""The audit's result in the lake: a table under a contract, and beside it the whole report with its diagrams."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ContractError, PartitionCorrupt, PartitionMissing
from engine.lake.contract import enforce_contract, load_contract
from engine.lake.manifest import canonical, sha256_text
from engine.lake.store import Lake
from engine.lake.writer import write_frame, write_whole
from engine.retrieval.kept import why_stale

if TYPE_CHECKING:
    import polars as pl

    from engine.retrieval.audit import Report

TABLE = "audit/mbo_audit.parquet"
REPORT = "audit/mbo_audit.json"
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


def write_audit(root: Path, report: Report, made_of: dict[str, Any]) -> Path:
    """Replace the lake's audit; the table comes last, so that whoever finds it finds its report.

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
    body = report.to_json() | {"made_of": made_of}
    write_whole(root / REPORT, json.dumps(body | {"digest": sha256_text(canonical(body))}, indent=1) + "\n")
    return write_frame(root / TABLE, frame)


def read_audit(root: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The lake's audit: the table, and the whole report with ``stale``: why it is not of the lake as it is now, empty where it is.

    Raises
    ------
    PartitionMissing
        Where none was made.
    PartitionCorrupt
        Where one cannot be read, or is of another version.
    """
    import polars as pl

    mend = f"`spymaster audit --lake {root}` makes it"
    if not (root / TABLE).is_file():
        raise PartitionMissing(f"{root / TABLE}: no audit yet; {mend}")
    try:
        frame = enforce_contract(pl.read_parquet(root / TABLE), load_contract(CONTRACT), f"audit of {root}")
        report = json.loads((root / REPORT).read_text(encoding="utf-8"))
        digest = report.pop("digest", None)
        if digest is not None and digest != sha256_text(canonical(report)):
            raise ValueError("a report that does not match its own digest")
    except (OSError, ValueError, ContractError, pl.exceptions.PolarsError) as e:
        raise PartitionCorrupt(f"{root / TABLE}: expected an audit, found {e}; {mend} anew") from e
    return frame, report | {"digest": digest, "stale": why_stale(Lake(root), report)}
