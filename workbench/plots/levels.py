"""Level lines, their names at the right edge, and the zones around the chosen level, as data of the main picture."""

from __future__ import annotations

from itertools import accumulate

import polars as pl

from workbench.plots import axes

NAME_PX, ABOVE_PX = 21.0, 12.0
"""Room of one name, from line to line; and how far its middle is above its line, unless another one is there already. Px."""

LEAST_PX, USUAL_PX = 100.0, 480.0

LEADER_SHARE = 0.012
"""Names end this share of the shown time before its end: room for the line from a name that was moved to its level."""


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


def name_data(
    names: list[tuple[str, int, bool]],
    shown: tuple[float, float],
    prices: tuple[float, float],
    height_px: float,
    tick_size: float,
    quotes: dict[str, int] | None = None,
) -> dict[str, list[object]]:
    """Source of the names at the right edge of what is shown.

    Levels on one tick share a line of text. A name is just above its line; where names would overlap they are spread, and a
    short line leads from the level to the name that was moved.

    Parameters
    ----------
    names : list of (title, tick, whether chosen)
    shown, prices : tuple of float
        Start and end of the time axis (ms) and of the price axis (ticks).
    height_px : float
        Height of the price axis; below `LEAST_PX` it is not laid out yet, and `USUAL_PX` is taken for it.
    quotes : dict of str to int
        Ticks of the best ``bid`` and ``ask`` where the picture ends; named too, so that one sees which side is which.
    """
    low, high = prices
    at: dict[tuple[int, str], list[str]] = {}
    for title, tick, _ in names:
        at.setdefault((tick, "level"), []).append(title)
    for side, tick in (quotes or {}).items():
        at[tick, side] = ["▲ asks from" if side == "ask" else "▼ bids from"]
    chosen = {tick for _, tick, is_chosen in names if is_chosen}
    # The best ask's name above all others of its tick, the best bid's below them.
    order = {"bid": -1, "level": 0, "ask": 1}
    shown_at = sorted((k for k in at if low <= k[0] <= high), key=lambda k: (k[0], order[k[1]]))
    per_px = (high - low) / (height_px if height_px >= LEAST_PX else USUAL_PX)
    natural = [tick + (-1 if side == "bid" else 1) * ABOVE_PX * per_px for tick, side in shown_at]
    room = NAME_PX * per_px
    places = spread(list(accumulate(natural, max)), room, low + room / 2, high - room / 2)
    edge, x = shown[1], shown[1] - LEADER_SHARE * (shown[1] - shown[0])
    ink = {"bid": "long", "ask": "short"}
    rows = []
    for (tick, side), own, y in zip(shown_at, natural, places):
        text = f"{' · '.join(at[tick, side])}  {axes.price_text(tick, tick_size)}"
        # Not a number where the name is at its line: no line is drawn to it.
        moved = float(tick) if abs(own - y) > 3 * per_px else float("nan")
        rows.append((x, y, text, ink.get(side, "level" if tick in chosen else "text"), edge, moved))
    return axes.columns(("x", "y", "text", "colour", "edge", "tick"), rows)


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
