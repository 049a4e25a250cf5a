"""What an edit of the source makes stale: each kind of edit is made in a copy of the engine, and the code of all stages compared."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest

from engine import provenance
from engine.lake.catalog import BARS, VACUUM
from engine.lake.store import Lake
from engine.params import RunParams
from engine.retrieval import audit_store, index
from engine.simulate import dbn
from engine.stages import bronze
from engine.stages.task import STAGES

ENGINE = Path(provenance.__file__).resolve().parent

Edit = Callable[[Path], object]

MADE_OF_OPTIONS = {"chain", "marks", "option_flow", "profile"}
SESSIONS = {"ladder", "bars", "levels", "vacuum", "orders", "triggers", "walls", "signals", "stream", *MADE_OF_OPTIONS}

LEVEL = '@level("round_number", "Round", "The nearest round price.")\ndef round_number(inputs):\n    return "none today"\n'
FEATURE = (
    'from engine.features.registry import feature\n@feature("t12_new", family="tape", formula="1", unit="", range="1", meaning="One.")\n'
    "def t12_new(sums):\n    return sums.k_ref * 0 + 1.0\n"
)


parsed = cache(provenance._Module)
"""A file that no edit touched is the same tree; reading all of them again would be most of what these tests do."""


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the engine's source, which code versions are read from."""
    folder = tmp_path / "engine"
    shutil.copytree(ENGINE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", folder)
    monkeypatch.setattr(provenance, "_Module", parsed)
    provenance.forget_sources()
    yield folder
    monkeypatch.undo()
    provenance.forget_sources()


def codes() -> dict[str, str]:
    """Today's code version of all that is made, by name."""
    provenance.forget_sources()
    p = RunParams()
    made = {s.name: s.code_versions("ESZ5", "rth", s.values(p))[0] for s in STAGES}
    others = {"bronze": bronze.code_versions("ESZ5"), "index": index.index_codes(), "audit": audit_store.audit_codes("ES", "rth")}
    return made | {k: v[0] for k, v in others.items()} | {"simulator": dbn.simulator_codes("ES")[0]}


@cache
def unedited() -> dict[str, str]:
    """Code versions of the source as it is."""
    with patch.object(provenance, "PACKAGE", ENGINE):
        return codes()


def changed(folder: Path, edit: Edit) -> set[str]:
    before = unedited()
    edit(folder)
    after = codes()
    return {name for name in before if before[name] != after[name]}


def replace(old: str, new: str) -> Edit:
    """Replaces a text that stands in the engine's source once."""

    def edit(folder: Path) -> None:
        found = [p for p in folder.rglob("*.py") if old in p.read_text()]
        assert len(found) == 1, f"expected {old!r} in one file, found it in {found}"
        text = found[0].read_text()
        assert text.count(old) == 1, f"expected {old!r} once in {found[0]}, found it {text.count(old)} times"
        found[0].write_text(text.replace(old, new))

    return edit


def append(near: str, text: str) -> Edit:
    """Adds lines at the end of the file in which `near` stands."""

    def edit(folder: Path) -> None:
        (path,) = [p for p in folder.rglob("*.py") if near in p.read_text()]
        path.write_text(path.read_text() + "\n\n" + text)

    return edit


def every_file(change: Callable[[str], str]) -> Edit:
    def edit(folder: Path) -> None:
        edited = 0
        for path in folder.rglob("*.py"):
            text = change(path.read_text())
            edited += text != path.read_text()
            path.write_text(text)
        assert edited > 50, f"expected an edit in every file, made it in {edited}"

    return edit


def move_nearest_tick(folder: Path) -> None:
    """`bars_2m`'s helper goes to a file of its own, under another name."""
    (path,) = folder.rglob("bars.py")
    text = path.read_text()
    function = re.search(r"\ndef nearest_tick\(.*?(?=\n\n\n)", text, re.S)
    assert function is not None
    head = text[: text.index("\ndef ")]
    (folder / "elsewhere.py").write_text(head + function[0].replace("nearest_tick", "closest") + "\n")
    rest = text.replace(function[0], "")
    path.write_text(
        rest.replace("import polars as pl\n", "import polars as pl\n\nfrom engine.elsewhere import closest as nearest_tick\n", 1)
    )


GAP = """    gap = inputs.gap_in(start_ns, end_ns)
    if gap is not None:
        return f"the {what} window lacks data: {gap.reason}"
"""
PULLS = "return np.log((s.rest.sum(axis=1) + 1) / (s.add.sum(axis=1) + 1))"
DOWN_3 = '("down_3", "f3_bid_com_disp_log", 1, '
NAMED_WITH = {"signals", "index"}
"""They read the names of a vector's dimensions, which stand beside the formulas of `means`; and are remade with the vectors anyway."""
EVERYTHING = {"bronze", *SESSIONS, "audit", "simulator"}

NOTHING: set[str] = set()
EDITS: dict[str, tuple[Edit, set[str]]] = {
    "a comment at the end of every file": (every_file(lambda text: text + "\n# seen\n"), NOTHING),
    "a word in the docstring of every file": (every_file(lambda text: text.replace('"""', '"""Note: ', 1)), NOTHING),
    "a function's docstring": (replace('"""High or low of a window\'s trades, ', '"""Highest or lowest of the trades, '), NOTHING),
    "annotations": (replace("def _premarket(inputs: LevelInputs, high: bool) -> Steps | str:", "def _premarket(inputs, high):"), NOTHING),
    "a local variable's name": (
        replace(GAP, GAP.replace("gap = ", "hole = ").replace("gap is", "hole is").replace("gap.r", "hole.r")),
        NOTHING,
    ),
    "an error's words": (replace("add a root in engine/vocab.py", "add it in engine/vocab.py"), NOTHING),
    "words that describe a level": (replace("Highest premarket trade, known from the end of the premarket on.", "The high."), NOTHING),
    "words that describe a feature": (replace("Asks above are pulled faster than added: all pulls against all adds", "Asks."), NOTHING),
    "a new level that no default uses": (append("def vwap(", LEVEL), NOTHING),
    "a new function": (append("def vwap(", "def unused(x):\n    return x\n"), NOTHING),
    "a new root": (replace('Root("CL", ', 'Root("SI", "Silver", 0.005, 5000.0, ALL_MONTHS), Root("CL", '), NOTHING),
    "another root's tick size": (replace('"Crude Oil", 0.01', '"Crude Oil", 0.02'), NOTHING),
    "a parameter's default": (replace("rest_ns: int = Field(500_000_000", "rest_ns: int = Field(400_000_000"), NOTHING),
    "a parameter's bounds": (replace("ge=21, le=5000", "ge=21, le=6000"), NOTHING),
    "a function moves to another file under another name": (move_nearest_tick, NOTHING),
    "a pressure feature, which stands in no table": (replace('return (cube["long"] - cube["short"])', 'return (cube["short"])'), NOTHING),
    "how parquet is compressed": (replace("COMPRESSION_LEVEL = 1", "COMPRESSION_LEVEL = 2"), NOTHING),
    "a new feature": (append("def t5_ofi(", FEATURE), {"vacuum"}),
    "a level's formula": (replace("ticks.max() if high else ticks.min()", "ticks.min() if high else ticks.max()"), {"levels"}),
    "a moving average's length": (replace("for _n in (200, 400):", "for _n in (100, 400):"), {"levels"}),
    "a vacuum feature's formula": (replace(PULLS, PULLS.replace("1)", "2)")), {"vacuum", "triggers", "walls", "audit", *NAMED_WITH}),
    "a feature that vectors are made of by name": (
        replace("sums.travel * sums.ofi / size", "sums.ofi / size"),
        {"vacuum", "triggers", "audit"},
    ),
    "a wall feature's formula": (
        replace('sums["at_pulled", THIRTY], sums["at_depth", THIRTY]', 'sums["at_pulled", THIRTY], sums["behind_depth", THIRTY]'),
        {"walls", "audit"},
    ),
    "the kernel of wall sums": (replace("if 0 <= n <= at:", "if 0 < n <= at:"), {"walls", "audit"}),
    "a condition": (replace(DOWN_3, DOWN_3.replace("1", "-1")), {"vacuum"}),
    "a constant of the replay": (replace("TAKER_SLOTS = 1024", "TAKER_SLOTS = 2048"), {"ladder", "orders"}),
    "a constant of the replay's kernel": (replace("_TICK_LIMIT = 2**31 - 1", "_TICK_LIMIT = 2**30 - 1"), {"ladder", "orders"}),
    "how large orders are found": (replace("own[THRESHOLD] = max(q, own[LEAST])", "own[THRESHOLD] = q"), {"orders"}),
    "the kernel of window sums": (
        replace("far = zone.size - 1\n    path_low", "far = zone.size - 2\n    path_low"),
        {"vacuum", "triggers", "audit"},
    ),
    "when an outcome is a break": (replace("(broke < rejected) & (when(", "(broke <= rejected) & (when("), {"triggers", "audit"}),
    "the posterior": (
        replace("(n_eff[:, None] * phat + alpha * toward)", "(n_eff[:, None] * phat + toward)"),
        {"signals", "index", "audit"},
    ),
    "a column of a session's signals": (
        replace('pl.col("fire_flag").fill_null(False), pl.when', 'pl.col("fire_flag"), pl.when'),
        {"signals"},
    ),
    "the state of a window": (replace(".when(vacuum >= p.watch_score)", ".when(vacuum > p.watch_score)"), {"stream"}),
    "how a file is read": (replace("CHUNK_RECORDS = 1 << 17", "CHUNK_RECORDS = 1 << 16"), {"bronze"}),
    "the tick size of ES": (replace('"E-mini S&P 500", 0.25', '"E-mini S&P 500", 0.50'), EVERYTHING - {"bronze"}),  # prices are integers
    "the hours of the session": (
        replace('Profile("rth", (dt.time(4), dt.time(9, 30))', 'Profile("rth", (dt.time(4), dt.time(9))'),
        SESSIONS | {"audit"},
    ),
    "the gamma of a book of options": (replace("scale = math.exp(-r * t[i]) * _PHI_0 / v", "scale = _PHI_0 / v"), {"profile"}),
    "which definitions are options": (
        replace(
            'found = records.definitions.filter(pl.col("instrument_class").is_in(["C", "P"])',
            'found = records.definitions.filter(pl.col("instrument_class").is_in(["C"])',
        ),
        {"chain"},
    ),
    "the simulator's law": (replace("CANCEL_POWER = 1.15", "CANCEL_POWER = 1.25"), {"simulator"}),
}
"""Kind of edit to the edit and what becomes stale by it."""


@pytest.mark.parametrize("kind", EDITS)
def test_an_edit_makes_stale_what_depends_on_it(copied: Path, kind: str):
    edit, stale = EDITS[kind]
    assert changed(copied, edit) == stale


def test_a_new_epoch_of_libraries_makes_everything_stale(copied: Path, monkeypatch: pytest.MonkeyPatch):
    assert changed(copied, lambda _: monkeypatch.setattr(provenance, "EPOCH", provenance.EPOCH + 1)) == EVERYTHING | {"index"}


def stale_of(lake: Lake, folder: Path) -> dict[str, str]:
    """Dataset to reason of what is stale, by the code in `folder`, in a process of its own."""
    lines = "import sys; from engine.pipeline import lake_state; from engine.lake.store import Lake; "
    lines += "print({s.dataset: s.stale for s in lake_state(Lake(sys.argv[1])) if s.stale})"
    done = subprocess.run([sys.executable, "-c", lines, str(lake.root)], capture_output=True, text=True, cwd=folder.parent, check=True)
    return ast.literal_eval(done.stdout)


def test_a_lake_is_stale_by_what_its_rows_depend_on(whole_lake: Lake, copied: Path):
    """The same by the real thing: another process with the edited source looks at a lake."""
    every_file(lambda text: text + "\n# seen\n")(copied)
    append("def vwap(", LEVEL)(copied)
    assert stale_of(whole_lake, copied) == {}
    replace(DOWN_3, DOWN_3.replace("1", "-1"))(copied)
    assert stale_of(whole_lake, copied) == {VACUUM: "the code changed"}
    (contract,) = copied.rglob("*bars_2m*.avsc")
    contract.write_text(contract.read_text().replace('"type": "long"', '"type": "int"', 1))
    assert stale_of(whole_lake, copied) == {VACUUM: "the code changed", BARS: "the contract changed"}
