"""The trader's own levels: prices with a name and a note, in a CSV file beside the lake, one file for each market (root)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path

from engine.errors import ContractError, LakeWriteFailed, remedy
from engine.lake.writer import write_text_atomic
from engine.session import Session, level_title
from workbench.plots.axes import price_text

COLUMNS = ("price", "name", "note")

MOST = 200
"""Levels of one market: more are a file of something else."""

LONGEST = {"name": 40, "note": 400}
"""Characters of a name and of a note."""


@dataclass(frozen=True)
class OwnLevel:
    """A price, with a name and a note that may be empty."""

    price: float
    name: str = ""
    note: str = ""


def place(root: str, market: str) -> Path:
    """The file of a market's own levels in the lake at `root`."""
    return Path(root) / "own_levels" / f"{market}.csv"


def read(root: str, market: str) -> tuple[OwnLevel, ...]:
    """The market's own levels, the highest first; none where there is no file. A ContractError where the file is something else."""
    path = place(root, market)
    try:
        return _read(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return ()


@lru_cache(maxsize=16)
def _read(path: Path, changed_ns: int) -> tuple[OwnLevel, ...]:
    try:
        return parse(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as e:
        raise ContractError(f"{path}: expected a CSV file of own levels, found one that cannot be read: {e}; mend or remove it") from e


def write(root: str, market: str, levels: Iterable[OwnLevel]) -> None:
    """Put `levels` in the place of the market's own levels, whole or not at all; a LakeWriteFailed where the folder cannot be written."""
    path = place(root, market)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, to_csv(levels))
    except OSError as e:
        raise LakeWriteFailed(f"{path}: could not be written: {e}; {remedy(e)}") from e


def to_csv(levels: Iterable[OwnLevel]) -> str:
    """Header and a line for each level, the highest first."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows((f"{v.price:.10g}", v.name, v.note) for v in _sorted(levels))
    return out.getvalue()


def parse(text: str, where: str) -> tuple[OwnLevel, ...]:
    """Levels of a CSV with the column ``price``, perhaps ``name`` and ``note``; other columns and lines that begin with # are passed over.

    A price that comes twice is one level, the later line's. Raises ContractError with the line that is wrong.
    """
    told_lines = (line for line in io.StringIO(text) if not line.startswith("#"))
    lines = csv.DictReader(told_lines, skipinitialspace=True)
    names = [(n or "").strip().lower() for n in lines.fieldnames or ()]
    if "price" not in names:
        has = ", ".join(names) or "none"
        raise ContractError(f"{where}: expected a CSV whose first line has price, and may have name and note; found {has}")
    lines.fieldnames = names
    found: dict[float, OwnLevel] = {}
    for row in lines:
        told = (row.get("price") or "").strip()
        try:
            price = float(told.replace(",", ""))
        except ValueError:
            price = float("nan")
        if not isfinite(price) or price <= 0:
            raise ContractError(f"{where}, line {lines.line_num}: expected a price above zero such as 6800.25, found {told!r}")
        texts = {key: " ".join((row.get(key) or "").split())[:most] for key, most in LONGEST.items()}
        found[price] = OwnLevel(price, **texts)
        if len(found) > MOST:
            raise ContractError(f"{where}: expected at most {MOST} levels, found more")
    return _sorted(found.values())


def _sorted(levels: Iterable[OwnLevel]) -> tuple[OwnLevel, ...]:
    return tuple(sorted(levels, key=lambda v: -v.price))


# ----------------------------------------------------------------------------
# In a session: as levels on the contract's grid


def of_session(session: Session) -> dict[str, OwnLevel]:
    """The own levels of the session's market by level id (``price:6800.25``); none of a session that was made from frames."""
    if session.lake is None:
        return {}
    root = session.ladder.root
    found = read(str(session.lake.root), root.code)
    return {f"price:{price_text(root.to_tick(v.price), session.tick_size)}": v for v in found}


def title(session: Session, level_id: str) -> str:
    """What a level is called: an own one by its name, where it has one."""
    own = of_session(session).get(level_id) if level_id.startswith("price:") else None
    return own.name if own is not None and own.name else level_title(level_id)


class Editor:
    """Changes of one page to the own levels of a market, which can be undone."""

    def __init__(self, root: str, market: str) -> None:
        self.root, self.market = root, market
        self._before: list[tuple[OwnLevel, ...]] = []

    def put(self, *levels: OwnLevel) -> None:
        """Add levels; one at a price that is there takes its place."""
        had = read(self.root, self.market)
        prices = {v.price for v in levels}
        merged = (*(v for v in had if v.price not in prices), *levels)
        if len(merged) > MOST:
            raise ContractError(f"own levels of {self.market}: expected at most {MOST}, found {len(merged)}; remove some")
        self._write(had, merged)

    def remove(self, price: float) -> bool:
        """Remove the level at a price; whether there was one."""
        had = read(self.root, self.market)
        left = tuple(v for v in had if v.price != price)
        if len(left) < len(had):
            self._write(had, left)
        return len(left) < len(had)

    def undo(self) -> bool:
        """Take the last change back; False where there is none."""
        if not self._before:
            return False
        write(self.root, self.market, self._before[-1])
        self._before.pop()
        return True

    def _write(self, had: tuple[OwnLevel, ...], levels: Iterable[OwnLevel]) -> None:
        write(self.root, self.market, levels)
        self._before.append(had)
