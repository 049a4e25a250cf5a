"""The page's scripts: the browser parses each, their pure functions are called in it, and Bokeh still has what the bridge takes of it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.ui.conftest import Server
from tests.ui.pages import opened
from workbench.assets import CSS, JS, script, style

WORKBENCH = JS.parent
SCRIPTS = sorted(p.stem for p in JS.glob("*.js"))
STYLES = sorted(p.stem for p in CSS.glob("*.css"))


@pytest.fixture(scope="module")
def blank(browser: Browser) -> Iterator[Any]:
    context = browser.new_context()
    page = context.new_page()
    yield page
    context.close()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_parsed_by_the_browser(blank: Any, name: str):
    """A component's as a module, as Panel takes it; a callback's, which exports nothing, as the body of a function, as Bokeh does."""
    error = blank.evaluate(
        """async (text) => {
          const url = URL.createObjectURL(new Blob([text], {type: 'text/javascript'}));
          try { if (text.includes('export ')) await import(url); else new Function(text); } catch (e) { return String(e); }
          return '';
        }""",
        script(name),
    )
    assert error == ""


def test_a_script_that_is_wrong_does_not_pass(blank: Any):
    error = blank.evaluate(
        """async (text) => {
          const url = URL.createObjectURL(new Blob([text], {type: 'text/javascript'}));
          try { await import(url); } catch (e) { return e.name; }
        }""",
        script("make").replace("=>", "="),
    )
    assert error == "SyntaxError"


@pytest.mark.parametrize("name", STYLES)
def test_a_style_is_parsed_whole(blank: Any, name: str):
    text = style(name, text="#000", page="#fff", edge="#777", error="#f00", dark="--a: 1", light="--a: 2", variables="--a: 1")
    count = "const count = (rules) => [...rules].reduce((n, r) => n + (r.selectorText ? 1 : 0) + (r.cssRules ? count(r.cssRules) : 0), 0);"
    rules = blank.evaluate(f"(t) => {{ {count} const s = new CSSStyleSheet(); s.replaceSync(t); return count(s.cssRules); }}", text)
    # A rule for another browser's own element is passed over whole.
    assert rules == len([r for r in re.findall(r"[^{}]*\{[^{}]*\}", text) if "-moz-" not in r])


def called(page: Any, names: tuple[str, ...], expression: str) -> Any:
    # A component's script is a module; here it is the body of a function, which exports nothing.
    text = script(*names).replace("export function render", "function render")
    return page.evaluate(f"() => {{ {text}; return {expression}; }}")


FACTS = "{step: [4], x0: [1000000], w: [5000], size: [0.25], digits: [2], k: [27200], sided: [1], signed: [0], title: ['resting']}"
QUOTES = "{x: [1000000, 1005000], bid: [27199, 27200], ask: [27201, 27203]}"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (f"readout.time({FACTS}, 1007400)", "00:16:45"),
        (f"readout.row({FACTS}, 27203.2)", 27200),
        (f"readout.row({FACTS}, 27203.6)", 27204),
        (f"readout.price({FACTS}, 27201)", "6800.00 – 6800.75"),
        (f"readout.distance({FACTS}, 27196)", "−4 ticks"),
        (f"readout.distance({FACTS}, 27204)", "+4 ticks"),
        (f"readout.distance({FACTS}, 27200)", "0 ticks"),
        (f"readout.side({FACTS}, {QUOTES}, 1001000, 27199)", " bid"),
        (f"readout.side({FACTS}, {QUOTES}, 1001000, 27201)", " ask"),
        (f"readout.side({FACTS}, {QUOTES}, 1006000, 27200)", " bid"),
        (f"readout.side({FACTS}, {QUOTES}, 1006000, 27201.6)", ""),
        (f"readout.side({FACTS}, {QUOTES}, 999999, 27199)", ""),
        (f"readout.size({FACTS}, {QUOTES}, 1001000, 27201, 1240, 65535)", "resting ask 1,240 contracts"),
        (f"readout.size({FACTS}, {QUOTES}, 1001000, 27201, 65535, 65535)", "book not valid"),
        (f"readout.size({FACTS}, {QUOTES}, 1001000, 27201, NaN, 65535)", "book not valid"),
        (f"readout.size({{...{FACTS}, signed: [1], title: ['net']}}, {QUOTES}, 0, 0, -0.25, 65535)", "net −0.250"),
    ],
)
def test_the_read_out_says_what_is_under_the_pointer(blank: Any, expression: str, value: Any):
    assert called(blank, ("readout",), expression) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [("time", "00:16:45"), ("price", "6801.00 – 6801.75"), ("distance", "+4 ticks"), ("size", "resting ask 1,240 contracts")],
)
def test_a_line_of_the_read_out_is_made_of_what_bokeh_hands_over(blank: Any, kind: str, value: str):
    text = script("readout", "readout_line", KIND=kind, NO_BOOK=65535)
    of = f"{{data: {FACTS}}}, {{data: {QUOTES}}}, {{x: 1007400, y: 27205}}, 1240"
    said = blank.evaluate(f"(text) => new Function('facts', 'quotes', 'special_vars', 'value', text)({of})", text)
    assert said == value


@pytest.mark.parametrize(
    ("kind", "tick", "label"),
    [
        ("price", 27201, "6800.25"), ("distance", 4, "+4"), ("distance", -4, "\u22124"), ("distance", 0, "0"), ("ladder", -0.5, "◄ short"),
        ("ladder", 0.5, "long ►"), ("ladder", 1.42, "resting"), ("ladder", 2.45, "change"), ("contracts", -0.5, "1,250"),
    ],
)  # fmt: skip
def test_an_axis_says_what_a_coordinate_is(blank: Any, kind: str, tick: float, label: str):
    call = "(text) => new Function('size', 'digits', 'scale', 'tick', text)(0.25, 2, {data: {top: [2500]}}, " + str(tick) + ")"
    assert blank.evaluate(call, script("axis_label", KIND=kind)) == label


def test_the_axis_of_distances_follows_that_of_prices(blank: Any):
    call = "(text) => { let set; const axis = {setv: (v) => { set = v; }}; const prices = {start: 27190, end: 27220};"
    call += " new Function('prices', 'distances', 'facts', text)(prices, axis, {data: {k: [27200]}}); return set; }"
    assert blank.evaluate(call, script("bokeh_bridge", "distance_axis")) == {"start": -10, "end": 20}


def test_an_element_is_made_with_its_properties_and_children(blank: Any):
    made = called(blank, ("make",), "make('div', {className: 'a', title: '<b>'}, ['x', make('b', {textContent: 'y'})]).outerHTML")
    assert made == '<div class="a" title="&lt;b&gt;">x<b>y</b></div>'


@pytest.mark.parametrize(
    ("names", "expression", "value"),
    [
        (("wall",), "[signed(4), signed(-4), signed(0)]", ["+4", "\u22124", "0"]),
        (("wall",), "[...new Int16Array(bytes('AQD+/w=='))]", [1, -2]),
        (("wall",), "[sizeCode(0, 400), sizeCode(100, 400), sizeCode(400, 400), sizeCode(9999, 400)]", [1, 128, 255, 255]),
        (("wall",), "[signedCode(0), signedCode(1000), signedCode(2000)]", [1, 128, 255]),
        # Nothing after the scrubber: a column is drawn once it is over, the setup itself always.
        (("wall",), "[-61, -60, -59.9, -50, 0, 900].map((at) => columnsUntil({start: -60, step: 10, n: 12}, at))", [0, 0, 0, 1, 6, 12]),
        (("wall",), "columnsUntil({start: -60, step: 10, n: 12, query: true}, -60)", 12),
        (("pair",), "[within(-1, 5), within(3, 5), within(9, 5), within(3, -2)]", [0, 3, 5, 0]),
        (("bokeh_bridge", "live"), "[pixelOf('#010203'), pixelOf('#01020304')]", [0xFF030201, 0x04030201]),
        (("transport",), "pathPoints([0, 20, 40], [100, 108, 104])", "0,30 20,2 40,16"),
        (("transport",), "pathPoints([0, 20], [100, 102])", "0,30 20,23"),
        (("commands",), "codeParts('run `spymaster run` again')", [["run ", False], ["spymaster run", True], [" again", False]]),
        (("price_axis",), "stretched(10, 30, 0)", {"start": 10, "end": 30}),
        (("price_axis",), "Math.round(10 * stretched(10, 30, 200).end)", 472),
        (("bokeh_bridge",), "bokeh.spec(3)", 3),
        (("bokeh_bridge",), "Object.keys(bokeh.spec({value: 'x'}))", ["value", "transform", "units"]),
    ],
)
def test_a_pure_function_returns(blank: Any, names: tuple[str, ...], expression: str, value: Any):
    assert called(blank, names, expression) == value


def test_one_act_is_on_its_way_at_a_time_and_only_the_last_of_the_others_follows(blank: Any):
    sent = called(
        blank,
        ("in_order",),
        """(() => {
          const sent = [], tell = inOrder((name, value) => sent.push([name, value]), (name, a, b) => b);
          tell('x', 1); tell('x', 2); tell('x', 3);
          const before = tell.busy(), asked = [tell.asked('x'), tell.asked('y')], more = tell.answered(), last = tell.asked('x');
          const done = tell.answered();
          return {sent, before, asked, more, last, done, after: tell.busy(), none: tell.asked('x') === undefined};
        })()""",
    )
    assert sent == {
        "sent": [["x", 1], ["x", 3]], "before": True, "asked": [3, None], "more": False, "last": 3, "done": True, "after": False,
        "none": True,
    }  # fmt: skip


def test_what_waits_is_bounded_and_the_newest_is_kept(blank: Any):
    sent = called(
        blank,
        ("in_order",),
        """(() => {
          const sent = [], tell = inOrder((name, value) => sent.push(value), () => undefined, 3);
          for (let i = 0; i < 9; i++) tell('x', i);
          while (tell.busy()) tell.answered();
          return sent;
        })()""",
    )
    assert sent == [0, 6, 7, 8]


DECK = """(() => {
  const on = {}, listen = (k, f) => { on[k] = f; };
  const model = {now: {}, track: {}, speeds: ['1x'], active: true, window_s: 5, figures: {}, panels: [], painted: 0, on: listen};
  const sent = [];
  Object.defineProperty(model, 'acted', {set: (v) => sent.push([v.name, v.value])});
  document.body.replaceChildren(render({model, el: document.body}));
  const key = (k, repeat = false) => window.dispatchEvent(new KeyboardEvent('keydown', {key: k, repeat, cancelable: true}));
  const answer = (now) => { model.now = {...model.now, ...now}; on.now(); };
  ACTS
  on.remove();
  return sent;
})()"""


def test_keys_go_on_after_one_that_met_no_session_and_held_keys_are_one_act(blank: Any):
    def acts(text: str) -> Any:
        return called(blank, ("bokeh_bridge", "make", "in_order", "price_axis", "transport"), DECK.replace("ACTS", text))

    # The server's answer where no session is open has no clock.
    assert acts("key('ArrowRight'); answer({answered: 1}); key('Home');") == [["step", 5], ["open", 0]]
    held = "key(']'); for (let i = 0; i < 30; i++) key(']', true); key('['); for (let i = 0; i < 400; i++) key(i % 2 ? 'Home' : 'End');"
    sent = acts(held + "for (let n = 1; n < 90; n++) answer({answered: n});")
    # What was held first gave way to what came last: one is on its way, fifty wait.
    assert sent[0] == ["touch", 1]
    assert len(sent) == 51
    assert sent[-1] == ["open", 0]
    assert acts("key(']'); for (let i = 0; i < 30; i++) key(']', true); answer({answered: 1});") == [["touch", 1], ["touch", 30]]
    # Space twice is as it was, and held it is one; so is a call, of which the first counts.
    assert acts("key(' '); key(' '); key(' ', true); answer({answered: 1});") == [["play", True], ["play", False]]
    assert acts("key('r'); key('r', true); key('b'); key('c'); answer({answered: 1});") == [["call", "reject"], ["call", "break"]]


def test_acts_wait_in_their_order_and_what_belongs_together_is_one(blank: Any):
    sent = called(
        blank,
        ("in_order",),
        """(() => {
          const sent = [], tell = inOrder((name, value) => sent.push([name, value]), (name, a, b) => name === 'step' ? a + b : undefined);
          tell('play', true); tell('step', 5); tell('step', 5); tell('layer', 1); tell('layer', 1); tell('step', -1);
          const busy = tell.busy(), answers = [];
          while (tell.busy()) answers.push(tell.answered());
          return {sent, busy, answers};
        })()""",
    )
    acts = [["play", True], ["step", 10], ["layer", 1], ["layer", 1], ["step", -1]]
    assert sent == {"sent": acts, "busy": True, "answers": [False, False, False, False, True]}


def test_bokeh_has_what_the_bridge_takes_of_it(browser: Browser, made_server: Server):
    with opened(browser, made_server.url) as (page, _):
        assert called(page, ("bokeh_bridge",), "bokeh.contract('level_chart')") == []
        # What is missing is said by name.
        assert called(page, ("bokeh_bridge",), "bokeh.contract('no such figure')") == ["view of the figure no such figure"]
        without = "(() => { const v = bokeh.figure('level_chart'); v.request_repaint = 0; const out = bokeh.contract('level_chart');"
        assert called(page, ("bokeh_bridge",), f"{without} delete v.request_repaint; return out; }})()") == ["view.request_repaint"]
        band = called(page, ("bokeh_bridge",), "bokeh.band(bokeh.figure('ladder'))")
        assert (set(band), {type(v) for v in band.values()} <= {int, float}) == ({"top", "bottom", "alpha", "width"}, True)
        # What it gives out is plain, and the canvas is the page's own.
        chart = "const v = bokeh.figure('level_chart'), { sx, sy, bbox } = bokeh.frame(v), { x_range: x, y_range: y } = v.model;"
        near = "(a, b) => Math.abs(a - b) < 1"
        corners = "[[sx(x.start), bbox.left], [sx(x.end), bbox.right], [sy(y.start), bbox.bottom], [sy(y.end), bbox.top]]"
        assert called(page, ("bokeh_bridge",), f"(() => {{ {chart} return {corners}.every(([a, b]) => ({near})(a, b)); }})()")
        image = "(() => { const v = bokeh.figure('level_chart'), { codes, rows, columns } = bokeh.image(bokeh.source(v, 'heat'));"
        assert called(page, ("bokeh_bridge",), f"{image} return codes.length === rows * columns && rows > 0; }})()")
        sizes = "const v = bokeh.figure('level_chart'), c = bokeh.canvas(v); return [c.width / c.clientWidth, bokeh.pixelRatio(v)];"
        real, said = called(page, ("bokeh_bridge",), f"(() => {{ {sizes} }})()")
        assert real == pytest.approx(said, rel=0.01)


def test_every_script_and_style_is_used():
    sources = "".join(p.read_text() for p in WORKBENCH.rglob("*.py"))
    assert (len(SCRIPTS), len(STYLES)) > (10, 10)
    assert [n for n in (*SCRIPTS, *STYLES) if f'"{n}"' not in sources and f"'{n}'" not in sources] == []


def test_the_wheel_holds_the_scripts_and_styles():
    root = WORKBENCH.parent
    build = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    # Whole packages, and nothing said of what to leave out: all files that git does not ignore go into the wheel.
    assert build == {"targets": {"wheel": {"packages": ["engine", "workbench"]}}}
    ignored = (root / ".gitignore").read_text().split()
    assert [p for p in ignored if p.strip("/") in ("js", "css", "workbench", "*.js", "*.css")] == []


def test_a_script_or_style_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match=r"nothing\.js"):
        script("nothing")
    with pytest.raises(KeyError, match="dark"):
        style("page")
    assert script(LIMIT=3, NAME="a'b").splitlines() == ["const LIMIT = 3;", 'const NAME = "a\'b";']
    assert Path(WORKBENCH, "js").is_dir()
