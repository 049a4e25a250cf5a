"""What a frame adds to figures that stand still: made for `replay_live`, from `replay_past` alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from engine.vocab import NS
from workbench.plots import chart, coding, conditions
from workbench.theme import MONO, Theme
from workbench.views import replay_past as past
from workbench.views import replay_prices as prices
from workbench.views.replay_frame import Frame

WHOLE_EVERY_S, WHOLE_EVERY_FRAMES = 4.0, 60
"""While it plays, the figures are painted whole so often, and no more often than after so many frames, so that a machine under load has
more frames rather than more whole ones. Until then the newest seconds have no read-out under the pointer."""


class Tail:
    """Counts what has been told, so that each frame tells only what is new."""

    def __init__(self) -> None:
        self._run = self._base = self._frames = 0
        self._at = -np.inf
        self._whole: Frame | None = None
        self._told: Frame | None = None
        self._windows = 0

    def look(self, theme: Theme, parts: chart.ChartParts) -> dict[str, Any]:
        """Colours, widths and places that the canvases need, those of the figures."""
        r = {k: v.glyph for k, v in parts.renderers.items()}
        keys = ("casing", "long", "short", "level", "muted", "grid", "text", "wall")
        return {k: getattr(theme, k) for k in keys} | {
            "floor": theme.map_floor, "mono": MONO, "cells": ["#00000000", theme.edge, theme.short, theme.long],
            "feet": list(conditions.BASE.values()), "floors": [conditions.floor(d) for d in conditions.BASE],
            "quotes": [r["bid_casing"].line_width, r["bid_casing"].line_alpha, r["bid"].line_width],
            "lines": r["body"].line_color["transform"].palette, "fills": r["body"].fill_color["transform"].palette,
            "wick": [r["wick_casing"].line_width, r["wick"].line_width],
            "body": [r["body_casing"].line_width, r["body"].line_width, r["body"].fill_alpha], "line": r["levels_casing"].line_width,
            "bands": [theme.short if d == "down" else theme.long for d in conditions.BASE],
        }  # fmt: skip

    def goes_on(self, frame: Frame, wall: float) -> bool:
        """Whether `frame` can be told as an addition: not while the book is not valid, whose hatching the figures draw."""
        whole = self._whole
        if (
            whole is None
            or self._told is None
            or frame.t < self._told.t
            or (wall - self._at >= WHOLE_EVERY_S and self._frames >= WHOLE_EVERY_FRAMES)
        ):
            return False
        begin = frame.slab.begin
        return bool(frame.slab.valid[max(self._since(whole) - begin, 0) : frame.t - begin].all())

    def painted(self, frame: Frame, wall: float, goes_on: bool) -> None:
        """The figures were painted whole at `frame`; without `goes_on` their image is another."""
        if not goes_on or self._told is None:
            self._run += 1
        self._base += 1
        self._whole, self._at, self._frames = frame, wall, 0

    def stop(self) -> None:
        """It does not play any more: the next frame starts anew."""
        self._told = None

    @staticmethod
    def _since(whole: Frame) -> int:
        """The second in which the candle began that was under way when the figures were painted: it may still have shrunk."""
        start = whole.look.session.ladder.start_ns // NS
        return max((start + whole.t - 1) // prices.BAR_S * prices.BAR_S - start, 0)

    def frame(self, frame: Frame, ladder: dict[str, Any]) -> str:
        """What `replay_live.Live.frame` holds."""
        whole = self._whole
        assert whole is not None
        told = self._told if self._told is not None else whole
        s, slab, look = frame.look.session, frame.slab, frame.look
        strip = past.strip(s, look.level_id, look.params)
        new = whole is frame
        first = slab.column_of(max(told.t - 1, slab.begin))
        block = slab.block(first, frame.t) if told.slab is slab and told.t < frame.t else np.empty((0, 0), np.float32)
        since = self._since(whole)
        candles = chart.candle_data(prices.candles(s).until(frame.t, s.ladder.start_ns + since * NS), s.day_ns)
        done = strip.done(frame.now_ns)
        fresh = [] if new else strip.fresh(self._windows, frame.now_ns)
        ended = strip.done(whole.now_ns)
        self._windows, self._told = done, frame
        self._frames += 1
        return json.dumps({
            "run": self._run, "base": self._base, "x": frame.x(frame.t), "since": frame.x(since),
            "painted": frame.x((int(strip.ends[ended - 1]) - s.ladder.start_ns) // NS) if ended else frame.x(whole.low),
            "first": first, "codes": coding.codes(block, slab.layer, slab.top).ravel().tolist(),
            "quotes": _plain(prices.quotes(s).between(told.t, frame.t, frame.quote_step)),
            "candles": {k: np.asarray(v).tolist() for k, v in candles.items()}, "ladder": ladder, "windows": fresh,
        }, separators=(",", ":"), allow_nan=False)  # fmt: skip


def _plain(quotes: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """With None for what is missing: JSON has no NaN."""
    return {k: [None if v != v else v for v in column] for k, column in quotes.items()}
