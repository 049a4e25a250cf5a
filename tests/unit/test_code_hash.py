"""The code version of a stage follows the files it depends on, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import code
from engine.stages.silver import STAGES


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "__init__.py": "",
        "a.py": "from engine.b import thing\n",
        "b.py": "def f():\n    import engine.sub.c\n",
        "sub/__init__.py": "",
        "sub/c.py": "from . import d\n",
        "sub/d.py": "",
        "e.py": "",
        "lake/__init__.py": "",
        "lake/store.py": "import engine.e\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "a.py").write_text("from engine.b import thing\nfrom engine.lake.store import Lake\n")
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    return tmp_path


def hashed() -> str:
    code._imports.cache_clear()
    code.code_hash.cache_clear()
    return code.code_hash(("engine.a",))


def test_imports_are_followed_also_within_functions_and_packages(package: Path):
    assert list(code.sources(("engine.a",))) == ["engine.a", "engine.b", "engine.sub", "engine.sub.c", "engine.sub.d"]


def test_what_is_left_out_is_not_followed(package: Path):
    assert list(code.sources(("engine.a",), ("engine.sub",))) == ["engine.a", "engine.b"]
    code._imports.cache_clear()
    code.code_hash.cache_clear()
    whole, less = code.code_hash(("engine.a",)), code.code_hash(("engine.a",), ("engine.sub",))
    assert whole != less
    code._imports.cache_clear()
    code.code_hash.cache_clear()


@pytest.mark.parametrize(("name", "changes"), [("a.py", True), ("sub/d.py", True), ("e.py", False), ("lake/store.py", False)])
def test_the_hash_changes_with_what_is_depended_on(package: Path, name: str, changes: bool):
    before = hashed()
    (package / name).write_text((package / name).read_text() + "# more\n")
    assert (hashed() != before) == changes
    code._imports.cache_clear()
    code.code_hash.cache_clear()


@pytest.mark.parametrize(
    ("stage", "modules"),
    [
        ("ladder", {"engine.mbo.replay", "engine.mbo.book", "engine.vocab"}),
        ("bars", {"engine.bars", "engine.sessions"}),
        ("levels", {"engine.levels", "engine.sessions"}),
        ("vacuum", {f"engine.{m}" for m in ("features.windows", "features.tape", "features.conditions", "setups.approach", "ladder")}),
    ],
)
def test_the_stages_depend_on_what_makes_their_rows(stage: str, modules: set[str]):
    found = set(code.sources(next(s for s in STAGES if s.name == stage).code))
    assert modules <= found
    # Every stage's rows depend on the session's windows and the tick size, whoever reads them for it.
    assert {"engine.sessions", "engine.vocab"} <= found
    assert not [m for m in found if m.startswith("engine.lake")]
