"""What gold's own forecasts were worth, by level and direction: the signals' probabilities against what came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import ContractError
from engine.retrieval.alike import refuse_mixed
from engine.retrieval.events import CLASSES, OUTCOME_CLASS
from engine.retrieval.scores import EACH, session_weights, skill

if TYPE_CHECKING:
    import polars as pl

DRAWS = 2000
SCORED = ("log_loss", "brier")


def scores_by_level(
    signals: pl.DataFrame, triggers: pl.DataFrame, horizon: str = "h1", *, draws: int = DRAWS, seed: int = 0
) -> pl.DataFrame:
    """Log loss and Brier score of the forecasts that gold holds, and their skill against the reference beside them.

    The forecasts were made walking forward, each from sessions before its own. Only `arm` rows count, one per episode, that were
    touched, have a forecast and are not said to be without comparison.

    Parameters
    ----------
    signals
        Rows of ``mbo_trigger_signals``.
    triggers
        Rows of ``mbo_trigger_vectors`` of the same sessions: ``trigger_id, episode_id, session_date, outcome_*``.
    horizon
        The horizon that the signals are of.
    draws, seed
        Of the bootstrap of whole sessions.

    Returns
    -------
    DataFrame
        A row per ``level_id`` and ``approach``, and ``all`` for every level together: ``events, sessions, abstained``, ``log_loss``,
        ``reference_log_loss``, ``skill, skill_low, skill_high`` and the same of ``brier_skill`` (95%, whole sessions resampled; null
        below two sessions).

    Raises
    ------
    ContractError
        Where the triggers have no such horizon, or are of several markets.
    """
    import polars as pl

    c = pl.col
    if f"outcome_{horizon}" not in triggers.columns:
        raise ContractError(f"scores by level: expected outcome_{horizon} among the triggers' columns, found none")
    refuse_mixed(triggers["trigger_id"], "scores by level")
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
    for approach in ("approach_up", "approach_down"):
        side = joined.filter(c("approach") == approach)
        levels = side["level_id"].unique().sort().to_list()
        for level in [*levels, "all"] if levels else []:
            mine = side if level == "all" else side.filter(c("level_id") == level)
            spoke = mine.filter(there & ~c("nothing_comparable"))
            head = {"level_id": level, "approach": approach, "events": spoke.height, "sessions": spoke["session_date"].n_unique()}
            out.append(head | {"abstained": mine.filter(c("nothing_comparable")).height} | _scores(spoke, draws, rng))
    floats = ("log_loss", "reference_log_loss", *(f"{s}{e}" for s in ("skill", "brier_skill") for e in ("", "_low", "_high")))
    whole = dict.fromkeys(("events", "sessions", "abstained"), pl.Int64)
    schema = {"level_id": pl.String, "approach": pl.String, **whole, **dict.fromkeys(floats, pl.Float64)}
    return pl.DataFrame(out, schema=schema).with_columns(pl.col(pl.Float64).fill_nan(None))


def _scores(rows: pl.DataFrame, draws: int, rng: np.random.Generator) -> dict[str, float]:
    y = rows["class"].to_numpy()
    p, pi = (rows.select(f"{k}_{c}" for c in CLASSES).to_numpy() for k in ("p", "pi"))
    codes, counts = session_weights(rows["session_date"].to_numpy(), draws, rng)
    out: dict[str, float] = {}
    for score, name in zip(SCORED, ("skill", "brier_skill")):
        mine, reference = EACH[score](p, y), EACH[score](pi, y)
        found = skill(mine, reference, codes, counts)
        # One session resampled is itself: its interval would have no width.
        low, high = (found.low, found.high) if counts.shape[1] > 1 else (float("nan"),) * 2
        out |= {name: found.value, f"{name}_low": low, f"{name}_high": high}
        if score == "log_loss":
            out |= {"log_loss": _mean(mine), "reference_log_loss": _mean(reference)}
    return out


def _mean(x: np.ndarray) -> float:
    return float(x.mean()) if x.size else float("nan")
