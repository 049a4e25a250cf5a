"""What the decision bar says, made from what is known at a moment."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from engine.features.flow_lead import FlowLead
from engine.features.walls import Wall
from engine.ladder import Ladder
from engine.levels import LEVEL_SCHEMA
from engine.params import FeatureParams
from engine.retrieval.dataset import events_by_group
from engine.retrieval.statistics import open_counts
from engine.session import Session
from tests.support.ladders import DATE, NS, START_S, SYMBOL, make_frames
from tests.support.retrieval import gold_frame
from workbench.plots.conditions import CONDITIONS
from workbench.plots.decision import (
    Standing,
    Verdict,
    condition_strengths,
    decision_html,
    open_words,
    rows_text,
    standing,
    statement,
    strengths_html,
    verdict_html,
    verdict_of,
    verdict_words,
    wall_text,
)
from workbench.plots.words import tests_text as which_test

K, SIZE = 27_200, 0.25
WALL = Wall("ask", K + 8, 1240, 4.13, 95, trend="growing")
GONE = Wall("ask", K + 5, 25, 5.2, 40, fate="pulled", was=141, took_s=5, ended_s=3)
LONG = FlowLead("long", (K - 4, K, K + 4), 1_960, 1_400, 0)
EVEN = FlowLead("", (), 1_960, 1_900, 0)

BELOW = Standing("PM High", K, SIZE, K - 2, "approach_up", -2, 5, LONG, (WALL,), tests=2, confluent=("ON High", "R1"))


def test_the_sentence_is_the_seed_s() -> None:
    said = "PM High 6800.00, confluent with ON High and R1, approach from below, 3rd test: long outpaces short at 6799, 6800, 6801; "
    assert statement(BELOW) == said + "BUT at 6802 resting sells 1,240 (4.1x), growing."


@pytest.mark.parametrize(
    ("changed", "end"),
    [
        ({"flow": EVEN}, "long and short are even within 5 ticks (1,960 : 1,900); at 6802 resting sells 1,240 (4.1x), growing."),
        ({"way": (GONE,)}, "6801; the sells at 6801.25 went 141 → 25 in 5 s, pulled, not traded."),
        ({"way": ()}, "6801; no wall of resting sells in the way."),
        ({"flow": FlowLead("", (), 0, 0, 0, known=False), "way": ()}, "flow is not known; no wall of resting sells in the way."),
        ({"approach": None, "distance": None, "why": "nothing has traded yet"}, "R1: no reading, nothing has traded yet."),
        (
            {"approach": "approach_down", "distance": 3, "way": (dataclasses.replace(WALL, side="bid", tick=K - 8),)},
            "6801; at 6798 resting buys 1,240 (4.1x), growing.",
        ),
        (
            {"approach": "approach_none", "distance": 3, "flow": dataclasses.replace(LONG, side="short"), "way": (WALL,)},
            "short outpaces long at 6799, 6800, 6801; BUT at 6802 resting buys 1,240 (4.1x), growing.",
        ),
    ],
)
def test_the_sentence_follows_what_stands(changed, end: str) -> None:
    assert statement(dataclasses.replace(BELOW, **changed)).endswith(end)


def test_neighbouring_rows_are_spans() -> None:
    assert rows_text([K, K + 1, K + 2, K + 3, K + 8], SIZE) == "6800 to 6800.75, 6802"
    assert rows_text([K, K + 1, K + 8], SIZE) == "6800, 6800.25, 6802"
    assert rows_text([K, K + 2, K + 4, K + 6, K + 7], SIZE) == "6800, 6800.50, 6801 and 2 more"


@pytest.mark.parametrize(
    ("wall", "said"),
    [
        (WALL, "1,240 (4.1x), growing, 95 s old"),
        (
            dataclasses.replace(WALL, trend="steady", refills=2, age_s=600, whole_memory=True),
            "1,240 (4.1x), refilled twice, more than 10 min old",
        ),
        (GONE, "141 → 25 in 5 s, pulled, not traded"),
        (dataclasses.replace(GONE, fate="eaten", traded=90), "141 → 25 in 5 s, eaten, 90 traded"),
        (dataclasses.replace(GONE, fate="moved"), "141 → 25 in 5 s, moved, not traded"),
    ],
)
def test_a_wall_in_words(wall: Wall, said: str) -> None:
    assert wall_text(wall) == said


def outcomes(edges: dict[str, tuple[float, float, float]]) -> pl.DataFrame:
    """Rows of h1 by class: usual, lower and upper end of the difference, whose middle is the forecast's."""
    rows = [("h1", 2.0, c, u + (a + b) / 2, u + a, u + b, u, a, b) for c, (u, a, b) in edges.items()]
    columns = ("horizon", "minutes", "outcome", "p", "low", "high", "reference", "edge_low", "edge_high")
    return pl.DataFrame(rows, schema=columns, orient="row")


@pytest.mark.parametrize(
    ("reject", "broke", "words"),
    [
        ((-0.1, 0.06), (-0.05, 0.09), "no edge: chop +8, 93% interval −10 to 25"),
        ((-0.1, 0.06), (-0.002, 0.001), "no edge: chop +8, 93% interval −10 to 25"),
        ((-0.15, 0.01), (0.03, 0.15), "leans break +9, interval 3 to 15"),
        ((-0.15, -0.03), (-0.05, 0.09), "leans against reject −9, interval −15 to −3"),
        ((-0.25, -0.15), (0.03, 0.15), "leans break +9, interval 3 to 15"),
    ],
)
def test_the_verdict_is_the_interval_s_of_the_difference(reject, broke, words: str) -> None:
    rows = outcomes({"reject": (0.4, *reject), "chop": (0.3, -0.05, 0.2), "break": (0.3, *broke)})
    assert verdict_words(rows, 50.0) == words
    assert verdict_words(rows, 12.4) == "too few to tell (12 effective setups)"
    found = verdict_of(rows, FORECAST, horizon="h1", approach="approach_up", weight=0.42)
    assert found is not None
    assert found.words == words


FORECAST = {"neighbours": 48, "distinct_days": 16, "n_eff": 41.0}


def test_the_bar_has_three_parts_and_two_ticks() -> None:
    rows = outcomes({"reject": (0.4, -0.1, -0.02), "chop": (0.3, -0.1, 0.04), "break": (0.3, 0.03, 0.15)})
    found = verdict_of(rows, FORECAST, horizon="h1", approach="approach_down", weight=0.42)
    assert found is not None
    assert sum(found.shares.values()) == pytest.approx(1)
    html = decision_html(dataclasses.replace(BELOW, title="<b>Mine</b>"), found)
    for part in ("width:39.00%", "width:27.00%", "width:34.00%", "left:30.00%", "left:60.00%", "break ▼ 39%", "weight <b>42%</b>"):
        assert part in html
    assert "<b>Mine</b>" not in html
    assert "6802.00" in html
    assert verdict_of(rows, FORECAST, horizon="h3", approach="approach_up") is None
    nothing = verdict_of(rows, FORECAST, horizon="h1", approach="approach_up", nothing="too few neighbours")
    assert nothing is not None
    assert (nothing.shares, nothing.words) == (nothing.usual, "nothing comparable")


def vacuum(n: int) -> pl.DataFrame:
    """Windows of 5 s whose strengths are ±1 by turns, 3 in the last six; condition `down_1` is open where its strength is above 0."""
    x = np.where(np.arange(n) % 2, 1.0, -1.0)
    x[-6:] = 3.0
    columns = {c: x for conditions in CONDITIONS.values() for _, c, _ in conditions}
    opened = {f"{d}_{i + 1}": x * s > 0 for d, conditions in CONDITIONS.items() for i, (_, _, s) in enumerate(conditions)}
    return pl.DataFrame({"window_start_ts_ns": np.arange(n) * 5_000_000_000, **columns, **opened})


def test_conditions_by_the_share_in_which_they_were_open_and_their_strength() -> None:
    frame = vacuum(60)
    end = 60 * 5_000_000_000
    found = condition_strengths(frame, end, 5)
    means = np.convolve(frame["f1_ask_com_disp_log"].to_numpy(), np.ones(6) / 6, mode="valid")
    spread = means.std()
    assert [s.share for s in found["down"]] == [1.0] * 4
    assert [s.share for s in found["up"]] == [1.0, 1.0, 1.0, 0.0]
    assert found["down"][0].z == pytest.approx(3 / spread)
    assert found["up"][3].z == pytest.approx(-3 / spread)
    # Three of the six windows before were open, and what comes later does not count.
    before = condition_strengths(frame, end - 6 * 5_000_000_000, 5)
    assert before["down"][0].share == 0.5
    assert before == condition_strengths(frame.head(54), end - 6 * 5_000_000_000, 5)
    assert condition_strengths(frame.head(10), 50_000_000_000, 5)["up"][0].z is None
    assert condition_strengths(frame.clear(), end, 5)["up"][0].share is None
    assert "100%" in strengths_html(found, {"up": "4 of 4: 22 of 75 broke"})


def test_what_stands_is_known_at_the_moment_alone() -> None:
    rows, tape = make_frames(300, 5, span=30)
    level_id, k, end = "price:5000.00", 20_000, (START_S + 217) * NS

    def at(last_s: int) -> Standing:
        until = (START_S + last_s) * NS
        parts = (f.filter(pl.col("window_start_ts_ns") < until) for f in (rows, tape))
        lad = Ladder.from_frames(*parts, symbol=SYMBOL, date=DATE)
        session = Session(SYMBOL, DATE, lad, pl.DataFrame(), pl.DataFrame(schema=LEVEL_SCHEMA), {})
        windows = session.windows(level_id, FeatureParams()).filter(pl.col("window_end_ts_ns") <= end)
        return standing(session, level_id, k, end, row=windows.tail(1).row(0, named=True), near=5)

    assert at(300) == at(217)
    assert at(300).flow.known
    assert statement(at(300)).startswith("Price 5000.00")


def test_which_test_of_the_level_it_is() -> None:
    assert [which_test(n, coming=True) for n in (0, 1, 2, 3, 10, 20)] == [f"{n} test" for n in ("1st", "2nd", "3rd", "4th", "11th", "21st")]
    assert statement(dataclasses.replace(BELOW, approach="approach_none", tests=0, confluent=("VWAP",))).startswith(
        "PM High 6800.00, confluent with VWAP, no approach, not tested yet: "
    )
    brief = statement(dataclasses.replace(BELOW, way=(WALL, GONE)), brief=True)
    assert (
        brief
        == "PM High 6800.00, approach from below: long outpaces short at 6799, 6800, 6801; BUT at 6802 resting sells 1,240 (4.1x), growing."
    )


def test_what_followed_as_many_open_conditions_before() -> None:
    frame = gold_frame(400).sort("session_date")
    events = next(e for e in events_by_group(frame).values() if len(e))
    n_open = np.arange(len(events)) % 5
    conditions = pl.DataFrame({"open": n_open, "move_ticks": 0.0, "t10_ask_com_touch_log": 0.0, "t11_bid_com_touch_log": 0.0})
    before = np.unique(events.sessions)[-1]
    counts = open_counts(events, conditions, "h1", before)
    outcome = events.frame["outcome_h1"].to_list()
    rising = events.frame["approach"] == "approach_up"
    mine = [i for i in range(len(events)) if rising[i] and events.sessions[i] < before and events.labels("h1")[i] >= 0]
    broke = [i for i in mine if str(outcome[i]).startswith("BREAK")]
    three = [i for i in mine if n_open[i] == 3]
    found = counts.row(by_predicate=(pl.col("direction") == "up") & (pl.col("open") == 3), named=True)
    assert (found["events"], found["n_break"]) == (len(three), len(set(three) & set(broke)))
    assert found["usual"] == pytest.approx(len(broke) / len(mine))
    assert found["events"] > 0
    said = open_words(counts, {"up_open": 3, "down_open": None})
    assert said == {"up": f"3 of 4: {found['n_break']} of {found['events']} broke, usually {found['usual']:.0%}"}
    # Of sessions from the date on nothing is told.
    first = np.unique(events.sessions)[0]
    assert open_counts(events, conditions, "h1", first)["events"].sum() == 0
    assert open_words(open_counts(events, conditions, "h1", first), {"up_open": 3}) == {}


def test_a_part_of_the_bar_too_narrow_for_its_number_tells_it_on_hover() -> None:
    shares = {"break": 0.81, "chop": 0.04, "reject": 0.15}
    bar = verdict_html(Verdict(shares, shares, "no edge", 45, 15, 40.0, 0.24, 2.0, "approach_up"))
    assert "> 15%</span>" in bar
    assert "> </span>" in bar
    assert "4%, usually 4%'" in bar


def test_walls_in_the_way_are_in_the_order_in_which_price_meets_them_and_the_sentence_names_no_young_one() -> None:
    near, far = dataclasses.replace(WALL, tick=BELOW.last_tick + 2, size=90), dataclasses.replace(WALL, tick=BELOW.last_tick + 9)
    young = dataclasses.replace(WALL, tick=BELOW.last_tick + 5, size=5_000, age_s=4)
    stands = dataclasses.replace(BELOW, way=(far, near, young))
    html = decision_html(stands, "none")
    at = [html.index(f"{size:,} (") for size in (90, 5_000, 1_240)]
    assert at == sorted(at)
    assert "resting sells 1,240" in statement(stands)
    assert "5,000" not in statement(stands)


def test_a_difference_that_is_sure_and_small_is_no_edge_and_says_so() -> None:
    rows = outcomes({"reject": (0.4, -0.02, -0.002), "chop": (0.3, -0.004, 0.003), "break": (0.3, 0.011, 0.019)})
    assert verdict_words(rows, 50.0) == "no edge: break +2, under 2 points, 93% interval 1 to 2"
    still = outcomes({"reject": (0.4, -0.003, 0.002), "chop": (0.3, -0.002, 0.001), "break": (0.3, -0.001, 0.002)})
    assert verdict_words(still, 50.0) == "no edge: reject 0, 93% interval 0 to 0"
