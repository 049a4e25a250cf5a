"""`Events`: one row per trigger with its raw vector, covariates and outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import ContractError, NoData
from engine.params import HORIZONS, PoolName
from engine.vocab import Outcome

if TYPE_CHECKING:
    import polars as pl

Progress = Callable[[int, int, str], None]
"""Called with the number of steps done, that of all, and the name of the last."""

CLASSES = ("reject", "chop", "break")
"""Class order everywhere in retrieval: the order of the ranked probability score."""

OUTCOME_CLASS: dict[str, int] = {
    **dict.fromkeys((Outcome.REJECT_DOWN, Outcome.REJECT_UP), 0),
    Outcome.CHOP: 1,
    **dict.fromkeys((Outcome.BREAK_UP, Outcome.BREAK_DOWN), 2),
}
"""Class of an outcome; NO_TOUCH and a horizon past the data have none (-1)."""

NO_LABEL = -1
NO_TOUCH = Outcome.NO_TOUCH.value

COVARIATES = ("distance_ticks", "sigma", "seconds_into_session", "touch_number", "confluent_levels", "message_rate", "trade_rate")
"""Columns of the reference forecast's numeric covariates; the level's kind is the eighth.

The two rates measure current activity, which a sigma over half an hour misses. Without them neighbours seemed to have an edge in a
simulated market without regimes (tier B, kappa 0), because the rates are in their vectors: busy minutes resolve sooner.
"""

MIRRORED_REPRESENTATIONS = ("means", "learned", "wall")
"""Representations in the frame of travel, in which both directions share a pool (features.md section 5)."""

DECIDED_UNTIL = "decided_until_ts_ns"
"""Column of events read from a lake: triggers up to this window end have a decided touch (`engine.retrieval.dataset.decided_until_ns`)."""

REQUIRED = ("trigger_id", "episode_id", "session_date", "level_id", "approach", "kind", "window_end_ts_ns", *COVARIATES)

PATH_OUTCOMES = ("whipsaw_flag", "excursion_up_ticks", "excursion_down_ticks", "adverse_before_hit_ticks")
OUTCOMES = ("touched", *(f"outcome_{h}" for h in HORIZONS), "seconds_to_touch", "seconds_to_resolve", *PATH_OUTCOMES)


def level_kind(level_id: str) -> str:
    """Kind of a level: ``pm_high`` and ``pm_low`` are ``pm``, ``price:6800.25`` is ``price``."""
    return level_id.partition(":")[0].partition("_")[0]


@dataclass(frozen=True, eq=False)
class Events:
    """Triggers in time order: vectors, and a frame of their columns (`REQUIRED`, and `OUTCOMES` where they are known), row for row.

    `matrix` is float32 ``(n, d)``, raw (not normalised), with a row of NaN where a trigger has no vector; `names` are those of its columns;
    `representation` is ``blocks``, ``means`` or ``wall``.
    """

    matrix: NDArray[np.float32]
    names: tuple[str, ...]
    representation: str
    frame: pl.DataFrame

    def __post_init__(self) -> None:
        lacking = [c for c in REQUIRED if c not in self.frame.columns]
        if lacking:
            raise ContractError(f"events: missing columns {', '.join(lacking)}; the table mbo_trigger_vectors has them")
        if self.matrix.shape != (self.frame.height, len(self.names)):
            raise ContractError(f"events: expected a matrix of ({self.frame.height}, {len(self.names)}), found {self.matrix.shape}")

    def __len__(self) -> int:
        return self.frame.height

    def take(self, which: NDArray[np.generic] | slice) -> Events:
        """The events at `which`: a mask, positions, or a slice."""
        at = np.arange(len(self))[which]
        return Events(self.matrix[at], self.names, self.representation, self.frame[at])

    def _text(self, column: str) -> NDArray[np.object_]:
        return self.frame[column].to_numpy().astype(object)

    def only(self, names: tuple[str, ...]) -> Events:
        """The events with these dimensions alone, in that order; raises `ContractError` where one is not there."""
        if names == self.names:
            return self
        lacking = [n for n in names if n not in self.names]
        if lacking:
            raise ContractError(f"events: expected the dimensions {', '.join(lacking[:3])}, found none; `spymaster rebuild` rebuilds gold")
        at = {n: i for i, n in enumerate(self.names)}
        return Events(self.matrix[:, [at[n] for n in names]], names, self.representation, self.frame)

    @cached_property
    def sessions(self) -> NDArray[np.datetime64]:
        """Session dates, ``datetime64[D]``."""
        return self.frame["session_date"].to_numpy().astype("datetime64[D]")

    @cached_property
    def session_codes(self) -> NDArray[np.int64]:
        """Session number by rising date, from 0."""
        return np.unique(self.sessions, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def episode_codes(self) -> NDArray[np.int64]:
        """Episode number of each row; episodes of several levels at the same price and time are one approach, and get one number."""
        import polars as pl

        place = ["session_date", "approach", "window_end_ts_ns", "distance_ticks"]
        frame = self.frame.select(*place, pl.col("episode_id").rank("dense").alias("own")).with_columns(pl.col("own").alias("code"))
        while True:  # levels that coincide pairwise are merged transitively, one link a round
            joined = frame.with_columns(pl.col("code").min().over(place)).with_columns(pl.col("code").min().over("own"))
            if joined["code"].equals(frame["code"]):
                return frame["code"].to_numpy().astype(np.int64)
            frame = joined

    @cached_property
    def level_kinds(self) -> NDArray[np.object_]:
        """Kind of each row's level."""
        return np.array([level_kind(x) for x in self._text("level_id")], dtype=object)

    def pool_keys(self, pool: PoolName) -> NDArray[np.object_]:
        """Pool key of each row: rows with equal keys may be neighbours of each other."""
        if pool == "kind":
            return self.level_kinds
        if pool == "level":
            return self._text("level_id") + "/" + self._text("approach")
        return np.full(len(self), "", object)

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Mask of rows whose vector is finite and not all zero; others have no direction to compare."""
        return np.isfinite(self.matrix).all(axis=1) & (self.matrix != 0).any(axis=1)

    @cached_property
    def covariates(self) -> NDArray[np.float64]:
        """`COVARIATES` as columns, ``(n, 7)``; NaN where unknown."""
        distance, sigma, seconds, *others = (self.number(c) for c in COVARIATES)
        return np.column_stack([np.abs(distance), sigma, seconds / 3600, *others])

    def labels(self, horizon: str) -> NDArray[np.int64]:
        """Class at a horizon as position in `CLASSES`; -1 without a touch, or where the horizon leaves the data."""
        if f"outcome_{horizon}" not in self.frame.columns:
            return np.full(len(self), NO_LABEL, np.int64)
        return np.array([OUTCOME_CLASS.get(x, NO_LABEL) for x in self.frame[f"outcome_{horizon}"].to_list()], np.int64)

    def touches(self) -> NDArray[np.int64]:
        """1 where the episode touched its level, 0 where not, -1 where undecided (`engine.retrieval.dataset.decided_until_ns`).

        Undecided is a matter of the trigger's time alone: late triggers that did touch are -1 as well, or only touches would count there.
        """
        import polars as pl

        if "touched" not in self.frame.columns:
            return np.full(len(self), NO_LABEL, np.int64)
        # A decided episode without a touch has NO_TOUCH at every horizon; an undecided one has null.
        decided = pl.any_horizontal(pl.col(f"outcome_{h}") == NO_TOUCH for h in HORIZONS if f"outcome_{h}" in self.frame.columns)
        touch = pl.when(pl.col("touched")).then(1).when(decided).then(0).otherwise(NO_LABEL)
        if DECIDED_UNTIL in self.frame.columns:
            touch = pl.when(pl.col("window_end_ts_ns") <= pl.col(DECIDED_UNTIL)).then(touch).otherwise(NO_LABEL)
        return self.frame.select(touch.cast(pl.Int64))[:, 0].to_numpy()

    def number(self, column: str) -> NDArray[np.float64]:
        """A numeric or boolean column as floats; NaN where null, or where there is no such column."""
        if column not in self.frame.columns:
            return np.full(len(self), np.nan)
        return self.frame[column].cast(float).to_numpy().astype(float)


def events_from_frame(frame: pl.DataFrame, names: Sequence[str], kinds: Sequence[str] | None = None) -> Events:
    """`Events` from rows of ``gold.future_mbo.mbo_trigger_vectors``, of the trigger kinds `kinds` (all where None), sorted by time.

    Where the rows have wall features, too (`WALL`), these are further dimensions behind those of the vector.

    Raises `ContractError` where the rows are of several representations, or their vectors have another length than `names`.
    """
    import polars as pl

    from engine.features.vector import WALL

    if kinds is not None:
        frame = frame.filter(pl.col("kind").is_in(list(kinds)))
    frame = frame.sort("window_end_ts_ns", "level_id", "kind", maintain_order=True)
    found = frame["representation"].unique().to_list()
    if len(found) > 1:
        raise ContractError(f"events: expected one representation, found {', '.join(sorted(found))}; rebuild gold with one")
    dims = frame["vector_dim"].unique().to_list()
    if dims and dims != [len(names)]:
        raise ContractError(f"events: expected vectors of {len(names)} dimensions, found {dims}; `spymaster rebuild` rebuilds gold")
    matrix = np.full((frame.height, len(names)), np.nan, np.float32)
    there = frame["vector"].is_not_null().to_numpy()
    if there.any():
        matrix[there] = frame["vector"].filter(frame["vector"].is_not_null()).explode().to_numpy().reshape(-1, len(names))
    walls = WALL if set(WALL) <= set(frame.columns) else ()
    if walls:
        matrix = np.column_stack([matrix, frame.select(pl.col(walls).fill_null(np.nan)).to_numpy().astype(np.float32)])
    rest = frame.drop("vector", "vector_dim", "representation", *walls)
    return Events(matrix, (*names, *walls), found[0] if found else "means", rest)


def beside(first: Events, second: Events) -> Events:
    """The events of `first` with the dimensions of `second`, of the same triggers row for row, behind their own."""
    return Events(np.column_stack([first.matrix, second.matrix]), (*first.names, *second.names), first.representation, first.frame)


def concat_events(parts: Sequence[Events]) -> Events:
    """The events of all parts; raises `ContractError` where they differ in dimensions, `NoData` where there is no part."""
    import polars as pl

    if not parts:
        raise NoData("events: expected at least one part, found none; add and run more dates")
    first = parts[0]
    if any(p.names != first.names or p.representation != first.representation for p in parts):
        raise ContractError("events: the parts differ in their dimensions or representation; rebuild gold with one representation")
    frame = pl.concat([p.frame for p in parts])
    return Events(np.concatenate([p.matrix for p in parts]), first.names, first.representation, frame)


# ----------------------------------------------------------------------------
# Day-permuted outcomes: a null hypothesis for the audit that preserves dependence within a day


def deal_days(codes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """For each row the row whose outcome it gets: the days, by their numbers `codes`, in another order, each one's rows together."""
    order = np.random.default_rng([seed, 7]).permutation(int(codes.max()) + 1 if len(codes) else 0)
    return np.argsort(np.argsort(order)[codes], kind="stable")


def permute_days(parts: Sequence[Events], seed: int) -> list[Events]:
    """Events whose outcome columns are those of triggers of other days; vectors, covariates and days are unchanged.

    Days are shuffled and their outcomes assigned in that order, so that those of one day stay together. The first part decides; the others
    follow by ``trigger_id``.
    """
    first = parts[0]
    rows = deal_days(first.session_codes, seed)
    moved = [c for c in OUTCOMES if c in first.frame.columns]
    outcomes = first.frame.select(moved)[rows].with_columns(first.frame["trigger_id"])
    out = []
    for part in parts:
        frame = part.frame.drop(moved).join(outcomes, on="trigger_id", how="left", maintain_order="left")
        out.append(Events(part.matrix, part.names, part.representation, frame.select(part.frame.columns)))
    return out
