"""The desk of a manager that stays: clients bring jobs and calls to it, and hear what becomes of them.

Nothing of a client is kept but its jobs: whose they are stands in their origin. Who follows them is known as long as
its connection lives; a client that comes again says what it does not know yet.

What belongs here: answers to the questions of `manager.requests`, who is told what, when the folders of clients can go.
What must not: when an answer may leave (loop), what values mean.
"""

import math
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import msgspec

from pilotfish import __version__
from pilotfish.errors import UserError
from pilotfish.formats.dependencies import check_dependencies
from pilotfish.manager.intake import dependencies_first
from pilotfish.manager.naming import find
from pilotfish.manager.notify import Observer
from pilotfish.manager.offspring import free_name, same_calls
from pilotfish.manager.peers import Peer
from pilotfish.manager.requests import (
    CLIENT_QUESTIONS,
    Abandon,
    About,
    Enqueue,
    Extend,
    Farewell,
    Follow,
    News,
    Repeat,
    Tally,
    Tidings,
    Welcomed,
    Whereabouts,
)
from pilotfish.manager.schedules import SCHEDULE, Schedules
from pilotfish.manager.servers import client_folder
from pilotfish.model.changes import Change, Finish, Settle, Submit
from pilotfish.model.events import Cancelled, Command, Event, Grown, Submitted
from pilotfish.model.jobs import Job, JobSpec
from pilotfish.model.messages import Answer, Ask, Progressed
from pilotfish.model.states import FINAL, TaskState
from pilotfish.scheduler.engine import Scheduler
from pilotfish.store.base import Store, followed_jobs

__all__ = ["Desk"]

_Tell: TypeAlias = Callable[[Event], Sequence[Command]]
_Record: TypeAlias = Callable[[Change], None]
_Reply: TypeAlias = Callable[[object], None]

_MOST_TOLD = 1000
"""Ends that one answer tells."""
_MOST_BYTES = 8 * 2**20
"""Of results in one answer, or a little more."""
_SLOW = 256 * 2**20
"""Bytes of results that wait for a client to read; then it is left to ask the store for them."""
_SWEEP_AFTER = 10.0
"""Seconds between two looks at the folders of clients that have gone."""


class _Follower:
    """A client that is told what happens to its jobs."""

    def __init__(self, peer: Peer, client: str, missed: Iterable[tuple[int, int]]) -> None:
        self.peer, self.client = peer, client
        self.missed = deque(missed)
        """Tasks that had ended before it came."""
        self.ends: deque[Settle | Finish] = deque()
        self.progress: list[Progressed] = []
        self.waiting_bytes = 0
        self.asks = False
        """It waits for an answer."""


class Desk:
    """Serves the clients of one manager, and passes what is recorded on to another observer.

    Args:
        scheduler: that decides.
        store: that remembers.
        folder: of the campaign.
        limits: the named ones of its queue.
        schedules: what is to be enqueued again and again.
        observer: is told the same.
        lease: seconds after which a client that is away will not come back.

    """

    questions: Container[str] = CLIENT_QUESTIONS.keys()
    """What it answers."""

    def __init__(
        self,
        scheduler: Scheduler,
        store: Store,
        folder: Path,
        *,
        limits: Mapping[str, int],
        schedules: Schedules,
        observer: Observer,
        lease: float,
    ) -> None:
        """Know the jobs of all clients."""
        self._scheduler, self._store, self._folder = scheduler, store, folder
        self._limits, self._observer, self._lease = dict(limits), observer, lease
        self.schedules = schedules
        self._origins: dict[str, dict[str, int]] = {}
        """The jobs of each submission by name."""
        self._client_of: dict[int, str] = {}
        self._followers: dict[str, _Follower] = {}
        submits = store.submits()
        self._next_job = 1 + max((submit.job.id for submit in submits), default=0)
        for submit in submits:
            self._know(submit.job)
        clients = client_folder(folder, "").glob("*")
        self._gone = {one.name: time.time() for one in clients}
        """Since when they are away."""
        self._sweep_at = 0.0

    def new_job(self) -> int:
        """A number that no job has."""
        self._next_job += 1
        return self._next_job - 1

    def hear(self, peer: Peer, ask: Ask, *, tell: _Tell, record: _Record, reply: _Reply) -> None:
        """Answer a client: at once through `reply`, which sees to it that what was asked for is durable before.

        Raises UserError, before anything has happened, where there is something wrong with the question.
        """
        try:
            question = msgspec.convert(ask.arguments, CLIENT_QUESTIONS[ask.name], builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            raise UserError(f"question `{ask.name}`: {error}") from error
        match question:
            case News():
                self._news(peer, reply)
            case Follow():
                self._follow(peer, question)
                reply(None)
            case Enqueue():
                reply(self._enqueue(question, tell, record))
            case Repeat():
                reply(self._repeat(question, tell, record))
            case Extend():
                reply(self._extend(question, tell))
            case Abandon(job=job, lo=lo, hi=hi):
                self._require_job(job)
                tell(Cancelled(job, lo, min(hi, self._scheduler.count(job))))
                reply(None)
            case _:
                self._inform(question, reply)

    def _inform(self, question: About | Whereabouts | Tally | Farewell, reply: _Reply) -> None:
        match question:
            case About():
                reply(msgspec.to_builtins(Welcomed(__version__, str(self._folder), self._limits)))
            case Whereabouts(job=job, position=position):
                self._require_job(job, position)
                state = self._scheduler.state(job, position)
                why = "" if state in FINAL else self._scheduler.explain(job, position, time.time()).reason
                reply([state.name, why])
            case Tally(client=client):
                reply(self._tally(client))
            case Farewell(client=client):
                self._gone[_checked(client)] = -math.inf
                self._dismiss(client)
                reply(None)

    def forget(self, peer: Peer) -> None:
        """A connection has ended."""
        for client, follower in list(self._followers.items()):
            if follower.peer is peer:
                del self._followers[client]
                self._gone.setdefault(client, time.time())

    # Entering

    def _enqueue(self, question: Enqueue, tell: _Tell, record: _Record) -> list[int]:
        _checked(question.origin.partition("/")[0])
        try:
            specs = [msgspec.msgpack.decode(packed, type=JobSpec) for packed in question.specs]
        except msgspec.DecodeError as error:
            raise UserError(f"what was submitted is no job: {error}") from error
        known = self._origins.get(question.origin)
        if known is not None and known.keys() == {spec.name for spec in specs}:
            return [known[spec.name] for spec in specs]
        if known is not None:
            raise UserError(f"submission {question.origin} has entered already, with other jobs")
        ordered = self._in_order(specs)
        numbers = {spec.name: self._next_job + place for place, spec in enumerate(ordered)}
        counts = {spec.name: spec.count for spec in specs}
        depends_on = {spec.name: self._dependencies(spec, counts, numbers, question.depends_on) for spec in specs}
        now = time.time()
        submits = tuple(
            [Submit(Job(numbers[one.name], one, depends_on[one.name], now, question.origin)) for one in ordered]
        )
        self._next_job += len(specs)
        for submit in submits:
            record(submit)
            self._know(submit.job)
        tell(Submitted(submits, {job: self._store.nodes(job) for job in followed_jobs(submits)}))
        with suppress(OSError):  # what was submitted to last is what commands speak of
            os.utime(self._folder / "access")
        return [numbers[spec.name] for spec in specs]

    def _in_order(self, specs: Sequence[JobSpec]) -> Sequence[JobSpec]:
        """Each after those that it depends on. Raises UserError where they do not fit together, or the queue."""
        for spec in specs:
            _check_limits(spec, self._limits)
        if len(specs) == 1:
            return specs
        try:
            outside = {dependency.on for spec in specs for dependency in spec.after}
            check_dependencies(specs, lambda place: f"jobs[{place}]", outside=outside)
        except ValueError as error:
            raise UserError(str(error)) from error
        return dependencies_first(specs)

    def _dependencies(
        self, spec: JobSpec, counts: Mapping[str, int], numbers: Mapping[str, int], known: Sequence[int]
    ) -> tuple[int, ...]:
        """The ids of what a job comes after. Raises UserError where there is no such job."""
        if known and len(known) != len(spec.after):
            raise UserError(f"{spec.name} comes after {len(spec.after)} jobs, and {len(known)} were named")
        found = []
        for place, dependency in enumerate(spec.after):
            if known:
                self._require_job(known[place])
                job, count = known[place], self._scheduler.count(known[place])
            elif dependency.on in numbers and dependency.on != spec.name:
                job, count = numbers[dependency.on], counts[dependency.on]
            else:
                named = find(dependency.on, self._scheduler.jobs, self._scheduler.jobs)
                if named.position is not None:
                    raise UserError(f"after: {dependency.on} is one task; name its job")
                job, count = named.job.id, named.job.spec.count
            if dependency.each and count != spec.count:
                raise UserError(
                    f"each: true needs as many tasks on both sides, but {spec.name} has {spec.count} and "
                    f"{dependency.on} {count}"
                )
            found.append(job)
        return tuple(found)

    def _extend(self, question: Extend, tell: _Tell) -> int:
        job, lo, calls = question.job, question.lo, question.calls
        self._require_job(job)
        there = self._scheduler.count(job)
        if lo > there or self._scheduler.jobs[job].spec.function is None:
            raise UserError(f"job {job} has {there} calls, and the next is not number {lo}")
        if news := calls[there - lo :]:
            tell(Grown(job, news))
        return there + len(news)

    # Again and again

    def _repeat(self, question: Repeat, tell: _Tell, record: _Record) -> tuple[str, float]:
        if _IDENTITY.fullmatch(question.identity) is None:
            raise UserError(f"{question.identity!r} is no identity of what is repeated")
        try:
            spec = msgspec.msgpack.decode(question.spec, type=JobSpec)
        except msgspec.DecodeError as error:
            raise UserError(f"what was submitted is no job: {error}") from error
        _check_limits(spec, self._limits)
        key, now = SCHEDULE + question.identity, time.time()
        jobs = self._scheduler.jobs
        known = (jobs[number] for number in self._origins.get(key, {}).values() if number in jobs)
        job = next((one for one in known if same_calls(one.spec, spec)), None)
        if job is not None:
            return job.spec.name, self.schedules.keep(key, job.id, question.schedule, question.call, now)
        named = msgspec.structs.replace(spec, name=free_name(spec.name, {one.spec.name for one in jobs.values()}))
        submit = Submit(Job(self._next_job, named, (), now, key))
        due = self.schedules.keep(key, submit.job.id, question.schedule, question.call, now)
        self._next_job += 1
        record(submit)
        self._know(submit.job)
        tell(Submitted((submit,)))
        return named.name, due

    def due(self, now: float) -> Iterator[Event]:
        """What schedules bring now: nothing of those whose last job has not ended."""
        for key, schedule in self.schedules.due(now):
            jobs = self._origins.get(key, {}).values()
            if not any(_unfinished(self._scheduler.counts(job)) for job in jobs if job in self._scheduler.jobs):
                yield Grown(schedule.job, (schedule.call,))

    def _require_job(self, job: int, position: int | None = None) -> None:
        if job not in self._client_of:
            raise UserError(f"there is no job {job} in this queue that a client has brought")
        if position is not None and position >= self._scheduler.count(job):
            raise UserError(f"job {job} has no task {position}")

    def _know(self, job: Job) -> None:
        if job.origin:
            self._origins.setdefault(job.origin, {})[job.spec.name] = job.id
            self._client_of[job.id] = job.origin.partition("/")[0]

    # Telling

    def _follow(self, peer: Peer, question: Follow) -> None:
        missed: list[tuple[int, int]] = []
        for job, lo, hi in question.missing:
            self._require_job(job)
            states = self._scheduler.states(job)
            missed += [(job, position) for position in range(lo, min(hi, len(states))) if states[position] in FINAL]
        self._followers[_checked(question.client)] = _Follower(peer, question.client, missed)
        self._gone.pop(question.client, None)

    def _news(self, peer: Peer, reply: _Reply) -> None:
        follower = next((one for one in self._followers.values() if one.peer is peer), None)
        if follower is None:
            reply(None)
            return
        follower.asks = True
        self._answer(follower)

    def _answer(self, follower: _Follower) -> None:
        """Tell a client what there is to tell, if it waits for that. All of it is recorded already."""
        if not follower.asks or not (follower.missed or follower.ends or follower.progress):
            return
        told = list(self._missed(follower)) if follower.missed else list(_taken(follower))
        tidings = Tidings(
            tuple(end for end in told if isinstance(end, Settle)),
            tuple(end for end in told if isinstance(end, Finish)),
            tuple(follower.progress),
        )
        follower.progress.clear()
        follower.asks = False
        follower.peer.send(Answer(msgspec.msgpack.encode(tidings)))

    def _dismiss(self, client: str) -> None:
        """Let a client that leaves wait for news no more."""
        follower = self._followers.pop(client, None)
        if follower is not None and follower.asks:
            follower.peer.send(Answer(msgspec.msgpack.encode(Tidings())))

    def _missed(self, follower: _Follower) -> Iterator[Settle | Finish]:
        """Some of the ends that a client has missed, as the store knows them; of what it knows not yet news come."""
        tasks = [follower.missed.popleft() for _ in range(min(_MOST_TOLD // 10, len(follower.missed)))]
        finishes = {job: self._store.finishes(job) for job in {job for job, _ in tasks}}
        left = []
        for job, position in tasks:
            finish = next((one for one in finishes[job] if one.lo <= position < one.hi), None)
            if finish is None:
                left.append((job, position))
            else:
                yield Finish(job, position, position + 1, finish.state, finish.reason)
        yield from (settle for settle in self._store.results(left) if settle.state in FINAL)

    def recorded(self, changes: Sequence[Change]) -> None:
        """Tell clients what has become of their tasks."""
        self._observer.recorded(changes)
        touched = set()
        for change in changes if self._followers else ():
            if isinstance(change, Settle) and change.state in FINAL:
                job = change.report.attempt.job
            elif isinstance(change, Finish):
                job = change.job
            else:
                continue
            follower = self._followers.get(self._client_of.get(job, ""))
            if follower is not None:
                follower.ends.append(change)
                follower.waiting_bytes += _size(change)
                touched.add(follower.client)
        for client in touched:
            self._answer(self._followers[client])
            if self._followers[client].waiting_bytes > _SLOW:
                del self._followers[client]

    def progressed(self, progress: Progressed) -> None:
        """Pass on what a task says of itself."""
        follower = self._followers.get(self._client_of.get(progress.job, ""))
        if follower is not None and len(follower.progress) < _MOST_TOLD:
            follower.progress.append(progress)
            self._answer(follower)

    def note(self, text: str) -> None:
        """Pass it on."""
        self._observer.note(text)

    def tick(self, now: float) -> None:
        """Pass it on, and look after the folders of clients that have gone."""
        self._observer.tick(now)
        if self._gone and now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_AFTER
            self._sweep(now)

    def _tally(self, client: str) -> dict[str, int]:
        totals = dict.fromkeys(TaskState, 0)
        for job, owner in self._client_of.items():
            if owner == client and job in self._scheduler.jobs:
                for state, count in self._scheduler.counts(job).items():
                    totals[state] += count
        return {state.name: count for state, count in totals.items() if count}

    # Large values

    def _sweep(self, now: float) -> None:
        """Remove the values of clients that will not come back, once nothing in the queue can need them."""
        gone = [client for client, since in self._gone.items() if now - since > self._lease]
        if not gone:
            return
        needed = {
            Path(job.spec.function.values).parent.name
            for number, job in self._scheduler.jobs.items()
            if job.spec.function is not None and _unfinished(self._scheduler.counts(number))
        }
        for client in set(gone) - needed:
            shutil.rmtree(client_folder(self._folder, client), ignore_errors=True)
            del self._gone[client]


def _check_limits(spec: JobSpec, limits: Mapping[str, int]) -> None:
    """Raise UserError where a job uses what the queue does not have."""
    for name, amount in spec.uses.items():
        if name not in limits:
            way_out = f"`pilotfish serve --limit {name}={amount}` declares it"
            raise UserError(f"{spec.name}: uses.{name}: the server has no such limit; {way_out}")
        if amount > limits[name]:
            raise UserError(f"{spec.name}: uses.{name}: expected at most {limits[name]}, the limit; got {amount}")


def _checked(client: str) -> str:
    if _CLIENT.fullmatch(client) is None:
        raise UserError(f"{client!r} is no name of a client")
    return client


_IDENTITY = re.compile(r"[0-9a-f]{1,64}")
_CLIENT = re.compile(r"[A-Za-z0-9_-]{1,64}")  # it names a folder


def _taken(follower: _Follower) -> Iterator[Settle | Finish]:
    """As much as one answer holds."""
    size = 0
    for _ in islice(range(len(follower.ends)), _MOST_TOLD):
        end = follower.ends.popleft()
        size += _size(end)
        yield end
        if size > _MOST_BYTES:
            break
    follower.waiting_bytes -= size


def _size(end: Settle | Finish) -> int:
    return len(end.report.result or b"") if isinstance(end, Settle) else 0


def _unfinished(counts: Mapping[TaskState, int]) -> int:
    return sum(count for state, count in counts.items() if state not in FINAL)
