"""The replay's clock: where it stands, how fast it goes, and which frame is due; knows neither lake nor screen."""

from __future__ import annotations

from dataclasses import dataclass

SPEEDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Seconds of the session in a second of the trader's."""

FRAME_S = 1 / 40
"""Frames closer together than this say nothing to an eye, and cost as much as others."""

IN_FLIGHT = 2
"""Frames that may be under way: one that the browser paints, and one that the server makes meanwhile; never more."""

LONGEST_S = 0.5
"""A browser that was away longer (a hidden tab, a stalled machine) finds the replay where it left it, not where it would be by now."""


@dataclass
class ReplayClock:
    """Position in whole seconds of a session of `seconds`; ``position`` s have passed, so that nothing from there on is known.

    A frame is due only while the browser has acknowledged all but the last: what falls due meanwhile is dropped, never queued.
    """

    seconds: int
    position: int = 0
    speed: float = 1.0
    playing: bool = False
    sent: int = 0
    acked: int = 0
    limit: int | None = None
    _exact: float = 0.0
    _wall: float = 0.0
    _last_sent: float = -1.0

    @property
    def end(self) -> int:
        """As far as it plays: the session's end, or what a question has not asked about yet."""
        return self.seconds if self.limit is None else min(max(self.limit, 1), self.seconds)

    def seek(self, position: int, wall: float) -> int:
        """Stand at `position`, kept inside the session."""
        self.position = min(max(int(position), 1), self.end)
        self._exact, self._wall = float(self.position), wall
        return self.position

    def play(self, on: bool, wall: float) -> None:
        """Start or stop; a replay that stands at its end does not start."""
        self.playing = on and self.position < self.end
        self._exact, self._wall = float(self.position), wall

    def set_speed(self, speed: float, wall: float) -> None:
        """Change the speed from now on.

        Raises
        ------
        ValueError
            Where it is none of `SPEEDS`.
        """
        if speed not in SPEEDS:
            raise ValueError(f"speed: expected one of {', '.join(f'{s:g}' for s in SPEEDS)}, found {speed!r}")
        self._advance(wall)
        self.speed = speed

    def _advance(self, wall: float) -> None:
        if self.playing:
            self._exact = min(self._exact + self.speed * min(max(wall - self._wall, 0.0), LONGEST_S), float(self.end))
        self._wall = wall

    def due(self, wall: float) -> int | None:
        """The position of the frame to send now; None where there is nothing new, or the last frame is still on its way."""
        self._advance(wall)
        if not self.playing or self.full or int(self._exact) <= self.position:
            return None
        if wall - self._last_sent < FRAME_S:
            return None
        self.position = int(self._exact)
        if self.position >= self.end:
            self.playing = False
        return self.position

    @property
    def full(self) -> bool:
        """Whether the browser has to paint before it gets another frame."""
        return self.sent - self.acked >= IN_FLIGHT

    def wait(self, wall: float) -> float:
        """Seconds until a frame can be due, if the browser keeps up."""
        self._advance(wall)
        until_second = (self.position + 1 - self._exact) / self.speed
        return max(until_second, FRAME_S - (wall - self._last_sent), 0.001)

    def frame(self, wall: float) -> int:
        """Number of the frame that is being sent."""
        self.sent += 1
        self._last_sent = wall
        return self.sent

    def ack(self, n: int) -> None:
        """The browser has painted frame `n`; what it never was sent is not believed."""
        self.acked = max(self.acked, min(n, self.sent))
