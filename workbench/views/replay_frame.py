"""A frame of the replay: what is looked at, at which second, and how much of the session around it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from engine.vocab import NS
from workbench.plots import axes
from workbench.views import replay_past as past
from workbench.views.look import Look

SHIFTS = 10
"""The chart moves on by so many parts of its span: a picture that stands still costs a patch, a moving one all its axes."""


@dataclass(frozen=True)
class Frame:
    """What a frame shows.

    Attributes
    ----------
    t : int
        Seconds of the session that have passed.
    low, high : int
        Seconds shown, ``[low, high)``; what lies from `t` on is empty.
    centre : int
        Tick in the middle of the price axis.
    """

    look: Look
    t: int
    low: int
    high: int
    centre: int
    slab: past.Slab

    @property
    def now_ns(self) -> int:
        """The instant, ns since the epoch."""
        return self.look.session.ladder.start_ns + self.t * NS

    @property
    def quote_step(self) -> int:
        """Seconds between two points of the best prices' lines: about two to a column."""
        return max((self.high - self.low) // (2 * past.COLUMNS), 1)

    def x(self, second: int) -> float:
        """Axis coordinate of a second of the session."""
        s = self.look.session
        return float(axes.x_ms(s.ladder.start_ns + second * NS, s.day_ns))


def stretch(t: int, span_s: int, seconds: int) -> tuple[int, int]:
    """Seconds shown at `t`, ``[low, high)``: a function of `t` alone, the present in the last tenth or so."""
    if span_s >= seconds:
        return 0, seconds
    shift = max(span_s // SHIFTS, 1)
    high = (t // shift + 1) * shift + shift // 4
    low = max(high - span_s, 0)
    return low, low + span_s


def middle(had: int | None, level: int | None, last: int | None, rows: int) -> int:
    """Tick in the middle of the price axis: the level, or the last trade where that is out of the level's picture.

    It stays at `had` while what matters is well inside, so that the picture does not jump.
    """
    if level is None and last is None:
        return had if had is not None else 0
    if last is None or (level is not None and abs(last - level) <= (rows * 5) // 8):
        assert level is not None
        return had if had is not None and abs(had - level) <= rows // 4 else level
    return had if had is not None and abs(last - had) <= (rows * 3) // 4 else last
