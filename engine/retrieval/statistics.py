"""Statistics over all sessions: hit rates of levels, the four conditions against what followed, scores and features by level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ContractError
from engine.lake.catalog import VACUUM
from engine.params import HORIZONS, AuditParams
from engine.retrieval.dataset import APPROACHES, VECTORS, events_by_group, poolable_sessions, require_one_market_ids
from engine.retrieval.events import CLASSES, DECIDED_UNTIL, NO_TOUCH, OUTCOME_CLASS, Events, Progress, concat_events
from engine.retrieval.scores import EACH, Floats, Labels, few_sessions, finite, mean, session_weights, skill
from engine.retrieval.walk_forward import Mask, schedule, scored_labels, walk_reference
from engine.vocab import NS, Approach

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.store import Lake

# ----------------------------------------------------------------------------
# The four conditions (features.md section 6) against the outcome that followed: counts, intervals, reference


def condition_events(lake: Lake, symbol: str | None, *, progress: Progress | None = None) -> tuple[Events, pl.DataFrame]:
    """The `arm` events of gold, and the four conditions in the window of each (`conditions_of`), row for row.

    Raises `NoData` where the lake has no gold; `SessionError`, `ContractError` where it is of several markets or sets of parameters.
    """
    import polars as pl

    needed = ["window_start_ts_ns", "window_end_ts_ns", "level_id", "distance_ticks", "level_tick", "up_open", "down_open"]
    events, conditions = list[Events](), list[pl.DataFrame]()
    sessions = poolable_sessions(lake, VECTORS, symbol)
    for i, (contract, date) in enumerate(sessions):
        arms = lake.read(VECTORS, contract, date, where=pl.col("kind") == "arm")
        windows = lake.read(VACUUM, contract, date, [*needed, *BOOK])
        for found in events_by_group(arms).values():
            # The two directions of `blocks` have other dimensions; conditions need none of them.
            events.append(Events(found.matrix[:, :0], (), found.representation, found.frame))
            conditions.append(conditions_of(found.frame, windows))
        if progress is not None:
            progress(i + 1, len(sessions), str(date))
    return concat_events(events), pl.concat(conditions)


STRATA = ("against", "still", "with")
"""Strata by the price move in the condition's window, in the direction of travel: conditions 1 and 3 follow it mechanically."""

Z95 = 1.959964

OPEN = 4
"""Number of conditions."""

BOOK = ("t10_ask_com_touch_log", "t11_bid_com_touch_log")
COLUMNS = ("open", "move_ticks", *BOOK)


def conditions_of(triggers: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """The four conditions in each trigger's window, in the direction of travel: `COLUMNS`, a row per trigger in the same order.

    ``open`` (0 to 4) counts those of rising through on an approach from below, of falling through on one from above; ``move_ticks`` is the
    last trade's move over the window, with the travel positive; null where not known. Of one session: `triggers` have
    ``window_end_ts_ns, level_id, approach``; `windows` (``mbo_level_vacuum_5s``) have ``window_end_ts_ns, level_id, distance_ticks,
    level_tick, up_open, down_open`` and the two book-framed features.
    """
    import polars as pl

    c = pl.col
    price = c("distance_ticks") + c("level_tick")
    known = windows.sort("level_id", "window_end_ts_ns").with_columns(
        # Across a gap in the level's rows there is no previous window to take the move from.
        pl.when(c("window_end_ts_ns").shift().over("level_id") == c("window_start_ts_ns"))
        .then(price - price.shift().over("level_id"))
        .alias("move")
    )
    joined = triggers.select("window_end_ts_ns", "level_id", "approach").join(
        known, on=["window_end_ts_ns", "level_id"], how="left", maintain_order="left", suffix="_window"
    )
    up = c("approach") == Approach.UP.value
    return joined.select(
        pl.when(up).then(c("up_open")).otherwise(c("down_open")).cast(pl.Int64).alias("open"),
        pl.when(up).then(c("move")).otherwise(-c("move")).cast(pl.Int64).alias("move_ticks"),
        *BOOK,
    )


def condition_table(events: Events, conditions: pl.DataFrame, params: AuditParams | None = None) -> pl.DataFrame:
    """Outcomes by number of open conditions, direction and stratum of price's own move.

    Only `arm` events with an outcome count, one per episode; `conditions` are `COLUMNS`, row for row as `events`. The reference is
    walk-forward; its means are over the events that have one. Raises `ContractError` where the two differ in length, or the events are of
    several markets.

    Returns a row per ``direction`` (up, down, both), ``stratum`` (`STRATA`, all) and ``open`` (0 to 4): ``events, sessions``; for
    each class ``n_*``, ``share_*`` with its 95% interval ``low_*, high_*`` (whole sessions resampled; null below two),
    and ``pi_*``, the mean reference of the ``reference_events`` among them with ``observed_*`` of the same; mean ``t10, t11``;
    and ``comparisons``, the number of rows with events.
    """
    import polars as pl

    if conditions.height != len(events) or any(c not in conditions.columns for c in COLUMNS):
        raise ContractError(f"conditions: expected {', '.join(COLUMNS)} in {len(events)} rows, found {conditions.height} rows")
    require_one_market_ids(events.frame["trigger_id"], "conditions")
    p = params or AuditParams()
    labels = scored_labels(events, "class", p)
    pi = walk_reference(events, schedule(events.sessions, labels, p), p, "class").probability
    n_open, move = (conditions[c].cast(float).to_numpy() for c in ("open", "move_ticks"))
    book = conditions.select(BOOK).cast(pl.Float64).to_numpy()
    rising, anything = (events.frame["approach"] == Approach.UP.value).to_numpy(), np.ones(len(events), bool)
    use = (labels >= 0) & np.isfinite(n_open) & np.isfinite(move)
    rng = np.random.default_rng(p.seed)
    directions = {"up": rising, "down": ~rising, "both": anything}
    strata = {**dict(zip(STRATA, (move < 0, move == 0, move > 0))), "all": anything}
    rows: list[dict[str, object]] = []
    for direction, of_direction in directions.items():
        for stratum, of_stratum in strata.items():
            for k in range(OPEN + 1):
                mine = use & of_direction & of_stratum & (n_open == k)
                found = _row(mine, labels, events.session_codes, pi, book, p.draws, rng)
                rows.append({"direction": direction, "stratum": stratum, "open": k, **found})
    table = pl.DataFrame(rows, infer_schema_length=None)
    return table.with_columns((pl.col("events") > 0).sum().alias("comparisons"), pl.col(pl.Float64).fill_nan(None))


def open_counts(events: Events, conditions: pl.DataFrame, horizon: str, before: np.datetime64) -> pl.DataFrame:
    """What followed as many open conditions in the sessions before the date `before`: counts alone, for a moment of that date.

    `events` and `conditions` are those of `condition_events`. Returns a row per ``direction`` (up, down) and ``open`` (0 to 4): ``events``
    with an outcome at `horizon`, ``n_break`` of them, and ``usual``, the share of breaks in that direction whatever was open (null
    without an event).
    """
    import polars as pl

    labels = events.labels(horizon)
    n_open = conditions["open"].cast(float).to_numpy()
    rising = (events.frame["approach"] == Approach.UP.value).to_numpy()
    use = (labels >= 0) & np.isfinite(n_open) & (events.sessions < before)
    broke = labels == CLASSES.index("break")
    rows = []
    for direction, mine in (("up", use & rising), ("down", use & ~rising)):
        usual = float(broke[mine].mean()) if mine.any() else None
        for k in range(OPEN + 1):
            some = mine & (n_open == k)
            rows.append((direction, k, int(some.sum()), int((some & broke).sum()), usual))
    schema = {"direction": pl.String, "open": pl.Int64, "events": pl.Int64, "n_break": pl.Int64, "usual": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _row(
    rows: Mask, labels: Labels, sessions: Labels, pi: Floats, book: Floats, draws: int, rng: np.random.Generator
) -> dict[str, float | int]:
    y = labels[rows]
    hit = (y[:, None] == np.arange(len(CLASSES))).astype(float)
    low, high = share_interval(hit, sessions[rows], draws, rng)
    known = np.isfinite(pi[rows]).all(axis=1)
    out: dict[str, float | int] = {"events": len(y), "sessions": len(np.unique(sessions[rows])), "reference_events": int(known.sum())}
    for i, c in enumerate(CLASSES):
        out |= {f"n_{c}": int(hit[:, i].sum()), f"share_{c}": mean(hit[:, i]), f"low_{c}": low[i], f"high_{c}": high[i]}
        out |= {f"pi_{c}": mean(pi[rows][known, i]), f"observed_{c}": mean(hit[known, i])}
    return out | {name: mean(x[np.isfinite(x)]) for name, x in zip(("t10", "t11"), book[rows].T)}


def share_interval(hit: Floats, sessions: Labels, draws: int, rng: np.random.Generator, mass: float = 0.95) -> tuple[Floats, Floats]:
    """(low, high) of the interval of each class's share: session bootstrap, widened by `few_sessions`; NaN below two sessions.

    It is never narrower than Wilson's (1927): a class that is absent has a share of 0 in every resample.
    """
    from scipy.stats import norm

    days, at = np.unique(sessions, return_inverse=True)
    m = len(days)
    if m < 2:
        return np.full(hit.shape[1], np.nan), np.full(hit.shape[1], np.nan)
    counts = rng.multinomial(m, np.full(m, 1 / m), size=draws)
    sums = np.zeros((m, hit.shape[1]))
    np.add.at(sums, at, hit)
    shares = (counts @ sums) / (counts @ np.bincount(at, minlength=m))[:, None]
    n, p = len(hit), hit.mean(axis=0)
    wide, z = few_sessions(m, mass), float(norm.ppf((1 + mass) / 2))
    low, high = (np.clip(p + wide * (q - p), 0, 1) for q in np.quantile(shares, [(1 - mass) / 2, (1 + mass) / 2], axis=0))
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n * n)) / (1 + z**2 / n)
    return np.minimum(low, np.maximum(centre - half, 0)), np.maximum(high, np.minimum(centre + half, 1))


# ----------------------------------------------------------------------------
# Hit rates: how often each level is approached and touched, and the outcomes of touches, by level and direction

DRAWS = 2000
NEEDED = ("episode_id", "session_date", "level_id", "approach", "kind", "armed", "touched", "outcome_h0")


def hit_rates(triggers: pl.DataFrame, horizon: str = "h1", *, draws: int = DRAWS, seed: int = 0) -> pl.DataFrame:
    """Counts and shares of approaches, touches and outcomes of each level, from each side; all counts are of episodes.

    `triggers` are rows of ``mbo_trigger_vectors``, of any kinds and sessions; kind ``candle`` is ignored. Arms after `DECIDED_UNTIL`
    (`engine.retrieval.dataset.with_decided_until`), where there is that column, do not count as decided. Raises `ContractError` on a
    missing column, an unknown horizon, or rows of several markets.

    Returns a row per ``level_id`` (``all`` for all together) and ``approach``: ``sessions``; ``approaches``; ``armed``, approaches that
    came close enough to be armed; ``decided``, armed ones known to have touched or not; ``touched``, with ``share_touched, low_touched,
    high_touched``; ``outcomes``, touched ones whose horizon lies within the data, and for each class ``n_*, share_*, low_*, high_*`` of
    those. Intervals as `share_interval`; null below two sessions.
    """
    import polars as pl

    lacking = [c for c in NEEDED if c not in triggers.columns]
    if lacking or horizon not in HORIZONS:
        raise ContractError(
            f"hit rates: expected {', '.join(NEEDED)} and a horizon of {', '.join(HORIZONS)}; missing {lacking}, {horizon!r}"
        )
    require_one_market_ids(triggers["episode_id"], "hit rates")
    c = pl.col
    decided = c("touched") | pl.any_horizontal(c(f"outcome_{h}") == NO_TOUCH for h in HORIZONS if f"outcome_{h}" in triggers.columns)
    if DECIDED_UNTIL in triggers.columns:
        # Near the end of the data only touches can be decided, which would bias the share upward.
        decided = decided & (c("window_end_ts_ns") <= c(DECIDED_UNTIL))
    rows = triggers.filter(c("kind") != "candle")
    seen = rows.group_by("level_id", "approach").agg(
        c("episode_id").n_unique().alias("approaches"), c("session_date").n_unique().alias("sessions")
    )
    arms = rows.filter(c("kind") == "arm").unique("episode_id", keep="first", maintain_order=True)
    arms = arms.select(
        "level_id", "approach", "session_date", "touched", decided.fill_null(False).alias("decided"),
        c(f"outcome_{horizon}").replace_strict(OUTCOME_CLASS, default=None, return_dtype=pl.Int64).alias("class"),
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    out: list[dict[str, object]] = []
    for approach in APPROACHES:
        levels = seen.filter(c("approach") == approach)["level_id"].sort().to_list()
        for level in [*levels, "all"] if levels else []:
            mine = (c("approach") == approach) & (pl.lit(True) if level == "all" else c("level_id") == level)
            sessions, approaches = rows.filter(mine)["session_date"].n_unique(), int(seen.filter(mine)["approaches"].sum())
            head = {"level_id": level, "approach": approach, "sessions": sessions, "approaches": approaches}
            out.append(head | _rates(arms.filter(mine), draws, rng))
    return pl.DataFrame(out, schema=_schema())


def _rates(arms: pl.DataFrame, draws: int, rng: np.random.Generator) -> dict[str, object]:
    import polars as pl

    known = arms.filter("decided")
    hit = known["touched"].cast(pl.Float64).to_numpy()[:, None]
    done = known.filter(pl.col("touched") & pl.col("class").is_not_null())
    of_class = (done["class"].to_numpy()[:, None] == np.arange(len(CLASSES))).astype(float)
    out: dict[str, object] = {"armed": arms.height, "decided": known.height, "touched": int(hit.sum()), "outcomes": done.height}
    for names, values, frame in ((("touched",), hit, known), (CLASSES, of_class, done)):
        low, high = share_interval(values, frame["session_date"].to_numpy(), draws, rng)
        for i, name in enumerate(names):
            n = int(values[:, i].sum())
            out |= {f"n_{name}": n, f"share_{name}": n / len(values) if len(values) else None}
            out |= {f"low_{name}": finite(low[i]), f"high_{name}": finite(high[i])}
    out.pop("n_touched")
    return out


def _schema() -> dict[str, pl.DataType]:
    import polars as pl

    whole, share = pl.Int64(), pl.Float64()
    counts = dict.fromkeys(("sessions", "approaches", "armed", "decided", "touched"), whole)
    of_class = {f"{k}_{name}": whole if k == "n" else share for name in CLASSES for k in ("n", "share", "low", "high")}
    touched = dict.fromkeys(("share_touched", "low_touched", "high_touched"), share)
    return {"level_id": pl.String(), "approach": pl.String(), **counts, **touched, "outcomes": whole, **of_class}


# ----------------------------------------------------------------------------
# Walls: how often those of each kind held once trading came to them, and how they ended

WALL_KINDS = (
    "all", "under 5 times the median", "5 times and more", "under a minute old", "1 to 5 minutes old", "older", "half of it one order",
    "no order is half of it", "with icebergs",
)  # fmt: skip
"""Kinds of walls, some of which are part of others; those that are told by their orders count only where there are order events."""


def wall_rates(walls: pl.DataFrame, *, draws: int = DRAWS, seed: int = 0) -> pl.DataFrame:
    """How often walls of each kind held, and how they ended, by kind (`WALL_KINDS`) and side.

    `walls` are rows of `engine.features.wall_orders.session_walls` with the ``session_date`` of each. A wall's age is that when trading
    came to it, of others that when it ended. Returns ``kind, side, sessions, walls``; ``reached``, the walls of which it is known whether
    they held, with ``n_held, share_held, low_held, high_held``; ``ended``, those that ended within the session, with ``n_, share_, low_,
    high_`` of ``eaten``, ``pulled`` and ``moved``. Intervals as `share_interval`, over whole sessions; null below two.
    """
    import polars as pl

    c = pl.col
    age_s = pl.when(c("touched_ns").is_not_null()).then((c("touched_ns") - c("begin_ns")) // NS).otherwise(c("age_s"))
    told, one = c("large_orders").is_not_null(), c("share").fill_null(0.0) >= 0.5
    where = (
        pl.lit(True), c("times") < 5, c("times") >= 5, age_s < 60, age_s.is_between(60, 300, closed="left"), age_s >= 300, told & one,
        told & ~one, told & (c("icebergs") > 0),
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    out: list[dict[str, object]] = []
    for side in ("ask", "bid"):
        for kind, mine in zip(WALL_KINDS, where):
            found = walls.filter((c("side") == side) & mine)
            row: dict[str, object] = {"kind": kind, "side": side, "sessions": found["session_date"].n_unique(), "walls": found.height}
            reached, ended = found.filter(c("held").is_not_null()), found.filter(c("fate") != "standing")
            fates = ended["fate"].cast(pl.String).to_numpy()[:, None] == np.array(FATES, object)
            groups = (("reached", ("held",), reached["held"].to_numpy()[:, None], reached), ("ended", FATES, fates, ended))
            for total, names, values, frame in groups:
                row[total] = n = frame.height
                low, high = share_interval(values.astype(float), frame["session_date"].to_numpy(), draws, rng)
                for i, name in enumerate(names):
                    k = int(values[:, i].sum())
                    row |= {
                        f"n_{name}": k,
                        f"share_{name}": k / n if n else None,
                        f"low_{name}": finite(low[i]),
                        f"high_{name}": finite(high[i]),
                    }
            out.append(row)
    counts = ("sessions", "walls", "reached", "ended", *(f"n_{x}" for x in ("held", *FATES)))
    return pl.DataFrame(out, schema_overrides={**dict.fromkeys(counts, pl.Int64), **dict.fromkeys(_SHARES, pl.Float64)})


FATES = ("eaten", "pulled", "moved")
_SHARES = tuple(f"{k}_{name}" for name in ("held", *FATES) for k in ("share", "low", "high"))


# ----------------------------------------------------------------------------
# Scores of gold's forecasts (signals) against the outcomes, by level and direction

SCORED = ("log_loss", "brier")


def scores_by_level(
    signals: pl.DataFrame, triggers: pl.DataFrame, horizon: str = "h1", *, draws: int = DRAWS, seed: int = 0
) -> pl.DataFrame:
    """Log loss and Brier score of gold's forecasts at their `horizon`, and their skill against the reference, by level and direction.

    The forecasts are walk-forward, each from sessions before its own. Only touched `arm` rows with a forecast count, one per episode,
    without those flagged ``nothing_comparable``. `signals` are rows of ``mbo_trigger_signals``, `triggers` those of
    ``mbo_trigger_vectors`` of the same sessions. Raises `ContractError` where these have no such horizon, or are of several markets.

    Returns a row per ``level_id`` and ``approach``, and ``all`` for every level together: ``events, sessions, abstained``, ``log_loss``,
    ``reference_log_loss``, ``skill, skill_low, skill_high`` and the same of ``brier_skill`` (95%, whole sessions resampled; null
    below two sessions).
    """
    import polars as pl

    c = pl.col
    if f"outcome_{horizon}" not in triggers.columns:
        raise ContractError(f"scores by level: expected outcome_{horizon} among the triggers' columns, found none")
    require_one_market_ids(triggers["trigger_id"], "scores by level")
    label = c(f"outcome_{horizon}").replace_strict(OUTCOME_CLASS, default=None, return_dtype=pl.Int64).alias("class")
    joined = (
        signals.filter(c("kind") == "arm")
        .join(triggers.select("trigger_id", "session_date", label), on="trigger_id", how="inner", maintain_order="left")
        .unique("episode_id", keep="first", maintain_order=True)
        .filter(c("class").is_not_null())
    )
    there = pl.all_horizontal(c(f"{p}_{k}").is_not_null() for p in ("p", "pi") for k in CLASSES)
    rng = np.random.default_rng(seed)
    out: list[dict[str, Any]] = []
    for approach in APPROACHES:
        side = joined.filter(c("approach") == approach)
        levels = side["level_id"].unique().sort().to_list()
        for level in [*levels, "all"] if levels else []:
            mine = side if level == "all" else side.filter(c("level_id") == level)
            answered = mine.filter(there & ~c("nothing_comparable"))
            head = {"level_id": level, "approach": approach, "events": answered.height, "sessions": answered["session_date"].n_unique()}
            out.append(head | {"abstained": mine.filter(c("nothing_comparable")).height} | _scores(answered, draws, rng))
    floats = ("log_loss", "reference_log_loss", *(f"{s}{end}" for s in ("skill", "brier_skill") for end in ("", "_low", "_high")))
    whole = dict.fromkeys(("events", "sessions", "abstained"), pl.Int64)
    schema = {"level_id": pl.String, "approach": pl.String, **whole, **dict.fromkeys(floats, pl.Float64)}
    return pl.DataFrame(out, schema=schema).with_columns(pl.col(pl.Float64).fill_nan(None))


def _scores(rows: pl.DataFrame, draws: int, rng: np.random.Generator) -> dict[str, float]:
    y = rows["class"].to_numpy()
    p, pi = (rows.select(f"{k}_{c}" for c in CLASSES).to_numpy() for k in ("p", "pi"))
    codes, counts = session_weights(rows["session_date"].to_numpy(), draws, rng)
    out: dict[str, float] = {}
    for score in SCORED:
        mine, reference = EACH[score](p, y), EACH[score](pi, y)
        out |= skill(mine, reference, codes, counts).named(score)
        if score == "log_loss":
            out |= {"log_loss": mean(mine), "reference_log_loss": mean(reference)}
    return out


# ----------------------------------------------------------------------------
# Distribution of one feature of the trigger vectors, by outcome and by level

BINS = 24
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)

OUTER = 0.01
"""Share at either end that is counted in the outermost bins, so that an outlier does not stretch all bins."""


@dataclass(frozen=True, eq=False)
class FeatureDistribution:
    """A feature's values among triggers of history.

    Attributes
    ----------
    edges : float64 ``(bins + 1,)``
        Equal bins between the 1% and 99% quantiles; values beyond count in the outermost.
    counts : dict of int64 ``(bins,)``
        By class.
    by_class, by_level : DataFrame
        ``group, n, mean, q10, q25, q50, q75, q90``.
    left_out : int
        Triggers without a vector, or (of the classes) without an outcome.
    """

    name: str
    edges: Floats
    counts: dict[str, Labels]
    by_class: pl.DataFrame
    by_level: pl.DataFrame
    left_out: int


def feature_distribution(events: Events, name: str, horizon: str = "h1", bins: int = BINS) -> FeatureDistribution:
    """Distribution of the dimension `name` over `events`, by outcome class and by level and direction.

    Raises `ContractError` where the vectors have no such dimension, or the events are of several markets.
    """
    require_one_market_ids(events.frame["trigger_id"], f"feature {name}")
    value = feature_values(events, name)
    known = np.isfinite(value)
    label = events.labels(horizon)
    inside = value[known]
    low, high = np.quantile(inside, [OUTER, 1 - OUTER]) if inside.size else (0.0, 1.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    of_class = {c: np.clip(value[known & (label == i)], low, high) for i, c in enumerate(CLASSES)}
    counts = {c: np.histogram(mine, edges)[0].astype(np.int64) for c, mine in of_class.items()}
    text = np.array([CLASSES[i] if i >= 0 else "" for i in label], object)
    direction = events.frame["level_id"] + "/" + events.frame["approach"]
    return FeatureDistribution(
        name,
        edges,
        counts,
        _groups(value, text, [c for c in CLASSES if (text[known] == c).any()]),
        _groups(value, direction.to_numpy().astype(object), sorted(set(direction.filter(known).to_list()))),
        int((~known | (label < 0)).sum()),
    )


def feature_values(events: Events, name: str) -> Floats:
    """Values of one dimension, NaN where a trigger has no vector; raises `ContractError` where there is no such dimension."""
    if name not in events.names:
        raise ContractError(f"feature {name!r}: expected one of the {len(events.names)} dimensions of docs/FEATURES.md")
    return events.matrix[:, events.names.index(name)].astype(np.float64)


def _groups(value: Floats, group: NDArray[np.object_], names: list[str]) -> pl.DataFrame:
    import polars as pl

    rows: list[tuple[object, ...]] = []
    for name in names:
        mine = value[np.isfinite(value) & (group == name)]
        rows.append((name, mine.size, float(mine.mean()), *np.quantile(mine, QUANTILES).tolist()))
    columns = ("mean", *(f"q{round(q * 100)}" for q in QUANTILES))
    return pl.DataFrame(rows, schema={"group": pl.String, "n": pl.Int64, **dict.fromkeys(columns, pl.Float64)}, orient="row")


def share_below(events: Events, name: str, value: float) -> float:
    """Share of triggers with a vector whose dimension `name` is below `value`; NaN without any. Raises as `feature_distribution`."""
    require_one_market_ids(events.frame["trigger_id"], f"feature {name}")
    known = feature_values(events, name)
    return mean(known[np.isfinite(known)] < value)
