"""The pressure stream and the signals, with a made-up forecast (features.md section 9)."""

from __future__ import annotations

import math

import polars as pl
import pytest

from engine.features import level_windows
from engine.features.pressure import KEYS, pressure_stream, stream_features
from engine.ladder import Ladder
from engine.stages.gold import NOT_IN_STREAM, session_signals, window_signals
from engine.vocab import NS
from tests.property.test_feature_properties import steps
from tests.reference.stream_twin import row as twin_row
from tests.support.ladders import DATE, SYMBOL, make_frames

NO_SIGNALS = pl.DataFrame(schema={"level_id": pl.String, "window_end_ts_ns": pl.Int64, "fire_flag": pl.Boolean, "margin": pl.Float64})


@pytest.fixture(scope="module")
def windows() -> pl.DataFrame:
    rows, tape = make_frames(600, 4, span=40, move=0.6, invalid_share=0.01)
    ladder = Ladder.from_frames(rows, tape, symbol=SYMBOL, date=DATE)
    # The second level is not known for a while in the middle.
    spans = [("a", 0, 600, 20_004), ("b", 0, 250, 19_996), ("b", 300, 600, 19_999)]
    return level_windows(ladder, steps(spans)).select(*KEYS, *stream_features())


def test_scores_equal_twin(windows: pl.DataFrame) -> None:
    found = pressure_stream(windows, NO_SIGNALS)
    assert found.height == windows.height
    for level_id in ("a", "b"):
        history = windows.filter(level_id=level_id).to_dicts()
        for now, got in enumerate(found.filter(level_id=level_id).to_dicts()):
            assert got["window_start_ts_ns"] == history[now]["window_start_ts_ns"]
            for name, value in twin_row(history, now).items():
                same = got[name] is None if value is None else got[name] is not None and math.isclose(got[name], value, rel_tol=1e-9)
                assert same, (level_id, now, name)
    assert found["vacuum_score"].is_between(0, 1).all()
    assert found["vacuum_score"].is_null().any()  # invalid windows, price at the level, the gap


def test_states() -> None:
    base = dict.fromkeys(stream_features(), 0.0)

    def window(n: int, strength: float | None, approach: str = "approach_up", distance: int | None = -5) -> dict:
        key = {"window_start_ts_ns": 5 * n * NS, "window_end_ts_ns": 5 * (n + 1) * NS, "level_id": "a", "level_tick": 100}
        features = {k: strength if k.startswith(("u1_", "u5_", "u8_", "u12_")) else v for k, v in base.items()}
        return key | {"distance_ticks": distance, "approach": approach} | features

    # Each level stands alone, for shock looks back: every row is its level's first window, where it is 0.
    cases = [
        (window(0, 9.0), 0.3, False, "ARMED"),
        (window(1, 9.0), 0.1, False, "WATCH"),
        (window(2, 9.0), None, False, "WATCH"),
        (window(3, 0.0), 0.9, False, "TRACK"),
        (window(4, 0.0), 0.9, True, "FIRE"),
        (window(5, 9.0, "approach_none"), 0.9, True, "IDLE"),
        (window(6, None), 0.9, False, "TRACK"),
    ]
    rows = [w | {"level_id": f"v{i}"} for i, (w, *_) in enumerate(cases)]
    frame = pl.DataFrame(rows, schema_overrides={"distance_ticks": pl.Int32})
    signals = pl.DataFrame(
        {
            "level_id": [r["level_id"] for r in rows],
            "window_end_ts_ns": [r["window_end_ts_ns"] for r in rows],
            "fire_flag": [c[2] for c in cases],
            "margin": [c[1] for c in cases],
        },
    )
    assert pressure_stream(frame, signals).sort("level_id")["state"].to_list() == [c[3] for c in cases]
    # Retreat and flow of both sides at 1, localisation at s(-0.5) and s(0), shock at 0.5.
    s9, low = 1 / (1 + math.exp(-9)), 1 / (1 + math.exp(0.5))
    made = pressure_stream(frame, signals).filter(level_id="v0").row(0, named=True)
    assert made["above_score"] == pytest.approx((2 * s9 + low + 0.5) / 4)
    assert made["below_score"] == pytest.approx((2 * s9 + 0.5 + 0.5) / 4)
    assert made["vacuum_score"] == pytest.approx((made["above_score"] + made["below_score"]) / 2)


def triggers(rows: list[tuple[str, str, str, int]]) -> pl.DataFrame:
    """(level, approach, kind, window) as triggers, each window of a level in one episode."""
    data = [
        {
            "trigger_id": f"{level}/{kind}/{w}",
            "episode_id": f"{level}/1",
            "level_id": level,
            "approach": approach,
            "kind": kind,
            "window_start_ts_ns": 5 * w * NS,
            "window_end_ts_ns": 5 * (w + 1) * NS,
            "level_tick": 100,
            "distance_ticks": -3,
        }
        for level, approach, kind, w in rows
    ]
    return pl.DataFrame(data)


def test_signals_fire_on_windows_and_say_what_follows() -> None:
    up, down = "approach_up", "approach_down"
    asked = triggers([("a", up, "window", 1), ("a", up, "arm", 1), ("b", down, "window", 1), ("b", down, "touch", 2)])
    seen: list[pl.DataFrame] = []

    def forecast(history: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
        assert history.is_empty()
        columns = {c: pl.lit(None, pl.Float64) for c in NOT_IN_STREAM if c not in ("trigger_id", "kind")}
        # In another order than the triggers: rows are matched by their id.
        return queries.select("trigger_id").with_columns(c_top1=pl.lit("reject"), p_top1=pl.lit(0.9), **columns).reverse()

    def fire(signals: pl.DataFrame) -> pl.Series:
        seen.append(signals)
        return pl.Series("fire_flag", [True] * signals.height)

    made = session_signals(asked.clear(), asked, forecast, fire)
    assert seen[0]["kind"].unique().to_list() == ["window"]
    assert made["trigger_id"].to_list() == asked["trigger_id"].to_list()
    assert made["fire_flag"].to_list() == [True, True, True, False]
    assert made["signal"].to_list() == ["REJECT_DOWN", "REJECT_DOWN", "REJECT_UP", None]
    stream = window_signals(made)
    assert stream.height == 2
    assert not set(NOT_IN_STREAM) & set(stream.columns)


def test_without_window_triggers_all_are_put_to_the_fire_rule() -> None:
    asked = triggers([("a", "approach_up", "arm", 1)])

    def forecast(history: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
        return queries.select("trigger_id").with_columns(c_top1=pl.lit("break"))

    made = session_signals(asked.clear(), asked, forecast, lambda s: pl.Series("fire_flag", [True] * s.height))
    assert made["signal"].to_list() == ["BREAK_UP"]
