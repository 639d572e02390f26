"""Placeholders: values that are still to come, what is done with them meanwhile, and how they are had in the end.

What is done with a placeholder is recorded, as one vertex of a graph whose leaves are calls. It is evaluated when
somebody wants its value (``await``, ``result()``, a call that it is an argument of): once, where it is wanted, inputs
first, without recursion. What belongs here: the graph, waiting and evaluating. What must not: functions, sessions,
resources.
"""

import asyncio
import logging
import operator
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import suppress
from copy import copy
from itertools import count
from reprlib import Repr
from types import MappingProxyType
from typing import Any, Generic, NoReturn, TypeVar, overload

__all__ = ["Arguments", "Delayed", "DelayedCall", "Vertex", "delayedval", "each", "settle"]

_T = TypeVar("_T")
_R_co = TypeVar("_R_co", covariant=True)
_Shown = Repr()
_Shown.maxstring = _Shown.maxother = 60

_COUNTING = threading.Lock()
"""Held for a few instructions: waiters of one call may be in several threads."""


class Vertex:
    """A value to come: a call, or an operation on others."""

    __slots__ = ()

    @property
    def inputs(self) -> Sequence["Vertex"]:
        """What its value is made of; empty once it is there."""
        return ()

    def __repr__(self) -> str:
        """Short, for it stands among the arguments of others."""
        return "…"

    @property
    def done(self) -> bool:
        """Whether it has a value, or never will."""
        raise NotImplementedError

    def title(self) -> str:
        """What it is, for people: ``add(1, 2)``, ``add(…)`` once it is done."""
        raise NotImplementedError

    def value(self) -> Any:  # noqa: ANN401 - whatever it is
        """Its value, or its exception raised. For those that are done."""
        raise NotImplementedError


class DelayedCall(Vertex):
    """A value that comes by itself: from a session, or from a task of a loop.

    It knows how many wait for it. When those that waited are cancelled and nobody waits any more, so is the call.
    """

    __slots__ = ("_looks", "_name", "_stop", "_waiting", "outcome", "wanted")

    wanted: bool
    """Whether anybody has ever asked for its value."""

    def __init__(
        self, name: str, arguments: "Arguments", outcome: futures.Future[Any], stop: Callable[[], bool]
    ) -> None:
        """`stop` cancels it, from any thread, and tells whether its end is near."""
        self._name, self._stop, self.outcome = name, stop, outcome
        self._waiting, self.wanted = 0, False
        # The arguments may be large: they are kept for their looks, and no longer than these matter.
        self._looks = looks = [arguments]
        outcome.add_done_callback(lambda _: looks.clear())

    @property
    def done(self) -> bool:
        """Whether it has ended, however."""
        return self.outcome.done()

    def title(self) -> str:
        """The call as it was written."""
        return f"{self._name}({self._looks[0] if self._looks else '…'})"

    def value(self) -> Any:  # noqa: ANN401 - whatever it is
        """What it returned, or raised."""
        return self.outcome.result()

    def hold(self) -> None:
        """One more waits for it."""
        with _COUNTING:
            self._waiting += 1

    def release(self, *, cancelled: bool = False) -> bool:
        """One fewer waits for it; whether it was stopped for that, and its end is near."""
        with _COUNTING:
            self._waiting -= 1
            shared = self._waiting > 0
        return cancelled and not shared and not self.done and self._stop()

    def cancel(self) -> None:
        """End it, whoever waits."""
        self._stop()

    def __del__(self) -> None:
        """Nobody can ask for it any more: a failure that nobody has heard of must not pass in silence."""
        if self.wanted or not self.done or self.outcome.cancelled():
            return
        if (error := self.outcome.exception()) is not None:
            logging.getLogger(__name__).error("%s failed, and nobody awaited it", self.title(), exc_info=error)


class _Operation(Vertex):
    """Something done with values to come; cheap, and done where its value is wanted."""

    __slots__ = ("_lock", "_name", "_outcome", "_todo")

    def __init__(self, name: str, function: Callable[..., object], arguments: "Arguments") -> None:
        self._name = name
        self._todo: tuple[Callable[..., object], Arguments] | None = (function, arguments)
        self._outcome: tuple[Any, Exception | None] | None = None
        self._lock = threading.Lock()  # its own: none waits for itself in a graph without circles

    @property
    def inputs(self) -> Sequence[Vertex]:
        todo = self._todo
        return todo[1].inputs if todo else ()

    @property
    def done(self) -> bool:
        return self._outcome is not None

    def title(self) -> str:
        todo = self._todo
        return f"{self._name}({todo[1] if todo else '…'})"

    def evaluate(self) -> None:
        """Do it, unless it was done. All inputs are done."""
        with self._lock:
            if self._todo is None:
                return
            function, arguments = self._todo
            try:
                args, kwargs = arguments.filled()
                self._outcome = function(*args, **kwargs), None
            except Exception as error:  # noqa: BLE001 - it is kept for whoever wants the value
                self._outcome = None, error
            self._todo = None

    def value(self) -> Any:  # noqa: ANN401 - whatever it is
        assert self._outcome is not None  # noqa: S101 - the plan has its inputs before it
        value, error = self._outcome
        if error is not None:
            raise error
        return value


# Finding placeholders in arguments

_Form = tuple[Callable[[Any], Iterable[Any]], Callable[[list[Any]], Any]]
"""How a container is taken apart, and put together again."""

_FORMS: dict[type, _Form] = {
    list: (iter, list),
    tuple: (iter, tuple),
    set: (iter, set),
    frozenset: (iter, frozenset),
    dict: (
        lambda it: (*it, *it.values()),
        lambda parts: dict(zip(parts[: len(parts) // 2], parts[len(parts) // 2 :], strict=True)),
    ),
    slice: (lambda it: (it.start, it.stop, it.step), lambda parts: slice(*parts)),
}


def _form(kind: type) -> _Form | None:
    form = _FORMS.get(kind)
    if form is None and issubclass(kind, tuple) and (make := getattr(kind, "_make", None)):
        return iter, make
    return form


def _swapped(value: Any, kind: type, swap: Callable[[Any], object], around: tuple[int, ...] = ()) -> Any:  # noqa: ANN401
    """`value` with all of a kind in it swapped, however deep; containers without any stay the very same.

    `around`: ids of the containers that it is in, for one may hold itself.
    """
    if isinstance(value, kind):
        return swap(value)
    form = _form(type(value))
    if form is None or id(value) in around:
        return value
    apart, together = form
    parts = list(apart(value))
    # A million numbers are passed over at the speed of C.
    if not any(issubclass(inner, kind) or _form(inner) for inner in set(map(type, parts))):
        return value
    swapped = [_swapped(part, kind, swap, (*around, id(value))) for part in parts]
    return value if all(map(operator.is_, swapped, parts)) else together(swapped)


class Arguments:
    """Arguments of a call with a vertex for each placeholder in them: what these are at the moment.

    Placeholders are found in lists, tuples (those with names too), dicts, sets and slices, however deep.
    """

    __slots__ = ("_args", "_kwargs", "inputs")

    inputs: list[Vertex]
    """The vertices."""

    def __init__(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """By position, by name."""
        self.inputs = []
        self._args, self._kwargs = self._swap(args, kwargs, Delayed, self._keep)

    def _keep(self, placeholder: "Delayed[Any]") -> Vertex:
        self.inputs.append(placeholder._vertex)  # noqa: SLF001 - its other half
        return self.inputs[-1]

    def filled(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """With the values of the vertices, which are done."""
        if not self.inputs:
            return self._args, self._kwargs
        return self._swap(self._args, self._kwargs, Vertex, operator.methodcaller("value"))

    @staticmethod
    def _swap(
        args: tuple[object, ...], kwargs: Mapping[str, object], kind: type, swap: Callable[[Any], object]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (
            tuple(_swapped(value, kind, swap) for value in args),
            {name: _swapped(value, kind, swap) for name, value in kwargs.items()},
        )

    def __repr__(self) -> str:
        """As it would be written between parentheses."""
        named = (f"{name}={_Shown.repr(value)}" for name, value in self._kwargs.items())
        return ", ".join([*map(_Shown.repr, self._args), *named])


# Having values


def _plan(roots: Sequence[Vertex]) -> tuple[list[_Operation], list[DelayedCall]]:
    """What is to be done for these, inputs first, and the calls that are needed for it, each in order."""
    order: list[_Operation] = []
    calls: list[DelayedCall] = []
    seen: set[Vertex] = set()
    stack: list[tuple[Vertex, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        vertex, has_inputs = stack.pop()
        if has_inputs and isinstance(vertex, _Operation):
            order.append(vertex)
        elif vertex not in seen:
            seen.add(vertex)
            if isinstance(vertex, DelayedCall):
                vertex.wanted = True
                calls.append(vertex)
            elif not vertex.done:
                stack.append((vertex, True))
                stack += [(needed, False) for needed in reversed(vertex.inputs)]
    return order, calls


def _tell(outcomes: Sequence[futures.Future[Any]], tell: Callable[[], object]) -> None:
    """Call `tell`, in whatever thread, when all are done, and whenever one fails."""
    left = count(len(outcomes) - 1, -1)

    def ended(outcome: futures.Future[Any]) -> None:
        if next(left) == 0 or outcome.cancelled() or outcome.exception() is not None:
            tell()

    for outcome in outcomes:
        outcome.add_done_callback(ended)


async def _told(calls: Sequence[DelayedCall]) -> None:
    """Wait until all are done or one has failed."""
    loop, here = asyncio.get_running_loop(), threading.get_ident()
    told = loop.create_future()

    def hear() -> None:
        if not told.done():
            told.set_result(None)

    def tell() -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody waits in it
            if threading.get_ident() == here:
                hear()
            else:
                loop.call_soon_threadsafe(hear)

    _tell([call.outcome for call in calls], tell)
    await told


def _finish(order: Iterable[_Operation], calls: Iterable[DelayedCall], cancellation: type[BaseException]) -> None:
    """Raise what failed; or else, for all calls are done, do what is to be done with their values."""
    for call in calls:
        if call.done:
            if call.outcome.cancelled():
                raise cancellation(f"{call.title()} was cancelled")
            call.value()
    for operation in order:
        operation.evaluate()


async def settle(roots: Sequence[Vertex]) -> None:
    """Wait until all have values, or raise the exception of the first that fails; the others go on then.

    When this is cancelled, so are the calls that nobody else waits for; it ends after them.
    """
    order, calls = _plan(roots)
    if not all(call.done for call in calls):
        for call in calls:
            call.hold()
        try:
            await _told(calls)
        except asyncio.CancelledError:
            for call in [call for call in calls if call.release(cancelled=True)]:
                await _told([call])
            raise
        for call in calls:
            call.release()
    _finish(order, calls, asyncio.CancelledError)


def _settle_blocking(root: Vertex, timeout: float | None) -> None:
    """As `settle`, outside of a loop. `timeout` in seconds."""
    order, calls = _plan([root])
    if not all(call.done for call in calls):
        if _in_loop():
            raise RuntimeError(f"{root.title()} is not there yet, and result() would block the running loop: await it")
        for call in calls:
            call.hold()
        told = threading.Event()
        _tell([call.outcome for call in calls], told.set)
        try:
            if not told.wait(timeout):
                raise TimeoutError(f"{root.title()} is not there after {timeout} s; it goes on")
        finally:
            for call in calls:
                call.release()
    _finish(order, calls, futures.CancelledError)


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


# What is done with placeholders


def _record(
    function: Callable[..., object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object] = MappingProxyType({}),
    length: int | None = None,
) -> "Delayed[Any]":
    return Delayed(_Operation(getattr(function, "__name__", "call"), function, Arguments(args, kwargs)), length)


def _unary(function: Callable[[Any], object]) -> Callable[["Delayed[Any]"], "Delayed[Any]"]:
    return lambda self: _record(function, (self,))


def _binary(
    function: Callable[[Any, Any], object], length: int | None = None
) -> Callable[["Delayed[Any]", object], "Delayed[Any]"]:
    return lambda self, other: _record(function, (self, other), length=length)


def _reflected(
    function: Callable[[Any, Any], object], length: int | None = None
) -> Callable[["Delayed[Any]", object], "Delayed[Any]"]:
    return lambda self, other: _record(function, (other, self), length=length)


def _refused(what: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(self: "Delayed[Any]", *_: object, **__: object) -> NoReturn:
        raise TypeError(f"{self!r} has no value yet: {what}; {instead}")

    return refuse


_AWAIT = "await it first"


class Delayed(Awaitable[_R_co], Generic[_R_co]):
    """The placeholder of a value that is still to come. ``await`` it, or call `result` outside of a running loop.

    It is an argument like any other for delayed functions, in lists, tuples, dicts and sets too: the call starts when
    its inputs are there. Operators, comparisons, items, slices, attributes, calls of methods and NumPy's functions give
    placeholders again; they are done once, in the thread that wants the value, and ought to be cheap. ``d[i] = v`` and
    ``d += v`` change the placeholder, not those that were made from it before.

    An exception is raised wherever the value is wanted, and that of whatever was made from it. When an ``await`` is
    cancelled, so are the calls behind it that have not ended and that nobody else waits for.
    """

    __slots__ = ("__weakref__", "_copies", "_length", "_vertex")

    _vertex: Vertex
    _length: int | None
    _copies: bool

    def __init__(self, vertex: Vertex, length: int | None = None, *, copy_on_setitem: bool = True) -> None:
        """Made by calls, `each` and `delayedval`. `length`: the number of values that it can be unpacked into."""
        for name, value in (("_vertex", vertex), ("_length", length), ("_copies", copy_on_setitem)):
            object.__setattr__(self, name, value)

    def __await__(self) -> Generator[Any, Any, _R_co]:
        """Its value; what it raises."""
        return self._value().__await__()

    async def _value(self) -> _R_co:
        vertex = self._vertex
        await settle([vertex])
        value: _R_co = vertex.value()
        return value

    def result(self, timeout: float | None = None) -> _R_co:
        """Its value, outside of a running loop, where it would block what it waits for.

        Args:
            timeout: seconds to wait for it; None: as long as it takes.

        Raises:
            TimeoutError: it is not there yet. It goes on.
            concurrent.futures.CancelledError: it was cancelled.
            RuntimeError: it is not there yet, and this is a running loop.

        """
        vertex = self._vertex
        _settle_blocking(vertex, timeout)
        value: _R_co = vertex.value()
        return value

    def __repr__(self) -> str:
        """How far it is; nothing is evaluated for it."""
        return f"<Delayed {self._vertex.title()} {_state(self._vertex)}>"

    __hash__ = object.__hash__

    __abs__ = _unary(abs)
    __neg__ = _unary(operator.neg)
    __pos__ = _unary(operator.pos)
    __invert__ = _unary(operator.invert)

    __add__, __radd__ = _binary(operator.add), _reflected(operator.add)
    __sub__, __rsub__ = _binary(operator.sub), _reflected(operator.sub)
    __mul__, __rmul__ = _binary(operator.mul), _reflected(operator.mul)
    __matmul__, __rmatmul__ = _binary(operator.matmul), _reflected(operator.matmul)
    __truediv__, __rtruediv__ = _binary(operator.truediv), _reflected(operator.truediv)
    __floordiv__, __rfloordiv__ = _binary(operator.floordiv), _reflected(operator.floordiv)
    __mod__, __rmod__ = _binary(operator.mod), _reflected(operator.mod)
    __divmod__, __rdivmod__ = _binary(divmod, 2), _reflected(divmod, 2)
    __pow__, __rpow__ = _binary(operator.pow), _reflected(operator.pow)
    __lshift__, __rlshift__ = _binary(operator.lshift), _reflected(operator.lshift)
    __rshift__, __rrshift__ = _binary(operator.rshift), _reflected(operator.rshift)
    __and__, __rand__ = _binary(operator.and_), _reflected(operator.and_)
    __or__, __ror__ = _binary(operator.or_), _reflected(operator.or_)
    __xor__, __rxor__ = _binary(operator.xor), _reflected(operator.xor)

    __eq__ = _binary(operator.eq)  # type: ignore[assignment]  # object promises a bool
    __ne__ = _binary(operator.ne)  # type: ignore[assignment]  # likewise
    __lt__ = _binary(operator.lt)
    __le__ = _binary(operator.le)
    __gt__ = _binary(operator.gt)
    __ge__ = _binary(operator.ge)
    __getitem__ = _binary(operator.getitem)

    def __call__(self, *args: object, **kwargs: object) -> "Delayed[Any]":
        """What its value returns when it is called, such as a method of another value."""
        return _record(operator.call, (self, *args), kwargs)

    def __getattr__(self, name: str) -> "Delayed[Any]":
        """A public attribute of its value."""
        if name.startswith("_"):
            raise AttributeError(
                f"{self!r} records no private attributes: {_AWAIT}, then take {name}", name=name, obj=self
            )
        return _record(getattr, (self, name))

    def __setitem__(self, key: object, value: object) -> None:
        """From now on, its value with that item: of a shallow copy, unless it is to be set in place."""
        function = _with_item if self._copies else _set_item
        object.__setattr__(self, "_vertex", _Operation("setitem", function, Arguments((self, key, value), {})))

    def __len__(self) -> int:
        """What ``nout`` said."""
        if self._length is None:
            raise TypeError(f"{self!r} has no value yet, and so no length: say nout=… where it is made, or {_AWAIT}")
        return self._length

    def __iter__(self) -> Iterator["Delayed[Any]"]:
        """As many placeholders as ``nout`` said."""
        parts = _record(_unpacked, (self, len(self), self._vertex.title()))
        return (parts[at] for at in range(len(self)))

    def __array_function__(self, function: Callable[..., Any], _: object, args: Any, kwargs: Any) -> "Delayed[Any]":  # noqa: ANN401
        """A function of NumPy."""
        return _record(function, args, kwargs)

    def __array_ufunc__(self, ufunc: object, method: str, *inputs: object, **kwargs: object) -> "Delayed[Any]":
        """A universal function of NumPy, or a method of one."""
        return _record(getattr(ufunc, method), inputs, kwargs)

    __bool__ = _refused("it is neither true nor false", _AWAIT)
    __contains__ = _refused("nobody knows what is in it", _AWAIT)
    __array__ = _refused("it cannot be put into an array", f"{_AWAIT}, or wrap the array: delayedval(array)")
    __setattr__ = _refused("its attributes cannot be set", _AWAIT)
    __delattr__ = _refused("its attributes cannot be deleted", _AWAIT)
    __reduce_ex__ = _refused(
        "it cannot be pickled or copied", f"{_AWAIT}, or pass it as an argument of a delayed function"
    )


def _state(vertex: Vertex) -> str:
    if not vertex.done:
        return "pending"
    if isinstance(vertex, DelayedCall) and vertex.outcome.cancelled():
        return "cancelled"
    try:
        return f"= {_Shown.repr(vertex.value())}"
    except Exception as error:  # noqa: BLE001 - it is shown
        return f"failed: {error!r}"


def _set_item(container: Any, key: object, value: object) -> object:  # noqa: ANN401 - whatever has items
    container[key] = value
    return container


def _with_item(container: object, key: object, value: object) -> object:
    return _set_item(copy(container), key, value)


def _unpacked(values: Iterable[object], length: int, title: str) -> tuple[object, ...]:
    parts = tuple(values)
    if len(parts) != length:
        raise ValueError(f"{title} was to be unpacked into nout={length} values, but gave {len(parts)}")
    return parts


def delayedval(value: _T, length: int | None = None, *, copy_on_setitem: bool = True) -> Delayed[_T]:
    """A value as a placeholder; one in which placeholders are, once these have values.

    Args:
        value: it.
        length: how many values it can be unpacked into.
        copy_on_setitem: ``d[i] = v`` changes a shallow copy of it, not itself.

    """
    vertex = _Operation("delayedval", _same, Arguments((value,), {}))
    if not vertex.inputs:
        vertex.evaluate()
    return Delayed(vertex, length, copy_on_setitem=copy_on_setitem)


def _same(value: _T) -> _T:
    return value


@overload
def each(*placeholders: Delayed[_T]) -> Delayed[list[_T]]: ...
@overload
def each(placeholders: Iterable[Delayed[_T]], /) -> Delayed[list[_T]]: ...
def each(*placeholders: Any) -> Delayed[list[Any]]:
    """One placeholder for many, whose value is the list of theirs, in order.

    They are given one by one, or as one iterable. It fails as soon as one of them does; the others go on. Raises
    TypeError for what is no placeholder.
    """
    first = placeholders[0] if len(placeholders) == 1 else None
    among = placeholders if first is None or isinstance(first, Delayed) else tuple(first)
    for one in among:
        if not isinstance(one, Delayed):
            raise TypeError(f"each() takes placeholders, not {one!r}: wrap it, delayedval(…)")
    return Delayed(_Operation("each", _listed, Arguments(among, {})), len(among))


def _listed(*values: _T) -> list[_T]:
    return list(values)
