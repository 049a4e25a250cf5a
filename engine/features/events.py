"""A session's triggers with their vectors in any representation, made on the fly from silver and bronze."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from engine.bars import BRONZE_TRADE_COLUMNS, is_trade, trade_rows
from engine.features.vector import REPRESENTATIONS, trigger_vectors, vector_names
from engine.features.wall_table import wall_vectors
from engine.ladder import Ladder
from engine.lake.catalog import BRONZE_MBO, LEVELS, TAPE
from engine.params import ApproachParams, FeatureParams, SetupParams
from engine.sessions import session_windows, utc_dates, utc_day
from engine.setups.triggers import KINDS, session_triggers
from engine.vocab import Approach, root_of

if TYPE_CHECKING:
    from engine.lake.store import Lake


def with_vectors(ladder: Ladder, triggers: pl.DataFrame, representation: str, params: FeatureParams) -> pl.DataFrame:
    """`triggers` and ``representation, vector_dim, vector``: the columns of the table ``mbo_trigger_vectors``."""
    return triggers.with_columns(*_dimensions(representation), trigger_vectors(ladder, triggers, representation, params))


def in_representation(ladder: Ladder, triggers: pl.DataFrame, representation: str, params: FeatureParams) -> pl.DataFrame:
    """As `with_vectors`, of the wall features, too."""
    if representation != "wall":
        return with_vectors(ladder, triggers, representation, params)
    return triggers.with_columns(*_dimensions(representation), wall_vectors(ladder, triggers, params))


def _dimensions(representation: str) -> list[pl.Expr]:
    dims = {a.value: len(vector_names(representation, a)) for a in (Approach.UP, Approach.DOWN)}
    of = pl.col("approach").replace_strict(dims, return_dtype=pl.Int32)
    return [pl.lit(representation).alias("representation"), of.alias("vector_dim")]


def data_end_ns(spans: Sequence[tuple[int, int]], start_ns: int, end_ns: int) -> int:
    """Where data that cover `spans` first stop within ``[start_ns, end_ns)``; `start_ns` where there are none.
    Data that begin late leave nothing to find before them, and no gap after.
    """
    met = sorted(s for s in spans if s[1] > start_ns and s[0] < end_ns)
    reached = max(start_ns, met[0][0]) if met else start_ns
    for begin, end in met:
        if begin > reached:
            break
        reached = max(reached, end)
    return min(reached, end_ns)


def session_events(
    lake: Lake, symbol: str, date: dt.date, kinds: Sequence[str] = KINDS, representations: Sequence[str] = REPRESENTATIONS, *,
    setups: SetupParams | None = None, approach: ApproachParams | None = None, features: FeatureParams | None = None,
    levels: pl.DataFrame | None = None,
) -> dict[str, pl.DataFrame]:  # fmt: skip
    """Triggers of a session that has silver, by representation, with the columns of the table ``mbo_trigger_vectors``.
    Trades come from bronze; `levels` replaces the lake's, such as by a trader's own price. Raises as `lake_triggers`.
    """
    params = features or FeatureParams()
    ladder = Ladder.open(lake, symbol, date)
    triggers = lake_triggers(lake, ladder, kinds, setups=setups, approach=approach, window_s=params.window_s, levels=levels)
    return {r: in_representation(ladder, triggers, r, params) for r in representations}


def lake_triggers(
    lake: Lake, ladder: Ladder, kinds: Sequence[str] = KINDS, *, setups: SetupParams | None = None, approach: ApproachParams | None = None,
    window_s: int = FeatureParams().window_s, levels: pl.DataFrame | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Triggers of a session in the lake (`engine.setups.triggers.session_triggers`), by its ladder and the trades of bronze.
    Raises PartitionMissing or PartitionCorrupt, with the command that makes it, where silver or bronze of the session is not there.
    """
    symbol, date = ladder.symbol, ladder.date
    profile = lake.manifest(TAPE, symbol, date).lineage.profile or "rth"
    held = [d for d in utc_dates(ladder.start_ns, ladder.end_ns) if lake.find_manifest(BRONZE_MBO, symbol, d) is not None]
    notes = [lake.notes(BRONZE_MBO, symbol, d) for d in held]
    parts = (p for d in held for p in lake.read_parts(BRONZE_MBO, symbol, d, BRONZE_TRADE_COLUMNS, is_trade()))
    return session_triggers(
        ladder,
        levels if levels is not None else lake.read(LEVELS, symbol, date),
        trade_rows(parts, root_of(symbol)),
        setups,
        kinds=kinds,
        approach=approach,
        window_s=window_s,
        trading_start_ns=session_windows(date, profile, root_of(symbol)).trading_start_ns,
        data_end_ns=data_end_ns([file_span(n, d) for n, d in zip(notes, held)], ladder.start_ns, ladder.end_ns),
    )


def file_span(notes: Mapping[str, int], date: dt.date) -> tuple[int, int]:
    """The part of its UTC date that a raw file covers, by the notes of its bronze partition."""
    start, end = utc_day(date)
    return max(notes["dbn_start_ns"], start), min(notes["dbn_end_ns"], end)
