"""From a Python call to a task: which job it belongs to, and how function and arguments travel.

What belongs here: packing, and remembering what has been packed. What must not: who waits for the call.
"""

import os
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from pilotfish.client.backend import Backend
from pilotfish.client.futures import TaskFuture
from pilotfish.client.inputs import filled, when_done
from pilotfish.client.wanted import Wanted
from pilotfish.functions.envelope import pack_arguments, pack_function, pack_value, value_names
from pilotfish.functions.shared import Shared, Travelling
from pilotfish.functions.values import LARGE, Values
from pilotfish.functions.wire import IN_BAND
from pilotfish.model.jobs import CallArray, Function, JobSpec

__all__ = ["Calls"]

_T = TypeVar("_T")


_LASTING = (FunctionType, BuiltinFunctionType)


class Calls:
    """The calls of one session."""

    def __init__(self, backend: Backend, initializer: Callable[[], object] | None = None) -> None:
        """None yet. `initializer` is called first in each worker; raises UnpicklableError where it cannot travel."""
        self._backend = backend
        home = backend.home
        found = os.statvfs(home.values.parent)
        self._limit = found.f_bavail * found.f_frsize // 2
        """Bytes of large values in memory; half of what there is."""
        self.values = Values(home.values, spill=home.spill, limit=self._limit, lasting=home.lasting)
        self._earlier = backend.earlier_calls()
        self._lock = threading.Lock()
        self._jobs: dict[tuple[str, Wanted], int] = {}
        self._functions: WeakKeyDictionary[Callable[..., Any], bytes] = WeakKeyDictionary()
        """As they travel: functions change no more once they are made."""
        self._initializer = None if initializer is None else self.values.put(pack_function(initializer)[1], hold=True)

    @property
    def backend(self) -> Backend:
        """What they run in."""
        return self._backend

    def put(self, value: _T) -> Shared[_T]:
        """Pack a value once for all calls that it is given to."""
        packed = pack_value(value, self.values)
        names = value_names(packed)
        for name in names:
            self.values.hold(name)
        return Shared(packed, self.values, names)

    def start(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], wanted: Wanted
    ) -> TaskFuture[Any]:
        """Let a function be called; raises UnpicklableError where it or an argument cannot travel."""
        future: TaskFuture[Any] = TaskFuture(self._backend, self.values, self._name(function, wanted))
        self.send(future, function, args, kwargs, wanted)
        return future

    def start_or_fail(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], wanted: Wanted
    ) -> TaskFuture[Any]:
        """Likewise, but it is the future that tells what cannot travel, as the standard's executors do."""
        future: TaskFuture[Any] = TaskFuture(self._backend, self.values, self._name(function, wanted))
        try:
            self.send(future, function, args, kwargs, wanted)
        except Exception as error:  # noqa: BLE001 - `__reduce__` may raise anything
            self._backend.require_open()
            future.set_exception(error)
        return future

    def start_after(
        self,
        inputs: list[Future[Any]],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        wanted: Wanted,
    ) -> TaskFuture[Any]:
        """Let a function be called when these futures, which are among its arguments, are done.

        Where one of them fails, so does the call, with the same exception.
        """
        future: TaskFuture[Any] = TaskFuture(self._backend, self.values, self._name(function, wanted))

        def go_on() -> None:
            if future.cancelled():
                return
            try:
                self.send(future, function, filled(args), filled(kwargs), wanted)
            except BaseException as error:  # noqa: BLE001 - of an input, or what cannot travel: the future tells it
                future.set_exception(error)

        when_done(inputs, go_on)
        return future

    def send(
        self,
        future: TaskFuture[Any],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        wanted: Wanted,
    ) -> None:
        """Let the call that a future stands for be made. Raises UnpicklableError."""
        packed = self._functions.get(function) if type(function) in _LASTING else None
        if packed is None:
            packed = self._pack(function)
        name = future.name
        with Travelling() as shared:
            arguments = pack_arguments(args, kwargs, self.values, function=function)
        place = None if self._earlier is None else self._earlier.take(name, packed, arguments)
        if place is not None:
            future.take_up(place.job, place.position)
            return
        job = self._jobs.get((name, wanted)) or self._job(name, wanted)
        future.send(job, packed, arguments, (*value_names(arguments), *shared), function)

    @staticmethod
    def _name(function: Callable[..., Any], wanted: Wanted) -> str:
        return wanted.name or getattr(function, "__name__", None) or type(function).__name__

    def _pack(self, function: Callable[..., Any]) -> bytes:
        _, blob = pack_function(function)
        lasting = type(function) is FunctionType or isinstance(getattr(function, "__self__", None), ModuleType)
        if not lasting and len(blob) < LARGE:
            return IN_BAND + blob
        held = self.values.put(blob, hold=True)
        packed = held.partition(".")[0].encode()  # the same in the next session, where this is a store's
        if lasting:
            self._functions[function] = packed
            weakref.finalize(function, self.values.release, held).atexit = False
        return packed

    def _job(self, name: str, wanted: Wanted) -> int:
        with self._lock:
            if (name, wanted) not in self._jobs:
                spec = self._spec(name, wanted)
                earlier = None if self._earlier is None else self._earlier.job(spec)
                self._jobs[name, wanted] = earlier or self._backend.open_job(spec, wanted.depends_on)
            return self._jobs[name, wanted]

    def _spec(self, name: str, wanted: Wanted) -> JobSpec:
        here = os.getcwd()  # noqa: PTH109 - a text
        function = Function(
            values=str(self._backend.home.values),
            spill=str(self._backend.home.spill),
            limit=self._limit,
            python=sys.version_info[:2],
            path=tuple(sys.path),
            most_calls=wanted.most_calls,
            initializer=self._initializer,
        )
        return wanted.spec(
            name=name,
            command=(),
            function=function,
            directory=here,
            cwd=wanted.cwd or here,
            array=CallArray(),
        )
