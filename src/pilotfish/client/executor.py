"""``pilotfish.Executor``: a ``concurrent.futures.Executor`` whose workers run on exactly what each call asks for.

What belongs here: the standard's words, and what they mean here. What must not: how calls are made.
"""

import math
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor as StandardExecutor
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, ParamSpec, TypeVar

from pilotfish.agent.inventory import Declared, read_machine
from pilotfish.client.wanted import Wanted
from pilotfish.client.workers import Workers
from pilotfish.errors import UnpicklableError, UserError
from pilotfish.model.quantities import ONE, Amount

__all__ = ["Executor"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_PLACES = "workers"
"""The custom resource that counts calls, where cores do not."""


class Executor(StandardExecutor):
    """Calls functions in warm worker processes; a worker that dies fails only the call that it made.

    With ``max_workers`` alone, so many calls run at once, on any cores. With `cores`, `memory` or `gpus` each call gets
    its own, and as many run at once as fit (at most `max_workers`, where that is given too).

    Args:
        max_workers: calls at once; by default as many as we may use cores.
        cores: of each call, which is bound to them: ``2``, ``0.5``.
        memory: of each call, which ends with TaskMemoryError when it uses more: ``"2GiB"``, or bytes.
        gpus: of each call, which sees no others: ``1``, ``0.5``.
        initializer: called first in each worker. Where it raises, calls fail with BrokenWorkerError, and so does
            `submit` from then on. What it changes of environment and folder, later calls find.
        initargs: for it.
        max_tasks_per_child: calls after which a worker is replaced; None: never for that.
        mp_context: of the standard's process pools; has no meaning here, and anything but None is refused.

    What is left undone when the program ends is done before it does, as the standard's executors do.

    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        cores: float | str | None = None,
        memory: int | str | None = None,
        gpus: float | str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        max_tasks_per_child: int | None = None,
        mp_context: None = None,
    ) -> None:
        """Nothing starts before the first call. Raises ValueError, TypeError or UserError for what cannot be."""
        if max_workers is not None and max_workers <= 0:
            raise ValueError(f"max_workers must be greater than 0, not {max_workers}")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        if mp_context is not None:
            raise UserError(f"mp_context: workers are no processes of multiprocessing; leave out {mp_context!r}")
        asked = {"cores": cores, "memory": memory, "gpus": gpus}
        self._keys: dict[str, object] = {key: value for key, value in asked.items() if value is not None}
        self._max_workers = max_workers or read_machine().at_most
        if self._keys and max_workers is not None:
            self._keys["resources"] = {_PLACES: 1}
        self._wanted = Wanted(most_calls=max_tasks_per_child).changed(self._keys)
        first = None if initializer is None else partial(initializer, *initargs)
        self._workers = Workers(self._declared(), initializer=first)

    def options(self, **keys: object) -> "Executor":
        """An executor with the same workers, whose calls ask for something else: ``cores=4, memory="2GiB"``.

        Args:
            keys: of the job file: cores, memory, gpus, time, estimate, retries, priority and the like; what is not
                named stays. Raises UserError naming what is wrong.

        Shutting down one of them shuts down all. Where the executor was made with `max_workers` alone, cores are
        places of workers: a call that asks for two takes the place of two.

        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        resources = keys.get("resources", {})
        if "resources" in self._keys and isinstance(resources, dict):
            keys["resources"] = {**resources, _PLACES: 1}
        view._keys = {**self._keys, **keys}
        view._wanted = self._wanted.changed(view._keys)
        return view

    def as_default(self) -> ThreadPoolExecutor:
        """A face of it for ``loop.set_default_executor``, which takes nothing but threads.

        asyncio also gives to that what cannot leave its process, such as what ``asyncio.to_thread`` calls: such calls
        run in a thread, all others in workers. When the loop shuts it down, this executor is shut down too.
        """
        return _DefaultExecutor(self)

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Let ``fn(*args, **kwargs)`` be called in a worker.

        What cannot travel is told by the future, with UnpicklableError. Raises RuntimeError after `shutdown`.
        """
        workers = self._workers
        calls = workers.calls or workers.start()
        workers.require_open()
        return calls.start_or_fail(fn, args, kwargs, self._wanted)

    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[_T]:
        """Like ``map(fn, *iterables)``, but the calls are made at once, in any order; results come in theirs.

        Args:
            fn: is called with one element of each.
            iterables: taken in at once, as far as `buffersize` lets them.
            timeout: seconds from now, after which waiting for a result raises TimeoutError.
            chunksize: calls that travel together, for those that take no more than some microseconds.
            buffersize: results that may be there, or on their way, and not yet be fetched; None: any number.

        Closing the iterator, and an exception that comes out of it, cancel what is left.

        """
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        until = None if timeout is None else time.monotonic() + timeout
        rows = zip(*iterables, strict=False)
        if chunksize == 1:
            return self._map(fn, rows, until, buffersize)
        chunks = iter(lambda: tuple(islice(rows, chunksize)), ())
        return _chained(self._map(_chunked(fn), chunks, until, buffersize))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Take no more; with `wait`, return when all has ended. `cancel_futures`: what has not begun never will."""
        self._workers.close(wait=wait, cancel_pending=cancel_futures)

    @property
    def usable(self) -> bool:
        """False after `shutdown`, where the initializer has raised, and in a fork of the process that made it."""
        try:
            self._workers.require_open()
        except RuntimeError:
            return False
        return True

    def _declared(self) -> Declared:
        """What the node has: places for workers, or what the machine has."""
        if not self._keys:
            return Declared(cores=self._max_workers, pinned=False, gpus=0)
        gpus = None if self._wanted.request.gpus else 0
        if "resources" not in self._keys:
            return Declared(gpus=gpus)
        needed = math.ceil(self._max_workers * self._wanted.request.cores / ONE)
        cores = min(max(needed, 1), read_machine().at_most)
        return Declared(cores=cores, gpus=gpus, resources=((_PLACES, Amount(self._max_workers * ONE)),))

    def _map(
        self, fn: Callable[..., _T], rows: Iterator[tuple[Any, ...]], until: float | None, buffersize: int | None
    ) -> Iterator[_T]:
        futures = deque(self.submit(fn, *row) for row in islice(rows, buffersize))
        executor = weakref.ref(self)  # whoever does not fetch all results must not keep the workers

        def results() -> Iterator[_T]:
            try:
                while futures:
                    if buffersize and (itself := executor()) and (row := next(rows, None)) is not None:
                        futures.append(itself.submit(fn, *row))
                    itself = None
                    yield _result(futures.popleft(), until)
            finally:
                for future in futures:
                    future.cancel()

        return results()


class _DefaultExecutor(ThreadPoolExecutor):
    """Calls functions in workers where they can travel, and in threads where they cannot."""

    def __init__(self, executor: Executor) -> None:
        super().__init__(thread_name_prefix="pilotfish default")
        self._executor = executor

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        future = self._executor.submit(fn, *args, **kwargs)
        if future.done() and isinstance(future.exception(), UnpicklableError):
            return super().submit(fn, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as theirs
        super().shutdown(wait, cancel_futures=cancel_futures)
        self._executor.shutdown(wait, cancel_futures=cancel_futures)


def _result(future: Future[_T], until: float | None) -> _T:
    """Of a future that nobody else has; it is cancelled where it has none in time."""
    try:
        return future.result(None if until is None else until - time.monotonic())
    finally:
        future.cancel()
        del future  # an exception must not be kept alive by its own traceback


def _chunked(fn: Callable[..., _T]) -> Callable[..., list[_T]]:
    """A function of many rows of arguments."""

    def chunk(*rows: tuple[Any, ...]) -> list[_T]:
        return [fn(*row) for row in rows]

    chunk.__name__ = getattr(fn, "__name__", None) or type(fn).__name__
    return chunk


def _chained(chunks: Iterator[list[_T]]) -> Iterator[_T]:
    """All that is in them; what was yielded is not kept."""
    for chunk in chunks:
        chunk.reverse()
        while chunk:
            yield chunk.pop()
