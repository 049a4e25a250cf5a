"""The trader's own levels: kept with the lake, undone, taken from CSV and given back, and on the page with their names."""

from __future__ import annotations

import pytest

from engine.errors import ContractError
from engine.vocab import NS
from tests.ui.conftest import DATE, generated_lake
from workbench import lakes, own_levels, session_cache
from workbench.own_levels import Editor, OwnLevel
from workbench.state import LevelState
from workbench.views.known import known_items, known_runs
from workbench.views.level import LevelView

A, B = OwnLevel(6790.25, "VPOC", 'Monday, "tested" twice'), OwnLevel(6800.0)


def test_they_are_kept_by_market_and_undone(tmp_path) -> None:
    root = str(tmp_path)
    editor = Editor(root, "ES")
    assert own_levels.read(root, "ES") == ()
    editor.put(A)
    editor.put(B, OwnLevel(A.price, "POC"))
    assert own_levels.read(root, "ES") == (B, OwnLevel(A.price, "POC"))
    assert own_levels.read(root, "NQ") == ()
    assert not editor.remove(1.0)
    assert editor.remove(B.price)
    assert own_levels.read(root, "ES") == (OwnLevel(A.price, "POC"),)
    assert editor.undo()
    assert editor.undo()
    assert own_levels.read(root, "ES") == (A,)
    assert editor.undo()
    assert own_levels.read(root, "ES") == ()
    assert not editor.undo()


def test_what_is_saved_is_taken_again() -> None:
    assert own_levels.parse(own_levels.to_csv([A, B]), "file") == (B, A)
    told = '# spymaster:state {}\nNote, Price,colour\nx y,"6,790.25",red\n'
    assert own_levels.parse(told, "file") == (OwnLevel(6790.25, "", "x y"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("level,name\n1,a\n", "has price, and may have name and note; found level, name"),
        ("", "found none"),
        ("price\n6800\nabc\n", "file, line 3: expected a price above zero such as 6800.25, found 'abc'"),
        ("price\n-5\n", "line 2"),
        ("price\n" + "".join(f"{i}\n" for i in range(1, 203)), "at most 200 levels"),
    ],
)
def test_a_file_of_something_else_is_named(text: str, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        own_levels.parse(text, "file")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(generated_lake(tmp_path_factory.mktemp("own"), 20_000))


def test_they_are_on_the_page(lake: str) -> None:
    state, there = LevelState(), lakes.contracts(lake)
    state.param["contract"].objects, state.param["session"].objects = list(there), there["ESZ5"]
    start_ns = session_cache.load(lake, "ESZ5", DATE).ladder.start_ns
    state.param.update(contract="ESZ5", session=str(DATE), level="pm_high", cursor_ts_ns=start_ns + 4000 * NS)
    view = LevelView(lake, state, [])
    view.start()
    last = session_cache.load(lake, "ESZ5", DATE).last_tick(view.look.now_ns)
    tick = view.player.frame.centre + 3
    price = tick * 0.25
    view.own.add(f"{price:.2f}, My line, look here")
    level_id = f"price:{price:.2f}"
    assert state.level == level_id
    items = {i["id"]: i for i in known_items(view.look.session, level_id, view.player.frame.t, last)}
    assert (items[level_id]["label"], items[level_id]["title"], items[level_id]["mark"]) == (
        "My line",
        "look here",
        f"{tick - last:+d}t".replace("-", "−"),
    )
    assert view.look.standing().title == "My line"
    assert view.words.say.html.startswith("<div class='sm-say' role='status' aria-live='polite'><b>My line")
    # It stays on the page when another level is chosen, as a line with its name.
    state.level = "pm_high"
    frame = view.player.frame
    runs = known_runs(frame.look.session, "pm_high", frame.t, 0, frame.now_ns)
    assert runs.filter(level_id=level_id)["level_tick"].to_list() == [tick]
    assert any("My line" in text for text in view.pictures.chart.sources["names"].data["text"])
    # One that is not chosen is not removed by it; chosen, it is, and comes back.
    view.guard(view.own._remove)
    assert "none of your own levels" in view.notices.banner.lines[0]
    state.level = level_id
    view.own._remove()
    assert own_levels.of_session(view.look.session) == {}
    view.own._undo()
    assert list(own_levels.of_session(view.look.session)) == [level_id]
    view.own._take(b"price,name\n" + f"{price + 5:.2f},Above\n".encode())
    assert len(own_levels.of_session(view.look.session)) == 2
    frame, facts = view.own.table().make()
    assert frame["name"].to_list() == ["Above", "My line"]
    assert facts["contract"] == "ES"
    view.own._take(b"nonsense\n")
    assert "expected a CSV" in view.notices.banner.lines[0]


def test_a_broken_file_is_named(lake: str, tmp_path) -> None:
    path = own_levels.place(str(tmp_path), "ES")
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ContractError, match="mend or remove it"):
        own_levels.read(str(tmp_path), "ES")
