"""When and what moved a forecast, as it is drawn: a cell per family and window, coloured by the way price would go."""

from __future__ import annotations

import numpy as np

from engine.retrieval.events import CLASSES
from engine.retrieval.importance import Importance
from workbench.plots.importance import ALL, importance_data, importance_figure, odds_words, paint_importance, theme_importance
from workbench.theme import DARK, LIGHT

BREAK, REJECT = CLASSES.index("break"), CLASSES.index("reject")


def moved(*rows: tuple[float, ...], still: float = 0.0) -> Importance:
    """Two families with windows and one without; each row has the log odds of a break against a reject per window."""
    cells = np.zeros((3, len(rows[0]), 3))
    cells[: len(rows), :, BREAK] = rows
    windows, whole = cells.sum(axis=0), cells.sum(axis=1)
    whole[2, BREAK] = still
    return Importance(("ahead", "t", "magnitude"), cells, windows, whole)


FOUND = moved((0.4, 0.0, -0.2, 0.8), (0.0, 0.1, 0.0, -0.3), still=0.05)


def test_each_cell_says_when_and_which_way() -> None:
    made = importance_data(FOUND, DARK, "approach_up", history_s=120)["cells"]
    by = {(y, x): i for i, (y, x) in enumerate(zip(made["y"], made["x"]))}
    assert ("tape", -105.0) not in by  # what moves nothing is empty
    first, last = by["book ahead", -105.0], by["tape", -15.0]
    assert made["said"][first] == "book ahead, 120 to 90 s before: break ▲ +49% odds"
    assert made["said"][last] == "tape, 30 to 0 s before: reject ▼ +35% odds"
    assert (made["fill"][first], made["fill"][last]) == (DARK.long, DARK.short)
    assert (made["sign"][first], made["sign"][last]) == ("+", "−")
    strongest = max(range(len(made["alpha"])), key=lambda i: made["alpha"][i])
    assert (made["y"][strongest], made["x"][strongest]) == ("book ahead", -15.0)
    together = by[ALL, -15.0]
    assert made["said"][together].endswith("break ▲ +65% odds")


def test_from_above_a_break_goes_down() -> None:
    made = importance_data(FOUND, LIGHT, "approach_down", history_s=120)["cells"]
    first = next(i for i, (y, x) in enumerate(zip(made["y"], made["x"])) if (y, x) == ("book ahead", -105.0))
    assert made["fill"][first] == LIGHT.short
    assert "break ▼" in made["said"][first]


def test_a_row_tells_what_its_family_does_to_the_odds() -> None:
    made = importance_data(FOUND, DARK, "approach_up", history_s=120)["totals"]
    assert dict(zip(made["y"], made["text"])) == {"book ahead": "×2.7", "tape": "−18%", "magnitude": "+5%"}
    assert odds_words(0.0) == "+0%"


def test_another_forecast_is_patched_into_the_figure() -> None:
    fig = importance_figure(FOUND, DARK, "approach_up")
    assert fig.y_range.factors == ["magnitude", "tape", "book ahead", ALL]
    source = fig.select_one({"name": "cells"}).data_source
    before = len(source.data["x"])
    paint_importance(fig, moved((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5)), DARK, "approach_down")
    assert fig.select_one({"name": "cells"}).data_source is source
    assert len(source.data["x"]) > before
    assert "break ▼" in fig.xaxis[0].axis_label
    theme_importance(fig, LIGHT)
    assert fig.background_fill_color == LIGHT.map_floor
    assert fig.select_one({"name": "totals"}).glyph.text_color == LIGHT.text
    # A vector without windows has no cells, and its families all the same.
    bare = Importance(("w",), np.zeros((1, 0, 3)), np.zeros((0, 3)), np.array([[-0.1, 0.0, 0.1]]))
    paint_importance(fig, bare, DARK, "approach_up")
    assert source.data["x"] == []
    assert fig.y_range.factors == ["wall", ALL]
