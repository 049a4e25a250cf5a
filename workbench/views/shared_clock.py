"""One clock for several windows: the page that holds it, and windows with one panel each that show its moment.

The address of a window names the clock, and pages of one server find each other by that name. What a window's keys and clicks ask for is
done by the page that holds the clock; what that page shows, its windows show a moment later. A window knows no later instant than its
holder. Without a holder (its page was closed) a window goes on by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakSet, WeakValueDictionary, ref


@dataclass(frozen=True)
class Moment:
    """What the clock's page shows: contract, session, level and instant, theme, whether it plays, how fast, and whether it follows."""

    contract: str
    session: str
    level: str
    ts_ns: int
    theme: str
    playing: bool
    following: bool
    revealed: bool
    speed: int


class Holder(Protocol):
    """The page whose clock it is; `doc` is its document, None without one."""

    @property
    def doc(self) -> Any:
        """The document, whose callbacks run one after the other."""

    def moment(self) -> Moment | None:
        """What it shows; None before its first picture."""

    def act(self, name: str, value: Any) -> None:
        """Do what the trader did in a window."""


class Window(Protocol):
    """A page with one panel."""

    @property
    def doc(self) -> Any:
        """The document, whose callbacks run one after the other."""

    def follow(self, moment: Moment) -> None:
        """Show a moment of the holder's."""


class SharedClock:
    """Who holds a clock, and who follows it. Neither is kept from being forgotten."""

    def __init__(self) -> None:
        self._holder: Callable[[], Holder | None] = lambda: None
        self._windows: WeakSet[Window] = WeakSet()

    def hold(self, holder: Holder) -> None:
        """From now on this page's moment is shown."""
        self._holder = ref(holder)
        self.tell()

    @property
    def held(self) -> bool:
        """Whether a page holds it."""
        return self._holder() is not None

    def join(self, window: Window) -> None:
        """A window was opened."""
        self._windows.add(window)
        self.tell()

    def leave(self, page: object) -> None:
        """A page was closed."""
        if self._holder() is page:
            self._holder = lambda: None
        self._windows = WeakSet(w for w in self._windows if w is not page)

    def tell(self) -> None:
        """Have the windows show what the holder shows."""
        holder = self._holder()
        moment = None if holder is None else holder.moment()
        if moment is not None:
            for window in list(self._windows):
                _in_page(window.doc, _follow(ref(window), moment))

    def ask(self, name: str, value: Any) -> bool:
        """Have the holder do what was asked for in a window; False where there is none."""
        holder = self._holder()
        if holder is None:
            return False
        _in_page(holder.doc, lambda: holder.act(name, value))
        return True


def _follow(window: Callable[[], Window | None], moment: Moment) -> Callable[[], None]:
    def follow() -> None:
        found = window()
        if found is not None:
            found.follow(moment)

    return follow


def _in_page(doc: Any, act: Callable[[], None]) -> None:
    """Call `act` in the loop of a page; at once where there is no page."""
    if doc is None:
        act()
    else:
        doc.add_next_tick_callback(act)


_clocks: WeakValueDictionary[tuple[str, str], SharedClock] = WeakValueDictionary()


def named(root: str, name: str) -> SharedClock:
    """The clock of that name among the pages of a lake."""
    return _clocks.setdefault((root, name), SharedClock())
