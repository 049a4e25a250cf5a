"""What all views of the page have in common: one life cycle, their notices, and how what fails is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import panel as pn
from panel.viewable import Viewer
from pydantic import ValidationError

from engine.errors import EngineError
from workbench.state import LevelState
from workbench.views.components import Notices


class PageView(Viewer):
    """A view of the page: the lake's folder `root`, the tab's `state`, its notices, and a `body` that fills the page.

    The page makes a view when it is first opened and calls `start` once the body is in it. Then `changed` is called with the names of the
    parameters of `state` among `follows` that changed: at once while the view is in front, and when it comes back with all that changed
    meanwhile. A hidden view draws nothing, listens to no key and asks nothing.
    """

    body: pn.Column
    header: Any = None
    follows: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, root: str, state: LevelState, complaints: list[str], **params: Any) -> None:
        super().__init__(**params)
        self.root, self.state, self.active = root, state, True
        self.notices = Notices(complaints)
        self._missed: set[str] = set()
        self._again = self._putting = False
        self._inside = 0
        state.param.watch(self._on_state, sorted(self.follows))

    def __panel__(self) -> pn.Column:
        return self.body

    # --- what a view does

    def open(self) -> None:
        """Read what is shown, and show it: the first time, and again where `changed` says so."""
        raise NotImplementedError

    def changed(self, names: set[str]) -> None:
        """Show what follows from a change of these parameters; without any, what was given up when the view was hidden."""
        raise NotImplementedError

    def rest(self) -> bool:
        """Hidden: give up what is under way; returns whether `changed` shall be called for it when the view comes back."""
        return False

    def back(self) -> None:
        """In front again, and nothing that the view follows has changed."""

    def failed(self, error: EngineError) -> None:
        """What the engine has to say of the trader's act, or of what followed from it."""
        self.notices.trouble.append(str(error))

    # --- its life cycle

    def start(self) -> None:
        """Draw for the first time; called once the page is there."""
        self.guard(self.open)

    def front(self, on: bool) -> None:
        """The view is shown again, or another takes its place."""
        self.active = on
        if not on:
            self._again = self.rest() or self._again
            return
        names, again = self._missed, self._again
        self._missed, self._again = set(), False
        if names or again:
            self.guard(lambda: self.changed(names))
        else:
            self.back()

    def _on_state(self, *events: Any) -> None:
        names = {e.name for e in events}
        if self._putting:
            return
        if self.active:
            self.guard(lambda: self.changed(names))
        else:
            self._missed |= names

    def put(self, **values: Any) -> None:
        """Set the state without being told of it: it follows what is drawn, and so do controls and URL."""
        self._putting = True
        try:
            self.state.param.update(**values)
        finally:
            self._putting = False

    def guard(self, act: Callable[[], object], *, keep: bool = False) -> None:
        """Run `act`; what the engine has to say is shown, and the last good picture stays.

        The trader's own act ends what was said before; what follows of itself leaves it (`keep`).
        """
        if not keep and not self._inside:
            self.notices.act()
        self._inside += 1
        try:
            with pn.io.hold():
                act()
        except ValidationError as e:
            self.notices.trouble = [f"Not applied: {err['msg'].removeprefix('Value error, ')}" for err in e.errors()]
        except EngineError as e:
            self.failed(e)
        finally:
            self._inside -= 1
        self.notices.show()
