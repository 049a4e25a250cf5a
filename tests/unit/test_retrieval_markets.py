"""Nothing of retrieval mixes markets: readers ask which, and what is handed a mixture refuses it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.errors import ContractError, EngineError, SessionError
from engine.lake.catalog import SIGNALS, TRIGGERS, dataset
from engine.lake.manifest import Lineage
from engine.lake.store import Lake
from engine.params import RetrievalParams
from engine.retrieval.dataset import gold_events, names_of, representation_of
from engine.retrieval.events import Events, concat_events, events_from_frame
from engine.retrieval.index import input_digests
from engine.retrieval.statistics import condition_events, condition_table, feature_distribution, hit_rates, scores_by_level, share_below
from tests.support.retrieval import SYMBOL, gold_frame
from workbench.queries import worth

OTHER = "CLM5"
FRAMES = {SYMBOL: gold_frame(60, 1), OTHER: gold_frame(40, 7).with_columns(pl.col("trigger_id", "episode_id").str.replace(SYMBOL, OTHER))}
MIXED = r"expected rows of one market, found CL, ES: .*`--symbol CL` does"


@pytest.fixture
def lake(tmp_lake: Path) -> Lake:
    """A lake with gold of two markets."""
    lake = Lake(tmp_lake)
    for symbol, frame in FRAMES.items():
        for (date,), rows in frame.group_by("session_date", maintain_order=True):
            assert isinstance(date, dt.date)
            lake.write(TRIGGERS, symbol, date, rows.sort("window_end_ts_ns", "level_id", "kind"), Lineage("t", "p", "c", {}, "rth"))
    return lake


def events(*symbols: str) -> Events:
    return concat_events([events_from_frame(FRAMES[s], names_of("means", "mirrored")) for s in symbols])


def conditions(of: Events) -> pl.DataFrame:
    n = len(of)
    book = {"t10_ask_com_touch_log": np.zeros(n), "t11_bid_com_touch_log": np.zeros(n)}
    return pl.DataFrame({"open": np.full(n, 2), "move_ticks": np.ones(n, int), **book})


READERS: dict[str, Callable[[Lake, str | None], object]] = {
    "gold": gold_events,
    "representation": representation_of,
    "index": input_digests,
    "hypothesis": condition_events,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_asks_which_of_two_markets(lake: Lake, reader: str) -> None:
    with pytest.raises(SessionError, match=r"expected the sessions of one market, found CL, ES: .*`--symbol CL` takes one"):
        READERS[reader](lake, None)


def test_a_reader_that_is_told_reads_that_market_alone(lake: Lake) -> None:
    for symbol, root in ((SYMBOL, "ES"), (OTHER, "CL")):
        for asked in (symbol, root):
            found = gold_events(lake, asked)["mirrored"].frame["trigger_id"]
            assert len(found) == len(FRAMES[symbol])
            assert found.str.contains(f"/{symbol}/").all()
            assert {k.split("/")[1] for k in input_digests(lake, asked)} == {symbol}


ASKED: dict[str, Callable[[Events], object]] = {
    "feature": lambda e: feature_distribution(e, e.names[0]),
    "share": lambda e: share_below(e, e.names[0], 0.0),
    "conditions": lambda e: condition_table(e, conditions(e)),
    "hit rates": lambda e: hit_rates(e.frame, draws=50),
}


@pytest.mark.parametrize("what", ASKED)
def test_a_mixture_of_markets_is_refused(what: str) -> None:
    ASKED[what](events(SYMBOL))
    with pytest.raises(ContractError, match=MIXED):
        ASKED[what](events(SYMBOL, OTHER))


def test_scores_of_two_markets_are_refused() -> None:
    signals = pl.DataFrame(schema=dataset(SIGNALS).contract().schema())
    assert scores_by_level(signals, FRAMES[SYMBOL], draws=50).height == 0
    with pytest.raises(ContractError, match=MIXED):
        scores_by_level(signals, pl.concat(FRAMES.values()), draws=50)


def test_forecasts_of_two_horizons_are_no_scores_and_the_command_that_mends_it_is_named(lake: Lake) -> None:
    dates = [d for _, d in lake.partitions(TRIGGERS, SYMBOL)]
    empty = pl.DataFrame(schema=dataset(SIGNALS).contract().schema())
    for date, horizon in zip(dates, ("h1", "h2", "h2")):
        values = {"retrieval": RetrievalParams(horizon=horizon).model_dump(mode="json")}  # type: ignore[arg-type]
        lake.write(SIGNALS, SYMBOL, date, empty, Lineage("s", "p", "c", {}, "rth", values))
    with pytest.raises(EngineError, match="expected forecasts of one horizon, found h1, h2") as refused:
        worth(str(lake.root), SYMBOL)
    start = f"`spymaster run --lake {lake.root} --layer gold --symbol {SYMBOL} --dates {dates[0]}:{dates[-1]} --session rth --params "
    assert f"""{start}<(echo '{{"retrieval": {{"horizon": "h2"}}}}')` makes them all as that of {dates[-1]} is""" in str(refused.value)
