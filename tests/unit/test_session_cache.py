"""What was computed of a session goes with the session."""

import gc
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field

from engine.session import cached_with_session


@dataclass(eq=False)
class Small:
    name: str
    cached: dict = field(default_factory=dict)


calls: list[tuple[str, int]] = []


@cached_with_session(2)
def square(session: Small, x: int) -> int:
    calls.append((session.name, x))
    return x * x


def test_an_answer_is_computed_once_and_the_longest_unused_goes_first() -> None:
    calls.clear()
    a, b = Small("a"), Small("b")
    assert [square(a, 2), square(a, 2), square(b, 2), square(a, x=2)] == [4, 4, 4, 4]
    assert calls == [("a", 2), ("b", 2), ("a", 2)]
    c = Small("c")
    calls.clear()
    for x in (1, 2, 1, 3, 1, 2):
        square(c, x)
    assert calls == [("c", 1), ("c", 2), ("c", 3), ("c", 2)]
    assert [len(v) for v in c.cached.values() if isinstance(v, OrderedDict)] == [2]


def test_a_session_is_not_kept_alive_by_what_was_computed_of_it() -> None:
    a = Small("a")
    square(a, 5)
    gone = weakref.ref(a)
    gc.disable()
    try:
        del a
        assert gone() is None
    finally:
        gc.enable()
