"""``Session`` and ``AsyncSession``: where jobs of a Python program run, and how it waits for them.

There is one implementation: what a session starts are futures that can be waited for by `result` and by ``await``. The
asynchronous face differs in how it is entered and left.

What belongs here: the words of a session. What must not: managers, packing.
"""

import asyncio
import contextlib
import html
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent import futures as standard
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from pilotfish.agent.inventory import Declared
from pilotfish.client.calls import Calls
from pilotfish.client.commands import CommandFuture
from pilotfish.client.delayed import outstanding, running_with
from pilotfish.client.elsewhere import agents_on
from pilotfish.client.futures import TaskFuture
from pilotfish.client.home import Home
from pilotfish.client.inputs import futures_in
from pilotfish.client.repeated import repetition
from pilotfish.client.resources import Resource, WallTime
from pilotfish.client.times import RunTimes
from pilotfish.client.wanted import Wanted, read_job, read_named_limits
from pilotfish.client.workers import Workers
from pilotfish.errors import UserError
from pilotfish.functions.jobclass import JobClass, JobRunner, check_arguments, job_fields, schedule_of
from pilotfish.functions.keyvalues import KeyValues
from pilotfish.functions.shared import Shared
from pilotfish.manager.requests import question_name
from pilotfish.manager.servers import find_server, is_address
from pilotfish.model.jobs import JobSpec, When
from pilotfish.model.quantities import parse_bytes

__all__ = ["AsyncSession", "Options", "Session"]

_T = TypeVar("_T")


class Options:
    """What is started with it asks for the same; a session itself is one that asks for one core."""

    def __init__(self, base: "_Base", wanted: Wanted, after: tuple[Future[Any], ...] = ()) -> None:
        """Of a session."""
        self._base, self._wanted, self._after = base, wanted, after

    def options(self, *, after: object = None, **keys: object) -> "Options":
        """The same but for these keys of the job file: ``cores=4, memory="2GiB", time="10m", retries=2``.

        Args:
            after: a future or several, or ``{"job": future, "when": "finished"}``: nothing starts before.
            keys: what a job file says of a job, but for its command.

        Raises UserError naming what is wrong.

        """
        wanted, futures = self._wanted.changed(keys), self._after
        self._base.require_limits(wanted.uses)
        if after is not None:
            dependencies = list(map(_dependency, after if isinstance(after, list | tuple) else [after]))
            jobs = [(one, when) for one, when in dependencies if isinstance(one, CommandFuture)]
            futures = tuple(one for one, _ in dependencies if not isinstance(one, CommandFuture))
            wanted = wanted.after_jobs([(one.name, one.job, when) for one, when in jobs])
        return Options(self._base, wanted, futures)

    # No type can say "what the function takes, or a future of it": results are typed, arguments are not.
    @overload
    def submit(
        self, fn: Callable[..., Coroutine[Any, Any, _T]], /, *args: object, **kwargs: object
    ) -> TaskFuture[_T]: ...
    @overload
    def submit(self, fn: Callable[..., _T], /, *args: object, **kwargs: object) -> TaskFuture[_T]: ...
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskFuture[Any]:
        """Let ``fn(*args, **kwargs)`` be called; a coroutine function is run to its end.

        Futures anywhere in the arguments, in nested lists, tuples, sets and dictionaries too, are waited for, and the
        function gets their results. Raises UnpicklableError where something cannot travel.
        """
        calls = self._base.calls
        inputs = futures_in([args, kwargs]) if args or kwargs else []
        if inputs or self._after:
            return calls.start_after([*inputs, *self._after], fn, args, kwargs, self._wanted)
        return calls.start(fn, args, kwargs, self._wanted)

    def map(self, fn: Callable[..., _T], /, *iterables: Iterable[Any]) -> list[TaskFuture[_T]]:
        """A call for the first of each, for the second of each, and so on: as many as the shortest has."""
        return [self.submit(fn, *args) for args in zip(*iterables, strict=False)]

    def command(self, command: str | list[str], *, array: object = None, **keys: object) -> CommandFuture:
        """Run a command, or one for each element of an array, with the keys of a job file.

        Args:
            command: text for a shell, or a list of words; placeholders in either, such as ``{index}``.
            array: a number, a range, a list of values, or what a job file takes there.
            keys: ``name``, ``cores``, ``memory``, ``time``, ``after`` and the like.

        Raises UserError naming what is wrong.

        """
        after = keys.pop("after", None)
        here = self.options(after=after) if after is not None else self
        return here._command({"name": "command", "command": command, **keys}, array)  # noqa: SLF001 - one of us

    def _command(self, keys: dict[str, object], array: object) -> CommandFuture:
        if self._after:
            raise UserError("after: a command comes after commands; give it the results of functions as arguments")
        if array is not None:
            keys["array"] = array if isinstance(array, int | str | Mapping | range) else [str(one) for one in array]  # type: ignore[attr-defined]
        spec = self._wanted.over(read_job(keys), keys)
        self._base.require_limits(spec.uses.items())
        return self._base.start_command(spec, self._wanted.depends_on)

    def launch(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], resources: Resource
    ) -> Future[Any]:
        """Let a delayed function be called with these resources."""
        time, wanted = resources.get(WallTime), self._wanted.on(resources)
        if time is None or time.group is None:
            return Options(self._base, wanted, self._after).submit(function, *args, **kwargs)
        group, times = time.group, self._base.run_times
        limit, estimate = times.limits(group) or (None, None)
        wanted = wanted.lasting(limit if wanted.time is None else wanted.time, wanted.estimate or estimate)
        future = Options(self._base, wanted, self._after).submit(function, *args, **kwargs)
        future.add_done_callback(lambda ended: _learn(times, group, ended))
        return future


class _Base(Options):
    """What both faces of a session have.

    Args:
        store: a folder, where all is kept, so that the same program goes on there; None: nothing is kept. Or
            ``unix:PATH``, the store or the socket of a `pilotfish serve`, which does the work then, and says what there
            is: nothing else may be given.
        name: of the campaign in the store; by default that of the program.
        cores: logical CPUs of this machine to use; None: all that are free.
        memory: bytes, or text such as ``8GiB``; None: all that there is.
        gpus: likewise.
        resources: custom ones that there are, by name.
        labels: that the node carries.
        limits: what there is of named things, of which tasks take by ``uses``: ``{"licence": 4}``.
        on: where tasks run if not on this machine: ``"allocation"``, all nodes of the one that this program is in;
            ``"dask://HOST:PORT"``, beside the workers of a Dask cluster. They have what they have: nothing may be said
            of cores, memory and the like.

    """

    def __init__(
        self,
        store: str | os.PathLike[str] | None = None,
        *,
        name: str | None = None,
        cores: int | None = None,
        memory: int | str | None = None,
        gpus: int | None = None,
        resources: Mapping[str, float] | None = None,
        labels: Iterable[str] = (),
        limits: Mapping[str, int] | None = None,
        on: str | None = None,
    ) -> None:
        """Nothing starts before the first call."""
        super().__init__(self, Wanted())
        server = find_server(store) if isinstance(store, str) and is_address(store) else None
        own = {"name": name, "cores": cores, "memory": memory, "gpus": gpus, "resources": resources, "labels": labels}
        for option, value in {**own, "limits": limits}.items() if server else ():
            if value:
                raise UserError(f"{option}: the server at {store} says that, not who joins it")
        if on is not None:
            for option, value in (own | {"name": None}).items():
                if value:
                    raise UserError(f"{option}: the nodes say that themselves where a session is on={on!r}")
            if server:
                raise UserError(f"on: the server at {store} says that, not who joins it")
        agents = None if on is None else agents_on(on)
        self._limits = None if server else read_named_limits(limits or {})
        asked = Wanted().changed({"resources": dict(resources)} if resources else {}).request
        declared = Declared(
            cores=cores,
            memory=None if memory is None else parse_bytes(memory),
            gpus=gpus,
            resources=asked.resources,
            labels=tuple(sorted(labels)),
        )
        self.run_times = RunTimes()
        """Of the groups that delayed functions name."""
        home = Home.passing if store is None else partial(Home.in_store, Path(store), name)
        self._workers = Workers(declared, home=home, limits=self._limits, server=server, agents=agents)
        self._entered = contextlib.ExitStack()

    @property
    def limits(self) -> Mapping[str, int]:
        """The named limits; of a server, those that it was started with."""
        return self.calls.backend.limits if self._limits is None else self._limits

    @property
    def calls(self) -> Calls:
        """What makes the calls; starts the session's processes. Raises RuntimeError after `close`."""
        return self._workers.start()

    def enqueue(self, kind: type[JobClass], /, **arguments: object) -> TaskFuture[Any]:
        """Enqueue a job of a class; its attributes say what it needs.

        Where the class has a `schedule`, the server enqueues it at its times from now on, without this session. The
        future is done then: its result is the name that the job has in the queue.

        Raises UserError where the class is wrong, its `execute` does not take these arguments, or it has a schedule
        and this session has not joined a server.
        """
        wanted = Wanted(**job_fields(kind))
        check_arguments(kind, arguments)
        if schedule_of(kind) is not None:
            return self._repeat(kind, arguments)
        return Options(self, wanted).submit(JobRunner(kind), **arguments)

    def _repeat(self, kind: type[JobClass], arguments: Mapping[str, object]) -> TaskFuture[Any]:
        if self._limits is not None:
            raise UserError(
                f"{kind.__name__} has a schedule, which a server keeps: `pilotfish serve` is one, join it by "
                'Session("unix:PATH"), or submit it by `pilotfish submit`'
            )
        calls = self.calls
        question = repetition(kind, arguments, calls.backend.folder)
        name, _ = calls.backend.line.ask(question_name(question), msgspec.structs.asdict(question))
        future: TaskFuture[Any] = TaskFuture(calls.backend, calls.values, name)
        future.set_result(name)
        return future

    def require_limits(self, uses: Iterable[tuple[str, int]]) -> None:
        """Raise UserError where one of these is no limit of this session, or is less than what is asked for."""
        for name, amount in uses:
            if name not in self.limits:
                raise UserError(
                    f"uses.{name}: no such limit; declare it: {type(self).__name__}(limits={{{name!r}: 1}})"
                )
            if amount > self.limits[name]:
                raise UserError(f"uses.{name}: expected at most {self.limits[name]}, the limit; got {amount}")

    def start_command(self, spec: JobSpec, depends_on: tuple[int, ...]) -> CommandFuture:
        """Submit a job of commands."""
        backend = self.calls.backend
        future = CommandFuture(backend, spec)
        future.job = backend.watch_job(spec, depends_on, future.settle)
        return future

    def put(self, value: _T) -> Shared[_T]:
        """Let a value lie on the node, once however many calls it is given to: they get it, not the handle."""
        return self.calls.put(value)

    @property
    def kv(self) -> KeyValues:
        """Values that this program and its tasks share by key; not to be used in callbacks of futures."""
        return KeyValues(self.calls.backend.line)

    def explain(self, future: TaskFuture[Any]) -> str:
        """Why a task is where it is, in one line."""
        return future.explain()

    def counts(self) -> dict[str, int]:
        """How many tasks are in each state that there is."""
        backend = self._workers.backend
        return {} if backend is None else backend.counts()

    def __repr__(self) -> str:
        """For people: ``<Session 3 running, 97 ready>``."""
        counted = ", ".join(f"{count} {state}" for state, count in self.counts().items())
        state = "closed" if self._workers.closed else counted or "idle"
        return f"<{type(self).__name__.lstrip('_')} {state}>"

    def _repr_html_(self) -> str:
        """For notebooks: a table of states."""
        rows = "".join(
            f"<tr><td>{html.escape(state)}</td><td style='text-align:right'>{count:,}</td></tr>"
            for state, count in self.counts().items()
        )
        return f"<b>{html.escape(type(self).__name__)}</b><table>{rows}</table>"


class Session(_Base):
    """Runs functions and commands; leaving it waits for them, leaving it by an exception cancels them."""

    def close(self, *, cancel: bool = False) -> None:
        """Take no more, and wait until all has ended; `cancel`: end it. Idempotent."""
        if cancel:
            for call in outstanding(self):
                call.cancel()
        else:
            while calls := outstanding(self):
                standard.wait([call.outcome for call in calls])
        self._workers.close(cancel=cancel)

    def gather(self, *futures: Future[_T] | Iterable[Future[_T]]) -> list[_T]:
        """The results of all, in order; raises what the first of them that failed raises."""
        return [one.result() for one in _flat(futures)]

    def as_completed(self, futures: Iterable[Future[_T]], timeout: float | None = None) -> Iterator[Future[_T]]:
        """Each when it is done. Raises TimeoutError when not all are after so many seconds."""
        return standard.as_completed(futures, timeout)

    def wait(
        self, futures: Iterable[Future[_T]], timeout: float | None = None, return_when: str = standard.ALL_COMPLETED
    ) -> tuple[set[Future[_T]], set[Future[_T]]]:
        """Those that are done and those that are not, after so many seconds at the latest."""
        found = standard.wait(list(futures), timeout, return_when)
        return found.done, found.not_done

    def __enter__(self) -> Self:
        """Become the session that delayed functions run in."""
        self._entered.enter_context(running_with(self))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Wait for all, or end it."""
        self._entered.close()
        self.close(cancel=kind is not None)


class AsyncSession(_Base):
    """The same for asyncio: futures are awaited, and so is its end."""

    async def close(self, *, cancel: bool = False) -> None:
        """Take no more, and wait until all has ended; `cancel`: end it. Idempotent."""
        while calls := outstanding(self):
            if cancel:
                for call in calls:
                    call.cancel()
            await asyncio.wait([asyncio.wrap_future(call.outcome) for call in calls])
        await asyncio.to_thread(self._workers.close, cancel=cancel)

    async def gather(self, *futures: Future[_T] | Iterable[Future[_T]]) -> list[_T]:
        """The results of all, in order; raises what the first that fails raises."""
        return list(await asyncio.gather(*map(asyncio.wrap_future, _flat(futures))))

    async def as_completed(self, futures: Iterable[Future[_T]]) -> AsyncIterator[Future[_T]]:
        """Each when it is done."""
        left = {asyncio.wrap_future(one): one for one in futures}
        while left:
            done, _ = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                yield left.pop(one)

    async def __aenter__(self) -> Self:
        """Become the session that delayed functions run in."""
        self._entered.enter_context(running_with(self))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Wait for all, or end it."""
        self._entered.close()
        await self.close(cancel=kind is not None)


def _dependency(value: object) -> tuple[Future[Any], When]:
    """A future, and what must be true of it."""
    keys = dict(value) if isinstance(value, Mapping) else {"job": value}
    future, when = keys.pop("job", None), str(keys.pop("when", When.succeeded))
    if keys:
        raise UserError(f"after: unknown key {min(keys)!r}; known here are job and when")
    if not isinstance(future, Future):
        raise UserError(f"after: expected what `command` or `submit` gave, got {future!r}")
    if when not in list(When):
        raise UserError(f"after: expected {', '.join(When)}, got {when!r}")
    if when != When.succeeded and not isinstance(future, CommandFuture):
        raise UserError("after: `when` is for commands; wait for a function, and look at its exception")
    return future, When(when)


def _learn(times: RunTimes, group: str, ended: Future[Any]) -> None:
    if isinstance(ended, TaskFuture) and not ended.cancelled() and ended.exception() is None:
        times.add(group, ended.seconds)


def _flat(futures: Iterable[Any]) -> list[Future[Any]]:
    """Futures, and those in what can be iterated."""
    return [one for item in futures for one in ([item] if isinstance(item, Future) else item)]
