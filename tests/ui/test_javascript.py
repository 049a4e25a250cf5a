"""The page's scripts: the browser parses each, their pure functions are called in it, and Bokeh still has what the bridge takes of it."""

from __future__ import annotations

import ast
import re
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
    text = style(name, text="#000", page="#fff", edge="#777", error="#f00", dark="--a: 1", light="--a: 2")
    count = "const count = (rules) => [...rules].reduce((n, r) => n + (r.selectorText ? 1 : 0) + (r.cssRules ? count(r.cssRules) : 0), 0);"
    rules = blank.evaluate(f"(t) => {{ {count} const s = new CSSStyleSheet(); s.replaceSync(t); return count(s.cssRules); }}", text)
    # A rule for another browser's own element is passed over whole.
    assert rules == len([r for r in re.findall(r"[^{}]*\{[^{}]*\}", text) if "-moz-" not in r])


def called(page: Any, names: tuple[str, ...], expression: str) -> Any:
    return page.evaluate(f"() => {{ {script(*names)}; return {expression}; }}")


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


def test_only_the_bridge_knows_bokeh():
    inner = re.compile(r"\bBokeh\.|canvas_view|renderer_views|is_destroyed|request_repaint|get_model_by_id|grid_coords|\.setv\(")
    assert [p.name for p in JS.glob("*.js") if inner.search(p.read_text())] == ["bokeh_bridge.js"]


SIGNS = re.compile(r"=>|\bfunction\b|\bconst [a-z]|\blet [a-z]|document\.|\{[^{}]*[a-z-]+\s*:\s*[^{};]+;[^{}]*\}")


def longer_scripts(text: str) -> Iterator[tuple[int, str]]:
    """Texts in Python source that hold JavaScript or CSS over more than one line, by line; docstrings are none."""
    tree = ast.parse(text)
    docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs else ""
        if "\n" in text.strip() and SIGNS.search(text):
            yield node.lineno, text


def test_no_python_text_holds_javascript_or_css():
    assert list(longer_scripts('x = """\n.a { color: red; }\n.b { top: 1px; }"""')) != []
    assert list(longer_scripts('x = """\nconst f = (a) => a;\nf(1);"""')) != []
    found = [f"{p.relative_to(WORKBENCH)}:{line}" for p in sorted(WORKBENCH.rglob("*.py")) for line, _ in longer_scripts(p.read_text())]
    assert found == []


def test_every_script_and_style_is_used():
    sources = "".join(p.read_text() for p in WORKBENCH.rglob("*.py"))
    assert [n for n in (*SCRIPTS, *STYLES) if f'"{n}"' not in sources and f"'{n}'" not in sources] == []


def test_a_script_or_style_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match=r"nothing\.js"):
        script("nothing")
    with pytest.raises(KeyError, match="dark"):
        style("page")
    assert script(LIMIT=3, NAME="a'b").splitlines() == ["const LIMIT = 3;", 'const NAME = "a\'b";']
    assert Path(WORKBENCH, "js").is_dir()
