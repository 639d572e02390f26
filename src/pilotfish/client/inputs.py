"""Futures among the arguments of a call: the call waits for them, and gets their results in their place.

What belongs here: finding futures in nested containers, and filling results in. What must not: what a call is.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = ["filled", "futures_in", "when_done"]

_CONTAINERS = (list, tuple, set, frozenset, dict)


def futures_in(value: object) -> list[Future[Any]]:
    """All futures in nested lists, tuples, sets and dictionaries' values, each once."""
    found: dict[int, Future[Any]] = {}
    seen: set[int] = set()
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, Future):
            found[id(one)] = one
        elif type(one) in _CONTAINERS and id(one) not in seen:
            seen.add(id(one))
            left.extend(one.values() if isinstance(one, dict) else list(one))  # type: ignore[call-overload]
    return list(found.values())


def filled(value: Any) -> Any:  # noqa: ANN401 - whatever was given
    """The same with results in the place of futures, which are done. Raises what one of them raises."""
    if isinstance(value, Future):
        return value.result()
    if type(value) is dict:
        return {key: filled(one) for key, one in value.items()}
    if type(value) in _CONTAINERS:
        return type(value)(filled(one) for one in value)
    return value


def when_done(futures: list[Future[Any]], go_on: Callable[[], object]) -> None:
    """Call a function once all of these are done; in the thread in which the last one ends, or here."""
    left = set(futures)

    def ended(one: Future[Any]) -> None:
        left.discard(one)
        if not left and not told:
            told.append(True)
            go_on()

    told: list[bool] = []
    for one in futures:
        one.add_done_callback(ended)
