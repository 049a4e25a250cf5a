"""A session under way in the page and in windows of their own: how old it is, how it is gone on with, and what is said where it fails."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bokeh.document import Document
from panel.io.state import set_curdoc

from engine.live.alerts import FEED, Alert, AlertBook, alert_file, kept
from engine.live.journal import Journal, Recorder
from engine.vocab import NS
from tests.support.built import copy_of_built
from tests.support.dbn_files import utc_ns
from tests.support.lakes import MONDAY, TUESDAY
from tests.ui.test_live import STARTS, make_evening, morning
from tests.unit.test_shared_clock import act, painted
from workbench import lakes, live
from workbench.snapshot.png import picture_bytes, read_state
from workbench.state import PANELS, LevelState
from workbench.views import compare, components, journal
from workbench.views.follow import EVERY_MS
from workbench.views.level import LevelView


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[str]:
    """A recording that was stopped at 09:30."""
    root = str(copy_of_built("live-evening-0930", make_evening, tmp_path) / "lake")
    # Each look takes in at least as much as this, or all there is.
    recorded = sum(Journal(root, "ES").count(d) for d in (MONDAY, TUESDAY))
    for _ in range(2 + recorded // live.MOST_AT_ONCE):
        live.sessions(root)
    assert live._followed[root]["ES"].behind == 0
    yield root
    live._followed.pop(root, None)


def record(lake: str, begin_ns: int, end_ns: int, ends: int | None = None) -> None:
    """As a recorder goes on, and is stopped; the last record comes at `ends`."""
    recorder, records = Recorder(Path(lake), "ES", feed="replayed"), morning()
    recorder.start()
    taken = records[(records["ts_recv"] >= begin_ns) & (records["ts_recv"] < end_ns)]
    if ends is not None:
        taken["ts_recv"][-1] = taken["ts_event"][-1] = ends
    recorder.take(taken.tobytes())
    recorder.close("the test's end")


def page(lake: str, **values: object) -> LevelView:
    state, there, session = LevelState(), lakes.contracts(lake), live.sessions(lake)[0]
    state.param["contract"].objects, state.param["session"].objects = list(there), there[session.symbol]
    state.param.update(contract=session.symbol, session=str(session.date), level="price:6800", **values)
    view = LevelView(lake, state, [])
    view.start()
    painted(view)
    return view


def at(view: LevelView) -> int:
    assert view.player.frame is not None
    return view.player.frame.t


def parts(of: object) -> Iterator[object]:
    yield of
    for child in getattr(of, "objects", ()):
        yield from parts(child)


def test_windows_are_as_new_and_as_old_as_the_page_whose_clock_they_show(lake: str) -> None:
    holder = page(lake)
    act(holder, "share", "live")
    windows = {p: page(lake, panel=p, clock="live") for p in PANELS}
    views = [holder, *windows.values()]
    assert holder.player.clock.following
    first = at(holder)
    for view in views:
        painted(view)
        assert at(view) == first
        view.live._say()
        # Nothing records: the badge is in each, and the picture of each is greyed.
        assert view.live.badge in parts(view.body if view is not holder else holder.header)
        assert (view.live.badge.said["word"], view.live.badge.said["following"]) == ("STOPPED", True)
        assert view.charts.css_classes == ["sm-old"]
        assert view.charts in parts(view.body)
    # The page looks first, and what it shows is shown by all windows at once.
    record(lake, STARTS, STARTS + 20 * NS)
    holder.live.look()
    assert at(holder) > first
    for view in windows.values():
        assert at(view) == at(holder)
        assert view.player.deck.now["following"]
    # Time and sales have the trades up to the newest second.
    newest = at(holder)
    for view in views:
        painted(view)
    # A moment that is stood at is no older than it is.
    act(holder, "step", -300)
    for view in views:
        painted(view)
        view.live._say()
        assert view.charts.css_classes == []
        assert (view.live.badge.said["following"], view.live.badge.said["behind"]) == (False, 300)
    # Its button goes on with the page, and a drill's question lets neither of them look further.
    tape = windows["tape"]
    holder.player.limit(holder.player.start_ns + (newest - 100) * NS)
    tape.live.badge.back += 1
    assert at(holder) == at(tape) == newest - 100
    painted(tape)
    tape.live.badge.jump = str(holder.player.start_ns + newest * NS)
    assert at(holder) == at(tape) == newest - 100
    painted(tape)
    holder.player.limit(None)
    tape.live.badge.back += 1
    assert at(holder) == at(tape) == newest
    assert holder.player.clock.following
    assert not tape.player.clock.following


def test_the_last_trades_of_a_session_that_is_over_are_in_time_and_sales(lake: str) -> None:
    view = page(lake, tape="on")
    session, had = live.sessions(lake)[0], view.tape.known().height
    record(lake, STARTS, STARTS + 60 * NS, ends=utc_ns(TUESDAY, 21, 30))
    view.live.look()
    painted(view)
    assert not session.under_way
    assert at(view) == session.ladder.seconds
    assert session.trades().height > had
    assert view.tape.known().height == session.trades().height > 0


def test_what_fails_while_it_is_followed_is_said_and_g_tries_again(lake: str) -> None:
    with set_curdoc(Document()):
        view = page(lake)
        assert view.live.looking
        journal = next(Path(lake, "live", "ES").glob(f"{TUESDAY}/mbo.bin"))
        whole = journal.read_bytes()
        journal.write_bytes(whole + b"\xff" * 56)
        view.live.look()
        assert not view.live.looking
        assert all(timer.period > EVERY_MS for timer in view.player.doc.session_callbacks), "it looks no more"
        assert "g tries again" in view.notices.banner.lines[0]
        assert view.charts.css_classes == ["sm-old"]
        journal.write_bytes(whole)
        act(view, "end", 0)
        assert view.live.looking
        assert not any("tries again" in line for line in view.notices.banner.lines)


def test_a_page_of_a_lake_without_a_session_waits_for_one_after_another_tab_too(tmp_path: Path) -> None:
    with set_curdoc(Document()):
        view = LevelView(str(tmp_path), LevelState(), [])
        view.start()
        assert view.live.looking
        view.front(False)
        assert not view.live.looking
        view.front(True)
        assert view.live.looking
        assert view.empty.object == components.empty_lake_html(str(tmp_path))


def test_a_moment_of_a_session_under_way_has_its_picture_in_which_nothing_comes_later(lake: str) -> None:
    record(lake, STARTS, STARTS + 20 * NS)
    view = page(lake)
    view.live.look()  # the high of before 09:30 is known from then on
    painted(view)
    view.state.level = "pm_high"
    assert view.look is not None
    moment = {"contract": "ESZ5", "session": str(TUESDAY), "level": "pm_high", "cursor_ts_ns": view.look.now_ns}
    view.journal.write("the book thins out")
    assert view.notices.trouble == []
    [note] = journal.read(lake)
    own = read_state(picture_bytes(Path(lake, "pictures", note.picture)), note.picture)
    assert own is not None
    assert compare.moment_of(own)["cursor_ts_ns"] // (5 * NS) == moment["cursor_ts_ns"] // (5 * NS)
    view.journal.controls()
    assert ">picture</a>" in view.journal.list.object
    # Minutes later the same moment has the same numbers, and Compare draws it, too.
    record(lake, STARTS + 20 * NS, STARTS + 120 * NS)
    view.live.look()
    assert at(view) * NS + view.player.start_ns > moment["cursor_ts_ns"]
    under_way = compare.scene_under_way(lake, moment, *compare.as_drawn(view.state))
    assert under_way is not None
    assert under_way[0].digest() == own.drawn_sha256
    view.state.cursor_ts_ns = moment["cursor_ts_ns"]
    beside = compare.CompareView(lake, view.state, [])
    beside.start()
    assert beside.pair.second["src"].startswith("data:image/png")
    assert beside.pair.second["title"].endswith("the same numbers")


def test_alerts_of_a_page_are_kept_and_posted_once(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[dict[str, object]] = []

    class Taker(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    live._followed.pop(lake)
    monkeypatch.setenv("SPYMASTER_WEBHOOK", f"http://127.0.0.1:{server.server_port}/alert")
    for _ in range(3):
        live.sessions(lake)
    view = page(lake)
    follower = view.live.follower
    assert follower is not None
    path, of_feed = (follower.journal.path(TUESDAY, alert_file(name)) for name in ("ESZ5", FEED))
    assert not kept(path), "what had been recorded before is no news"
    for k in range(10):
        record(lake, STARTS + 40 * k * NS, STARTS + 40 * (k + 1) * NS)
        view.live.look()
        painted(view)
    follower._poster.close()
    told, now = list(follower.alerts), live.sessions(lake)[0].day.now_ns
    assert len(told) > 5
    assert sorted([*kept(path), *kept(of_feed)], key=repr) == sorted(told, key=repr)
    assert {a.kind for a in kept(of_feed)} <= {FEED}, "the feed's are the root's, whatever contract is watched"
    assert [(g["kind"], g["level_id"], g["ts_ns"]) for g in got] == [(a.kind, a.level_id, a.ts_ns) for a in told]
    # One that `spymaster live watch` has kept, and posted, is shown here all the same; one that another page has told is not told again.
    known = Alert(now, "touch", "price:1", 4, "a price: touched")
    AlertBook(path).add([known])
    before = len(kept(path))
    follower.tell([known])
    follower.tell([known, told[-1]])
    assert list(follower.alerts) == [*told, known]
    assert len(kept(path)) == before
    server.shutdown()
    server.server_close()
