"""The code version of what is made follows what can change its rows, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import provenance
from engine.errors import UnknownDataset
from engine.params import RetrievalParams, RunParams
from engine.provenance import Program, code_of, trace
from engine.retrieval.index import build_index
from engine.simulate.dbn import write_day
from engine.stages import bronze
from engine.stages.silver import make_bars, make_ladder, make_levels, make_vacuum
from engine.stages.task import STAGES

ENGINE = Path(provenance.__file__).resolve().parent


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., str]:
    """Writes modules of a package `engine`, and hashes what ``engine.a:f`` depends on."""

    def hashed(**modules: str) -> str:
        shutil.rmtree(tmp_path / "engine", ignore_errors=True)
        for name, text in {"__init__": "", **modules}.items():
            path = tmp_path / "engine" / (name.replace("__in__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return trace(Program(tmp_path / "engine"), (("engine.a", "f"),)).digest({})

    return hashed


B = "LIMIT = 3\ndef g(x):\n    return x + LIMIT\ndef h(x):\n    return x\n"
A = "from engine.b import g\ndef f(x):\n    total = g(x)\n    return total\n"


@pytest.mark.parametrize(
    "same",
    [
        {"a": "# why\n" + A, "b": B},
        {"a": A.replace("total = ", "'''What.'''\n    total = "), "b": B},
        {"a": A.replace("total", "result"), "b": B},
        {"a": A.replace("f(x)", "f(x: int) -> int"), "b": B},
        {"a": A, "b": B.replace("return x\n", "return -x\n")},
        {"a": A, "b": B.replace("LIMIT", "MOST")},
        {"a": A.replace("engine.b", "engine.sub.c"), "sub/__init__": "", "sub/c": B},
        {"a": A.replace("import g", "import k as g"), "b": B.replace("def g", "def k")},
        {"a": "from . import b\n" + A.replace("from engine.b import g\n", "").replace("g(x)", "b.g(x)"), "b": B},
        {"a": "def f(x):\n    from engine.b import g\n    total = g(x)\n    return total\n", "b": B},
        {"a": "LIMIT = 3\ndef g(x):\n    return x + LIMIT\ndef f(x):\n    total = g(x)\n    return total\n"},
        {"a": A, "b": B + "def new():\n    return LIMIT\n"},
    ],
)
def test_what_changes_no_row_changes_no_hash(package: Callable[..., str], same: dict[str, str]):
    assert package(**same) == package(a=A, b=B)


@pytest.mark.parametrize(
    "other",
    [
        {"a": A.replace("return total", "return -total"), "b": B},
        {"a": A, "b": B.replace("3", "4")},
        {"a": A, "b": B.replace("x + LIMIT", "LIMIT + x")},
        {"a": A, "b": B.replace("def g(x)", "def g(x=1)")},
        {"a": A, "b": "from functools import cache\n" + B.replace("def g", "@cache\ndef g")},
        {"a": A, "b": B + "LIMIT += 1\n"},
    ],
)
def test_what_can_change_rows_changes_the_hash(package: Callable[..., str], other: dict[str, str]):
    assert package(**other) != package(a=A, b=B)


def test_words_of_errors_do_not_count_and_conditions_of_errors_do(package: Callable[..., str]):
    text = "def f(x):\n    if x < 0:\n        raise ValueError(f'negative: {x}')\n    return x\n"
    assert package(a=text) == package(a=text.replace("negative", "expected 0 or more, found"))
    assert package(a=text) != package(a=text.replace("x < 0", "x < 1"))


def test_parameters_of_a_function_count_by_name(package: Callable[..., str]):
    """A caller may give them by keyword: two that change places change what it gets."""
    text = "def g(one, two):\n    return one - two\ndef f():\n    return g(one=1, two=2)\n"
    assert package(a=text) != package(a=text.replace("g(one, two)", "g(two, one)").replace("one - two", "two - one"))


METHODS = """
class Thing:
    def used(self):
        return self._inner()
    def _inner(self):
        return 1
    def other(self):
        return 2
    def __len__(self):
        return 3
def make():
    return Thing()
def f():
    return make().used()
"""


def test_methods_count_where_their_name_is_asked_for(package: Callable[..., str]):
    whole = package(a=METHODS)
    assert package(a=METHODS.replace("return 2", "return 20")) == whole
    assert package(a=METHODS.replace("return 1", "return 10")) != whole
    assert package(a=METHODS.replace("return 3", "return 30")) != whole


MODULE_AS_VALUE = {"a": "def k():\n    from engine import b\n    return b\ndef f():\n    book = k()\n    return book.g(1)\n", "b": B}


def test_a_field_is_not_what_the_module_calls_by_its_name(package: Callable[..., str]):
    text = "from engine.b import g\nclass Thing:\n    g: int = 1\ndef f():\n    return Thing()\n"
    assert package(a=text, b=B) == package(a=text, b=B.replace("LIMIT = 3", "LIMIT = 4"))


def test_a_module_that_is_handed_on_counts_by_what_is_asked_of_it(package: Callable[..., str]):
    whole = package(**MODULE_AS_VALUE)
    assert package(**{**MODULE_AS_VALUE, "b": B.replace("return x\n", "return -x\n")}) == whole
    assert package(**{**MODULE_AS_VALUE, "b": B.replace("LIMIT = 3", "LIMIT = 4")}) != whole


REGISTRY = {
    "reg": (
        "THINGS = {}\ndef thing(name, meaning=''):\n    def register(function):\n        THINGS[name] = function\n        return function\n"
        "    return register\ndef combined(name, parts):\n    thing(name)(lambda: parts)\n"
    ),
    "a": "from engine.reg import THINGS\ndef f(name):\n    return THINGS[name]()\n",
    "more": (
        "from engine.reg import combined, thing\n@thing('one', meaning='The first.')\ndef one():\n    return 1\n@thing('two')\ndef two():\n"
        "    return 2\ncombined('three', ('one', 'two'))\nfor n in (4, 5):\n    thing(f'n{n}')(lambda: n)\n"
    ),
}


def registry(tmp_path: Path, selection: dict[str, set[str]], old: str = "", new: str = "") -> str:
    folder = tmp_path / "engine"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name, text in REGISTRY.items():
        (folder / f"{name}.py").write_text(text.replace(old, new) if old else text)
    return trace(Program(folder), (("engine.a", "f"),)).digest(selection)


@pytest.mark.parametrize(
    ("old", "new", "with_all", "with_one", "with_three"),
    [
        ("return 1", "return 10", True, True, False),
        ("return 2", "return 20", True, False, False),
        ("('one', 'two')", "('two', 'one')", True, False, True),
        ("(4, 5)", "(4, 6)", True, True, True),  # its name is no constant: it counts always
        ("THINGS[name]()", "-THINGS[name]()", True, True, True),
        ("The first.", "Number one.", False, False, False),
        ("combined('three'", "@thing('six')\ndef six():\n    return 6\ncombined('three'", True, False, False),
    ],
)
def test_a_registry_counts_by_the_entries_that_are_asked_for(
    tmp_path: Path, old: str, new: str, with_all: bool, with_one: bool, with_three: bool
):
    assert old in "".join(REGISTRY.values())
    for selection, changes in (({}, with_all), ({"THINGS.name": {"one"}}, with_one), ({"THINGS.name": {"three"}}, with_three)):
        assert (registry(tmp_path, selection) != registry(tmp_path, selection, old, new)) == changes, selection


def test_a_function_that_is_not_there_is_refused_by_name(tmp_path: Path):
    (tmp_path / "__init__.py").write_text("")
    with pytest.raises(UnknownDataset, match="engine:nothing: expected a function or class"):
        trace(Program(tmp_path), (("engine", "nothing"),))


def test_hashes_do_not_depend_on_the_process(tmp_path: Path):
    import subprocess
    import sys

    lines = (
        "from engine.stages.task import STAGES; from engine.stages.base import RunParams; p = RunParams();"
        "print([s.code_versions('ESZ5', 'rth', s.values(p)) for s in STAGES])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", lines], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed}, cwd=ENGINE.parent
        ).stdout
        for seed in ("1", "2")
    }
    assert seen == {f"{[s.code_versions('ESZ5', 'rth', s.values(RunParams())) for s in STAGES]}\n"}


def names(*functions: Callable[..., object]) -> set[str]:
    return {name.rpartition(":")[2] for name in code_of(*functions).reached}


@pytest.mark.parametrize(
    ("function", "reached", "not_reached"),
    [
        # The kernel is reached by a module that is handed on; tables are dealt with by kernels.
        (make_ladder, {"LadderReplay", "replay", "close_until", "end_run", "ROOTS"}, {"Ladder", "LEVELS"}),
        (make_bars, {"bars_2m", "trade_rows"}, {"LadderReplay", "LEVELS"}),
        (make_levels, {"build_levels", "_premarket", "vwap", "_sma"}, {"level_windows"}),
        (
            make_vacuum,
            {"level_windows", "window_sums", "approaches", "t5_ofi", "com_disp_log", "combined", "Ladder"},
            {"_premarket", "outcomes"},
        ),
        (bronze.convert, {"stream_part", "read_metadata", "_Contract", "columns_frame"}, {"raw_index", "build_bronze"}),
        (write_day, {"Day"}, {"LadderReplay", "Ladder"}),
        (build_index, {"write_index_files", "fit"}, {"audit", "neighbours", "outcomes", "window_sums"}),
    ],
)
def test_stages_depend_on_what_makes_their_rows(function: Callable[..., object], reached: set[str], not_reached: set[str]):
    found = names(function)
    assert reached <= found
    assert not not_reached & found
    assert not [n for n in code_of(function).reached if n.startswith(("engine.errors", "engine.lake"))]


def test_the_index_depends_on_knobs_by_their_values_alone():
    assert "RetrievalParams" in names(build_index)
    found = code_of(build_index)
    assert found.digest({}) == code_of(build_index).digest({})
    assert RetrievalParams().digest() != RetrievalParams(cap=5).digest()


def test_parameter_models_count_by_their_values_and_not_by_name_or_fields(package: Callable[..., str]):
    text = "from pydantic import BaseModel\nclass Knobs(BaseModel):\n    n: int = 3\ndef f():\n    return Knobs().n\n"
    assert package(a=text) == package(a=text.replace("Knobs", "Params").replace("n: int = 3", "n: int = 4"))
    assert package(a=text) != package(a=text.replace("Knobs().n", "Knobs().n + 1"))


def test_earlier_code_is_accepted_as_long_as_the_code_is_what_it_was_compared_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    version, selection = code_of(make_levels), {"LEVELS.level_id": {"pm_high"}}
    entries = {k: h for k, (_, h, _) in version.entries.items()}
    same = {"epoch": provenance.EPOCH, "core": version.core, "packages": {"calendar": "1"}, "entries": entries}
    table = {
        "same": same,
        "other epoch": {**same, "epoch": -1},
        "other core": {**same, "core": "0"},
        "other package": {**same, "packages": {"calendar": "2"}},
        "other formula": {**same, "entries": {**entries, "LEVELS.level_id=pm_high": "0"}},
        "other formula of what is not asked for": {**same, "entries": {**entries, "LEVELS.level_id=vwap": "0"}},
    }
    monkeypatch.setattr(provenance, "EARLIER", tmp_path / "earlier.json")
    (tmp_path / "earlier.json").write_text(json.dumps(table))
    provenance.forget_sources()
    now, *earlier = provenance.accepted(version, selection, {"calendar": "1"})
    assert earlier == ["same", "other formula of what is not asked for"]
    assert now != provenance.accepted(version, selection, {"calendar": "2"})[0] != version.digest(selection)
    provenance.forget_sources()


def test_code_versions_are_kept_for_the_same_sources_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "__pycache__").mkdir()
    source = tmp_path / "a.py"
    traced: list[object] = []
    monkeypatch.setattr(provenance, "trace", lambda *args: (traced.append(args), trace(*args))[1])

    def found(text: str) -> provenance.CodeVersion:
        source.write_text(text)
        provenance.forget_sources()
        return provenance._traced(tmp_path, (("engine.a", "f"),))

    text = "TABLE = {}\ndef f():\n    return TABLE['x'] + 1\n"
    first = found(text)
    assert found(text) == first
    assert len(traced) == 1, "what is kept is read"
    assert found(text.replace("1", "2")).core != first.core
    assert found(text) == first
    assert len(traced) == 3, "what is kept is of other sources"
    (kept,) = (tmp_path / "__pycache__").iterdir()
    for harm in ("", "{}", "[1, 2]", '["0", {"engine.a:f": {}}]', kept.read_text().replace('"core"', '"kern"')):
        kept.write_text(harm)
        assert found(text) == first
    assert len(traced) == 8
    kept.unlink()
    kept.mkdir()  # nothing can be kept here
    assert [found(text), found(text)] == [first, first]
    assert len(traced) == 10
    kept.rmdir()
    (tmp_path / "provenance.py").write_text("# another one than runs\n")
    assert [found(text), found(text)] == [first, first]
    assert len(traced) == 12
    assert not kept.exists()
    provenance.forget_sources()
