"""The alerts of a session under way, from what was closed of it since the last look."""

from __future__ import annotations

import polars as pl

from engine.features import level_windows
from engine.live.alerts import FEED, Alert, FourOpen, Once, Watch, busier
from engine.live.day import TAIL_S
from engine.live.session import LiveSession
from engine.session import SETUP_WINDOW_S
from engine.vocab import NS

TROUBLE = ("DELAYED", "RECONNECTING", "GAP", "STOPPED")
"""Words of the badge (`engine.live.journal.badge`) that are alerts."""


class FeedLookout:
    """Looks at what the feed is doing: tells where it is not what it was, and where it is again."""

    def __init__(self) -> None:
        self._once = Once()
        self._word = ""
        self._is_bad = False

    def look(self, word: str, text: str, now_ns: int) -> list[Alert]:
        """The alert of the badge's word and text at an instant of the feed's own time. What comes back within the cool-down is told at its
        end, where it lasts; that nothing is recorded is no news to who begins to look.
        """
        if word == self._word:
            return []
        is_first, is_bad = not self._word, word in TROUBLE
        if (is_bad and not (is_first and word == "STOPPED")) or (self._is_bad and word == "LIVE"):
            found = self._once.new([Alert(now_ns // NS * NS, FEED, word, 0, f"feed: {text}")])
            if not found:
                return []
            self._is_bad = is_bad
        else:
            found = []
        self._word = word
        return found


class Lookout:
    """Looks at a session's seconds from `begin` on, each once."""

    def __init__(self, session: LiveSession, begin: int = 0) -> None:
        self.session = session
        self._watch, self._four = Watch(session.ladder, begin=begin), FourOpen()
        self._windows, self._other = begin // SETUP_WINDOW_S, ""

    @property
    def seconds(self) -> int:
        """Seconds that were looked at, or passed over at the beginning."""
        return self._watch.seconds

    def go_on(self, session: LiveSession) -> None:
        """Go on with `session`, where the day was begun anew: no second is looked at twice, and none is passed over."""
        self.session = session
        self._watch.go_on(session.ladder)

    def look(self, own: pl.DataFrame | None = None) -> list[Alert]:
        """Alerts of what was closed since the last look, in time order; `own` are steps of the trader's own levels."""
        s = self.session
        levels = s.levels if own is None else pl.concat([s.levels, own.select(s.levels.columns)])
        found = self._watch.until(s.known_seconds, levels)
        before, now = self._windows, s.known_seconds // SETUP_WINDOW_S
        if now > before:
            self._windows = now
            found += self._four_open(levels, (now - before) * SETUP_WINDOW_S)
            other = busier(s.day.traded(), s.symbol)
            if other and other != self._other:
                found.append(Alert(s.day.now_ns, "other contract", other, 0, f"{other} has traded more than {s.symbol} for half an hour"))
            self._other = other
        return sorted(found, key=lambda a: a.ts_ns)

    def _four_open(self, levels: pl.DataFrame, seconds: int) -> list[Alert]:
        """Of the windows of the last `seconds`, which need what came before them, too."""
        tail = self.session.day.ladder.tail(seconds + TAIL_S)
        near = levels.filter(pl.col("end_ts_ns") > tail.start_ns).with_columns(pl.col("start_ts_ns").clip(tail.start_ns))
        if not near.height:
            return []
        now = self.session.day.now_ns
        since = now - now % (SETUP_WINDOW_S * NS) - seconds * NS
        ends = pl.col("window_end_ts_ns")
        return self._four.take(level_windows(tail, near).filter((ends > since) & (ends <= now)))
