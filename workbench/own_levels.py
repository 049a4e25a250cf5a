"""The trader's own levels: prices with a name and a note, in a CSV file beside the lake, one file for each market (root)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from engine.errors import ContractError, LakeWriteFailed, UnknownLevel, remedy
from engine.ladder import NO_TICK
from engine.lake.writer import write_text_atomic
from engine.session import Session, cached_with_session, level_title, tick_at
from engine.vocab import root_of
from workbench.plots.axes import price_text

COLUMNS = ("price", "name", "note")

MOST = 200
"""Levels of one market: more are a file of something else."""

LONGEST = {"name": 40, "note": 400}
"""Characters of a name and of a note."""

HIGHEST = 10_000_000.0
"""No future is quoted so high; a tick of such a price would not fit the lake's columns."""


@dataclass(frozen=True)
class OwnLevel:
    """A price, with a name and a note that may be empty; `line` is that of the file that it was read from."""

    price: float
    name: str = ""
    note: str = ""
    line: int = field(default=0, compare=False, repr=False)


# ----------------------------------------------------------------------------
# The file


def place(root: str, market: str) -> Path:
    """The file of a market's own levels in the lake at `root`."""
    return Path(root) / "own_levels" / f"{market}.csv"


def read(root: str, market: str) -> tuple[OwnLevel, ...]:
    """The market's own levels, the highest first; none where there is no file. A ContractError where the file is something else."""
    found, lacks = _look(place(root, market))
    if lacks:
        raise ContractError(lacks)
    return found


def _look(path: Path) -> tuple[tuple[OwnLevel, ...], str]:
    """Levels of the file, and what is wrong with it in words."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return (), ""
    except OSError as e:
        return (), _unreadable(path, e)
    # A file that is replaced within a tick of the system's clock has another inode.
    return _read(path, (stat.st_ctime_ns, stat.st_mtime_ns, stat.st_size, stat.st_ino))


@lru_cache(maxsize=16)
def _read(path: Path, stamp: tuple[int, ...]) -> tuple[tuple[OwnLevel, ...], str]:
    try:
        return parse(path.read_text(encoding="utf-8-sig"), str(path)), ""
    except ContractError as e:
        return (), f"{e}; mend or remove it"
    except (OSError, UnicodeDecodeError) as e:
        return (), _unreadable(path, e)


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path}: expected a CSV file of own levels, found one that cannot be read: {error}; mend or remove it"


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
    lines.writerows((f"{v.price:.12g}", v.name, v.note) for v in _sorted(levels))
    return out.getvalue()


def parse(text: str, where: str) -> tuple[OwnLevel, ...]:
    """Levels of a CSV with the column ``price``, perhaps ``name`` and ``note``; other columns and lines that begin with # are passed over.

    A price that comes twice is one level, the later line's. Raises ContractError with the line that is wrong.
    """
    # Lines that are passed over stay as empty ones: the numbers that are told are those of the file.
    lines = csv.reader(("\n" if line.startswith("#") else line for line in io.StringIO(text, newline=None)), skipinitialspace=True)
    names: list[str] = []
    found: dict[float, OwnLevel] = {}
    try:
        for cells in lines:
            if not any(map(str.strip, cells)):
                continue
            if not names:
                names = _names(cells, where)
                continue
            row = dict(zip(names, cells))
            told = row.get("price", "").strip()
            price = price_of(told)
            if price is None or not 0 < price < HIGHEST:
                such = f"a price above zero and below {HIGHEST:,.0f} such as 6800.25"
                raise ContractError(f"{where}, line {lines.line_num}: expected {such}, found {told[:40]!r}")
            found[price] = OwnLevel(price, line=lines.line_num, **{key: _words(row.get(key, ""), most) for key, most in LONGEST.items()})
            if len(found) > MOST:
                raise ContractError(f"{where}, line {lines.line_num}: expected at most {MOST} levels, found more")
    except csv.Error as e:
        raise ContractError(f"{where}, line {lines.line_num}: expected a line of a CSV file, found one that cannot be read: {e}") from e
    if not names:
        _names([], where)
    return _sorted(found.values())


def _names(cells: list[str], where: str) -> list[str]:
    names = [c.strip().lower() for c in cells]
    if "price" not in names:
        has = ", ".join(names)[:80] or "none"
        raise ContractError(f"{where}: expected a CSV whose first line has price, and may have name and note; found {has}")
    return names


def _words(text: str, most: int) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:most]


def _sorted(levels: Iterable[OwnLevel]) -> tuple[OwnLevel, ...]:
    return tuple(sorted(levels, key=lambda v: -v.price))


# ----------------------------------------------------------------------------
# In a session: as levels on the contract's grid

REACH = 2.0
"""A level beyond half or double the session's first price is of another time, and not shown in it."""


def of_session(session: Session) -> Mapping[str, OwnLevel]:
    """The own levels of the session's market by level id (``price:6800.25``); none of a session that was made from frames, and none where
    the file is something else, which `lacks` says.
    """
    return {} if session.lake is None else _in_session(session, _of_lake(session)[0])


def steps(session: Session) -> pl.DataFrame | None:
    """The own levels as steps of levels; None without any."""
    found = [session.level(level_id) for level_id in of_session(session) if not session.has_level(level_id)]
    return pl.concat(found) if found else None


def lacks(session: Session) -> str:
    """What is wrong with the file of the session's market, in words; empty where nothing is."""
    return "" if session.lake is None else _of_lake(session)[1]


def _of_lake(session: Session) -> tuple[tuple[OwnLevel, ...], str]:
    assert session.lake is not None
    return _look(place(str(session.lake.root), session.ladder.root.code))


@cached_with_session(4)
def _in_session(session: Session, levels: tuple[OwnLevel, ...]) -> Mapping[str, OwnLevel]:
    root, first = session.ladder.root, traded_tick(session, 0) * session.tick_size
    near = (v for v in levels if first / REACH <= v.price <= first * REACH)
    return {PREFIX + price_text(root.to_tick(v.price), session.tick_size): v for v in near}


def title(session: Session, level_id: str) -> str:
    """What a level is called: an own one by its name, where it has one."""
    return title_among(of_session(session), level_id) if level_id.startswith(PREFIX) else level_title(level_id)


def tick_of(session: Session, mine: Mapping[str, OwnLevel], level_id: str, ts_ns: int) -> int | None:
    """The tick of a level at an instant, an own one among them; None where it has none."""
    return session.ladder.root.to_tick(mine[level_id].price) if level_id in mine else tick_at(session.level(level_id), ts_ns)


def title_among(mine: Mapping[str, OwnLevel], level_id: str) -> str:
    """As `title`, of many levels at once, with what `of_session` gives."""
    return (mine[level_id].name if level_id in mine else "") or level_title(level_id)


# ----------------------------------------------------------------------------
# A price that the trader names, as a level: read from what was typed or is in a link, checked, and put on the contract's grid

PREFIX = "price:"

FAR_SHARE = 0.2
"""A price farther than this share from the last trade is taken for a slip of the hand."""

_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?"

_TOLD = re.compile(rf"\s*({_NUMBER})\s*(?:,(.*))?", re.DOTALL)

_ON_GRID = 1e-6


def price_of(text: str) -> float | None:
    """The number of a price such as ``6800.25`` or ``6,800.25``; None where `text` is none."""
    return float(text.replace(",", "")) if re.fullmatch(_NUMBER, text) else None


def told_level(text: str) -> tuple[str, str | None, str | None]:
    """Price, name and note of what was typed as ``price, name, note``; None for what was left out.

    ``6,800.25`` is a price of thousands. A ContractError where a decimal comma may be meant.
    """
    found = _TOLD.fullmatch(text)
    price, rest = (found[1], found[2]) if found else (text.partition(",")[0].strip(), None)
    if rest is None:
        return price, None, None
    if re.fullmatch(r"\d+", rest):
        raise ContractError(f"Own level: expected a price with a decimal point such as 6800.25, then name and note, found “{text.strip()}”")
    name, comma, note = rest.partition(",")
    return price, name.strip(), note.strip() if comma else None


def traded_tick(session: Session, t: int) -> int:
    """Tick of the last trade of the first `t` seconds, or of the session's first trade; the ladder's middle where nothing traded."""
    lad = session.ladder
    before = lad.last_tick[: max(t, 0)]
    known = before[before != NO_TICK]
    if known.size:
        return int(known[-1])
    first = np.flatnonzero(lad.last_tick != NO_TICK)
    return int(lad.last_tick[first[0]]) if first.size else lad.tick_low + lad.n_slots // 2


def own_price(text: str, session: Session, t: int) -> tuple[str, str]:
    """The level of a price such as ``6800.25``, ``27,200.25`` or ``price:6800.25``, and what has to be said of it.

    It is ``price:<price>`` on the contract's grid with the digits that it needs; the lake's own id where it has a level at that price.
    Nothing has to be said where the price was on the grid. An UnknownLevel where `text` is no price, not above zero, or farther than
    `FAR_SHARE` from the last trade of the first `t` seconds: of later ones nothing is told.
    """
    size, last = session.tick_size, traded_tick(session, t)
    wanted = text.removeprefix(PREFIX).strip()
    such, price = price_text(last, size), price_of(wanted)
    if price is None:
        raise UnknownLevel(f"Any price: expected a number such as {such}, found “{wanted}”")
    if price <= 0:
        raise UnknownLevel(f"Any price: expected a price above zero such as {such}, found {wanted}")
    if abs(price - last * size) > FAR_SHARE * abs(last * size):
        raise UnknownLevel(
            f"Any price: expected a price within {FAR_SHARE:.0%} of the last trade at {such}, found {wanted}; check the digits"
        )
    tick = session.ladder.root.to_tick(price)
    snapped = price_text(tick, size)
    said = "" if abs(price / size - tick) < _ON_GRID else f"{wanted} is between two ticks of {session.symbol}; {snapped} is shown"
    fixed = session.levels.filter(pl.col("level_id").str.starts_with(PREFIX) & (pl.col("level_tick") == tick))["level_id"]
    return str(fixed[0]) if fixed.len() else PREFIX + snapped, said


def on_grid(levels: Iterable[OwnLevel], session: Session, t: int) -> tuple[OwnLevel, ...]:
    """Levels of a file on the contract's grid, each checked as one that is typed.

    A ContractError with the line of one that cannot be meant.
    """
    out = []
    for v in levels:
        try:
            level_id, _ = own_price(f"{v.price:.9f}", session, t)
        except UnknownLevel as e:
            raise ContractError(f"Own levels, line {v.line}: {str(e).removeprefix('Any price: ')}") from e
        out.append(OwnLevel(float(level_id.removeprefix(PREFIX)), v.name, v.note))
    return tuple(out)


# ----------------------------------------------------------------------------
# Changes

Change = Mapping[float, tuple[OwnLevel | None, OwnLevel | None]]
"""What one act did: by price, the level before and after; None where there was none."""


class Editor:
    """Changes of one page to the own levels of a market, which can be undone."""

    def __init__(self, root: str, market: str) -> None:
        self.root, self.market = root, market
        self._grid = root_of(market)
        self._done: list[Change] = []

    def put(self, *levels: OwnLevel) -> bool:
        """Add levels; one at a price that is there takes its place. Whether that changed anything."""
        had = self._read()
        return self._write(had, {**had, **self._on_grid(levels)})

    def remove(self, price: float) -> bool:
        """Remove the level at a price; whether there was one."""
        had, tick = self._read(), self._grid.to_tick(price)
        return self._write(had, {p: v for p, v in had.items() if self._grid.to_tick(p) != tick})

    def undo(self) -> list[float] | None:
        """Take the last change back; None where there is none.

        What another page has changed again since stays as it is: those prices are returned.
        """
        if not self._done:
            return None
        had, change = self._read(), self._done[-1]
        others = [p for p, (_, after) in change.items() if had.get(p) != after]
        back = {p: before for p, (before, _) in change.items() if p not in others}
        self._put({p: v for p, v in {**had, **back}.items() if v is not None})
        self._done.pop()
        return others

    def _read(self) -> dict[float, OwnLevel]:
        return self._on_grid(read(self.root, self.market))

    def _on_grid(self, levels: Iterable[OwnLevel]) -> dict[float, OwnLevel]:
        # One written by hand may lie between two ticks: the page shows and names it at the nearest.
        grid = self._grid
        return {p: OwnLevel(p, v.name, v.note) for v in levels for p in [grid.to_price(grid.to_tick(v.price))]}

    def _write(self, had: dict[float, OwnLevel], now: dict[float, OwnLevel]) -> bool:
        change = {p: (had.get(p), now.get(p)) for p in {**had, **now} if had.get(p) != now.get(p)}
        if change:
            self._put(now)
            self._done.append(change)
        return bool(change)

    def _put(self, levels: Mapping[float, OwnLevel]) -> None:
        if len(levels) > MOST:
            raise ContractError(f"own levels of {self.market}: expected at most {MOST}, found {len(levels)}; remove some")
        write(self.root, self.market, levels.values())
