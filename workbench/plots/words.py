"""A level's state and Research's findings in words, made from the numbers on the screen."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import polars as pl

from workbench.plots.outcomes import FAMILIES, FEW
from workbench.plots.tables import Column, Row, count_of, number, share

FROM = {"approach_up": "approach from below", "approach_down": "approach from above", "approach_none": "no approach"}


def tests_text(before: int, *, coming: bool) -> str:
    """Which test of the level this is: ``3rd test`` while price comes to it, else ``tested twice``, ``not tested yet``."""
    if coming:
        n = before + 1
        end = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
        return f"{n}{end} test"
    return {0: "not tested yet", 1: "tested once", 2: "tested twice"}.get(before, f"tested {before} times")


# ----------------------------------------------------------------------------
# What the Research view says in words, made only from the numbers it shows

STRATA = {"all": "all", "against": "against the travel", "still": "still", "with": "with the travel"}
"""Price's own move in the window, key -> words."""

SHOWN = ("break", "reject", "chop")
"""Order of the classes in panels and tables: the two that price chooses between, then neither."""

WAY = {"up": "from below ▲", "down": "from above ▼", "both": "both"}

SIDE = {"approach_up": "from below ▲", "approach_down": "from above ▼"}


DAYS = Column("days", number("sessions"))


PLACEBO_SHARE = 0.05
"""A trend is none where more of the deals of days to other days come as far from zero."""


def trend_sentence(trend: pl.DataFrame) -> str:
    """What each further open condition does to the odds of a break, in each direction, and what these data could show.

    Examples
    --------
    >>> row = {"direction": "up", "slope": 0.0953, "low": -0.105, "high": 0.29, "smallest": 0.28}
    >>> said = trend_sentence(pl.DataFrame([row | {"placebo_low": -0.1, "placebo_high": 0.1, "placebo_share": 0.3, "events": 90}]))
    >>> said.partition(": ")[2]
    'odds of a break +10% [−10% to +34%], no trend; +32% would be seen, shuffled days give −10% to +11%.'
    """
    parts = []
    for r in trend.to_dicts():
        if r["slope"] is None:
            parts.append(f"{WAY[r['direction']]}: too few to tell")
            continue
        # The interval asks whether the slope is nothing, the deals whether days alone would do it.
        seen = (r["low"] > 0 or r["high"] < 0) and (r["placebo_share"] or 0.0) <= PLACEBO_SHARE
        text = f"{WAY[r['direction']]}: odds of a break {_odds(r['slope'])} [{_odds(r['low'])} to {_odds(r['high'])}]"
        text += f", {'a trend' if seen else 'no trend'}; {_odds(r['smallest'])} would be seen"
        if r["placebo_low"] is not None:
            text += f", shuffled days give {_odds(r['placebo_low'])} to {_odds(r['placebo_high'])}"
        parts.append(text)
    return f"Each further open condition, {'. '.join(parts)}."


def _odds(slope: float) -> str:
    return "over tenfold" if slope > math.log(10) else f"{math.expm1(slope):+.0%}".replace("-", "−")


def hypothesis_sentence(table: pl.DataFrame, stratum: str) -> str:
    """The two claims of the four conditions, against what is usual.

    Examples
    --------
    >>> hypothesis_sentence(pl.DataFrame(schema={"stratum": pl.String, "open": pl.Int64, "direction": pl.String}), "all")
    'All four open: no armed approach yet.'
    """
    parts = []
    rows = table.filter((pl.col("stratum") == stratum) & (pl.col("open") == 4)).to_dicts()
    for way in ("up", "down"):
        r = next((r for r in rows if r["direction"] == way), None)
        if r is not None and r["events"]:
            text = f"{WAY[way]} {r['n_break']} of {r['events']} broke"
            if r["low_break"] is not None:
                text += f" [{r['low_break']:.0%}–{r['high_break']:.0%}]"
            if r["pi_break"] is not None:
                text += f", usually {r['pi_break']:.0%}: {verdict(r['low_break'], r['high_break'], r['pi_break'], r['events'])}"
            parts.append(text)
    return f"All four open: {'; '.join(parts) or 'no armed approach yet'}."


def verdict(low: float | None, high: float | None, usual: float, n: int) -> str:
    """Whether an interval leaves what is usual.

    Examples
    --------
    >>> verdict(0.2, 0.5, 0.4, 75), verdict(0.45, 0.6, 0.4, 75), verdict(0.1, 0.9, 0.4, 12)
    ('no different', 'more often', 'too few to tell')
    """
    if low is None or high is None or n < FEW:
        return "too few to tell"
    return "more often" if low > usual else "less often" if high < usual else "no different"


def hypothesis_columns() -> list[Column]:
    """Columns of the conditions' table."""
    classes = [
        c
        for name in SHOWN
        for c in (
            Column(name, count_of(f"n_{name}", "events", f"low_{name}", f"high_{name}"), "95% interval, whole sessions resampled"),
            Column("usual", number(f"pi_{name}", ".0%"), f"mean forecast of the reference for {name}, of those events that have one"),
        )
    ]
    return [
        Column("approach", lambda r: WAY[r["direction"]], text=True),
        Column("price itself", lambda r: STRATA[r["stratum"]], "price's own move in the condition's window", text=True),
        Column("open", number("open"), "conditions open in the direction of travel"),
        Column("events", number("events"), "armed episodes with an outcome"),
        DAYS,
        *classes,
        Column("t10", number("t10", "+.3f"), "mean retreat of the asks in the book's own frame, free of price's motion"),
        Column("t11", number("t11", "+.3f"), "mean retreat of the bids in the book's own frame, free of price's motion"),
    ]


def _level_columns(titles: dict[str, str]) -> list[Column]:
    return [
        Column("level", lambda r: titles[r["level_id"]], text=True),
        Column("approach", lambda r: SIDE[r["approach"]], text=True),
    ]


def hit_columns(titles: dict[str, str]) -> list[Column]:
    """Columns of the hit rates' table; `titles` are the levels in words."""
    touched = "of the touched ones whose horizon lies in the data"
    return [
        *_level_columns(titles),
        DAYS,
        Column("approaches", number("approaches"), "runs of windows in which price came toward the level within reach"),
        Column("armed", number("armed"), "of those, the ones that came close enough to be armed"),
        Column("touched", count_of("touched", "decided", "low_touched", "high_touched"), "of the armed ones, where the data tell"),
        *(Column(c, count_of(f"n_{c}", "outcomes", f"low_{c}", f"high_{c}"), touched) for c in SHOWN),
    ]


def wall_columns() -> list[Column]:
    """Columns of the walls' table."""
    return [
        Column("walls", lambda r: r["kind"], text=True),
        Column("side", lambda r: {"ask": "asks ▲", "bid": "bids ▼"}[r["side"]], text=True),
        DAYS,
        Column("all", number("walls")),
        Column("held", count_of("n_held", "reached", "low_held", "high_held"), "of those that trading came to"),
        *(Column(x, count_of(f"n_{x}", "ended", f"low_{x}", f"high_{x}"), "of those that ended") for x in ("eaten", "pulled", "moved")),
    ]


def wall_sentence(table: pl.DataFrame) -> str:
    """How many walls held, by side.

    Examples
    --------
    >>> wall_sentence(pl.DataFrame(schema={"kind": pl.String, "side": pl.String, "reached": pl.Int64}))
    'Walls: trading came to none yet.'
    """
    parts = []
    for r in table.filter((pl.col("kind") == "all") & (pl.col("reached") > 0)).iter_rows(named=True):
        between = "" if r["low_held"] is None else f" [{100 * r['low_held']:.0f}–{r['high_held']:.0%}]"
        parts.append(f"{r['n_held']:,} of {r['reached']:,} {r['side']}s held{between}")
    return f"Walls that trading came to: {'; '.join(parts)}." if parts else "Walls: trading came to none yet."


def audit_columns(attainable: bool) -> list[Column]:
    """Columns of the audit's table, with the attainable share where the data's law is known."""
    extra = [Column("of attainable", number("share_of_attainable", ".2f"), "skill over that of the exact law")] if attainable else []
    return [
        Column("forecast", lambda r: r["representation"], text=True),
        Column("log loss", number("log_loss", ".4f"), "nats, of the events it answered"),
        Column("skill", skill("skill"), "1 − log loss / log loss of pi on the same events, 95% interval"),
        *extra,
        BRIER,
        Column("RPS skill", skill("rps_skill"), "as skill, reject < chop < break"),
        Column("ECE", number("ece", ".3f"), "expected calibration error, 10 bins of equal count"),
        Column("a perfect one's", number("ece_perfect_95", ".3f"), "95% point of the ECE of these forecasts were they perfect"),
        Column("events", number("events")),
        Column("abstained", number("abstained"), "said that nothing is comparable"),
        Column("edge", lambda r: "yes" if r["edge"] else "no" if r["representation"] != "pi" else "–", "lower end of skill above 0"),
        Column(
            "needed",
            number("events_needed"),
            "episodes at which an edge as large as the interval's upper end would be seen four times in five; a smaller one takes more",
        ),
    ]


def skill(key: str) -> Callable[[Row], str]:
    """A skill with its interval; the reference has none against itself.

    Examples
    --------
    >>> found = {"s": -0.001, "s_low": -0.01, "s_high": 0.004}
    >>> skill("s")(found), skill("s")({**found, "representation": "pi"})
    ('−0.1% [−1.0 to +0.4]', '–')
    """
    show = share(key, f"{key}_low", f"{key}_high", "+.1%", between=" to ")
    return lambda r: "–" if r.get("representation") == "pi" else show(r).replace("-", "−")


BRIER = Column("Brier skill", skill("brier_skill"), "as skill, of the Brier score")


def level_score_columns(titles: dict[str, str]) -> list[Column]:
    """Columns of `engine.retrieval.statistics.scores_by_level`; `titles` are the levels in words."""
    return [
        *_level_columns(titles),
        Column("events", number("events"), "armed, touched, forecast"),
        DAYS,
        Column("abstained", number("abstained"), "nothing comparable"),
        Column("log loss", number("log_loss", ".3f"), "nats"),
        Column("reference", number("reference_log_loss", ".3f"), "log loss of what is usual, on the same events"),
        Column("skill", skill("skill"), "1 − log loss / log loss of the reference, 95% interval"),
        BRIER,
    ]


def quality_columns(why: dict[tuple[str, dt.date], str], stale: dict[tuple[str, dt.date], int]) -> list[Column]:
    """Columns of the sessions' table, with what the selection map says and how many partitions are stale."""

    def of_session(table: dict[tuple[str, dt.date], Any], missing: str) -> Callable[[Row], str]:
        return lambda r: str(table.get((r["symbol"], r["session_date"]), missing))

    return [
        Column("session", lambda r: str(r["session_date"]), text=True),
        Column("contract", lambda r: r["symbol"] + (" (simulated)" if r["simulated"] else ""), text=True),
        Column("seconds", number("seconds")),
        Column("valid", number("valid_share", ".2%"), "seconds with a valid book"),
        Column("near", number("near_share", ".2%"), "seconds with a book that is known near the touch alone"),
        Column("longest gap", lambda r: "–" if r["longest_gap_s"] is None else f"{r['longest_gap_s']:,} s"),
        Column("messages", number("messages")),
        Column("trades", number("trades")),
        Column("contracts", number("volume_qty"), "volume of the session"),
        Column("levels", number("levels")),
        Column("triggers", number("triggers"), "rows of gold"),
        Column("stale", of_session(stale, "–"), "partitions that the next run would make again"),
        Column("selection map", of_session(why, "not in it"), text=True),
        Column(
            "trust",
            lambda r: r["trouble"] or r["trust"] or "–",
            "why seconds have no valid book, and what else was found",
            text=True,
            wide=True,
        ),
        Column("absent levels", lambda r: r["absent_why"] or "–", text=True, wide=True),
    ]


def selection_words(selection: pl.DataFrame) -> dict[tuple[str, dt.date], str]:
    """What the selection map says of each session it names."""
    out = {}
    for r in selection.iter_rows(named=True):
        text = f"{r['dominance_ratio']:.0%} of the trades"
        out[r["dominant_symbol"], r["session_date"]] = text if r["include_flag"] else f"left out, {text}"
    return out


def feature_words(name: str, feature: str, family: str) -> str:
    """A dimension in words: ``asks ... pull add log, newest eighth``.

    Examples
    --------
    >>> feature_words("b7_ahead_pull_add_log", "ahead_pull_add_log", "ahead")
    'book ahead: pull add log, eighth 8 of 8 (newest)'
    """
    bare = feature.removeprefix(f"{family}_")
    when = block_words(name.removesuffix(feature).rstrip("_"))
    return f"{FAMILIES.get(family, family)}: {bare.replace('_', ' ')}" + (f", {when}" if when else "")


def block_words(block: str) -> str:
    """A block of the vector in words.

    Examples
    --------
    >>> block_words("b0"), block_words("w0"), block_words("last_d1"), block_words("")
    ('eighth 1 of 8 (oldest)', 'own window', 'last d1', '')
    """
    if block[:1] == "b" and block[1:].isdigit():
        place = {"0": " (oldest)", "7": " (newest)"}.get(block[1:], "")
        return f"eighth {int(block[1:]) + 1} of 8{place}"
    return "own window" if block == "w0" else block.replace("_", " ")


def audit_sentence(report: dict[str, Any]) -> str:
    """The audit's verdict, and over what it was made.

    Examples
    --------
    >>> audit_sentence({"verdict": "no edge found", "scored_sessions": 8, "sessions": 20, "first_scored": "2025-10-16"})
    'Audit: no edge found. 8 of 20 sessions scored, from 2025-10-16 on.'
    """
    return "Audit: {verdict}. {scored_sessions} of {sessions} sessions scored, from {first_scored} on.".format(**report)
