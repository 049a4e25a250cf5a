"""Research in a lake of two markets: every question is of the page's, and what is saved tells what was asked for it."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from engine.errors import NoData
from engine.lake.catalog import LADDER, TAPE, TRIGGERS, VACUUM, dataset
from engine.lake.manifest import Lineage
from engine.lake.store import Lake
from engine.params import AuditParams
from engine.retrieval.audit import audit
from engine.retrieval.audit_store import audit_inputs, write_audit
from engine.retrieval.dataset import gold_events
from engine.retrieval.walk_forward import AuditData
from engine.selection import COLUMNS, selection_frame
from tests.support.ladders import DATE, make_frames
from tests.support.retrieval import gold_frame
from workbench import queries
from workbench.queries import Progress, simulated
from workbench.state import LevelState
from workbench.views.research import ResearchView
from workbench.views.research_sections import FeatureSection, SectionQuery

ES, NQ = "ESM5", "NQM5"
N = {ES: 400, NQ: 300}
LINEAGE = Lineage("made", "p", "c", {}, "rth")


def conditions_of(triggers: pl.DataFrame) -> pl.DataFrame:
    """A level window for each trigger, two conditions open in either direction."""
    schema = dataset(VACUUM).contract().schema()
    known = ["window_start_ts_ns", "window_end_ts_ns", "level_id", "level_tick", "distance_ticks", "approach"]
    rows = triggers.select(known)
    # The window before it: a move is only known where one is.
    before = rows.with_columns(pl.col("window_start_ts_ns") - 5 * 10**9, pl.col("window_end_ts_ns") - 5 * 10**9)
    rows = pl.concat([before, rows]).unique(["level_id", "window_end_ts_ns"]).sort("window_end_ts_ns", "level_id")
    filled = {"book_valid": True, "up_open": 2, "down_open": 2}
    fill = [pl.lit(filled.get(c, False if t == pl.Boolean else 0)).cast(t).alias(c) for c, t in schema.items() if c not in known]
    return rows.with_columns(*fill).select(pl.col(c).cast(t) for c, t in schema.items())


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake(tmp_path_factory.mktemp("markets") / "lake")
    for symbol, seed in ((ES, 1), (NQ, 7)):
        frame = gold_frame(N[symbol], seed)
        frame = frame.with_columns(pl.col("trigger_id", "episode_id").str.replace(ES, symbol))
        for (date,), rows in frame.group_by("session_date", maintain_order=True):
            assert isinstance(date, dt.date)
            made.write(TRIGGERS, symbol, date, rows.sort("window_end_ts_ns", "level_id", "kind"), LINEAGE)
            made.write(VACUUM, symbol, date, conditions_of(rows), LINEAGE)
        rows, tape = make_frames(120, 6)
        made.write(LADDER, symbol, DATE, rows, LINEAGE, {"simulated": symbol == NQ})
        made.write(TAPE, symbol, DATE, tape, LINEAGE)
    day = dict(zip(COLUMNS, (DATE, ES, 0.9, 10, 9, 0, 0, 1, 9.0, 1.0, True, ES)))
    path = made.selection_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    selection_frame([day, {**day, "dominant_symbol": NQ, "dominance_ratio": 0.8, "selected_symbol": NQ}]).write_parquet(path)
    return made


def opened(lake: Lake, section: str, contract: str) -> ResearchView:
    state = LevelState(section=section)
    state.param["contract"].objects = [ES, NQ]
    state.contract = contract
    view = ResearchView(str(lake.root), state, [])
    view.start()
    return view


def test_each_question_is_of_the_pages_market(lake: Lake) -> None:
    view = opened(lake, "hypothesis", ES)
    for contract in (NQ, ES):
        view.state.contract = contract
        armed = {}
        for key, section in view.sections.items():
            if key == "audit":
                continue
            view.state.section = key
            assert section.answer is not None, section.card.object
            armed[key] = section
        table = armed["hypothesis"].answer.table.filter(direction="both", stratum="all")
        # Every fifth never touched, and of the others each is one episode.
        assert table["events"].sum() == N[contract] * 4 // 5
        assert armed["levels"].answer.filter(level_id="all")["armed"].sum() == N[contract]
        distribution = armed["features"].answer[2].distribution
        assert sum(c.sum() for c in distribution.counts.values()) + distribution.left_out == N[contract]
        quality = armed["quality"].answer
        assert quality.sessions["symbol"].to_list() == [contract]
        assert quality.selection["dominant_symbol"].to_list() == [contract]
        assert set(quality.stale["symbol"]) <= {contract}
        assert ("80% of the trades" in armed["quality"].table.object) == (contract == NQ)
        assert view.mark.visible == (contract == NQ)


def test_a_market_is_simulated_where_its_sessions_are(lake: Lake) -> None:
    assert (simulated(str(lake.root), "ES"), simulated(str(lake.root), "NQ"), simulated(str(lake.root))) == (False, True, True)


def test_an_audit_of_another_market_is_none(lake: Lake) -> None:
    data = AuditData(gold_events(lake, "ES", kinds=("arm",))["mirrored"])
    write_audit(lake.root, audit(data, AuditParams(refit_growth=2), only=("pi", "means")), audit_inputs(lake, "ES"))
    assert queries.audit(str(lake.root), "ES").report["made_of"]["market"] == "ES"
    with pytest.raises(NoData, match=r"of ES, not of NQ; `spymaster audit --lake .* --symbol NQ`"):
        queries.audit(str(lake.root), "NQ")


def test_what_is_saved_tells_what_was_asked_for_it(lake: Lake) -> None:
    view = opened(lake, "levels", ES)
    section = view.sections["levels"]
    frame, state = section.exports()[0].make()
    assert (state["horizon"], state["market"]) == ("h1", "ES")
    # Another horizon and another market are chosen, and their answer is not there yet.
    view.active = False
    view.state.param.update(horizon="h4", contract=NQ)
    again, state = section.exports()[0].make()
    assert again is frame
    assert (state["horizon"], state["market"], state["simulated"]) == ("h1", "ES", False)
    view.state.theme = "light"
    view.front(True)
    fresh, state = section.exports()[0].make()
    assert (state["horizon"], state["market"], state["simulated"]) == ("h4", "NQ", True)
    assert fresh["armed"].sum() != frame["armed"].sum()


def test_labels_are_of_what_was_asked(lake: Lake) -> None:
    view = opened(lake, "levels", ES)
    section = view.sections["levels"]
    assert "2 min after the touch" in section.key_line.object
    view.active = False
    view.state.horizon = "h4"
    section.again()
    assert "2 min after the touch" in section.key_line.object
    view.front(True)
    assert "8 min after the touch" in section.key_line.object


def test_a_feature_is_looked_up_as_it_was_asked(lake: Lake) -> None:
    """The thread that looks it up finds what was chosen when it was asked, though the page goes on."""
    view = opened(lake, "features", ES)
    section = view.sections["features"]
    assert isinstance(section, FeatureSection)
    asked = section.asking()
    section.choice.family = "t"
    view.state.param.update(contract=NQ, horizon="h2")

    def quiet(done: int, of: int, what: str) -> None:
        """Nobody watches."""

    progress: Progress = quiet
    _, name, found = section.work(asked, progress)
    assert name == "b7_ahead_pull_add_log"
    assert np.sum([c.sum() for c in found.distribution.counts.values()]) + found.distribution.left_out == N[ES]
    assert asked == SectionQuery("h1", ES, None, view.state.level, None, 5, asked.choice)
