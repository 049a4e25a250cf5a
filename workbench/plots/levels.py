"""Level lines, room for their names, and the zones around the chosen level, as data of the main picture."""

from __future__ import annotations

import polars as pl

from workbench.plots import axes


def level_runs(levels: pl.DataFrame) -> pl.DataFrame:
    """The LEVELS frame with steps that stay on one tick as one: a VWAP makes a step a second, and a picture has no more than the ticks."""
    moved = pl.col("level_id").ne_missing(pl.col("level_id").shift()) | pl.col("level_tick").ne_missing(pl.col("level_tick").shift())
    return (
        levels.group_by(moved.cum_sum().alias("run"), maintain_order=True)
        .agg(pl.col("level_id", "start_ts_ns", "level_tick").first(), pl.col("end_ts_ns").last())
        .select("level_id", "start_ts_ns", "end_ts_ns", "level_tick")
    )


def level_data(levels: pl.DataFrame, chosen: str, day_ts_ns: int) -> dict[str, object]:
    """Source of the level lines from the `level_runs` of the LEVELS frame; the chosen one is thicker."""
    return {
        "x0": axes.x_ms(levels["start_ts_ns"].to_numpy(), day_ts_ns).tolist(),
        "x1": axes.x_ms(levels["end_ts_ns"].to_numpy(), day_ts_ns).tolist(),
        "y": levels["level_tick"].to_list(),
        "chosen": [3.0 if i == chosen else 1.5 for i in levels["level_id"]],
        "colour": ["level" if i == chosen else "text" for i in levels["level_id"]],
    }


def zone_data(k_ref: int | None, bounds: tuple[int, ...]) -> dict[str, list[object]]:
    """Source of the zones' outer bounds, on both sides of the level; empty where it is not known yet."""
    ys: list[object] = [] if k_ref is None else [k_ref + s * (b + 0.5) for b in bounds for s in (1, -1)]
    return {"y": ys, "text": [""] * len(ys)}


def spread(wanted: list[float], room: float, low: float, high: float) -> list[float]:
    """Places near `wanted` (rising) with at least `room` between neighbours, inside ``[low, high]`` where that fits.

    Labels pushed apart keep their order and stay as near to where they belong as their neighbours let them.
    """
    groups: list[list[float]] = []  # per group whose members are `room` apart: sum of (wanted - place in the group * room), count

    def first(total: float, n: float) -> float:
        return max(min(total / n, high - (n - 1) * room), low)

    for w in wanted:
        groups.append([w, 1])
        while len(groups) > 1:
            (a, n), (b, m) = groups[-2], groups[-1]
            if first(a, n) + n * room <= first(b, m):
                break
            groups[-2:] = [[a + b - n * m * room, n + m]]
    return [first(a, n) + i * room for a, n in groups for i in range(int(n))]
