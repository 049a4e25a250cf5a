"""Views: one file each, registered with `@view`; `workbench.app` assembles what is registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

V = TypeVar("V", bound=type)


@dataclass(frozen=True)
class ViewSpec:
    """A registered view: its key in the URL, its title, and its class."""

    key: str
    title: str
    cls: type


VIEWS: dict[str, ViewSpec] = {}


def view(key: str, title: str) -> Callable[[V], V]:
    """Register a view class under `key`."""

    def register(cls: V) -> V:
        VIEWS[key] = ViewSpec(key, title, cls)
        return cls

    return register
