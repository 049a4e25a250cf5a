"""The blind drill's questions and its book: touches of gold, calls kept in the lake under ``drills/``, and the scores of both."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import polars as pl

from engine.errors import LakeWriteFailed
from workbench import data, similar

CLASSES = ("reject", "chop", "break")
"""Order of the classes, by how far price goes on: the ranked probability score needs it."""

CLASS_OF = {"BREAK_UP": "break", "BREAK_DOWN": "break", "REJECT_UP": "reject", "REJECT_DOWN": "reject", "CHOP": "chop"}

BOOK = "calls.jsonl"


@dataclass(frozen=True)
class Question:
    """A touch whose outcome is asked for; `outcome` is one of `CLASSES` and stays on the server until it is called."""

    trigger_id: str
    symbol: str
    session_date: str
    level_id: str
    approach: str
    touch_ts_ns: int
    horizon: str
    outcome: str


def questions(root: str, horizon: str) -> list[Question]:
    """Touches in the lake's gold whose outcome at `horizon` is known; from memory while the gold is unchanged.

    Raises
    ------
    NoData
        Where there is no gold, with the command that makes it.
    """
    return list(_questions(root, horizon, similar.gold_stamp(root)))


@lru_cache(maxsize=4)
def _questions(root: str, horizon: str, stamp: str) -> tuple[Question, ...]:
    from engine.retrieval.gold import VECTORS, sessions_in

    lake, outcome = data.open_lake(root), f"outcome_{horizon}"
    columns = ["trigger_id", "level_id", "approach", "touch_ts_ns", outcome]
    where = (pl.col("kind") == "touch") & pl.col(outcome).is_in(list(CLASS_OF)) & pl.col("touch_ts_ns").is_not_null()
    out: list[Question] = []
    for symbol, date in sessions_in(lake, VECTORS, None):
        rows = lake.read(VECTORS, symbol, date, columns, where).select(columns).iter_rows()
        out += [Question(t, symbol, date.isoformat(), i, a, ns, horizon, CLASS_OF[o]) for t, i, a, ns, o in rows]
    return tuple(out)


def choose(found: list[Question], called: set[str], rng: random.Random) -> Question | None:
    """A question that was not called before; None where all were."""
    left = [q for q in found if q.trigger_id not in called]
    return rng.choice(left) if left else None


def append(root: Path, kind: Literal["call", "forecast"], record: dict[str, Any]) -> Path:
    """Add a line to the book, whole or not at all.

    Raises
    ------
    LakeWriteFailed
        Where the folder cannot be written.
    """
    path = root / "drills" / BOOK
    line = (json.dumps({"kind": kind, **record}, sort_keys=True, allow_nan=False) + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write at the file's end: two tabs that call at once write two lines, never a mixture.
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # A writer that was stopped may have left half a line: it must not swallow this one.
            if os.fstat(fd).st_size and not path.read_bytes().endswith(b"\n"):
                line = b"\n" + line
            os.write(fd, line)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as e:
        raise LakeWriteFailed(f"{path}: could not be written: {e}; free space or mend the folder's rights, then call again") from e
    return path


def read(root: Path) -> list[dict[str, Any]]:
    """The book's lines in their order; a line that a stopped writer left half is passed over."""
    path = root / "drills" / BOOK
    out = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("trigger_id"), str):
            out.append(record)
    return out


def ranked_score(shares: tuple[float, ...], outcome: str) -> float:
    """Ranked probability score of `shares` over `CLASSES` (Epstein 1969, divided by classes - 1): 0 is perfect, 1 the worst."""
    at, total, under = CLASSES.index(outcome), 0.0, 0.0
    for i in range(len(CLASSES) - 1):
        under += shares[i]
        total += (under - (1.0 if i >= at else 0.0)) ** 2
    return total / (len(CLASSES) - 1)


@dataclass(frozen=True)
class Score:
    """How one of the three did: `right` of `n`, and the mean ranked probability score (lower is better)."""

    who: str
    n: int
    right: int
    score: float | None


def scores(book: list[dict[str, Any]]) -> list[Score]:
    """Trader, neighbours, and what usually happens, on the touches that the trader called; one call per touch, the first."""
    calls: dict[str, dict[str, Any]] = {}
    forecasts: dict[str, dict[str, Any]] = {}
    for r in book:
        (calls if r.get("kind") == "call" else forecasts).setdefault(r["trigger_id"], r)
    good = {k: r for k, r in calls.items() if r.get("call") in CLASSES and r.get("outcome") in CLASSES}
    made: dict[str, list[tuple[tuple[float, ...], str]]] = {"you": [], "neighbours": [], "usual": []}
    for k, r in good.items():
        made["you"].append((tuple(float(c == r["call"]) for c in CLASSES), r["outcome"]))
        for who, prefix in (("neighbours", "p_"), ("usual", "pi_")):
            shares = tuple(forecasts.get(k, {}).get(prefix + c) for c in CLASSES)
            if all(isinstance(v, float) for v in shares):
                made[who].append((shares, r["outcome"]))  # type: ignore[arg-type]
    out = []
    for who, pairs in made.items():
        right = sum(CLASSES[s.index(max(s))] == o for s, o in pairs)
        mean = sum(ranked_score(s, o) for s, o in pairs) / len(pairs) if pairs else None
        out.append(Score(who, len(pairs), right, mean))
    return out
