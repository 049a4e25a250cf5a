"""The trader's own levels: kept with the lake, undone, taken from CSV and given back, and on the page with their names."""

from __future__ import annotations

import pytest
from bokeh.events import Tap

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
    assert editor.undo() == []
    assert editor.undo() == []
    assert own_levels.read(root, "ES") == (A,)
    assert editor.undo() == []
    assert own_levels.read(root, "ES") == ()
    assert editor.undo() is None


def test_what_is_saved_is_taken_again() -> None:
    assert own_levels.parse(own_levels.to_csv([A, B]), "file") == (B, A)
    told = '# spymaster:state {}\nNote, Price,colour\nx y,"6,790.25",red\n'
    assert own_levels.parse(told, "file") == (OwnLevel(6790.25, "", "x y"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("level,name\n1,a\n", "has price, and may have name and note; found level, name"),
        ("", "found none"),
        ("price\n6800\nabc\n", "file, line 3: expected a price above zero and below 10,000,000 such as 6800.25, found 'abc'"),
        ("price\n-5\n", "line 2"),
        ("# saved\nprice,name\n\n6800,a\n1e12,b\n", "line 5: expected a price above zero and below 10,000,000"),
        ("price\n10000000000\n", "line 2: expected a price above zero and below"),
        ("price\n6800,25\n6,8\n'nan'\n", "line 4"),
        ("price,name\n6800," + "x" * 140_000 + "\n", "line 2: expected a line of a CSV file, found one that cannot be read: field larger"),
        ("price\n" + "".join(f"{i}\n" for i in range(1, 203)), "at most 200 levels"),
    ],
)
def test_a_file_of_something_else_is_named(text: str, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        own_levels.parse(text, "file")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(generated_lake(tmp_path_factory.mktemp("own"), 20_000))


def view_of(lake: str) -> LevelView:
    state, there = LevelState(), lakes.contracts(lake)
    state.param["contract"].objects, state.param["session"].objects = list(there), there["ESZ5"]
    start_ns = session_cache.load(lake, "ESZ5", DATE).ladder.start_ns
    state.param.update(contract="ESZ5", session=str(DATE), level="pm_high", cursor_ts_ns=start_ns + 4000 * NS)
    view = LevelView(lake, state, [])
    view.start()
    return view


def test_they_are_on_the_page(lake: str) -> None:
    view = view_of(lake)
    state = view.state
    last = session_cache.load(lake, "ESZ5", DATE).last_tick(view.look.now_ns)
    # In the middle of the candles' prices, where no other level has its name.
    seen, taken = view.pictures.candles.figure.y_range, view.pictures.candles.sources["names"].data["tick"]
    tick = next(k for k in range(round((seen.start + seen.end) / 2), round(seen.end)) if k not in (*taken, last))
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
    named = view.pictures.candles.sources["names"].data["text"]
    assert any("My line" in text for text in named), named
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


BROKEN = {
    "encoding": b"\xff\xfe\x00",
    "a wild price": b"price,name\n6800,a\n1e12,b\n",
    "a field without end": b"price\n" + b"1" * 140_000,
    "nothing": b"",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named_and_the_picture_stays(lake: str, content: bytes) -> None:
    path = own_levels.place(lake, "ES")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    try:
        with pytest.raises(ContractError, match="mend or remove it"):
            own_levels.read(lake, "ES")
        view = view_of(lake)
        assert view.picture.visible
        assert [line for line in view.notices.banner.lines if str(path) in line and "mend or remove it" in line]
        assert own_levels.of_session(view.look.session) == {}
        # Nothing is written over what cannot be read.
        view.guard(lambda: view.own.add(f"{view.player.frame.centre * 0.25:.2f}, mine"))
        assert path.read_bytes() == content
        path.write_text("price,name\n")
        view.guard(view.refresh)
        assert str(path) not in "".join(view.notices.banner.lines)
    finally:
        path.unlink()


def test_a_folder_in_the_files_place_is_named(lake: str) -> None:
    path = own_levels.place(lake, "ES")
    path.mkdir(parents=True)
    try:
        assert "cannot be read" in "".join(view_of(lake).notices.banner.lines)
    finally:
        path.rmdir()


def test_what_was_typed_is_read_as_it_is_meant() -> None:
    assert own_levels.told_level("6,800.25") == ("6,800.25", None, None)
    assert own_levels.told_level(" 6,800.25 , VPOC") == ("6,800.25", "VPOC", None)
    assert own_levels.told_level("6800.25, 100 lot, held, twice") == ("6800.25", "100 lot", "held, twice")
    assert own_levels.told_level("6800,") == ("6800", "", None)
    assert own_levels.told_level("abc, name") == ("abc", None, None)
    for decimal_comma in ("6800,25", "6,800,25"):
        with pytest.raises(ContractError, match="decimal point"):
            own_levels.told_level(decimal_comma)


def test_undo_leaves_what_another_page_wrote_since(tmp_path) -> None:
    root = str(tmp_path)
    mine, other = Editor(root, "ES"), Editor(root, "ES")
    mine.put(A, B)
    other.put(OwnLevel(6810.0, "theirs"), OwnLevel(B.price, "named by them"))
    assert mine.undo() == [B.price]
    assert own_levels.read(root, "ES") == (OwnLevel(6810.0, "theirs"), OwnLevel(B.price, "named by them"))
    assert mine.undo() is None
    assert other.undo() == []
    assert own_levels.read(root, "ES") == (B,)


def test_a_price_between_ticks_in_the_file_is_one_level_and_goes_with_it(tmp_path) -> None:
    root = str(tmp_path)
    own_levels.write(root, "ES", [OwnLevel(6800.3, "by hand")])
    editor = Editor(root, "ES")
    editor.put(OwnLevel(6800.25, "named"))
    assert own_levels.read(root, "ES") == (OwnLevel(6800.25, "named"),)
    assert editor.remove(6800.25)
    assert own_levels.read(root, "ES") == ()


def test_a_click_on_an_own_level_leaves_its_name_and_only_the_chart_makes_one(lake: str) -> None:
    view = view_of(lake)
    tick = view.player.frame.centre + 3
    price = f"{tick * 0.25:.2f}"
    try:
        view.own.add(f"{price}, My line, look here")
        chart, strip = (parts.figure for parts in (view.pictures.chart, view.pictures.strip))
        x = view.player.frame.x(view.player.frame.t - 30)
        view._on_tap(Tap(chart, x=x, y=tick + 0.3, modifiers={"shift": True}))
        there = own_levels.of_session(view.look.session)
        assert [(v.name, v.note) for v in there.values()] == [("My line", "look here")]
        view._on_tap(Tap(strip, x=x, y=1.0, modifiers={"shift": True}))
        assert own_levels.of_session(view.look.session) == there
        assert view.notices.banner.lines == []
        view.own.add(f"{price}, Other")
        assert [(v.name, v.note) for v in own_levels.of_session(view.look.session).values()] == [("Other", "look here")]
    finally:
        own_levels.place(lake, "ES").unlink()


def test_imported_prices_are_checked_as_typed_ones_and_put_on_the_grid(lake: str) -> None:
    view = view_of(lake)
    price = view.player.frame.centre * 0.25
    view.own._take(f"price,name\n{price:.2f},a\n{price * 2:.2f},b\n".encode())
    assert "line 3: expected a price within 20% of the last trade" in view.notices.banner.lines[0]
    assert own_levels.of_session(view.look.session) == {}
    view.own._take(f"price,name\n{price + 0.05:.2f},a\n".encode())
    assert [v.price for v in own_levels.read(lake, "ES")] == [price]
    # A level of another time stays in the file, and out of the picture.
    own_levels.write(lake, "ES", [OwnLevel(price), OwnLevel(price / 3)])
    assert list(own_levels.of_session(view.look.session)) == [f"price:{price:.2f}"]
    own_levels.place(lake, "ES").unlink()


def test_titles_of_many_levels_read_the_file_once(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of(lake)
    first = view.player.frame.centre - 100
    own_levels.write(lake, "ES", [OwnLevel((first + i) * 0.25, f"line {i}") for i in range(own_levels.MOST)])
    own_levels.of_session(view.look.session)
    looked: list[object] = []
    look = own_levels._look
    monkeypatch.setattr(own_levels, "_look", lambda path: looked.append(path) or look(path))
    items = known_items(view.look.session, "pm_high", view.player.frame.t, None)
    assert sum(str(i["label"]).startswith("line ") for i in items) == own_levels.MOST
    assert len(looked) == 1
    own_levels.place(lake, "ES").unlink()
