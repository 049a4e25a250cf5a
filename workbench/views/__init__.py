"""Views: one file each, registered with `@view(key, title)`; `workbench.page.Shell` assembles what is registered.

A view is a class, made when the view is first opened, with

``__init__(root, state, complaints)``
    the lake's folder, the tab's `LevelState`, and the sentences about what the URL asked for in vain.
``__panel__()``
    its page body, which fills what is left below the header.
``start()``
    read the lake and draw; called once, after the body is in the page.
``controls()``
    what the drawer holds while this view is open.
``header`` (may be missing or None)
    a pane for the right of the header.
``front(on)`` (may be missing)
    called when the view is shown again (True) and when another takes its place (False): a hidden view draws nothing, listens to no key
    (`workbench.views.components.Keys.active`), and catches up when it comes back. `start` is not followed by ``front(True)``.

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

ORDER = ("level", "replay", "neighbours", "compare", "research")
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
