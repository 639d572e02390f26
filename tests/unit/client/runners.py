"""A runner whose nodes are threads, a few delayed functions for it, and ways to wait."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from pilotfish.client.delayed import delayed
from pilotfish.client.placeholders import Delayed
from pilotfish.client.resources import Resource

T = TypeVar("T")
PATIENCE = 20.0
"""Seconds after which a test that waits for something has failed."""


class Threads:
    """A runner whose nodes are threads. Calls of `later` stay pending until they are let go."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(8)
        self.launched: list[tuple[str, tuple[Any, ...], Resource]] = []
        self.pending: list[Future[Any]] = []

    def launch(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], resources: Resource
    ) -> Future[Any]:
        self.launched.append((function.__name__, args, resources))
        if function is later.__wrapped__:
            self.pending.append(Future())
            return self.pending[-1]
        if iscoroutinefunction(function):
            return self.pool.submit(lambda: asyncio.run(function(*args, **kwargs)))
        return self.pool.submit(function, *args, **kwargs)

    def names(self) -> list[str]:
        return [name for name, _, _ in self.launched]


def run(main: Callable[[], Awaitable[T]]) -> T:
    """In a loop of its own, and not for ever."""

    async def bounded() -> T:
        async with asyncio.timeout(PATIENCE):
            return await main()

    return asyncio.run(bounded())


async def until(condition: Callable[[], object]) -> None:
    """For a thing that another task does."""
    while not condition():  # noqa: ASYNC110 - what is waited for gives no sign, and the loop has other tasks
        await asyncio.sleep(0)


async def value_of(placeholder: Delayed[T]) -> T:
    return await placeholder


def waiting_for(placeholder: Delayed[Any]) -> int:
    """How many wait for a call."""
    return placeholder._vertex._waiting  # type: ignore[attr-defined, no-any-return]  # noqa: SLF001 - none of a user's business


@delayed
async def identity(x: int) -> int:
    return x


@delayed
def add(a: int, b: int = 0) -> int:
    return a + b


@delayed
def total(numbers: list[int]) -> int:
    return sum(numbers)


@delayed
def fail(reason: str) -> int:
    raise ValueError(reason)


@delayed
def later() -> int:
    raise AssertionError("nobody runs it")


@delayed
def same(value: Any) -> Any:
    return value


@delayed(nout=2)
def both(a: Any, b: Any) -> tuple[Any, Any]:
    return a, b
