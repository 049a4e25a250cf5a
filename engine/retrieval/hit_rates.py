"""How often each level is approached and touched, and what follows a touch: counts with intervals, by level and direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.errors import ContractError
from engine.retrieval.alike import refuse_mixed
from engine.retrieval.events import CLASSES, DECIDED_UNTIL, NO_TOUCH, OUTCOME_CLASS
from engine.retrieval.hypothesis import share_interval
from engine.retrieval.params import HORIZONS
from engine.vocab import Approach

if TYPE_CHECKING:
    import polars as pl

ARM = "arm"
DRAWS = 2000
NEEDED = ("episode_id", "session_date", "level_id", "approach", "kind", "armed", "touched", "outcome_h0")


def hit_rates(triggers: pl.DataFrame, horizon: str = "h1", *, draws: int = DRAWS, seed: int = 0) -> pl.DataFrame:
    """Approaches, touches and outcomes of each level, from each side.

    Every number counts episodes: one run of windows that approach a level is one, however many windows it has.

    Parameters
    ----------
    triggers
        Rows of ``mbo_trigger_vectors``, of any kinds and sessions; candle rows count candles and are left out. Where
        they have `DECIDED_UNTIL` (`engine.retrieval.gold.until_decided`), arms after it are not decided, touched or not.
    horizon
        One of `engine.retrieval.params.HORIZONS`.
    draws, seed
        Of the bootstrap of whole sessions.

    Returns
    -------
    DataFrame
        A row per ``level_id`` and ``approach`` (and, for every level together, ``all``): ``sessions``; ``approaches``, and of those
        that had come close enough to be armed, ``armed``; ``decided``, armed ones of which the data tell whether they touched, and
        ``touched``, with ``share_touched, low_touched, high_touched``; ``outcomes``, touched ones whose horizon lies within the
        data, and for each class ``n_*, share_*, low_*, high_*`` of those. Intervals are at 95%, whole sessions resampled, never
        inside Wilson's; null below two sessions.

    Raises
    ------
    ContractError
        On a missing column, an unknown horizon, or rows of several markets.
    """
    import polars as pl

    lacking = [c for c in NEEDED if c not in triggers.columns]
    if lacking or horizon not in HORIZONS:
        raise ContractError(
            f"hit rates: expected {', '.join(NEEDED)} and a horizon of {', '.join(HORIZONS)}; missing {lacking}, {horizon!r}"
        )
    refuse_mixed(triggers["episode_id"], "hit rates")
    c = pl.col
    decided = c("touched") | pl.any_horizontal(c(f"outcome_{h}") == NO_TOUCH for h in HORIZONS if f"outcome_{h}" in triggers.columns)
    if DECIDED_UNTIL in triggers.columns:
        # Near the end of the data only touches can be told: every arm known there would say yes.
        decided = decided & (c("window_end_ts_ns") <= c(DECIDED_UNTIL))
    rows = triggers.filter(c("kind") != "candle")
    seen = rows.group_by("level_id", "approach").agg(
        c("episode_id").n_unique().alias("approaches"), c("session_date").n_unique().alias("sessions")
    )
    arms = rows.filter(c("kind") == ARM).unique("episode_id", keep="first", maintain_order=True)
    arms = arms.select(
        "level_id", "approach", "session_date", "touched", decided.fill_null(False).alias("decided"),
        c(f"outcome_{horizon}").replace_strict(OUTCOME_CLASS, default=None, return_dtype=pl.Int64).alias("class"),
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    order = {level: i for i, level in enumerate(seen.sort("level_id")["level_id"].unique(maintain_order=True).to_list())}
    out: list[dict[str, object]] = []
    for approach in (Approach.UP.value, Approach.DOWN.value):
        side = seen.filter(c("approach") == approach)
        for level in [*sorted(side["level_id"].to_list(), key=order.__getitem__), "all"]:
            mine = pl.lit(True) if level == "all" else c("level_id") == level
            if not side.filter(mine).height:
                continue
            sessions = rows.filter(mine & (c("approach") == approach))["session_date"].n_unique()
            head = {"level_id": level, "approach": approach, "sessions": sessions, "approaches": int(side.filter(mine)["approaches"].sum())}
            out.append(head | _rates(arms.filter(mine & (c("approach") == approach)), draws, rng))
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
            share = n / len(values) if len(values) else None
            out |= {f"n_{name}": n, f"share_{name}": share, f"low_{name}": _known(low[i]), f"high_{name}": _known(high[i])}
    out.pop("n_touched")
    return out


def _known(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None


def _schema() -> dict[str, pl.DataType]:
    import polars as pl

    whole, share = pl.Int64(), pl.Float64()
    counts = dict.fromkeys(("sessions", "approaches", "armed", "decided", "touched"), whole)
    of_class = {f"{k}_{name}": whole if k == "n" else share for name in CLASSES for k in ("n", "share", "low", "high")}
    touched = dict.fromkeys(("share_touched", "low_touched", "high_touched"), share)
    return {"level_id": pl.String(), "approach": pl.String(), **counts, **touched, "outcomes": whole, **of_class}
