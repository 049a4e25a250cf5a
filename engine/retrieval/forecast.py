"""Walk-forward forecasts of triggers as a table (posterior, reference, interval, metrics), and the rule that turns them into signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import NoData
from engine.params import RetrievalParams, SignalRuleParams, Target
from engine.retrieval.events import CLASSES, MIRRORED_REPRESENTATIONS, Events
from engine.retrieval.model import Answer, Model, Recipe, class_count, fit_before, forecast, target_labels
from engine.retrieval.reader import Interval
from engine.retrieval.reference import fit_reference
from engine.retrieval.scores import Floats, Labels
from engine.retrieval.tune import weighted_mean, weighted_quantile
from engine.vocab import NS, Approach

if TYPE_CHECKING:
    import polars as pl

RISK_QUANTILE = 0.80


def before_embargo(sessions: NDArray[np.datetime64], session: np.datetime64, embargo: int) -> np.datetime64:
    """First session excluded from the history of `session`: history is all of `sessions` before this one, `embargo` sessions less."""
    earlier = np.unique(sessions[sessions < session])
    return earlier[max(len(earlier) - embargo, 0)] if embargo and len(earlier) else session


def forecast_frame(
    history: Events,
    queries: Events,
    params: RetrievalParams,
    *,
    recipe: Recipe | None = None,
    days: NDArray[np.datetime64] | None = None,
) -> pl.DataFrame:
    """Walk-forward forecasts, a row per query in the queries' order.

    Columns: ``trigger_id``, probabilities, reference, interval of the top class, ``n_eff, distinct_days``, the trigger metrics,
    ``nothing_comparable`` and its ``reason``. Everything (normalisation, embedding, reference, K, p, alpha) is fitted on the query's pool
    in the sessions of `history` before its own and before the embargo (`engine.retrieval.model.fit_before`); later rows have no effect.
    `recipe` is that of `default_recipe` where None, which decides by the history before each query: an audit's choice would be look-ahead,
    since it is made from later sessions too. `days` are the sessions of history, those without an event among them, by which the embargo
    and what is fitted anew count; those of `history` where None.
    """
    import polars as pl

    past, days = candidates(history, params), np.unique(history.sessions) if days is None else days
    out, at = [], []
    pools = queries.pool_keys(params.pool)
    for session in np.unique(queries.sessions):
        end = before_embargo(days, session, params.embargo_sessions)
        known = past.take(past.sessions < end)
        today = queries.sessions == session
        for key in np.unique(pools[today]):
            mine = np.flatnonzero(today & (pools == key))
            at.append(mine)
            mine_before = known.take(known.pool_keys(params.pool) == key)
            out.append(_forecast_with(mine_before, queries.take(mine), params, recipe, days[days < end]))
    if not out:
        return _empty_forecast(queries, queries, params, "").clear()
    return pl.concat(out)[np.argsort(np.concatenate(at), kind="stable")]


def candidates(history: Events, params: RetrievalParams) -> Events:
    """Events whose kind may be a neighbour (``params.kinds``), sorted by session."""
    kinds = history.frame["kind"].is_in(list(params.kinds)).to_numpy()
    rows = np.flatnonzero(kinds)
    return history.take(rows[np.argsort(history.sessions[rows], kind="stable")])


def default_recipe(representation: str) -> Recipe:
    """``best`` (learned embedding where it has the lower loss on history) for mirrored representations, ``plain`` for `blocks`."""
    return "best" if representation in MIRRORED_REPRESENTATIONS else "plain"


def _forecast_with(
    past: Events, queries: Events, params: RetrievalParams, recipe: Recipe | None, days: NDArray[np.datetime64]
) -> pl.DataFrame:
    try:
        model, touch = fit_before(past, params, recipe or default_recipe(past.representation), days)
    except NoData as e:
        return _empty_forecast(past, queries, params, str(e).partition(";")[0])
    return forecast_table(model, forecast(model, queries), queries, touch)


def forecast_table(
    model: Model, answer: Answer, queries: Events, touch: Model | None = None, touch_answer: Answer | None = None
) -> pl.DataFrame:
    """The frame of `forecast_frame` for an answer."""
    import polars as pl

    p = answer.probability
    top = p.argmax(axis=1)
    ordered = np.sort(p, axis=1)
    nothing = np.full(p.shape, np.nan)
    spans = answer.interval or Interval(nothing, nothing, nothing, nothing)
    columns: dict[str, object] = {"trigger_id": queries.frame["trigger_id"]}
    columns |= {f"p_{c}": p[:, i] for i, c in enumerate(CLASSES)}
    columns |= {
        "p_top1": ordered[:, -1],
        "margin": ordered[:, -1] - ordered[:, -2],
        "c_top1": [CLASSES[c] for c in top],
        "n_eff": answer.n_eff,
        "distinct_days": distinct_sessions(model.history, answer.rows),
        "neighbours": (answer.rows >= 0).sum(axis=1).astype(np.int32),
        "best_similarity": answer.similarity[:, 0],
        "interval_low": spans.low[np.arange(len(p)), top],
        "interval_high": spans.high[np.arange(len(p)), top],
    }
    for i, c in enumerate(CLASSES):
        columns |= {f"low_{c}": spans.low[:, i], f"high_{c}": spans.high[:, i]}
        columns |= {f"edge_low_{c}": spans.edge_low[:, i], f"edge_high_{c}": spans.edge_high[:, i]}
    columns |= {f"pi_{c}": answer.reference[:, i] for i, c in enumerate(CLASSES)}
    if touch is not None:
        touched = touch_answer or forecast(touch, queries)
        columns |= {"p_touch": touched.probability[:, 1], "pi_touch": touched.reference[:, 1]}
    columns |= neighbour_metrics(model.history, model.labels, answer, top)
    columns |= {"nothing_comparable": answer.nothing_comparable, "reason": _reasons(model, answer, queries)}
    return _ordered_columns(pl.DataFrame(columns))


def neighbour_metrics(history: Events, labels: Labels, answer: Answer, top: Labels) -> dict[str, Floats]:
    """Metrics of the neighbours' paths (features.md section 9) by name, each ``(q,)``.

    ``risk_q80_ticks`` is over the neighbours of the top class; ``resolve_rate`` is the share resolved by h1 of those whose h1 is known.
    """
    rows, w = np.maximum(answer.rows, 0), answer.weights
    resolved = history.labels("h1").astype(float)
    resolved = np.where(resolved < 0, np.nan, (resolved != CLASSES.index("chop")).astype(float))
    ahead, behind = travel_excursions(history)
    in_top = w * (labels[rows] == top[:, None])
    return {
        "risk_q80_ticks": weighted_quantile(history.number("adverse_before_hit_ticks")[rows], in_top, RISK_QUANTILE),
        "resolve_rate": weighted_mean(resolved[rows], w),
        "whipsaw_rate": weighted_mean(history.number("whipsaw_flag")[rows], w),
        "excursion_ahead_q50_ticks": weighted_quantile(ahead[rows], w, 0.5),
        "excursion_behind_q50_ticks": weighted_quantile(behind[rows], w, 0.5),
    }


def travel_excursions(events: Events) -> tuple[Floats, Floats]:
    """Largest excursions after the touch (with, against the travel), ticks, each ``(n,)``; comparable across directions."""
    up, down = events.number("excursion_up_ticks"), events.number("excursion_down_ticks")
    rising = (events.frame["approach"] == Approach.UP.value).to_numpy()
    return np.where(rising, up, down), np.where(rising, down, up)


def distinct_sessions(history: Events, rows: Labels) -> NDArray[np.int32]:
    """Number of distinct sessions among each query's neighbours, ``(q,)``."""
    codes = np.sort(np.where(rows >= 0, history.session_codes[np.maximum(rows, 0)], -1), axis=1)
    first = np.ones(codes.shape, bool)
    first[:, 1:] = codes[:, 1:] != codes[:, :-1]
    return (first & (codes >= 0)).sum(axis=1).astype(np.int32)


def _reasons(model: Model, answer: Answer, queries: Events) -> list[str]:
    reasons = {
        "no vector": ~queries.usable,
        "nothing like it": answer.likeness < model.tuned.abstain_below,
        "too few neighbours": answer.n_eff < model.params.min_n_eff,
    }
    return list(np.select(list(reasons.values()), list(reasons), "").tolist())


FORECAST = ("p_break", "p_reject", "p_chop", "p_top1", "margin")
REFERENCE = ("best_similarity", "interval_low", "interval_high", "p_touch", "pi_touch", "pi_break", "pi_reject", "pi_chop")
INTERVALS = tuple(f"{side}_{c}" for side in ("low", "high", "edge_low", "edge_high") for c in CLASSES)
"""Intervals of each class's probability, and of its difference from the reference's (`engine.retrieval.reader.intervals`)."""

METRICS = ("risk_q80_ticks", "resolve_rate", "whipsaw_rate", "excursion_ahead_q50_ticks", "excursion_behind_q50_ticks")


def _ordered_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the table's columns in order; NaN and missing columns become null."""
    import polars as pl

    def column(name: str, dtype: type[pl.DataType]) -> pl.Expr:
        return (pl.col(name) if name in frame.columns else pl.lit(None, dtype)).cast(dtype).alias(name)

    first, rest = ([column(c, pl.Float64).fill_nan(None) for c in names] for names in (FORECAST, (*REFERENCE, *INTERVALS, *METRICS)))
    counts = (column("n_eff", pl.Float64), column("distinct_days", pl.Int32), column("neighbours", pl.Int32))
    top, reason = (column(c, pl.String) for c in ("c_top1", "reason"))
    return frame.select("trigger_id", *first, top, *counts, *rest, "nothing_comparable", reason)


def _empty_forecast(past: Events, queries: Events, params: RetrievalParams, reason: str) -> pl.DataFrame:
    """The frame of `forecast_frame` with references alone, where `past` is too short for more."""
    import polars as pl

    n = len(queries)
    columns: dict[str, object] = {"trigger_id": queries.frame["trigger_id"], "n_eff": np.zeros(n), "distinct_days": np.zeros(n, np.int32)}
    columns |= {"neighbours": np.zeros(n, np.int32), "nothing_comparable": np.ones(n, bool), "reason": [reason] * n}
    targets: dict[Target, dict[str, int]] = {"class": {f"pi_{c}": i for i, c in enumerate(CLASSES)}, "touch": {"pi_touch": 1}}
    for target, names in targets.items():
        labels = target_labels(past, target, params.horizon)
        if (labels >= 0).any():
            pi = fit_reference(past, labels, class_count(target)).predict(queries)
            columns |= {name: pi[:, i] for name, i in names.items()}
    return _ordered_columns(pl.DataFrame(columns))


# ----------------------------------------------------------------------------
# The verdict in words: which way a forecast leans from the usual, if any

LEANS, LEANS_SHARE = 1.8 / 1.28, 0.93
"""Half widths of an 80% interval by which a difference must exceed 0 to be a lean: those of 93%, since three classes are compared."""

NO_EDGE = "no edge"


@dataclass(frozen=True)
class Lean:
    """How a forecast differs from the usual: the class, the difference and its interval in percentage points, and a sentence.

    `outcome` is empty where there is no edge, or nothing comparable; the figures are NaN then.
    """

    outcome: str
    edge: float
    low: float
    high: float
    text: str


def lean(row: Mapping[str, Any]) -> Lean:
    """The verdict of a forecast, a row of `forecast_frame`: ``leans break +9, interval 3 to 15``, ``no edge``, or ``nothing comparable``.

    Of the classes whose difference from the usual is beyond `LEANS` times its interval's half width, and at least two points, the one with
    the largest difference, more likely ones first.
    """
    nan = float("nan")
    if row["nothing_comparable"] or row["p_break"] is None or row["edge_low_break"] is None:
        return Lean("", nan, nan, nan, "nothing comparable")
    found: list[tuple[bool, float, str, float, float, float]] = []
    for c in CLASSES:
        edge, low, high = row[f"p_{c}"] - row[f"pi_{c}"], row[f"edge_low_{c}"], row[f"edge_high_{c}"]
        beyond = edge - LEANS * (edge - low) > 0 if edge > 0 else edge + LEANS * (high - edge) < 0
        if beyond and abs(edge) >= 0.02:
            found.append((edge > 0, abs(edge), c, 100 * edge, 100 * low, 100 * high))
    if not found:
        return Lean("", nan, nan, nan, NO_EDGE)
    _, _, c, edge, low, high = max(found)
    words = f"leans {c}" if edge > 0 else f"leans against {c}"
    return Lean(c, edge, low, high, f"{words} {edge:+.0f}, interval {low:.0f} to {high:.0f}".replace("-0 ", "0 "))


# ----------------------------------------------------------------------------
# The signal rule (retrieval.md): thresholds, one signal per episode, and a pause after each


def apply_signal_rule(signals: pl.DataFrame, params: SignalRuleParams | None = None, *, window_s: int = 5) -> pl.Series:
    """``fire_flag`` of each row of one session's signals: ``level_id, episode_id, window_end_ts_ns`` and columns of `forecast_frame`.

    A row is *ready* where its top class is break or reject and all thresholds of `params` hold; an unknown metric fails its threshold.
    A ready row fires unless its episode has fired already, its level fired less than ``cool_down_windows`` ago, or it follows less than
    ``gap_windows`` after a suppressed ready row of the same level: only a new run of ready windows fires.
    """
    import polars as pl

    rule = params or SignalRuleParams()
    c = pl.col
    ready = (
        ~c("nothing_comparable")
        & c("c_top1").is_in(["break", "reject"])
        & (c("p_top1") >= rule.min_probability)
        & (c("margin") >= rule.min_margin)
        & (c("p_chop") <= rule.max_chop)
        & (c("risk_q80_ticks") <= rule.max_risk_ticks)
        & (c("resolve_rate") >= rule.min_resolve)
        & (c("whipsaw_rate") <= rule.max_whipsaw)
    )
    ok = signals.select(ready.fill_null(False).alias("ready"))["ready"].to_numpy()
    flags = np.zeros(signals.height, bool)
    times = signals["window_end_ts_ns"].to_numpy()
    levels, episodes = signals["level_id"].to_list(), signals["episode_id"].to_list()
    fired_at, held_at = dict[str, int](), dict[str, int]()
    done: set[str] = set()
    for i in np.lexsort((np.arange(signals.height), times)):
        if not ok[i]:
            continue
        level, now = levels[i], int(times[i])
        cooling = level in fired_at and now - fired_at[level] < rule.cool_down_windows * window_s * NS
        running = level in held_at and now - held_at[level] < rule.gap_windows * window_s * NS
        if cooling or running or episodes[i] in done:
            held_at[level] = now
            continue
        flags[i] = True
        fired_at[level] = now
        done.add(episodes[i])
    return pl.Series("fire_flag", flags)
