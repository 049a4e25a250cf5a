"""What CONTRIBUTING says of the modules is what import-linter checks, paths in documents are there, and scripts are files."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator

import pytest

from tests.docs.blocks import DOCUMENTS, ROOT, apply, blocks_of
from workbench.assets import JS
from workbench.state import QUERY

PATH = re.compile(r"`((?:engine|workbench|tests|notebooks|docs)/[\w./-]*\w)`")
ADDED = {b.file for b in blocks_of(ROOT / "CONTRIBUTING.md") if b.file}


def test_the_list_of_modules_is_the_one_that_is_checked() -> None:
    (block,) = [b for b in blocks_of(ROOT / "CONTRIBUTING.md") if b.heading == "The house" and b.language == "text"]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c["type"] == "layers"]
    lines = [re.split(r"\s{2,}", line, maxsplit=1) for line in block.text.splitlines()]
    assert [line[0] for line in lines] == layers
    assert all(len(line) == 2 and line[1] for line in lines), "every layer says what it is"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_every_file_that_is_named_is_there(document) -> None:
    named = set(PATH.findall(document.read_text(encoding="utf-8")))
    assert {n for n in named if not (ROOT / n).exists() and n not in ADDED} == set()


def test_every_setting_of_the_url_is_described() -> None:
    text = (ROOT / "docs/SCREEN.md").read_text(encoding="utf-8").split("## URL\n", 1)[1].split("\n## ", 1)[0]
    assert {key for key in QUERY if not re.search(rf"\b{key}\b", text.split("`", 2)[1])} == set()


def test_a_diff_that_does_not_fit_is_refused(tmp_path) -> None:
    (first, *_) = [b for b in blocks_of(ROOT / "CONTRIBUTING.md") if b.language == "diff"]
    (tmp_path / first.file).parent.mkdir(parents=True)
    (tmp_path / first.file).write_text("nothing like it\n")
    with pytest.raises(AssertionError, match=r"expected this once in engine/params\.py, found it 0 times"):
        apply(first, tmp_path)


BOKEH = re.compile(
    r"\bBokeh\.|canvas_view|renderer_views|is_destroyed|request_repaint|repainted|get_model_by_id|grid_coords|get_column|data_source"
    r"|color_mapper|css_classes|\.renderers|\.setv\(|\.query(_one)?\(|_scale\b|\.compute\(|pixel_ratio|fill_alpha|line_width|\.shape\b"
    r"|\.on_event\(|_all_models|shadow_el|shadowRoot|getRootNode|\bbk-|\bview\.model\b|\.document\b"
)
"""Names of Bokeh's own objects and elements in the browser."""

SCRIPT = re.compile(r"=>|\bfunction\b ?\w*\(|\b(const|let|var) \w+ = |\breturn \w+[^;]*;|document\.|special_vars")
RULE = re.compile(r"\{[^{}]*[a-z-]+\s*:\s*[^{};]+;[^{}]*\}|:host|@media|@keyframes")
DECLARATIONS = re.compile(r"(?:(?:^|(?<=[\s;'\"]))(?:--)?[a-z]+(?:-[a-z]+)*:\s*[^;:'\"<>{}]+;\s*){2}")
CSS_PROPERTY = re.compile(r"[a-z]+(-[a-z]+)+|background|border|color|display|flex|font|gap|height|margin|overflow|padding|position|width")
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
    """What of Python source is JavaScript of more than one statement, a rule of CSS, or more properties than an attribute has, by line."""
    for line, text in source_texts(source):
        longer = "\n" in text.strip() or len(text) > LONG or re.search(r";\s*\S", text)
        if (SCRIPT.search(text) and longer) or RULE.search(text) or DECLARATIONS.search(text):
            yield line, text
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict) and len(node.keys) > 3:
            keys = [str(k.value) if isinstance(k, ast.Constant) else "" for k in node.keys]
            if all(CSS_PROPERTY.fullmatch(k) for k in keys):
                yield node.lineno, ", ".join(keys)


@pytest.mark.parametrize(
    "source",
    [
        repr("\n.a { color: red; }\n.b { top: 1px; }"),
        repr("\nconst f = (a) => a;\nf(1);"),
        repr("const k = 1; d.set({a: k})"),
        repr("return (() => " + "a + " * 40 + "1)()"),
        repr("font:13px a;color:b;line-height:1.5"),
        repr("<td style='color:red;top:1px;'>"),
        "f'''\n.a {{ color: {c}; }}\n.b {{ top: 0; }}'''",
        "f'<p style=\"font:{a};color:{b};padding:0\">'",
        "(f'<p style=\"font:{a};' f'color:{b};gap:{c}\">')",
        "{'gap': a, 'flex': b, 'box-sizing': c, 'padding': d}",
    ],
)
def test_longer_javascript_or_css_in_python_is_found(source: str) -> None:
    assert list(longer_scripts(f"x = {source}")) != []


@pytest.mark.parametrize(
    "source",
    [
        repr("return tick * 2"),
        repr("text/csv;charset=utf-8"),
        "f\"<b style='color:{c};gap:2px'>\"",
        "f'{a}: not known yet at {b}; it stands from {c} on.'",
        "{'gap': a, 'box-sizing': b}",
        "{'x': 'x', 'width': 'w', 'top': 't', 'height': 'b'}",
    ],
)
def test_a_one_line_attribute_is_none(source: str) -> None:
    assert list(longer_scripts(f"x = {source}")) == []


def test_no_python_text_holds_javascript_or_css() -> None:
    python = sorted((ROOT / "workbench").rglob("*.py"))
    assert [f"{p.relative_to(ROOT)}:{line}: {text[:80]}" for p in python for line, text in longer_scripts(p.read_text())] == []


def test_only_the_bridge_knows_bokeh() -> None:
    assert [p.name for p in sorted(JS.glob("*.js")) if BOKEH.search(p.read_text())] == ["bokeh_bridge.js"]
    python = sorted((ROOT / "workbench").rglob("*.py"))
    texts = [(p, line, text) for p in python for line, text in source_texts(p.read_text()) if not text.isidentifier()]
    assert [f"{p.relative_to(ROOT)}:{line}: {text[:80]}" for p, line, text in texts if BOKEH.search(text)] == []
