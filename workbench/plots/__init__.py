"""Pictures as functions: a frame or a cube in, data or a figure out. No Panel, no files; notebooks call them as they are.

`__all__` is the interface for notebooks; a name is imported when it is first used.

Examples
--------
>>> from workbench import plots
>>> plots.difference_figure(plots.DARK).figure.name
'difference'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.plots.compose import conditions_picture, ladder_picture, level_picture
    from workbench.plots.decision import condition_strengths, standing, statement
    from workbench.plots.difference import difference_figure, difference_words, fill_difference
    from workbench.plots.ladder import rows_at
    from workbench.plots.outcomes import excursion_figure, outcome_counts, outcome_figure, why_figure, why_rows
    from workbench.plots.research import fill_share_panels, hit_rows, share_panels
    from workbench.theme import DARK, LIGHT, Theme

_FROM: dict[str, tuple[str, ...]] = {
    "workbench.plots.compose": ("conditions_picture", "ladder_picture", "level_picture"),
    "workbench.plots.decision": ("condition_strengths", "standing", "statement"),
    "workbench.plots.difference": ("difference_figure", "difference_words", "fill_difference"),
    "workbench.plots.ladder": ("rows_at",),
    "workbench.plots.outcomes": ("excursion_figure", "outcome_counts", "outcome_figure", "why_figure", "why_rows"),
    "workbench.plots.research": ("fill_share_panels", "hit_rows", "share_panels"),
    "workbench.theme": ("DARK", "LIGHT", "Theme"),
}
"""Module -> the names of the interface that it has."""

_MODULE_OF = {name: (module, name) for module, names in _FROM.items() for name in names}

__all__ = [
    "DARK", "LIGHT", "Theme", "condition_strengths", "conditions_picture", "difference_figure", "difference_words", "excursion_figure",
    "fill_difference", "fill_share_panels", "hit_rows", "ladder_picture", "level_picture", "outcome_counts", "outcome_figure", "rows_at",
    "share_panels", "standing", "statement", "why_figure", "why_rows",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """The interface's `name`, imported now (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: expected one of {', '.join(__all__)}")
    module, attribute = _MODULE_OF[name]
    found = getattr(importlib.import_module(module), attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
