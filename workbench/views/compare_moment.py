"""The moment of a comparison: what the tab's state says of it, what a picture says of it, and which pictures are of the same."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
from param.parameterized import discard_events

from engine.errors import BadPicture, SessionError
from engine.features import level_windows
from engine.params import ApproachParams, FeatureParams
from engine.sessions import to_ns
from engine.vocab import NS
from workbench import data
from workbench.plots import axes
from workbench.snapshot import ForeignState, PictureParams, SetupState, read_sidecar, read_state
from workbench.snapshot.sidecar import picture_bytes
from workbench.state import LevelState
from workbench.views.arrival import arrive
from workbench.views.look import resolve

DIRECTIONS = ("approach_up", "approach_down")
WORDS = {"approach_up": "from below", "approach_down": "from above"}

WHERE = ("contract", "session", "level", "cursor_ts_ns")
"""Parameters of the tab's state that are the moment; the others say how it is drawn."""

MOST_ROWS = 30
"""Ticks above and below the level that a picture has room for."""


def moment_of(state: SetupState) -> dict[str, Any]:
    """What a picture says of its moment, as parameters of the tab's state."""
    z, p = state.features.zones, state.picture
    return {
        "contract": state.symbol, "session": state.session_date.isoformat(), "level": state.level_id, "cursor_ts_ns": state.ts_ns,
        "window_s": state.features.window_s, "at": z.at, "near": z.near, "mid": z.mid, "far": z.far, "layer": p.layer,
        "palette": p.palette, "rows": p.rows, "half_life_s": p.half_life_s,
    }  # fmt: skip


def moment_in(root: str, state: LevelState) -> tuple[dict[str, Any], list[str]]:
    """The moment that `state` names, brought into its session as the Level view does it, and what the trader has to be told.

    Where it names no time, the window nearest to the level, of an approach from the side that it names, if it names one.

    Raises
    ------
    SessionError
        Where the lake holds no session, or the level no approach from that side.
    PartitionMissing
        Where the session's files are not there.
    """
    if state.contract is None or state.session is None:
        raise SessionError(f"the lake {root} holds no session to draw; `spymaster run --lake {root}` makes them")
    date = dt.date.fromisoformat(state.session)
    session = data.load(root, state.contract, date)
    said = arrive(state, session)
    with discard_events(state):
        if state.cursor_ts_ns is None and state.direction in DIRECTIONS:
            state.cursor_ts_ns = nearest(root, state.contract, date, state.level, state.direction)
        state.cursor_ts_ns = resolve(session, state, None).now_ns
    return {k: getattr(state, k) for k in WHERE}, said


def moment_typed(root: str, contract: str | None, typed: ForeignState) -> dict[str, Any]:
    """The moment that was typed in; without a time the window of such an approach that came nearest to the level.

    Parameters
    ----------
    contract : str or None
        Stands in where none was typed in.
    """
    symbol, date = typed.symbol or contract, typed.session_date
    if symbol is None:
        raise SessionError(f"{date}: the lake {root} holds no session; `spymaster run --lake {root}` makes them")
    if typed.clock is not None:
        ts = to_ns(date, typed.clock)
    else:
        ts = nearest(root, symbol, date, typed.level_id, typed.direction)
    return {"contract": symbol, "session": date.isoformat(), "level": typed.level_id, "cursor_ts_ns": ts}


def nearest(root: str, symbol: str, date: dt.date, level_id: str, direction: str) -> int:
    """Start of the window that came nearest to the level in an approach from that side, the first of them.

    Raises
    ------
    SessionError
        Where there was no such approach.
    """
    s = data.load(root, symbol, date)
    v = level_windows(s.ladder, data.level_frame(s, level_id), FeatureParams(), ApproachParams())
    near = v.filter(pl.col("book_valid") & (pl.col("approach") == direction)).sort(pl.col("distance_ticks").abs(), maintain_order=True)
    if near.height == 0:
        way = WORDS.get(direction, direction)
        raise SessionError(f"{date}: no approach to {data.level_title(level_id)} {way} in {symbol}; choose a time, or another direction")
    return int(near["window_start_ts_ns"][0])


def as_drawn(state: LevelState) -> tuple[FeatureParams, PictureParams]:
    """How the tab's state has the moment drawn."""
    rows = min(max(state.rows, 8), MOST_ROWS)
    picture = PictureParams(theme=state.theme, layer=state.layer, palette=state.palette, rows=rows, half_life_s=float(state.half_life_s))
    return FeatureParams(window_s=state.window_s, zones=state.zones()), picture


def same(own: SetupState, state: LevelState) -> bool:
    """Whether the tab stands at the picture's moment and draws it with the picture's own parameters."""
    return all(getattr(state, k) == v for k, v in moment_of(own).items() if k != "rows") and min(state.rows, MOST_ROWS) == own.picture.rows


def of_moment(root: str, known: list[Path], moment: dict[str, Any], window_s: int) -> Path | None:
    """The newest of the pictures `known` that is of this moment; None where none is."""
    for path in known:
        try:
            theirs = _theirs(root, path, moment)
        except (BadPicture, SessionError):
            continue  # what is wrong with it is told when it is chosen
        if theirs is None:
            continue
        w = window_s * NS
        if all(theirs[k] == moment[k] for k in WHERE[:3]) and theirs["cursor_ts_ns"] // w == moment["cursor_ts_ns"] // w:
            return path
    return None


def _theirs(root: str, path: Path, moment: dict[str, Any]) -> dict[str, Any] | None:
    own = read_state(picture_bytes(path), path.name)
    if own is not None:
        return moment_of(own)
    typed = read_sidecar(path)
    if typed is None or (typed.session_date.isoformat(), typed.level_id) != (moment["session"], moment["level"]):
        return None  # of another session: it need not be read
    return moment_typed(root, moment["contract"], typed)


def words_of(moment: dict[str, Any]) -> str:
    """The moment in words, such as ``ESZ5 2025-10-24 09:53:30, OR High``."""
    level = moment["level"].replace("price:", "Price ") if moment["level"].startswith("price:") else data.level_title(moment["level"])
    return f"{moment['contract']} {moment['session']} {axes.clock(moment['cursor_ts_ns'])}, {level}"
