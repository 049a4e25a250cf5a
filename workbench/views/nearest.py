"""The nearest six setups under the Level view's heatmap: how price came to each one's level, up to its touch, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import param
from panel.custom import JSComponent

from engine.errors import EngineError
from engine.session import level_title
from engine.vocab import NS
from workbench import session_cache
from workbench.assets import script, style
from workbench.plots import axes, outcomes
from workbench.similar import Similar
from workbench.theme import Theme
from workbench.views.background import BackgroundTask, Progress
from workbench.views.components import FILL
from workbench.views.outcomes import CLASS_OF

SHOWN = 6

BEFORE_S, EVERY_S = 120, 2
"""Seconds before the touch that are drawn, and how far two points are apart."""

LEAST_REACH, MOST_REACH = 6, 40
"""Ticks on both sides of the level that all six pictures show: as many as the widest needs, within these."""

# ----------------------------------------------------------------------------
# A setup in words, on the wall of the Neighbours view too


def zero_of(row: dict[str, Any]) -> int:
    """The instant that setups are aligned at: the touch, or the trigger's end where there was none."""
    return int(row["touch_ts_ns"] if row["touch_ts_ns"] is not None else row["window_end_ts_ns"])


def symbol_of(row: dict[str, Any]) -> str:
    """Contract of a trigger."""
    return str(row["trigger_id"]).split("/")[1]


def side_of(approach: str) -> str:
    """Side from which price comes."""
    return "below" if approach == "approach_up" else "above"


def ending(row: dict[str, Any], horizon: str) -> str:
    """How a setup ended at `horizon`: a class, or why there is none."""
    return "no touch" if row["touch_ts_ns"] is None else CLASS_OF.get(row[f"outcome_{horizon}"], "data ended")


def setup_words(i: int, row: dict[str, Any], found: Similar, theme: Theme) -> dict[str, Any]:
    """The `i`-th of the setups found: ``id, what, when, like, end``, and ``tip``; ``ink`` names the colour of `end` in the theme.

    Where price came from the other side it is shown upside down (``up`` is -1), so that all travel as the query does.
    """
    approach, symbol, zero = str(found.trigger["approach"]), symbol_of(row), zero_of(row)
    mirror, end = row["approach"] != approach, ending(row, found.question.horizon)
    # By name, since the cards stay when the theme changes.
    roles = {getattr(theme, k): k for k in ("long", "short", "muted")}
    title, word, like = level_title(row["level_id"]), outcomes.class_words(approach).get(end, end), f"{row['similarity']:.3f}"
    # The contract where it is another one than the query's: a narrow card has no room for what all of them share.
    when = f"{'⇅ ' if mirror else ''}{row['session_date']:%m-%d} {axes.clock(zero, seconds=False)}"
    when += f" {symbol}" if symbol != found.question.symbol else ""
    side = f"{side_of(row['approach'])}{', turned upside down' if mirror else ''}"
    return {
        "id": str(i), "what": title, "when": when, "like": like, "end": word, "up": -1 if mirror else 1,
        "ink": roles[outcomes.class_colours(theme, approach).get(end, theme.muted)],
        "tip": f"{row['session_date']} {axes.clock(zero)} {symbol} {title} from {side}, similarity {like}: {word}",
    }  # fmt: skip


# ----------------------------------------------------------------------------
# The pictures


class Thumbnails(JSComponent):
    """Small pictures of setups, each a button.

    A card has ``id, end, ink, tip`` (`setup_words`); ``when`` in two parts, of which a narrow picture shows the first; and ``path``: ticks
    from the level, upside down where it is turned, one number each `EVERY_S` seconds up to the touch at the right edge, None before the
    first trade; or ``said`` in its place.
    """

    cards = param.List(default=[], doc="The setups, the most similar first")
    head = param.String(default="", doc="What they are")
    reach = param.Integer(default=LEAST_REACH, doc="Ticks that a picture shows above and below the level")
    dim = param.Boolean(default=False, doc="Whether they are of an earlier moment, and others are on their way")
    opened = param.Integer(default=0, doc="How often one was chosen")

    _stylesheets: ClassVar[list[str]] = [style("nearest")]
    _esm = script("make", "nearest")


def way_to(root: str, row: dict[str, Any]) -> np.ndarray:
    """How price came to a setup's level: ticks from it at the end of each of the `BEFORE_S` seconds before its zero, NaN before a trade.

    Nothing of it is later than the touch.
    """
    zero = zero_of(row)
    last = session_cache.last_ticks(root, symbol_of(row), row["session_date"], zero - BEFORE_S * NS, zero)
    return last - int(row["level_tick"])


def card_path(way: np.ndarray, up: int) -> list[int | None]:
    """Points `EVERY_S` seconds apart, the last at the touch.

    Examples
    --------
    >>> card_path(np.array([np.nan, 3.0, 2.0, 1.0]), -1)
    [-3, -1]
    """
    return [None if np.isnan(v) else int(v) * up for v in way[::-1][::EVERY_S][::-1]]


def in_two(when: str) -> list[str]:
    """Day, and time with what follows it.

    Examples
    --------
    >>> in_two("⇅ 10-31 11:45 ESH6")
    ['⇅ 10-31', '11:45 ESH6']
    """
    time = when.index(":") - 2
    return [when[:time].rstrip(), when[time:]]


@dataclass(frozen=True, eq=False)
class Ways:
    """The nearest setups of an answer, and how price came to each; a sentence instead of one that cannot be read."""

    rows: list[dict[str, Any]]
    paths: list[np.ndarray | str]


def read_ways(found: Similar, go_on: Progress) -> Ways:
    """Read them, session by session."""
    rows = found.answer.found.head(SHOWN).to_dicts()
    paths: list[np.ndarray | str] = []
    for done, row in enumerate(rows):
        go_on(done, len(rows), "")
        try:
            paths.append(way_to(found.question.root, row))
        except EngineError as e:
            paths.append(str(e))
    return Ways(rows, paths)


class Nearest:
    """The pane, which shows the setups of the answer that the decision bar shows."""

    def __init__(self) -> None:
        self.pane = Thumbnails(**FILL)
        self.later = BackgroundTask(lambda *_: None)
        self._found: Similar | None = None

    def show(self, found: Similar | None, theme: Theme, *, waiting: bool) -> None:
        """Show the setups of `found`, dimmed where another answer is on its way; none where there is none."""
        if found is not self._found:
            self._found = found
            if found is None:
                self.later.stop()
                self.pane.param.update(cards=[], head="")
            else:
                self.later.start(lambda go_on: read_ways(found, go_on), lambda ways: self._paint(found, ways, theme), self._failed)
        if self.pane.dim != waiting:
            self.pane.dim = waiting

    def _failed(self, error: EngineError) -> None:
        self.pane.param.update(cards=[], head=str(error))

    def _paint(self, found: Similar, ways: Ways, theme: Theme) -> None:
        paths = [p for p in ways.paths if not isinstance(p, str)]
        widest = max((float(np.nanmax(np.abs(p))) for p in paths if np.isfinite(p).any()), default=0.0)
        cards = []
        for i, (row, way) in enumerate(zip(ways.rows, ways.paths)):
            words = setup_words(i, row, found, theme)
            drawn = {"said": way} if isinstance(way, str) else {"path": card_path(way, words["up"])}
            cards.append({k: words[k] for k in ("id", "end", "ink", "tip")} | {"when": in_two(words["when"])} | drawn)
        of = int(found.forecast["neighbours"])
        self.pane.param.update(
            cards=cards, reach=int(min(max(widest, LEAST_REACH), MOST_REACH)),
            head=f"Nearest {len(cards)} of {max(of, len(cards))}: {BEFORE_S // 60} min up to their touch, and how they ended",
        )  # fmt: skip
