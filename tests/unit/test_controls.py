"""The drawer's table of keys names every key that the view in front listens to, and how the tools of a figure are reached."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workbench.state import LevelState
from workbench.views import in_order
from workbench.views.compare import CompareView
from workbench.views.controls import keys_html
from workbench.views.level import LevelView
from workbench.views.neighbours import NeighboursView, Wall
from workbench.views.player import Deck
from workbench.views.research import ResearchView

NAMES = {" ": "Space", "ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓"}
KEY = r'"( |Arrow\w+|Home|End|\[|\]|[a-z,.])"'


def listened(code: str, pattern: str) -> set[str]:
    """Keys in the code that listens, as the table writes them."""
    return {NAMES.get(k, k) for k in re.findall(pattern, code)}


@pytest.mark.parametrize(
    ("view", "code", "pattern", "least"),
    [
        ("level", Deck._esm, rf"{KEY}: (?:\(e?\) =>|step)", 15),
        ("neighbours", Wall._esm, rf"e\.key === {KEY}", 3),
    ],
)
def test_the_table_has_the_keys_that_are_listened_to(view: str, code: str, pattern: str, least: int) -> None:
    found = listened(code, pattern)
    assert len(found) >= least
    missing = {k for k in found if f"<kbd>{k}</kbd>" not in keys_html(view)}
    assert missing == set()


def test_every_view_with_figures_says_how_their_tools_are_reached() -> None:
    of_view = {v.key: v.keys for v in in_order()}
    assert {key for key, keys in of_view.items() if keys} == {"level", "neighbours", "compare"}
    for view in of_view:
        assert ("tool of a figure" in keys_html(view)) == (view != "compare")


def test_the_drawers_hold_the_tables_of_their_own_views(tmp_path: Path) -> None:
    for cls in (LevelView, NeighboursView, CompareView, ResearchView):
        (key,) = (v.key for v in in_order() if v.cls is cls)
        held = [getattr(control, "object", "") for control in cls(str(tmp_path), LevelState(), []).controls()]
        assert keys_html(key) in held
