"""Options on the Level view without a browser: what is drawn is what the tables say at the clock, and without options nothing is drawn."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from bokeh.document import Document

from engine.lake.catalog import CHAIN, FLOW, LEVELS, MARKS, OPTION_LEVELS, PROFILE
from engine.lake.store import Lake
from engine.options.lead import OptionLead
from engine.options.profile import PARTS
from engine.options.reading import StrikeFlow
from engine.vocab import NS
from tests.support.options import lake_with_options
from tests.ui.conftest import DATE, generated_lake
from tests.unit.test_decision import BELOW
from tests.unit.test_option_reading import START, options_of, tables
from workbench import options, session_cache
from workbench.plots import hedge
from workbench.plots.decision import option_text, statement
from workbench.state import LevelState
from workbench.theme import DARK, LIGHT, contrast
from workbench.views.hedging import Hedging
from workbench.views.known import known_runs
from workbench.views.level import LevelView

AT_S = 3_303  # 09:55:03


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated_lake(tmp_path_factory.mktemp("plain"), 20_000)


@pytest.fixture(scope="module")
def lake(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lake_with_options(plain, tmp_path_factory.mktemp("options"), "ESZ5", DATE)


def view_of(lake: Path, **values: object) -> LevelView:
    s = session_cache.load(str(lake), "ESZ5", DATE)
    st = LevelState()
    st.param["contract"].objects, st.param["session"].objects = ["ESZ5"], [str(DATE)]
    at = {"contract": "ESZ5", "session": str(DATE), "level": "vwap", "cursor_ts_ns": s.ladder.start_ns + AT_S * NS}
    st.param.update(**(at | values))
    view = LevelView(str(lake), st, [])
    view.start()
    return view


@pytest.fixture(scope="module")
def view(lake: Path) -> LevelView:
    return view_of(lake)


WEIGHTS = {"naive": (1, -1, 0, 0), "flow": (0, 0, 1, 1), "hybrid": (1, -1, 1, 1)}


@pytest.mark.parametrize(("rule", "scope"), [("naive", "0dte"), ("flow", "week"), ("hybrid", "all")])
def test_bars_are_what_the_profile_says_at_the_clock(view: LevelView, lake: Path, rule: str, scope: str) -> None:
    before = {p: p.stat().st_mtime_ns for p in lake.rglob("*.parquet")}
    view.state.param.update(rule=rule, scope=scope)
    frame, parts = view.player.frame, view.pictures.hedge
    assert frame is not None
    assert parts is not None
    rows = Lake(lake).read(PROFILE, "ESZ5", DATE).filter((pl.col("scope") == scope) & (pl.col("minute_ts_ns") <= frame.now_ns))
    now = rows.filter(pl.col("minute_ts_ns") == rows["minute_ts_ns"].max())
    of = {round(r["price"] / 0.25): r for r in now.to_dicts()}
    top, met, w = parts.scale.data["top"][0], 0, WEIGHTS[rule]
    bars = parts.bars.data
    for y, c0, c1, p0, p1, c_alpha, p_alpha, x in zip(
        bars["y"], bars["c0"], bars["c1"], bars["p0"], bars["p1"], bars["c_alpha"], bars["p_alpha"], parts.net.data["x"]
    ):
        r = of.get(int(y))
        if y != int(y) or r is None:
            continue
        calls, puts = w[0] * r["call_gamma"] + w[2] * r["call_flow_gamma"], w[1] * r["put_gamma"] + w[3] * r["put_flow_gamma"]
        np.testing.assert_allclose([(c1 - c0) * top, (p1 - p0) * top, x * top], [calls, puts, calls + puts], atol=1e-9 * top)
        assert (c_alpha > 0, p_alpha > 0) == (calls > 0, puts > 0), "what brakes is filled, what drives on is hollow"
        met += 1
    assert met >= 8, "a dollar has a row of the profile"
    assert max(abs(v) for k in ("c1", "p1") for v in bars[k]) <= 1.0
    assert f"{rule} (rule)" in view.hedging._below.html
    assert f"{hedge.WORDS[scope]} expiries" in view.hedging._below.html
    assert "as of 09:55, OI 11-03" in view.hedging._below.html
    assert {p: p.stat().st_mtime_ns for p in lake.rglob("*.parquet")} == before, "a rule computes nothing in the lake"
    said = view.words.say.html
    assert re.search(
        rf"hedgers (nearly cancel, |trade )?((buy|sell) [\d,]+|0) a point \({rule}{'' if scope == 'all' else f', {scope}'}; ", said
    )


def test_bars_at_strikes_are_the_trades_of_five_minutes(view: LevelView, lake: Path) -> None:
    view.state.param.update(rule="hybrid", scope="all", rows=120)
    frame, parts = view.player.frame, view.pictures.hedge
    assert frame is not None
    assert parts is not None
    end = frame.now_ns // (5 * NS) * 5 * NS
    ended = (pl.col("window_end_ts_ns") <= end) & (pl.col("window_end_ts_ns") > end - 300 * NS)
    rows = Lake(lake).read(FLOW, "ESZ5", DATE).filter(ended)
    at, top = parts.flow.data, parts.scale.data["flow"][0] / hedge.FLOW_WIDE
    assert len(at["y"]) >= 5
    for y, up, down, rest in zip(at["y"], at["up1"], at["down1"], at["up2"]):
        mine = rows.filter(pl.col("strike") == y * 0.25)
        want = [
            sum(mine[f"{c}_es"].sum() for c in side)
            for side in (("call_bought", "put_sold"), ("put_bought", "call_sold"), ("call_unsigned", "put_unsigned"))
        ]
        got = [(up - hedge.FLOW_ZERO) * top, (hedge.FLOW_ZERO - down) * top, 2 * (rest - up) * top]
        np.testing.assert_allclose(got, want, atol=1e-6)
    said = next(t for y, t in zip(parts.bars.data["y"], parts.bars.data["said"]) if y == at["y"][0])
    assert re.search(r"^<b>\d+</b> calls .+ a point<br>0dte .+ · week .+ · rest .+<br>volatility of \d+ expiries: .*mid \d+", said)
    assert re.search(r"5 min: calls \d+ bought \d+ sold, puts .+<br>in futures: .+<br>rule hybrid, all expiries, as of 09:55<br>open", said)
    view.state.rows = 16


def test_walls_and_zero_stand_at_their_prices_and_the_zero_in_its_band(view: LevelView) -> None:
    made = view.hedging.options
    assert made is not None
    assert view.pictures.hedge is not None
    for scope in ("0dte", "all"):
        view.state.param.update(rule="naive", scope=scope)
        assert view.player.frame is not None
        levels = made.levels_at(view.player.frame.now_ns - 1, scope, "naive")
        lines, band = view.pictures.hedge.lines.data, view.pictures.hedge.band
        found = {name: y for y, text in zip(lines["y"], lines["text"]) for name in text.split()}
        assert found == {hedge.NAMES[i]: round(p / 0.25) for i, p in levels.items()}
        assert {"C", "P"} <= set(found)
        zero = levels.get("zero_gamma")
        assert band.visible == (zero is not None)
        if zero is not None:
            np.testing.assert_allclose([band.bottom, band.top], [(zero - 3) / 0.25, (zero + 3) / 0.25])
        # The lake's own levels have none of options: each of their steps is drawn once, and nothing else.
        frame = view.player.frame
        start = frame.look.session.ladder.start_ns
        of_lake = known_runs(frame.look.session, "vwap", frame.seen, start + frame.low * NS, start + frame.high * NS)
        steps = made.steps(scope, "naive").filter((pl.col("start_ts_ns") < frame.seen_ns) & (pl.col("end_ts_ns") > start + frame.low * NS))
        drawn = Counter(view.pictures.chart.sources["levels"].data["y"])
        assert drawn == Counter(of_lake["level_tick"].to_list()) + Counter((steps["price"] / 0.25).round().cast(pl.Int32).to_list())
        assert {round(p / 0.25) for p in levels.values()} <= set(drawn)
    view.state.param.update(rule="hybrid", scope="all")


def test_a_step_that_begins_now_is_known_a_moment_later_as_all_levels_are(view: LevelView) -> None:
    made, session = view.hedging.options, view.player.frame.look.session
    assert made is not None
    first = made.steps("all", "hybrid")["start_ts_ns"].min()
    at = view.state.cursor_ts_ns
    for cursor, there in ((first, False), (first + NS, True)):
        view.state.cursor_ts_ns = cursor
        assert view.player.frame.now_ns == cursor
        assert bool(view.pictures.hedge.lines.data["y"]) == there
        assert ("C " in view.hedging._below.html) == there
        drawn = set(view.pictures.chart.sources["levels"].data["y"])
        assert ({round(p / 0.25) for p in made.levels_at(first, "all", "hybrid").values()} <= drawn) == there
    view.state.cursor_ts_ns = at
    assert session.ladder.start_ns < first


def with_rows(lake: Path, folder: Path, key: str, change: Callable[[pl.DataFrame], pl.DataFrame], **notes: object) -> Path:
    """A copy of a lake with another table in the place of one."""
    shutil.copytree(lake, folder / "lake")
    made = Lake(folder / "lake")
    manifest = made.manifest(key, "ESZ5", DATE)
    made.write(key, "ESZ5", DATE, change(made.read(key, "ESZ5", DATE)), manifest.lineage, {**manifest.notes, **notes})
    return folder / "lake"


def test_the_chosen_level_of_options_is_drawn_once(lake: Path, tmp_path: Path) -> None:
    theirs = Lake(lake).read(OPTION_LEVELS, "ESZ5", DATE)

    def with_walls(levels: pl.DataFrame) -> pl.DataFrame:
        walls = theirs.filter((pl.col("scope") == "all") & (pl.col("level_id") == "call_wall"))
        tick = (pl.col("price") / 0.25).round().cast(levels.schema["level_tick"]).alias("level_tick")
        return pl.concat([levels, walls.with_columns(tick).select(levels.columns)])

    shown = view_of(with_rows(lake, tmp_path, LEVELS, with_walls), level="call_wall", scope="0dte")
    frame = shown.player.frame
    assert frame is not None
    data = shown.pictures.chart.sources["levels"].data
    of_lake, of_scope = (
        theirs.filter((pl.col("scope") == s) & (pl.col("level_id") == "call_wall") & (pl.col("start_ts_ns") < frame.now_ns))
        for s in ("all", "0dte")
    )
    assert of_scope.height, "the scope has a wall of its own"
    thick = [y for y, width in zip(data["y"], data["chosen"]) if width == 3.0]
    assert thick == (of_lake["price"] / 0.25).round().cast(pl.Int32).to_list()


def test_a_session_whose_options_give_nothing_says_why(lake: Path, tmp_path: Path) -> None:
    why = dict.fromkeys(("call_wall", "put_wall", "zero_gamma"), "the chain has no options on ESZ5")
    shown = view_of(with_rows(lake, tmp_path, PROFILE, lambda p: p.clear(), absent=why))
    assert shown.hedging.options is None
    line = shown.hedging.controls()[1]
    assert "Calls, puts and hedging are not drawn: the chain has no options on ESZ5." in line.object
    assert "spymaster" not in line.object, "no command makes what is not there"


def page_json(view: LevelView) -> str:
    """The page as it is sent, what is numbered in it named in the order in which it comes."""
    document, names = Document(), dict[str, str]()
    document.add_root(view.body.get_root(document))
    numbered = r"\b(p\d{4,}|[0-9a-f]{8}-[0-9a-f-]{27}|[A-Za-z]+\d{5})\b"
    return re.sub(numbered, lambda m: names.setdefault(m[1], f"#{len(names)}"), json.dumps(document.to_json(deferred=False)))


def test_a_page_without_options_holds_nothing_of_them(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = view_of(plain)
    assert (shown.pictures.hedge, shown.hedging.options, shown.hedging._column) == (None, None, None)
    assert "hedgers" not in shown.words.say.html
    page = page_json(shown)
    form, line = shown.hedging.controls()
    assert (form.visible, line.visible) == (False, True)
    assert "<code>spymaster run --lake" in line.object
    assert "makes them." in line.object
    for act in ("open", "paint"):
        monkeypatch.setattr(Hedging, act, lambda *_, **__: None)
    assert page_json(view_of(plain)) == page


@pytest.mark.parametrize("key", [PROFILE, OPTION_LEVELS, FLOW, CHAIN])
def test_options_that_are_harmed_take_nothing_of_the_page(lake: Path, tmp_path: Path, key: str) -> None:
    shutil.copytree(lake, tmp_path / "lake")
    part = next(Lake(tmp_path / "lake").path(key, "ESZ5", DATE).glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:1000])
    shown = view_of(tmp_path / "lake")
    assert shown.player.frame is not None
    assert shown.pictures.hedge is None
    line = shown.hedging.controls()[1]
    assert "Calls, puts and hedging are not drawn: " in line.object
    assert key in line.object


@pytest.mark.parametrize("gone", [False, True])
def test_marks_that_are_harmed_or_gone_take_the_volatilitys_source_alone(lake: Path, tmp_path: Path, gone: bool) -> None:
    shutil.copytree(lake, tmp_path / "lake")
    folder = Lake(tmp_path / "lake").path(MARKS, "ESZ5", DATE)
    if gone:
        shutil.rmtree(folder)
    else:
        part = next(folder.glob("*.parquet"))
        part.write_bytes(part.read_bytes()[:1000])
    shown = view_of(tmp_path / "lake")
    assert shown.player.frame is not None
    assert shown.pictures.hedge is not None
    said = shown.pictures.hedge.bars.data["said"]
    assert len(said) > 8
    assert all("<br>where volatility is from is not known:<br>" in s and MARKS in s and "volatility of" not in s for s in said)
    assert "naive" in shown.hedging._below.html
    assert "hedgers" in shown.words.say.html


LEAD = OptionLead("hybrid", "all", {"naive": 180.0, "flow": 130.0, "hybrid": 310.0}, 1, "up", "calls bought", (6800.0,))


@pytest.mark.parametrize(
    ("changed", "up", "said"),
    [
        ({}, True, "hedgers sell 310 a point (hybrid; naive 180); options push up at 6800, mostly calls bought"),
        ({"flow": ""}, False, "hedgers buy 310 a point (hybrid; naive 180)"),
        ({"rule": "naive", "scope": "0dte", "flow": ""}, True, "hedgers sell 180 a point (naive, 0dte; hybrid 310)"),
        (
            {
                "gamma": {"naive": 180.0, "flow": -490.0, "hybrid": -310.0},
                "side": -1,
                "flow": "down",
                "mostly": "calls sold",
                "strikes": (6.0, 7.0, 8.0, 9.0),
            },
            True,
            "hedgers buy 310 a point (hybrid; naive sell 180, rules disagree); options push down at 6, 7, 8 and 1 more, mostly calls sold",
        ),
        (
            {"flow": "down", "mostly": "", "strikes": ()},
            True,
            "hedgers sell 310 a point (hybrid; naive 180); options push down over several strikes, puts bought and calls sold",
        ),
        ({"gamma": {"flow": 130.0, "hybrid": 130.0}, "flow": ""}, True, "hedgers sell 130 a point (hybrid; no open interest yet)"),
        ({"gamma": {"naive": 0.2, "hybrid": -30.0}, "side": -1, "flow": ""}, True, "hedgers buy 30 a point (hybrid; naive 0)"),
        ({"gamma": {"naive": 30.0, "hybrid": -0.2}, "side": -1, "flow": ""}, True, "hedgers trade 0 a point (hybrid; naive sell 30)"),
        (
            {"gamma": {"naive": 30.0, "hybrid": -0.2}, "side": 0, "flow": ""},
            True,
            "hedgers nearly cancel, 0 a point (hybrid; naive sell 30)",
        ),
        ({"side": 0, "flow": ""}, True, "hedgers nearly cancel, sell 310 a point (hybrid; naive 180)"),
    ],
)
def test_the_sentence_says_what_hedgers_do(changed, up: bool, said: str) -> None:
    lead = dataclasses.replace(LEAD, **changed)
    assert option_text(lead, up=up) == said
    if up:
        assert statement(dataclasses.replace(BELOW, options=lead)).endswith(f"1,240 (4.1x), growing; {said}.")


def test_the_panel_says_what_is_not_known() -> None:
    frames = tables()
    look = options.Looked("ESZ5", START + 90 * NS, 1, 6800.0, "6800")
    no_oi = frames["profile"].with_columns(pl.lit(None, pl.Int64).alias("oi_as_of_ts_ns"), *(pl.lit(0.0).alias(c) for c in PARTS[:2]))
    before = options_of({**frames, "profile": no_oi, "levels": frames["levels"].filter(pl.col("rule") == "flow")})
    said = options.panel_html(before, look, scope="week", rule="hybrid")
    assert "0G not known: no open interest yet" in said
    assert "<span class='m'>naive</span><span class='n m'>–</span>" in said
    assert re.search(r"hybrid \(rule\)</span><span class='n on'>[+−]\d+<", said)
    assert re.search(r"0G 6\d{3} ±3", options.panel_html(before, look, scope="week", rule="flow"))
    none = options_of(
        {**frames, "profile": frames["profile"].with_columns(contracts_used=pl.lit(0, pl.Int32)), "levels": frames["levels"].clear()}
    )
    said = options.panel_html(none, look, scope="0dte", rule="hybrid")
    assert "0G none: no options of these expiries" in said
    assert said.count("–</span>") == 3
    assert "0G none near" in options.panel_html(options_of({**frames, "levels": frames["levels"].clear()}), look, scope="0dte", rule="flow")


def test_puts_of_the_same_sign_begin_where_calls_end() -> None:
    calls, puts = np.array([30.0, 30.0, np.nan]), np.array([-10.0, 20.0, 1.0])
    bars, net = hedge.hedge_data(np.array([1.0, 2.0, 3.0]), 1, calls, puts, hedge.hedge_top(calls, puts), ["a", "b", "c"])
    assert hedge.hedge_top(calls, puts) == 50.0
    assert (bars["c1"], bars["p0"], bars["p1"], bars["said"]) == ([0.6, 0.6], [0.0, 0.6], [-0.2, 1.0], ["a", "b"])
    assert net["x"] == pytest.approx([0.4, 1.0])


def test_what_has_no_side_is_half_on_each_end() -> None:
    one = np.ones(1)
    flow = StrikeFlow(6800 * one, 30 * one, 10 * one, 20 * one, {})
    made, top = hedge.flow_data(flow, 0.25, 1, 27_000, 27_300)
    assert top == 50.0
    ends = [made[k][0] for k in ("down2", "down1", "up1", "up2")]
    np.testing.assert_allclose((np.array(ends) - hedge.FLOW_ZERO) / hedge.FLOW_WIDE, [-0.4, -0.2, 0.6, 0.8])
    assert hedge.flow_data(flow, 0.25, 1, 27_201, 27_300)[0]["y"] == []


def test_calls_and_puts_can_be_told_from_the_ground_and_from_each_other() -> None:
    for theme in (DARK, LIGHT):
        assert min(contrast(c, theme.map_floor) for c in (theme.call, theme.put)) >= 3
    assert options.signed(-3.6) == "−4"
    assert options.signed(-0.4) == "0"
