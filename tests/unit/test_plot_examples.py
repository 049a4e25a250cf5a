"""Every public function of the plots has an example in its docstring, and the examples run."""

from __future__ import annotations

import doctest
import inspect
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import polars as pl
import pytest

from engine.features import level_windows, pressure
from engine.ladder import Ladder
from engine.params import FeatureParams
from tests.support.ladders import DATE, NS, SYMBOL, make_frames
from workbench import plots
from workbench.plots.ladder import rows_at

LEVEL = 20_003


@pytest.fixture(scope="module")
def shown() -> dict[str, object]:
    """What the examples draw where they need a session: a made-up book of five minutes, and one session's facts."""
    book = Ladder.from_frames(*make_frames(300, 5), symbol=SYMBOL, date=DATE)
    cube = pressure(book.cube(book.start_ns, book.end_ns, LEVEL - 16, LEVEL + 16, window_s=5))
    span = {"start_ts_ns": book.start_ns, "end_ts_ns": book.end_ns, "price": LEVEL / 4, "level_tick": LEVEL}
    levels = pl.DataFrame([{"level_id": "pm_high", **span}], schema_overrides={"level_tick": pl.Int32})
    ticks = {f"{k}_tick": LEVEL + d for k, d in (("open", 0), ("high", 3), ("low", -2), ("close", 1))}
    bars = pl.DataFrame([{"window_start_ts_ns": book.start_ns, "window_end_ts_ns": book.start_ns + 120 * NS, **ticks}])
    fact = {"fact": "spread", "title": "spread, ticks", "session": 1, "value": 1.1, "pooled": 1.1, "low": 1.0, "high": 1.3}
    frames = {
        "sign_acf": pl.DataFrame({"lag": [10.0, 20.0], "measured": [0.1, 0.05], "fitted": [0.1, 0.06]}),
        "returns": pl.DataFrame({"sd": [0.0, 1.0], "density": [0.4, 0.2], "normal": [0.4, 0.24]}),
        "intraday": pl.DataFrame({"half_hour": [0, 1], "messages_per_s": [80.0, 60.0]}),
        "response": pl.DataFrame({"size": ["1", "2-5"], "ticks": [0.1, 0.3]}),
        "sessions": pl.DataFrame([fact]),
    }
    return {
        "cube": cube, "levels": levels, "bars": bars, "tape": book.tape, "rows": rows_at(cube, 30, LEVEL),
        "vacuum": level_windows(book, levels, FeatureParams()), "frames": frames,
    }  # fmt: skip


MODULES = [import_module(f"workbench.plots.{m.name}") for m in iter_modules(plots.__path__)]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.rpartition(".")[2])
def test_examples_run(module: ModuleType, shown: dict[str, object]) -> None:
    found = doctest.testmod(module, extraglobs=shown, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0


def pictures(module: ModuleType) -> list[str]:
    """Public functions of `module` that make a Bokeh figure or HoloViews picture, by what they say they return."""
    made = [f for n, f in inspect.getmembers(module, inspect.isfunction) if f.__module__ == module.__name__ and not n.startswith("_")]
    drawn = ("figure", "Parts", "Panels", "Pictures")
    return [f.__name__ for f in made if any(d in str(inspect.signature(f).return_annotation) for d in drawn)]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.rpartition(".")[2])
def test_every_picture_has_an_example(module: ModuleType) -> None:
    bare = [n for n in pictures(module) if ">>>" not in (inspect.getdoc(getattr(module, n)) or "")]
    assert bare == []
