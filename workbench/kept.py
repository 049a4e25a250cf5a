"""What was computed of a session is kept with the session, and goes with it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Keeper(Protocol):
    """What has a place for what is computed of it."""

    @property
    def kept(self) -> dict[Hashable, OrderedDict[Any, Any]]:
        """By function, then by its other arguments."""


S = TypeVar("S", bound=Keeper)


def kept_with_session(most: int) -> Callable[[Callable[Concatenate[S, P], T]], Callable[Concatenate[S, P], T]]:
    """As `functools.lru_cache` with `most` answers a session, the function's first argument.

    A cache of the module would keep every session alive that it has an answer of, a ladder of 100 MB and more each.
    """

    def keep(function: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
        @wraps(function)
        def answer(session: S, /, *args: P.args, **more: P.kwargs) -> T:
            answers = session.kept.setdefault(function, OrderedDict())
            key = (args, tuple(sorted(more.items())))
            if key in answers:
                answers.move_to_end(key)
                return answers[key]  # type: ignore[no-any-return]
            found = answers[key] = function(session, *args, **more)
            while len(answers) > most:
                answers.popitem(last=False)
            return found

        return answer

    return keep
