"""The page's scripts: the browser parses each, their pure functions are called in it, and Bokeh still has what the bridge takes of it."""

from __future__ import annotations

import ast
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
    """As a module, as Panel takes it; a callback's script has no export and is the body of a function."""
    error = blank.evaluate(
        """async (text) => {
          const url = URL.createObjectURL(new Blob([text], {type: 'text/javascript'}));
          try { await import(url); } catch (e) { return String(e); }
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
        (("banner",), "codeParts('run `spymaster run` again')", [["run ", False], ["spymaster run", True], [" again", False]]),
        (("keys",), "['1', '9', '[', 'ArrowUp', 'End'].every(isViewKey)", True),
        (("keys",), "['0', '10', 'a', 'Tab', ' '].some(isViewKey)", False),
        (("bokeh_bridge",), "bokeh.spec(3)", 3),
        (("bokeh_bridge",), "Object.keys(bokeh.spec({value: 'x'}))", ["value", "transform", "units"]),
    ],
)
def test_a_pure_function_returns(blank: Any, names: tuple[str, ...], expression: str, value: Any):
    assert called(blank, names, expression) == value


def test_one_act_is_on_its_way_at_a_time_and_only_the_last_of_the_others_follows(blank: Any):
    sent = called(
        blank,
        ("one_at_a_time",),
        """(() => {
          const sent = [], tell = oneAtATime((name, value) => sent.push([name, value]));
          tell('x', 1); tell('x', 2); tell('x', 3);
          const before = tell.busy(), more = tell.answered(), done = tell.answered();
          return {sent, before, more, done, after: tell.busy()};
        })()""",
    )
    assert sent == {"sent": [["x", 1], ["x", 3]], "before": True, "more": False, "done": True, "after": False}


def test_bokeh_has_what_the_bridge_takes_of_it(browser: Browser, made_server: Server):
    with opened(browser, made_server.url) as (page, _):
        assert called(page, ("bokeh_bridge",), "bokeh.contract('level_chart')") == []
        # What is missing is said by name.
        assert called(page, ("bokeh_bridge",), "bokeh.contract('no such figure')") == ["view of the figure no such figure"]
        without = "(() => { const v = bokeh.figure('level_chart'); v.request_repaint = 0; const out = bokeh.contract('level_chart');"
        assert called(page, ("bokeh_bridge",), f"{without} delete v.request_repaint; return out; }})()") == ["view.request_repaint"]
        band = "(({top, bottom, fill_alpha, line_width}) => [top, bottom, fill_alpha, line_width])(bokeh.band(bokeh.figure('ladder')))"
        assert all(isinstance(v, int | float) for v in called(page, ("bokeh_bridge",), band))


def test_only_the_bridge_knows_bokeh():
    inner = re.compile(
        r"\bBokeh\.|canvas_view|renderer_views|is_destroyed|request_repaint|repainted|get_model_by_id|grid_coords|get_column|data_source"
        r"|color_mapper|css_classes|\.renderers|\.setv\(|\.query(_one)?\("
    )
    assert [p.name for p in JS.glob("*.js") if inner.search(p.read_text())] == ["bokeh_bridge.js"]
    # The one callback that is a line of Python: `setv` of a model that is its argument, which Bokeh documents.
    texts = [(p.name, t) for p in sorted(WORKBENCH.rglob("*.py")) for _, t in source_texts(p.read_text()) if inner.search(t)]
    assert [(name, text.count(".setv(")) for name, text in texts] == [("heatmap.py", 1)]


SIGNS = re.compile(r"=>|\bfunction\b|\bconst [a-z]|\blet [a-z]|document\.|\{[^{}]*[a-z-]+\s*:\s*[^{};]+;[^{}]*\}")
LONG = 140
"""Characters of a line of source: adjacent literals are one text, and what is longer than a line is no one-line attribute."""


def source_texts(source: str) -> Iterator[tuple[int, str]]:
    """Texts in Python source by line, without docstrings; what an f-string fills in reads as ``0``."""
    tree = ast.parse(source)
    passed = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            passed |= {id(v) for v in node.values}
            yield node.lineno, "".join(v.value if isinstance(v, ast.Constant) and isinstance(v.value, str) else "0" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed:
            yield node.lineno, node.value


def longer_scripts(source: str) -> Iterator[tuple[int, str]]:
    """Texts in Python source that hold JavaScript or CSS over more than one line, or a style sheet's rule, by line."""
    for line, text in source_texts(source):
        if (SIGNS.search(text) and ("\n" in text.strip() or len(text) > LONG)) or re.search(r":host|@media|@keyframes", text):
            yield line, text


def test_no_python_text_holds_javascript_or_css():
    assert list(longer_scripts('x = """\n.a { color: red; }\n.b { top: 1px; }"""')) != []
    assert list(longer_scripts('x = """\nconst f = (a) => a;\nf(1);"""')) != []
    assert list(longer_scripts("x = ('const f = (a) => a;' " + "'f(1);' " * 40 + ")")) != []
    assert list(longer_scripts("x = f'''\n.a {{ color: {c}; }}\n.b {{ top: 0; }}'''")) != []
    assert list(longer_scripts('x = "return tick * 2"')) == []
    found = [f"{p.relative_to(WORKBENCH)}:{line}" for p in sorted(WORKBENCH.rglob("*.py")) for line, _ in longer_scripts(p.read_text())]
    assert found == []


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
