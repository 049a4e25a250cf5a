"""What the Level and the Neighbours views offer to save: the tables behind what they show, with the state that makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from engine.errors import NoData
from workbench.export import Table, cube_frame

if TYPE_CHECKING:
    from workbench.views.level import LevelView
    from workbench.views.look import Look
    from workbench.views.neighbours import NeighboursView


def look_facts(root: str, look: Look) -> dict[str, Any]:
    """Which moment of which level, and how it was computed."""
    s, p = look.session, look.params
    return {
        "lake": root, "contract": s.symbol, "session": s.date.isoformat(), "level": look.level_id, "level_tick": look.k_ref,
        "tick_size": s.tick_size, "cursor_ts_ns": look.now_ns, "window_s": p.window_s, "zones": p.zones.model_dump(),
        "shown_start_ts_ns": look.start_ns, "shown_end_ts_ns": look.end_ns, "step_ticks": look.step, "simulated": s.simulated,
    }  # fmt: skip


def level_tables(view: LevelView) -> list[Table]:
    """The level's windows, the ladder at the cursor, and the cube of what is shown."""

    def look() -> Look:
        if view.look is None:
            raise NoData("nothing is shown yet that could be saved; open a session first")
        return view.look

    def windows() -> tuple[pl.DataFrame, dict[str, Any]]:
        at = look()
        return at.vacuum, look_facts(view.root, at)

    def ladder() -> tuple[pl.DataFrame, dict[str, Any]]:
        at = look()
        return view._rows(at), look_facts(view.root, at)

    def cube() -> tuple[pl.DataFrame, dict[str, Any]]:
        at = look()
        shown = view._cube(at)
        start = shown["window_start_ts_ns"].to_numpy()
        inside = (start >= at.start_ns) & (start < at.end_ns)
        return cube_frame(shown.isel(window=inside)), {**look_facts(view.root, at), "half_life_s": float(view.state.half_life_s)}

    return [
        Table("windows", "Windows of the level: features and conditions", windows),
        Table("ladder", "Ladder at the cursor", ladder),
        Table("cube", "Time x price, as shown", cube),
    ]


def neighbour_tables(view: NeighboursView) -> list[Table]:
    """The neighbours, their outcomes at every horizon, and the difference map."""

    def facts() -> dict[str, Any]:
        if view.found is None:
            raise NoData("there are no neighbours on the screen yet that could be saved")
        q = view.found.question
        return {
            "lake": q.root, "contract": q.symbol, "session": q.date.isoformat(), "level": q.level_id, "end_ts_ns": q.end_ns, "mode": q.mode,
            "pool": q.pool, "horizon": q.horizon, "direction": view.found.trigger["approach"],
            "simulated": bool(view.look and view.look.session.simulated),
        }  # fmt: skip

    def near() -> tuple[pl.DataFrame, dict[str, Any]]:
        said = facts()
        assert view.found is not None
        return view.found.answer.found, said

    def outcomes() -> tuple[pl.DataFrame, dict[str, Any]]:
        said = facts()
        assert view.found is not None
        return view.found.outcomes, said

    def difference() -> tuple[pl.DataFrame, dict[str, Any]]:
        said, made = facts(), view.difference.map
        if made is None:
            raise NoData("the difference map is not made yet: its button is under the wall of neighbours")
        return made.to_frame(), {**said, "breaks": made.breaks, "rejects": made.rejects, **made.params.model_dump()}

    return [
        Table("neighbours", "Neighbours, the most similar first", near),
        Table("outcomes", "Outcomes at every horizon", outcomes),
        Table("difference", "Difference map", difference),
    ]
