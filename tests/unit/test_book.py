"""The replay's rules one by one, each with numbers worked out by hand (rule numbers of ``mbo.md``)."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.errors import SessionError, UnknownRoot
from engine.mbo.replay import LADDER_SCHEMA, TAPE_SCHEMA, LadderReplay, ReplayedContract
from engine.params import ReplayParams
from tests.support.dbn_files import make_records
from tests.support.replaying import File, replay_files, to_columns, twin_frames, twin_of_files

NS = 1_000_000_000
START = 1_762_261_200 * NS
TICK = 250_000_000
MS = 1_000_000
CLEAR = {"ms": -5000, "action": "R", "order_id": 0, "price": 2**63 - 1, "side": "N", "flags": 168}


def rec(ms: int, action: str, oid: int, side: str, tick: int, size: int, flags: int = 130) -> dict[str, Any]:
    return {"ms": ms, "action": action, "order_id": oid, "side": side, "price": tick * TICK, "size": size, "flags": flags}


def ladder(*rows: dict[str, Any], seconds: int = 5, symbol: str = "ESZ5", clear: bool = True, **params: Any) -> ReplayedContract:
    records = []
    for row in ([CLEAR] if clear else []) + list(rows):
        row = dict(row)
        ts = START + row.pop("ms") * MS
        records.append({"ts_event": ts, "ts_recv": ts, "instrument_id": 7, **row})
    replay = LadderReplay({7: symbol}, START, START + seconds * NS, ReplayParams(**params))
    replay.feed(to_columns(make_records(records)))
    return replay.finish()[symbol]


def at(contract: ReplayedContract, second: int, tick: int) -> dict[str, Any]:
    """Row of a second and tick without its zeros."""
    found = contract.rows.filter((pl.col("window_start_ts_ns") == START + second * NS) & (pl.col("tick") == tick))
    return (
        {k: v for k, v in found.row(0, named=True).items() if v and k not in ("window_start_ts_ns", "window_end_ts_ns", "tick")}
        if len(found)
        else {}
    )


def test_schemas() -> None:
    contract = ladder(rec(0, "A", 1, "B", 100, 5))
    assert dict(contract.rows.schema) == LADDER_SCHEMA
    assert dict(contract.tape.schema) == TAPE_SCHEMA
    assert contract.rows.null_count().sum_horizontal().item() == 0
    assert contract.tape["window_start_ts_ns"].to_list() == [START + i * NS for i in range(5)]


def test_partial_cancel_pulls_and_rests() -> None:
    contract = ladder(
        rec(0, "A", 1, "B", 100, 5), rec(1499, "A", 2, "B", 100, 3), rec(1999, "C", 2, "B", 100, 1), rec(2000, "C", 2, "B", 100, 9)
    )
    assert at(contract, 0, 100) == {"keyframe": True, "bid_depth": 5, "bid_orders": 1, "bid_add": 5}
    assert at(contract, 1, 100) == {"bid_depth": 7, "bid_orders": 2, "bid_add": 3, "bid_pull": 1, "bid_pull_rest": 1}
    assert at(contract, 2, 100) == {"bid_depth": 5, "bid_orders": 1, "bid_pull": 2, "bid_pull_rest": 2}


def test_a_resize_does_not_restart_the_rest_clock_but_a_new_price_does() -> None:
    contract = ladder(
        rec(0, "A", 1, "A", 100, 5), rec(400, "M", 1, "A", 100, 9), rec(500, "M", 1, "A", 101, 9), rec(900, "M", 1, "A", 100, 9)
    )
    assert at(contract, 0, 100) == {
        "keyframe": True, "ask_depth": 9, "ask_orders": 1, "ask_add": 18, "ask_pull": 9, "ask_pull_rest": 9, "ask_away_rest": 9,
    }  # fmt: skip
    assert at(contract, 0, 101) == {"keyframe": True, "ask_add": 9, "ask_pull": 9}


@pytest.mark.parametrize(("side", "to", "name"), [("A", 101, "away"), ("A", 99, "toward"), ("B", 99, "away"), ("B", 101, "toward")])
def test_repricing_direction(side: str, to: int, name: str) -> None:
    contract = ladder(rec(0, "A", 1, side, 100, 5), rec(1000, "M", 1, side, to, 7))
    which = {"A": "ask", "B": "bid"}[side]
    assert at(contract, 1, 100) == {f"{which}_pull": 5, f"{which}_pull_rest": 5, f"{which}_{name}_rest": 5}
    assert at(contract, 1, to) == {f"{which}_depth": 7, f"{which}_orders": 1, f"{which}_add": 7}


def test_a_cancel_after_a_fill_is_an_execution() -> None:
    contract = ladder(
        rec(0, "A", 1, "A", 100, 5), rec(0, "A", 2, "A", 100, 4),
        rec(1000, "T", 50, "B", 100, 7, 0), rec(1000, "F", 1, "A", 100, 5, 0), rec(1000, "F", 2, "A", 100, 2, 0),
        rec(1000, "C", 1, "A", 100, 5, 0), rec(1000, "M", 2, "A", 100, 2),
        rec(2000, "C", 2, "A", 100, 2),
    )  # fmt: skip
    assert at(contract, 1, 100) == {"ask_depth": 2, "ask_orders": 1, "ask_fill": 7}
    assert at(contract, 2, 100) == {"ask_pull": 2, "ask_pull_rest": 2}
    second = contract.tape.row(1, named=True)
    assert (second["trades"], second["buy_volume"], second["sell_volume"], second["last_tick"]) == (1, 7, 0, 100)


def test_what_is_cancelled_beyond_the_fill_is_a_pull_and_the_event_ends_with_f_last() -> None:
    contract = ladder(
        rec(0, "A", 1, "B", 100, 9),
        rec(100, "T", 50, "A", 100, 2, 0), rec(100, "F", 1, "B", 100, 2, 0), rec(100, "C", 1, "B", 100, 5),
        rec(200, "T", 51, "A", 100, 1, 0), rec(200, "F", 1, "B", 100, 1), rec(300, "C", 1, "B", 100, 1),
    )  # fmt: skip
    assert at(contract, 0, 100) == {"keyframe": True, "bid_depth": 3, "bid_orders": 1, "bid_add": 9, "bid_fill": 2, "bid_pull": 4}


def test_an_aggressor_that_rested_is_pulled_not_filled() -> None:
    """Rule 8: a resting order repriced across has a T and an F of its own."""
    contract = ladder(
        rec(0, "A", 1, "B", 99, 5), rec(0, "A", 2, "A", 101, 5),
        rec(1000, "T", 1, "B", 101, 5, 0), rec(1000, "F", 1, "B", 101, 5, 0), rec(1000, "F", 2, "A", 101, 5, 0),
        rec(1000, "C", 1, "B", 99, 5, 0), rec(1000, "C", 2, "A", 101, 5),
    )  # fmt: skip
    assert at(contract, 1, 99) == {"bid_pull": 5, "bid_pull_rest": 5}
    assert at(contract, 1, 101) == {"ask_fill": 5}


def test_iceberg_fills_what_was_shown_and_adds_the_next_slice() -> None:
    contract = ladder(
        rec(0, "A", 1, "A", 100, 5),
        rec(1000, "T", 50, "B", 100, 8, 0), rec(1000, "F", 1, "A", 100, 8, 0), rec(1000, "M", 1, "A", 100, 5),
    )  # fmt: skip
    assert at(contract, 1, 100) == {"ask_depth": 5, "ask_orders": 1, "ask_fill": 5, "ask_add": 5}
    assert contract.tape["buy_volume"][1] == 8


def test_a_hidden_fill_is_volume_but_no_fill_of_the_ladder() -> None:
    contract = ladder(rec(0, "A", 1, "A", 100, 5), rec(1000, "T", 0, "N", 100, 3, 0), rec(1000, "F", 77, "N", 100, 3))
    assert at(contract, 1, 100) == {}
    second = contract.tape.row(1, named=True)
    assert (second["trades"], second["buy_volume"], second["sell_volume"], second["high_tick"]) == (1, 0, 0, 100)


def test_price_change_within_an_execution() -> None:
    contract = ladder(
        rec(0, "A", 1, "A", 100, 5), rec(1000, "T", 50, "B", 100, 2, 0), rec(1000, "F", 1, "A", 100, 2, 0), rec(1000, "M", 1, "A", 102, 6)
    )
    assert at(contract, 1, 100) == {"ask_fill": 2, "ask_pull": 3, "ask_pull_rest": 3, "ask_away_rest": 3}
    assert at(contract, 1, 102) == {"ask_depth": 6, "ask_orders": 1, "ask_add": 6}


def test_an_add_of_a_known_id_pulls_the_old_order() -> None:
    contract = ladder(rec(0, "A", 1, "A", 100, 5), rec(1000, "A", 1, "B", 98, 2))
    assert at(contract, 1, 100) == {"ask_pull": 5, "ask_pull_rest": 5}
    assert at(contract, 1, 98) == {"bid_depth": 2, "bid_orders": 1, "bid_add": 2}


def test_unknown_ids() -> None:
    contract = ladder(rec(0, "C", 5, "A", 100, 5), rec(0, "M", 6, "A", 100, 4))
    assert at(contract, 0, 100) == {"keyframe": True, "ask_depth": 4, "ask_orders": 1, "ask_add": 4}
    assert (contract.stats["unknown_cancels"], contract.stats["unknown_modifies"]) == (1, 1)


def test_a_snapshot_is_no_flow_and_its_orders_have_rested() -> None:
    old = {"action": "A", "side": "B", "price": 100 * TICK, "size": 3, "flags": 40}
    contract = ladder(
        {"ms": 1000, "order_id": 1, **old},
        {"ms": 1000, "order_id": 2, **old},
        rec(1100, "C", 1, "B", 100, 3),
        rec(2100, "C", 2, "B", 100, 3),
        clear=False,
    )
    assert at(contract, 1, 100) == {"bid_depth": 3, "bid_orders": 1, "bid_pull": 3, "bid_pull_rest": 3}
    assert contract.tape["book_valid"].to_list() == [False, False, True, True, True]
    assert contract.tape["messages"].to_list() == [0, 1, 1, 0, 0]


def test_a_clear_breaks_its_own_second_and_shows_what_it_took() -> None:
    contract = ladder(rec(0, "A", 1, "B", 100, 5), {"ms": 2500, "action": "R", "order_id": 0, "price": 0, "side": "N", "flags": 128})
    assert contract.tape["book_valid"].to_list() == [True, True, False, True, True]
    gone = contract.rows.filter(pl.col("window_start_ts_ns") == START + 2 * NS)
    assert gone["tick"].to_list() == [100]
    assert gone.select("bid_depth", "bid_pull", "bid_fill").row(0) == (0, 0, 0)
    assert contract.tape["best_bid_tick"].to_list() == [100, 100, None, None, None]


def test_bad_book_until_the_next_clear() -> None:
    contract = ladder(
        rec(0, "A", 1, "B", 100, 5),
        rec(1000, "A", 2, "B", 100, 5, 134),
        {**CLEAR, "ms": 3000, "flags": 128},
        rec(4000, "A", 2, "B", 100, 5),
    )
    assert contract.tape["book_valid"].to_list() == [True, False, False, False, True]


def test_cold_start_is_invalid_until_a_clear() -> None:
    contract = ladder(rec(0, "A", 1, "B", 100, 5), rec(2000, "A", 2, "B", 100, 5), {**CLEAR, "ms": 3000, "flags": 128}, clear=False)
    assert contract.tape["book_valid"].to_list() == [False, False, False, False, True]
    assert at(contract, 2, 100) == {"bid_depth": 10, "bid_orders": 2, "bid_add": 5}


def test_seconds_beyond_the_files_end_are_invalid_until_the_next_file() -> None:
    def row(second: int, **fields: Any) -> dict[str, Any]:
        return {"ts_event": START + second * NS, "ts_recv": START + second * NS, "instrument_id": 7, **fields}

    add = {"action": "A", "order_id": 1, "side": "B", "price": 100 * TICK, "size": 2}
    first = File(make_records([row(-1, action="R", side="N", flags=168), row(0, **add, flags=130)]), START - NS, START + 3 * NS)
    later = File(make_records([row(6, **add, flags=40), row(7, **add | {"action": "C", "flags": 130})]), START + 5 * NS, START + 9 * NS)
    valid = replay_files([first, later], [], {7: "ESZ5"}, START, START + 10 * NS, ReplayParams())["ESZ5"].tape["book_valid"]
    assert valid.to_list() == [True, True, True, False, False, False, False, True, True, False]


def test_best_prices_and_order_flow_imbalance() -> None:
    """e_n of Cont, Kukanov, Stoikov, worked out by hand for each complete state."""
    contract = ladder(
        rec(0, "A", 1, "B", 100, 5), rec(0, "A", 2, "A", 101, 4),  # +5 (bid from -inf), -4 (ask from +inf)
        rec(1000, "M", 1, "B", 100, 8),  # 8 - 5
        rec(2000, "C", 2, "A", 101, 4),  # ask away to +inf: + 4
        rec(3000, "A", 3, "B", 101, 2),  # better bid: + 2
        rec(4000, "C", 3, "B", 101, 2),  # worse bid: - 2
    )  # fmt: skip
    tape = contract.tape
    assert tape["ofi"].to_list() == [1, 3, 4, 2, -2]
    assert tape["best_bid_tick"].to_list() == [100, 100, 100, 101, 100]
    assert tape["best_ask_tick"].to_list() == [101, 101, None, None, None]
    assert tape["bid_size"].to_list() == [5, 8, 8, 2, 8]


def test_the_book_is_looked_at_after_f_last_only() -> None:
    contract = ladder(
        rec(0, "A", 1, "B", 100, 5), rec(0, "A", 2, "A", 101, 4), rec(1000, "A", 3, "B", 102, 1, 0), rec(1000, "C", 3, "B", 102, 1)
    )
    assert contract.stats["crossed_after_open"] == 0
    assert contract.tape["ofi"][1] == 0


def test_time_never_runs_back_and_the_last_trade_is_carried_in() -> None:
    contract = ladder(
        rec(-3000, "T", 9, "B", 97, 1), rec(2000, "A", 1, "B", 90, 1), rec(1000, "T", 9, "A", 95, 1), rec(3000, "N", 0, "N", 0, 0)
    )
    assert contract.tape["last_tick"].to_list() == [97, 97, 95, 95, 95]
    assert contract.tape["trades"].to_list() == [0, 0, 1, 0, 0]
    assert contract.tape["messages"].to_list() == [0, 0, 2, 1, 0]


def test_keyframes_show_resting_depth_near_the_mid_and_flow_anywhere() -> None:
    contract = ladder(
        rec(-1000, "A", 1, "B", 100, 1), rec(-1000, "A", 2, "A", 101, 1), rec(-1000, "A", 3, "B", 79, 1), rec(-1000, "A", 4, "A", 122, 1),
        rec(-1000, "A", 5, "B", 80, 1), rec(-1000, "A", 6, "A", 121, 1), rec(100, "A", 7, "B", -5000, 1),
        span_ticks=21, keyframe_s=2,
    )  # fmt: skip
    by_second = contract.rows.group_by("window_start_ts_ns", maintain_order=True).agg("tick", pl.col("keyframe").all())
    # The mid is 100.5: the ticks from 80 to 121 lie within 21 of it.
    assert by_second["tick"].to_list() == [[-5000, 80, 100, 101, 121]] + [[80, 100, 101, 121]] * 2
    assert by_second["window_start_ts_ns"].to_list() == [START, START + 2 * NS, START + 4 * NS]
    assert by_second["keyframe"].all()


def grid_bytes(replay: LadderReplay) -> int:
    """Bytes of the price grids and order tables of all contracts."""
    return sum(a.nbytes for c in replay._contracts for a in (c.acc, c.bits, c.keys, c.touched, c.tab, c.rows))


def test_far_away_stub_orders_cost_little_and_are_all_there() -> None:
    rng = np.random.default_rng(5)
    far = rng.integers(-(2**31) + 1, 2**31 - 1, 3000).tolist()
    rows = [rec(i // 2, "A", i + 10, "BA"[i % 2], t, 1) for i, t in enumerate(far)] + [rec(1600, "A", 1, "B", 27_000, 3)]
    rows += [rec(2000 + i // 2, "C", i + 10, "BA"[i % 2], t, 1) for i, t in enumerate(far)]
    records = []
    for row in [CLEAR, *rows]:
        row = dict(row)
        ts = START + row.pop("ms") * MS
        records.append({"ts_event": ts, "ts_recv": ts, "instrument_id": 7, **row})
    file = File(make_records(records), None, START + 10 * NS)
    replay = LadderReplay({7: "ESZ5"}, START, START + 5 * NS)
    replay.feed(to_columns(file.records))
    assert grid_bytes(replay) < 64e6
    contract = replay.finish()["ESZ5"]
    ladder_rows, tape = twin_frames(twin_of_files([file], 7, TICK, START, START + 5 * NS, ReplayParams()))
    assert contract.rows.equals(ladder_rows)
    assert contract.tape.equals(tape)


def test_the_only_row_in_the_buffer_is_kept_when_the_grid_grows() -> None:
    """One row of the first second waits when the second one needs a larger grid; later rows are written where it stood."""
    contract = ladder(rec(0, "A", 1, "B", 100, 7), *(rec(1000, "A", 10 + i, "B", 101 + i, 1) for i in range(300)))
    assert at(contract, 0, 100) == {"keyframe": True, "bid_depth": 7, "bid_orders": 1, "bid_add": 7}
    assert contract.rows.height == 301


def test_prices_no_tick_can_hold_are_counted_and_left_out() -> None:
    contract = ladder(
        {**rec(0, "A", 1, "B", 0, 1), "price": 2**63 - 1}, {**rec(0, "A", 2, "B", 0, 1), "price": 2**62},
        rec(0, "A", 3, "N", 100, 1), rec(0, "A", 4, "B", 100, 0), rec(0, "A", 5, "B", 100, 2**32 - 1),
    )  # fmt: skip
    assert contract.stats["unplaced"] == 5
    assert contract.rows.is_empty()
    assert contract.tape["best_bid_tick"].null_count() == 5


def test_cl_prices_below_zero() -> None:
    price = -37_630_000_000
    contract = ladder(
        {**rec(0, "A", 1, "A", 0, 2), "price": price}, {**rec(0, "T", 9, "B", 0, 1), "price": price - 10_000_000}, symbol="CLF26"
    )
    assert at(contract, 0, -3763)["ask_depth"] == 2
    assert contract.tape["last_tick"][0] == -3764


def test_bad_arguments() -> None:
    with pytest.raises(SessionError, match="whole seconds"):
        LadderReplay({7: "ESZ5"}, START, START + 1)
    with pytest.raises(SessionError, match="end after the start"):
        LadderReplay({7: "ESZ5"}, START, START)
    with pytest.raises(UnknownRoot, match="XXZ5"):
        LadderReplay({7: "XXZ5"}, START, START + NS)


def test_a_stub_bid_and_offer_take_no_grid_of_their_own() -> None:
    """A bid at a cent and an offer at a million, beside a market that moves: no larger a grid, and the same ladder as the twin's."""
    rng = np.random.default_rng(3)
    market = [
        (i, "BA"[i % 2], 27_000 + int(rng.integers(-400, 0)) if i % 2 == 0 else 27_001 + int(rng.integers(0, 400))) for i in range(1200)
    ]
    rows = [rec(i, "A", 100 + i, side, tick, 1) for i, side, tick in market]
    rows += [rec(1300 + i, "C", 100 + i, side, tick, 1) for i, side, tick in market[:900]]
    stubs = [rec(0, "A", 1, "B", 1, 5), rec(0, "A", 2, "A", 4_000_000, 5)]

    def replayed(records: list[dict[str, object]]) -> tuple[int, ReplayedContract, File]:
        made = []
        for row in [CLEAR, *records]:
            row = dict(row)
            ts = START + row.pop("ms") * MS  # type: ignore[operator]
            made.append({"ts_event": ts, "ts_recv": ts, "instrument_id": 7, **row})
        file = File(make_records(made), None, START + 10 * NS)
        replay = LadderReplay({7: "ESZ5"}, START, START + 5 * NS)
        replay.feed(to_columns(file.records))
        size = grid_bytes(replay)
        return size, replay.finish()["ESZ5"], file

    plain, *_ = replayed(rows)
    size, contract, file = replayed([*stubs, *rows])
    assert size == plain
    ladder_rows, tape = twin_frames(twin_of_files([file], 7, TICK, START, START + 5 * NS, ReplayParams()))
    assert contract.rows.equals(ladder_rows)
    assert contract.tape.equals(tape)
    assert contract.rows.filter(pl.col("tick").is_in([1, 4_000_000])).height == 2
