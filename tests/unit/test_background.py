"""Work beside the page: nothing stays busy for ever, what is superseded is not begun, and one page leaves the others their turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.io import curdoc
from panel.io.state import set_curdoc

from engine.errors import EngineError, NoData, RunFailed
from workbench.views import background as module
from workbench.views.background import OF_A_PAGE, BackgroundTask, FairQueue, Job

WAIT_S = 20


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.002)


class Page:
    """A document whose loop is run by hand."""

    def __init__(self) -> None:
        self.doc = Document()
        self.told: list[Any] = []
        self.later = BackgroundTask(lambda *a: self.told.append(a))

    def start(self, work: Callable[..., Any], done: Callable[[Any], None], failed: Callable[[EngineError], None]) -> None:
        with set_curdoc(self.doc):
            self.later.start(work, done, failed)

    def turn(self) -> None:
        """What the loop has to do now."""
        for callback in self.doc.session_callbacks:
            self.doc.remove_next_tick_callback(callback)
            with set_curdoc(self.doc):
                callback.callback()

    def come(self, *, what: Callable[[], bool]) -> None:
        def ready() -> bool:
            self.turn()
            return what()

        until(ready)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> FairQueue:
    made = FairQueue(1)
    monkeypatch.setattr(module, "TURNS", made)
    return made


def broken(_: object) -> None:
    raise ZeroDivisionError("in the pane")


def logged(caplog: pytest.LogCaptureFixture) -> list[type[BaseException] | None]:
    """Kinds of the defects that the server's log has."""
    return [r.exc_info[0] for r in caplog.records if r.exc_info]


def test_a_defect_in_what_paints_the_answer_is_told_and_the_pane_can_ask_again(caplog: pytest.LogCaptureFixture) -> None:
    page, said = Page(), []
    page.start(lambda go_on: 7, broken, said.append)
    page.come(what=lambda: bool(said))
    assert logged(caplog) == [ZeroDivisionError]
    # The current document is what it was: Bokeh would keep the page's for good, had a callback raised.
    assert curdoc() is not page.doc
    assert [type(e) for e in said] == [RunFailed]
    assert "ZeroDivisionError: in the pane" in str(said[0])
    assert not page.later.busy
    page.start(lambda go_on: 8, said.append, said.append)
    page.come(what=lambda: said[-1] == 8)

    def refuses(_: object) -> None:
        raise NoData("no such figure")

    page.start(lambda go_on: 9, refuses, said.append)
    page.come(what=lambda: str(said[-1]) == "no such figure")


def test_a_defect_in_a_thread_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    page, said = Page(), []
    page.start(lambda go_on: 1 / 0, said.append, said.append)
    page.come(what=lambda: bool(said))
    assert logged(caplog) == [ZeroDivisionError]
    assert [type(e) for e in said] == [RunFailed]
    assert not page.later.busy


def test_a_defect_without_a_page_is_told_and_leaves_nothing_busy(caplog: pytest.LogCaptureFixture) -> None:
    said: list[Any] = []
    later = BackgroundTask(lambda *a: None)
    for work, done in ((lambda go_on: 1 / 0, said.append), (lambda go_on: 1, broken)):
        later.start(work, done, said.append)
        assert logged(caplog).pop() is ZeroDivisionError
        assert isinstance(said.pop(), RunFailed)
        assert not later.busy

    def interrupted(go_on: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        later.start(interrupted, said.append, said.append)
    assert (later.busy, said) == (False, [])


def test_what_is_superseded_before_its_turn_is_never_begun(turns: FairQueue) -> None:
    gate, begun, got = threading.Event(), [], []
    other, page = Page(), Page()
    other.start(lambda go_on: gate.wait(WAIT_S), got.append, got.append)
    until(lambda: len(turns._running) == 1)
    for i in range(5):
        page.start(lambda go_on, i=i: begun.append(i) or i, got.append, got.append)
    assert page.later.busy
    gate.set()
    page.come(what=lambda: got == [4])
    assert begun == [4]
    # A page that is closed wants nothing any more, neither.
    gate.clear()
    other.start(lambda go_on: gate.wait(WAIT_S), got.append, got.append)
    page.start(lambda go_on: begun.append(9), got.append, got.append)
    page.later._gone(None)
    gate.set()
    other.come(what=lambda: got == [4, True])
    until(lambda: not turns._running)
    assert (begun, page.later.busy) == ([4], False)


def test_what_runs_ends_at_its_next_progress_when_it_is_superseded(turns: FairQueue) -> None:
    page, got, steps = Page(), [], []
    go = threading.Event()

    def long(go_on: module.Progress) -> int:
        for i in range(1000):
            steps.append(i)
            go.wait(WAIT_S) if i == 3 else None
            go_on(0, 0, "")
        return -1

    page.start(long, got.append, got.append)
    until(lambda: len(steps) == 4)
    page.start(lambda go_on: 1, got.append, got.append)
    go.set()
    page.come(what=lambda: got == [1])
    assert steps == [0, 1, 2, 3]


def test_progress_without_a_number_is_told_when_its_words_are_new() -> None:
    page, got, end = Page(), [], threading.Event()

    def work(go_on: module.Progress) -> int:
        for words in ("", "reading", "reading", "", "fitting"):
            for _ in range(50):
                go_on(0, 0, words)
        end.wait(WAIT_S)
        return 1

    page.start(work, got.append, got.append)
    page.come(what=lambda: len(page.told) == 2)
    end.set()
    page.come(what=lambda: got == [1])
    assert sorted(page.told) == [(0, 0, "fitting"), (0, 0, "reading")]


def test_a_page_that_asks_much_leaves_the_others_their_turn() -> None:
    turns, gate = FairQueue(OF_A_PAGE + 1), threading.Event()
    begun: list[str] = []
    greedy, modest = object(), object()

    def job(page: object, name: str) -> Job:
        return Job(page, lambda: (begun.append(name), gate.wait(WAIT_S))[0])

    for i in range(6):
        turns.put(job(greedy, f"greedy {i}"))
    until(lambda: len(begun) == OF_A_PAGE)
    turns.put(job(modest, "modest"))
    until(lambda: "modest" in begun)
    assert begun.index("modest") == OF_A_PAGE
    gate.set()
    until(lambda: len(begun) == 7)
