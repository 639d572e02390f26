"""Delayed functions, Grain's manner: ``(fn @ Cores(4))(a)`` starts a call with 4 cores and gives its placeholder.

With resources a call is launched by the session that is open; it runs wherever these are, in a process of its own.
Without any it is cheap, and runs here: in the running loop, or, where none runs, in one that is kept in a thread of its
own for all of them. It may start calls with resources and await them. A call with placeholders among its arguments
starts when all of these have values; it belongs to the loop that it was made in, and is cancelled with it. What belongs
here: functions, calls and groups of them. What must not: how a session runs a call, operations on values to come.
"""

import asyncio
import inspect
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache, partial, update_wrapper
from types import MethodType, TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from pilotfish.client.placeholders import Arguments, Delayed, DelayedCall, settle
from pilotfish.client.resources import Resource
from pilotfish.errors import UserError

__all__ = [
    "BoundFunction",
    "DelayedFunction",
    "Runner",
    "WaitGroup",
    "current_runner",
    "delayed",
    "open_waitgroup",
    "outstanding",
    "running_with",
]

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_R = TypeVar("_R")
_R_co = TypeVar("_R_co", covariant=True)


class Runner(Protocol):
    """What runs calls with resources: a session."""

    def launch(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], resources: Resource
    ) -> Future[Any]:
        """Start a call as soon as there is room for it, and return at once; from any thread.

        A coroutine function is run to its end. Cancelling the future cancels the call. `function` is the plain one:
        what stands under its name in its module is the delayed one.
        """


_runner: ContextVar[Runner] = ContextVar("pilotfish_runner")


def current_runner() -> Runner:
    """The session that is open here, the innermost. Raises UserError where there is none."""
    try:
        return _runner.get()
    except LookupError:
        raise UserError("no session is open here: call it inside `with pilotfish.Session():`") from None


@contextmanager
def running_with(runner: Runner) -> Iterator[None]:
    """Launch with this one what is called in the block, and in tasks that are made in it."""
    token = _runner.set(runner)
    try:
        yield
    finally:
        _runner.reset(token)


# Calls

_live: dict[Future[Any], tuple[Runner | None, DelayedCall]] = {}
"""Calls that have not ended, by their outcome. For `outstanding`, and because nobody else may know of them."""


def outstanding(runner: Runner) -> list[DelayedCall]:
    """Calls made while this runner was the current one that have not ended.

    Not all of them were launched: some wait for inputs, some run here and may launch others. A session that waits for
    its calls waits until there are none of these; one that gives up cancels them.
    """
    return [call for owner, call in list(_live.values()) if owner is runner]


def _launch(name: str, function: Callable[..., Any], resources: Resource, arguments: Arguments) -> DelayedCall:
    """A call for the session that is open."""
    runner = current_runner()

    def launch(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Future[Any]:
        return runner.launch(function, args, kwargs, resources)

    if arguments.inputs:
        return _start(name, lambda *args, **kwargs: asyncio.wrap_future(launch(args, kwargs)), arguments)
    try:
        outcome = launch(*arguments.filled())
    except Exception as error:  # noqa: BLE001 - for whoever awaits it, as where it is launched later
        outcome = Future()
        outcome.set_exception(error)
    return _known(DelayedCall(name, arguments, outcome, outcome.cancel))


def _start(name: str, function: Callable[..., Any], arguments: Arguments) -> DelayedCall:
    """A call that starts in a loop when its inputs are there. What the function returns is awaited, if it can be."""

    async def work() -> object:
        if arguments.inputs:
            await settle(arguments.inputs)
        args, kwargs = arguments.filled()
        value = function(*args, **kwargs)
        while inspect.isawaitable(value):  # of a coroutine function; or a placeholder, which any function may return
            value = await value
        return value

    return _known(DelayedCall(name, arguments, *_run(work())))


def _known(call: DelayedCall) -> DelayedCall:
    _live[call.outcome] = _runner.get(None), call
    call.outcome.add_done_callback(_live.pop)
    return call


def _run(work: Coroutine[Any, Any, object]) -> tuple[Future[Any], Callable[[], bool]]:
    """A task for it, in the running loop or in our own: how it ends, and what cancels it, from any thread."""
    outcome: Future[Any] = Future()
    task: asyncio.Task[object]

    def begin() -> None:
        nonlocal task
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(end)

    def end(task: asyncio.Task[object]) -> None:
        if task.cancelled():
            outcome.cancel()
        elif (error := task.exception()) is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(task.result())

    def stop() -> bool:
        with suppress(RuntimeError):  # the loop was closed, and the task with it
            loop.call_soon_threadsafe(lambda: task.cancel())  # noqa: PLW0108 - after `begin`, which makes it
            return True
        return False

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = _own_loop()
        loop.call_soon_threadsafe(begin)
    else:
        begin()
    return outcome, stop


@cache
def _own_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="pilotfish-delayed", daemon=True).start()
    return loop


os.register_at_fork(after_in_child=_own_loop.cache_clear)  # a child has no such thread


# Functions


class DelayedFunction(Generic[_P, _R_co]):
    """A function whose calls return placeholders. ``fn @ resources`` is another one, which asks for these.

    Called as it is, it runs here: a coroutine function as a task, any other when its inputs are there, in the thread of
    the loop, which it blocks meanwhile. What it calls with resources needs a session.
    """

    __name__: str
    __wrapped__: Callable[..., Any]

    def __init__(self, function: Callable[..., Any], *, nout: int | None, copy_on_setitem: bool) -> None:
        """Made by `delayed`."""
        update_wrapper(self, function)
        self.__name__ = getattr(function, "__name__", repr(function))
        self._nout, self._copies = nout, copy_on_setitem

    # The second signature is that of calls with placeholders: no type says "any of these, or a placeholder of it".
    @overload
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> Delayed[_R_co]: ...
    @overload
    def __call__(self, *args: object, **kwargs: object) -> Delayed[_R_co]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Delayed[_R_co]:
        """Start it here. It never raises: errors are for whoever awaits it."""
        return self._placeholder(_start(self.__name__, self.__wrapped__, Arguments(args, kwargs)))

    def _launch(self, resources: Resource, arguments: Arguments) -> Delayed[_R_co]:
        return self._placeholder(_launch(self.__name__, self.__wrapped__, resources, arguments))

    def _placeholder(self, call: DelayedCall) -> Delayed[_R_co]:
        return Delayed(call, self._nout, copy_on_setitem=self._copies)

    def __matmul__(self, resources: Resource) -> "BoundFunction[_P, _R_co]":
        """The same function, asking for resources; this one is not changed."""
        if not isinstance(resources, Resource):
            raise TypeError(f"{self.__name__} @ {resources!r}: write resources, such as {self.__name__} @ Cores(4)")
        return BoundFunction(self, resources)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(
        self: "DelayedFunction[Concatenate[Any, _Q], _R_co]", instance: object, owner: type | None = None
    ) -> "DelayedFunction[_Q, _R_co]": ...
    def __get__(self, instance: object, owner: type | None = None) -> "DelayedFunction[..., _R_co]":
        """As a method."""
        if instance is None:
            return self
        return DelayedFunction(MethodType(self.__wrapped__, instance), nout=self._nout, copy_on_setitem=self._copies)

    def __repr__(self) -> str:
        """``<delayed add>``."""
        return f"<delayed {self.__name__}>"


class BoundFunction(Generic[_P, _R_co]):
    """A delayed function and the resources that each of its calls asks for: ``fn @ Cores(4) & Memory("2GiB")``.

    It never changes, and can be called any number of times, also from several threads.
    """

    def __init__(self, function: DelayedFunction[_P, _R_co], resources: Resource) -> None:
        """Made by ``function @ resources``."""
        self._function, self.resources = function, resources

    def __and__(self, more: Resource) -> "BoundFunction[_P, _R_co]":
        """The same, asking for another kind too. Raises ResourceError for one that it asks for already."""
        return BoundFunction(self._function, self.resources & more)

    @overload
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> Delayed[_R_co]: ...
    @overload
    def __call__(self, *args: object, **kwargs: object) -> Delayed[_R_co]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Delayed[_R_co]:
        """Launch it, at once unless it waits for placeholders. Errors are for whoever awaits it.

        Raises UserError where no session is open.
        """
        return self._function._launch(self.resources, Arguments(args, kwargs))  # noqa: SLF001 - its other half

    def __repr__(self) -> str:
        """``<delayed add @ Cores(4)>``."""
        return f"{self._function!r}"[:-1] + f" @ {self.resources!r}>"


class _Decorator(Protocol):
    @overload
    def __call__(self, function: Callable[_P, Coroutine[Any, Any, _R]]) -> DelayedFunction[_P, _R]: ...
    @overload
    def __call__(self, function: Callable[_P, _R]) -> DelayedFunction[_P, _R]: ...


@overload
def delayed(
    function: Callable[_P, Coroutine[Any, Any, _R]], *, nout: int | None = None, copy_on_setitem: bool = True
) -> DelayedFunction[_P, _R]: ...
@overload
def delayed(
    function: Callable[_P, _R], *, nout: int | None = None, copy_on_setitem: bool = True
) -> DelayedFunction[_P, _R]: ...
@overload
def delayed(*, nout: int | None = None, copy_on_setitem: bool = True) -> _Decorator: ...
def delayed(
    function: Callable[..., Any] | None = None, *, nout: int | None = None, copy_on_setitem: bool = True
) -> Any:
    """Make a function, coroutine function or not, return placeholders when it is called; a decorator.

    Args:
        function: it.
        nout: it returns so many values, into which its placeholders can be unpacked.
        copy_on_setitem: ``d[i] = v`` on its placeholders changes a shallow copy of the value, so that what was made
            from them before is not changed too.

    """
    if function is None:
        return partial(delayed, nout=nout, copy_on_setitem=copy_on_setitem)
    return DelayedFunction(function, nout=nout, copy_on_setitem=copy_on_setitem)


class WaitGroup:
    """Calls that end together: whoever leaves ``async with open_waitgroup() as group`` knows that none goes on.

    It is an `asyncio.TaskGroup` of calls. The first that fails cancels all others, and the body of the block; what
    failed is raised as an ExceptionGroup, with what the body raised. Cancelled calls are no failures.
    """

    def __init__(self) -> None:
        """Empty."""
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[Any]] = []
        self._left = False

    async def __aenter__(self) -> Self:
        """Open it."""
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for all calls; raise what they raised."""
        await self._group.__aexit__(kind, error, traceback)
        self._left = True

    def submit(self, function: Callable[_P, Delayed[_R]], *args: _P.args, **kwargs: _P.kwargs) -> Delayed[_R]:
        """Start a call of a delayed function, with resources or without. Its placeholder may be used as any other."""
        placeholder = function(*args, **kwargs)
        if not isinstance(placeholder, Delayed):
            raise TypeError(f"submit() takes delayed functions, not {function!r}: decorate it with @delayed")
        self._tasks.append(self._group.create_task(_awaited(placeholder)))
        return placeholder

    @property
    def results(self) -> list[Any]:
        """What the calls returned, in the order of `submit`. Raises RuntimeError before the group is left."""
        if not self._left:
            raise RuntimeError("the calls of this group have not ended: look at its results after `async with`")
        return [task.result() for task in self._tasks]


async def _awaited(placeholder: Delayed[_R]) -> _R:
    return await placeholder


def open_waitgroup() -> WaitGroup:
    """A group of calls, to be entered with ``async with``."""
    return WaitGroup()
