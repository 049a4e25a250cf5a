"""Time and sales: every trade of the tape up to the clock and none after it, by size, and what is said where a lake has none."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from engine.errors import NoData, PartitionMissing, SessionError
from engine.vocab import NS, SIDE_CODES
from tests.ui.conftest import DATE, generated_lake
from workbench import lakes, session_cache
from workbench.export import MAX_COPIED, to_text
from workbench.plots import tape
from workbench.state import LevelState
from workbench.views.level import LevelView


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(generated_lake(tmp_path_factory.mktemp("tape"), 20_000))


def view_of(lake: str, **values: object) -> LevelView:
    state, there = LevelState(), lakes.contracts(lake)
    state.param["contract"].objects, state.param["session"].objects = list(there), there["ESZ5"]
    start_ns = session_cache.load(lake, "ESZ5", DATE).ladder.start_ns
    state.param.update(contract="ESZ5", session=str(DATE), level="vwap", cursor_ts_ns=start_ns + 4000 * NS, **values)
    view = LevelView(lake, state, [])
    view.start()
    return view


def test_the_trades_are_those_that_the_tape_counts(lake: str) -> None:
    session = session_cache.load(lake, "ESZ5", DATE)
    found, start = session.trades(), session.ladder.start_ns
    assert found["time"].is_sorted()
    second = ((pl.col("time") - start) // NS).alias("second")
    size, side = pl.col("size").cast(pl.Int64), pl.col("side")
    counted = found.group_by(second).agg(
        size.filter(side == SIDE_CODES["B"]).sum().alias("buy"), size.filter(side == SIDE_CODES["A"]).sum().alias("sell"), pl.len(),
        pl.col("tick").last().alias("last"),
    ).sort("second")  # fmt: skip
    seconds = session.ladder.tape.with_row_index("second").filter(pl.col("trades") > 0)
    assert counted["second"].to_list() == seconds["second"].to_list()
    for mine, theirs in (("buy", "buy_volume"), ("sell", "sell_volume"), ("len", "trades"), ("last", "last_tick")):
        assert counted[mine].cast(pl.Int64).to_list() == seconds[theirs].cast(pl.Int64).to_list()


def test_lines_end_before_the_clock_and_are_as_large_as_asked_for(lake: str) -> None:
    view = view_of(lake)
    assert not view.tape.panel.visible
    assert view.tape.lines.html == ""  # what is not shown is not in the page
    with pytest.raises(NoData, match="open time and sales first"):
        view.tape.table().make()
    view._on_act({"name": "tape", "value": 1, "n": 1})
    assert view.state.tape == "on"
    assert view.tape.panel.visible
    trades, now = view.look.session.trades(), view.look.now_ns
    before = trades.filter(pl.col("time") < now)
    assert view.tape.lines.html.count("<tr class") == min(before.height, tape.SHOWN)
    assert tape.clock_ms(before["time"][-1]) in view.tape.lines.html
    assert all(tape.clock_ms(t) not in view.tape.lines.html for t in trades.filter(pl.col("time") >= now)["time"].to_list())
    view.state.least = 5
    frame, facts = view.tape.table().make()
    assert frame.height == before.filter(pl.col("size") >= 5).height
    assert frame["size"].min() >= 5
    assert set(frame["aggressor"]) <= {"bought", "sold", ""}
    assert (facts["least_contracts"], facts["cursor_ts_ns"]) == (5, now)
    # The clock moves on, and back: the lines are those of its moment.
    held = view.tape.lines.html
    view._on_act({"name": "step", "value": 600, "n": 2})
    assert view.tape.lines.html != held
    view._on_act({"name": "step", "value": -600, "n": 3})
    assert view.tape.lines.html == held
    # What came after the moment is shown by the picture where it is asked for, and not here.
    view._on_act({"name": "reveal", "value": True, "n": 4})
    assert view.tape.lines.html == held
    view._on_act({"name": "tape", "value": 2, "n": 5})
    assert view.state.tape == "on"


def test_what_is_large_is_told_by_what_had_traded(lake: str) -> None:
    made = pl.DataFrame(
        {"time": range(1000), "tick": [1] * 1000, "size": [1] * 990 + [500] * 10, "side": [0] * 1000},
        schema={"time": pl.Int64, "tick": pl.Int32, "size": pl.UInt32, "side": pl.UInt8},
    )
    assert tape.large_size(made, 0) == tape.large_size(made, 990) == tape.LEAST_LARGE
    assert tape.large_size(made, 1000) == 500
    shown = tape.table(made.with_columns(pl.col("time") * 39_000_001 + 1_762_266_600 * NS), 0.25)
    assert shown["time"].to_list() == [tape.clock_ms(t) for t in shown["ts_ns"].to_list()]
    assert (shown["price"][0], shown["aggressor"][0]) == (0.25, "bought")
    assert tape.table(made.clear(), 0.25).schema == shown.schema
    # The clipboard takes the last ones of many, and says so.
    many = pl.DataFrame({"n": range(MAX_COPIED + 5)})
    text, said = to_text(many, "10:05:00")
    assert said == "The last 50,000 of 50,005 rows of 10:05:00 copied"
    assert text.splitlines()[:2] == ["n", "5"]
    assert len(text.splitlines()) == MAX_COPIED + 1
    html = tape.rows_html(made.tail(12), 500, 0.25)
    assert html.count("class='bought large'") == 10
    assert html.index("large") < html.index("class='bought'")


def test_copies_are_of_the_moment(lake: str) -> None:
    view = view_of(lake, tape="on")
    deck = view.player.deck
    for n, what in enumerate(("link", "sentence", "ladder", "trades"), start=1):
        view._on_act({"name": "copy", "value": what, "n": n})
        assert deck.copied["what"] == what
        text = deck.copied["text"]
        if what == "link":
            assert f"session={DATE}&level=vwap&t=" in text
        elif what == "sentence":
            assert text.startswith("VWAP")
        else:
            lines = text.splitlines()
            assert deck.copied["said"].startswith(f"{len(lines) - 1:,} rows of ")
            assert lines[0].split("\t")[0] in ("tick", "time")


def test_a_lake_without_single_trades_says_what_makes_them(lake: str, tmp_path: Path) -> None:
    shutil.copytree(lake, tmp_path / "lake")
    shutil.rmtree(tmp_path / "lake" / "bronze")
    view = view_of(str(tmp_path / "lake"), tape="on")
    assert "spymaster run" in view.tape.lines.html
    assert "role='alert'" in view.tape.lines.html
    with pytest.raises(PartitionMissing):
        view.look.session.trades()


def test_a_session_from_frames_has_none() -> None:
    from tests.unit.test_level_view import session_of

    with pytest.raises(SessionError, match=r"trades of ESH6 .* made from frames"):
        session_of("ESH6").trades()
