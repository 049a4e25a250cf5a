"""Views: one file each, registered with `@view(key, title)`; `workbench.page.Shell` assembles what is registered.

A view is a class, made when it is first opened: a `workbench.views.base.PageView`, which says what its life is, with

``body``
    what fills the page below the header, and ``header``, a pane for the right of the header, or None.
``open()``, ``changed(names)``, ``rest()``
    draw, follow a change of the state, be hidden.
``controls()``
    what the drawer holds while this view is open.

To open another view, set ``state.view``; to take a moment there, set level, session and cursor in the same ``state.param.update``.
The URL follows every change of `state` by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeVar

V = TypeVar("V", bound=type)

KeyRow = tuple[Sequence[str], str]
"""Keys, and what they do, a row of the drawer's table; ``–`` between two of them: from one to the other."""


@dataclass(frozen=True)
class ViewSpec:
    """A registered view: its key in the URL, its title, its class, and the keyboard's keys that it listens to."""

    key: str
    title: str
    cls: type
    keys: tuple[KeyRow, ...] = ()


VIEWS: dict[str, ViewSpec] = {}

ORDER = ("level", "neighbours", "compare", "research")
"""From left to right in the header; others follow."""


@cache
def load_views() -> None:
    """Import every module of this package, so that its views are registered."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")


def in_order() -> list[ViewSpec]:
    """All views, in the header's order."""
    load_views()
    return sorted(VIEWS.values(), key=lambda v: (ORDER.index(v.key) if v.key in ORDER else len(ORDER), v.key))


def view(key: str, title: str, *, keys: Sequence[KeyRow] = ()) -> Callable[[V], V]:
    """Register a view class under `key`; the drawer's table of keys shows `keys`."""

    def register(cls: V) -> V:
        VIEWS[key] = ViewSpec(key, title, cls, tuple(keys))
        return cls

    return register
