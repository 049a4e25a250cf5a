"""A whole session's orders and trades as one image: how much was added at each price and when, with the trades over it (datashader)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.theme import NO_DATA, Theme, ramp

COLUMNS, ROWS = 1_440, 160
"""At most so many columns and rows; a column is a whole number of seconds and a row one of ticks, so that no stripes appear."""

ORDERS, TRADES = 96, 159
"""Codes of orders are 1 to `ORDERS`, those of trades follow up to 255; 0 is nothing."""


@dataclass(frozen=True, eq=False)
class DayImage:
    """Codes, uint8 (rows, columns), from the lowest price and the first second on, and where they lie.

    Attributes
    ----------
    column_s, row_ticks : int
        Seconds of a column, ticks of a row.
    low : int
        Lowest tick of the first row.
    """

    codes: np.ndarray
    column_s: int
    row_ticks: int
    low: int


def day_image(second: np.ndarray, tick: np.ndarray, added: np.ndarray, traded: np.ndarray, seconds: int, low: int, high: int) -> DayImage:
    """The image of a session's ladder rows.

    Parameters
    ----------
    second, tick : ndarray of int, shape (rows of the ladder,)
        Second of the session and price of each row.
    added, traded : ndarray of int, same shape
        Contracts that arrived, and that traded, of both sides.
    seconds : int
        Length of the session.
    low, high : int
        Lowest and highest tick of the image.

    Returns
    -------
    DayImage
        Brightness is the logarithm of the contracts in a cell, from one contract to the 99.5% quantile of the cells that have any.
    """
    import datashader as ds
    import pandas as pd

    column_s = -(-seconds // COLUMNS)
    row_ticks = -(-(high - low + 1) // ROWS)
    width, height = -(-seconds // column_s), -(-(high - low + 1) // row_ticks)
    canvas = ds.Canvas(
        plot_width=width, plot_height=height, x_range=(0, width * column_s), y_range=(low - 0.5, low - 0.5 + height * row_ticks)
    )
    codes = np.zeros((height, width), np.uint8)
    inside = (tick >= low) & (tick < low + height * row_ticks)
    for amount, first, n in ((added, 1, ORDERS), (traded, ORDERS + 1, TRADES)):
        there = inside & (amount > 0)
        frame = pd.DataFrame({"x": second[there] + 0.5, "y": tick[there].astype(np.float64), "n": amount[there].astype(np.float64)})
        total = canvas.points(frame, "x", "y", ds.sum("n")).to_numpy()
        lit = np.isfinite(total) & (total > 0)
        if lit.any():
            top = max(float(np.quantile(total[lit], 0.995)), 2.0)
            share = np.log(np.minimum(total[lit], top)) / np.log(top)
            codes[lit] = first + np.round(share * (n - 1)).astype(np.uint8)
    return DayImage(codes, column_s, row_ticks, low)


def day_palette(theme: Theme) -> list[str]:
    """256 colours: orders from the ground to a quiet grey, trades from there to the text's own colour."""
    if theme.name == "dark":
        orders, trades = (theme.map_floor, "#2c4460", "#6d8fb3"), ("#9db54a", "#dfe96f", "#ffffe0")
    else:
        orders, trades = (theme.map_floor, "#c3d1de", "#7f99b2"), ("#6f8f1f", "#3f6212", "#12230a")
    return [NO_DATA, *ramp(orders, ORDERS), *ramp(trades, TRADES)]
