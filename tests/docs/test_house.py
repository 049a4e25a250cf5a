"""What CONTRIBUTING says of the modules is what import-linter checks, and every path that the documents name is there."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.docs.blocks import DOCUMENTS, ROOT, apply, blocks_of
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
