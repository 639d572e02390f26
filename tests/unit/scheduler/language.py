"""A small language for cases: jobs in few words, and a world of nodes whose tasks take virtual time.

A world hands events to a scheduler, performs its commands as agents would, records its changes in a
MemoryStore, and has the scheduler check its invariants after each event.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import msgspec

from pilotfish.model.attempts import AttemptId, LaneState, Report
from pilotfish.model.changes import Change, Grant, Part, Submit
from pilotfish.model.events import (
    Cancelled,
    CloseLane,
    Command,
    Draining,
    Ended,
    Event,
    Expected,
    Grown,
    Held,
    Hosted,
    Kill,
    Limited,
    NodeBack,
    NodeJoined,
    NodeLost,
    NodeSilent,
    Restored,
    Retract,
    Returned,
    Revived,
    Submitted,
    WakeAt,
    Woken,
)
from pilotfish.model.jobs import CallArray, Dependency, Job, JobSpec, RangeArray, Retries, When
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Gpu, Inventory, Request, Slots
from pilotfish.model.states import Outcome
from pilotfish.scheduler.engine import Scheduler
from pilotfish.scheduler.fit import fits
from pilotfish.settings import Settings
from pilotfish.store.base import followed_jobs
from pilotfish.store.memory import MemoryStore
from tests.contracts.builders import FUNCTION

GIB = 2**30
Kind = TypeVar("Kind")

SHORT, LONG = 0.001, 10.0
"""Seconds that tasks take."""


def cores(number: float) -> Amount:
    return Amount(round(number * ONE))


def request(number: float = 1, gib: float | None = None) -> Request:
    return Request(cores(number), None if gib is None else round(gib * GIB))


def inventory(number: int = 2, gib: int = 8) -> Inventory:
    return Inventory(tuple(range(number)), gib * GIB)


def job(
    number: int,
    tasks: int = 1,
    *,
    after: Iterable[int | tuple[int, When] | tuple[int, When, bool]] = (),
    cpus: float = 1,
    gib: float | None = None,
    priority: int = 0,
    retries: int | Retries = 0,
    most: int | None = None,
    asks: Request | None = None,
    **spec: Any,
) -> Job:
    """Job 3 is named j3; `after` holds numbers, or (number, when), or (number, when, each)."""
    entries: list[tuple[Any, ...]] = [entry if isinstance(entry, tuple) else (entry,) for entry in after]
    body = JobSpec(
        name=f"j{number}",
        command="true",
        directory="/",
        cwd="/",
        array=None if tasks == 1 else RangeArray(0, tasks),
        after=tuple(Dependency(f"j{on}", *rest) for on, *rest in entries),
        request=request(cpus, gib) if asks is None else asks,
        priority=priority,
        retries=Retries(retries) if isinstance(retries, int) else retries,
        max_parallel=most,
        **spec,
    )
    return Job(number, body, depends_on=tuple(entry[0] for entry in entries))


def calling(number: int, **spec: Any) -> Job:
    """A job that calls functions; see :meth:`World.grow`."""
    made = job(number, function=FUNCTION, **spec)
    return msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, array=CallArray()))


class Daemon(NamedTuple):
    """What a launcher has started on another node of its attempt."""

    node: str
    lane: int
    slots: Slots
    attempt: AttemptId


class Host:
    """What an agent does: attempts of each lane one after another, and daemons."""

    def __init__(self, name: str, has: Inventory) -> None:
        self.name, self.inventory = name, has
        self.lanes: dict[int, list[AttemptId]] = {}
        self.slots: dict[int, Slots] = {}
        self.since: dict[int, float] = {}
        self.daemons: dict[int, Daemon] = {}
        """By lane; no attempt may be granted what they hold."""

    def told(self) -> tuple[LaneState, ...]:
        lanes = [
            LaneState(lane, self.slots[lane], tuple(queue), self.since[lane] if queue else None)
            for lane, queue in self.lanes.items()
        ]
        return (*lanes, *(LaneState(one.lane, one.slots, (one.attempt,), None) for one in self.daemons.values()))


class World:
    """A scheduler, its store, and hosts, of which so many are expected; None: any number."""

    def __init__(self, *jobs: Job, nodes: int | None = 1, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.store = MemoryStore()
        self.scheduler = Scheduler(self.settings, 1)
        self.hosts: dict[str, Host] = {}
        self.now = 0.0
        self.said: list[Command] = []
        """All commands ever."""
        self.seconds: Callable[[AttemptId], float] = lambda _: LONG
        self.code: Callable[[AttemptId], int] = lambda _: 0
        self.woken_at: float | None = None
        self.asked: list[Retract | Kill | Daemon] = []
        """What hosts have yet to answer, or silent ones to start."""
        self.lose_orders = False
        """Where set, hosts hear nothing: as on a connection that breaks."""
        self.silent: set[str] = set()
        self.expect(nodes)
        if jobs:
            self.submit(*jobs)

    # Events

    def tell(self, event: Event) -> list[Command]:
        commands = self.scheduler.handle(event, self.now)
        self.scheduler.check()
        self._nothing_was_overtaken(commands)
        self._daemons_keep_what_they_hold(commands)
        self.said.extend(commands)
        if changes := [command for command in commands if isinstance(command, Change)]:
            self.store.commit(changes)
        for command in commands:
            if isinstance(command, WakeAt):
                self.woken_at = command.time
            elif not self.lose_orders:
                self._obey(command)
        return commands

    def _nothing_was_overtaken(self, commands: Iterable[Command]) -> None:
        """No grant stands in the place of something that comes before it and could use its slots.

        Where room is kept for the first that does not fit, only that one may not be overtaken.
        """
        scheduler = self.scheduler
        book = scheduler._book  # noqa: SLF001 - not public
        placement, queue, jobs = book.placement, book.queue, book.jobs
        kept = placement.reservation
        # A job that waits for starts may have become ready by the very grants that seem to have overtaken it, or been
        # skipped by them, and so those after it.
        by_starts: set[int] = set()
        for number, tasks in sorted(jobs.items()):
            awaited = {one.when for one in tasks.job.spec.after}
            if When.started in awaited or by_starts.intersection(tasks.job.depends_on):
                by_starts.add(number)
        known = [tasks for number, tasks in jobs.items() if number not in by_starts]
        ready = [pool for tasks in known for pool in tasks.pools() if queue.room(pool)]
        for grant in of_type(commands, Grant):
            lane = placement.lanes[grant.node][grant.lane]
            assert jobs[grant.job].pool_of(grant.lo).cls.home in (None, grant.node), f"{grant} away from home"
            assert not {grant.node, *(part.node for part in grant.beside)} & self.silent, f"{grant} to a silent node"
            if lane.node.inventory.ends_at is not None:
                continue  # whoever was overtaken may end too late
            entry = queue.entry(jobs[grant.job].pool_of(grant.lo))
            asking = {pool.cls for pool in ready if queue.entry(pool) < entry}
            if kept is not None and lane.node in kept.nodes:
                asking &= {placement.reserved_for}
            lane.node.give(lane.slots)
            for cls in asking:
                able = [need for need in cls.needs if need.nodes == 1 and fits(need, lane.node)]
                assert not able, f"{grant} has overtaken {able[0].request}"
            lane.node.take(lane.slots)

    def _daemons_keep_what_they_hold(self, commands: Iterable[Command]) -> None:
        for grant in of_type(commands, Grant):
            for part in (Part(grant.node, grant.lane, grant.slots), *grant.beside):
                for one in self.daemons(part.node):
                    assert one.lane != part.lane, f"{grant} in the lane of {one}"
                    assert not {*one.slots.cores} & {*part.slots.cores}, f"{grant} on cores of {one}"

    def submit(self, *jobs: Job, replaces: int | None = None) -> list[Command]:
        submits = tuple(Submit(one, replaces=replaces) for one in jobs)
        self.store.commit(submits)
        return self.tell(Submitted(submits, {on: self.store.nodes(on) for on in followed_jobs(submits)}))

    def grow(self, number: int, calls: int = 1) -> list[Command]:
        count = self.count(number)
        return self.tell(Grown(number, tuple(b"%d" % position for position in range(count, count + calls))))

    def join(self, name: str = "n", *, cpus: int = 2, gib: int = 8, gpus: int = 0, **more: Any) -> list[Command]:
        has = msgspec.structs.replace(inventory(cpus, gib), gpus=tuple(Gpu(str(n)) for n in range(gpus)), **more)
        self.hosts[name] = Host(name, has)
        return self.reconnect(name)

    def expect(self, nodes: int | None) -> list[Command]:
        self.expected = nodes
        return self.tell(Expected(nodes))

    def reconnect(self, name: str = "n") -> list[Command]:
        host = self.hosts[name]
        self.silent.discard(name)
        self.asked = [one for one in self.asked if one.node != name]  # meant for the old connection
        return self.tell(NodeJoined(name, host.inventory, host.told()))

    def lose(self, name: str = "n") -> list[Command]:
        self.hosts.pop(name, None)
        self.silent.discard(name)
        self.asked = [one for one in self.asked if one.node != name]
        return self.tell(NodeLost(name, "gone"))

    def leave(self, name: str = "n") -> list[Command]:
        """All that runs on a host ends, as it was told; what it has been given since then never begins."""
        here = [attempt for node, _, attempt in self.running() if node == name]
        if here:
            self.end(*here, outcome=Outcome.interrupted)
        self.hosts.pop(name, None)
        self.asked = [one for one in self.asked if one.node != name]
        return self.tell(NodeLost(name, "ended by SIGTERM", told=True))

    def silence(self, name: str = "n") -> list[Command]:
        """Nothing is heard of a host, and it hears nothing."""
        self.silent.add(name)
        return self.tell(NodeSilent(name))

    def back(self, name: str = "n") -> list[Command]:
        """A silent host is heard again: what was sent to it meanwhile arrives."""
        self.silent.discard(name)
        return self.tell(NodeBack(name))

    def cancel(self, number: int, lo: int = 0, hi: int | None = None) -> list[Command]:
        return self.tell(Cancelled(number, lo, self.count(number) if hi is None else hi))

    def revive(self, number: int) -> list[Command]:
        return self.tell(Revived(number, 0, self.count(number)))

    def hold(self, number: int, lo: int = 0, hi: int | None = None, *, held: bool = True) -> list[Command]:
        return self.tell(Held(number, lo, self.count(number) if hi is None else hi, held))

    def limit(self, **limits: int) -> list[Command]:
        return self.tell(Limited(limits))

    def wake(self) -> list[Command]:
        self.woken_at = None
        return self.tell(Woken())

    def drain(self, **how: bool) -> list[Command]:
        return self.tell(Draining(**how))

    def end(
        self, *attempts: AttemptId, code: int = 0, took: float = SHORT, outcome: Outcome = Outcome.exited, **more: Any
    ) -> list[Command]:
        """End attempts; by default all that run."""
        reports: dict[str, list[Report]] = {name: [] for name in self.hosts}
        for name, lane, attempt in self.running():
            if name in self.silent:
                continue
            if not attempts or attempt in attempts:
                self._leave(name, lane, attempt)
                reports[name].append(Report(attempt, lane, outcome, code, self.now - took, self.now, 0.0, 0, **more))
        commands = []
        for name, ended in reports.items():
            if ended:
                commands += self.tell(Ended(name, tuple(ended)))
        return commands

    def answer(self) -> list[Command]:
        """Hosts do what they were asked for: give back what waits, end what is to end."""
        commands = []
        while heard := [one for one in self.asked if one.node not in self.silent]:
            asked = heard[0]
            self.asked.remove(asked)
            host = self.hosts.get(asked.node)
            queue = host.lanes.get(asked.lane, []) if host is not None else []
            if isinstance(asked, Daemon):
                self._begin(asked)
            elif isinstance(asked, Retract):
                back = tuple(attempt for attempt in queue[1:] if attempt in asked.attempts)
                for attempt in back:
                    queue.remove(attempt)
                commands += self.tell(Returned(asked.node, asked.lane, back)) if host is not None else []
            elif asked.attempt in queue:
                started = self.now if asked.attempt == queue[0] else 0.0
                self._leave(asked.node, asked.lane, asked.attempt)
                report = Report(asked.attempt, asked.lane, asked.outcome, 0, started, self.now, 0.0, 0)
                commands += self.tell(Ended(asked.node, (report,)))
            elif host is not None and asked.lane in host.daemons and host.daemons[asked.lane].attempt == asked.attempt:
                commands += self.end_daemon(host.daemons[asked.lane], asked.outcome)
        return commands

    # Daemons

    def host(self, attempt: AttemptId, node: str) -> Daemon:
        """The launcher of an attempt has a daemon started on another of its nodes."""
        parts = self.scheduler._book.placement.beside[attempt]  # noqa: SLF001 - as the manager knows them
        daemon = next(Daemon(node, part.lane, part.slots, attempt) for part in parts if part.node == node)
        self.tell(Hosted(attempt, node))
        if node in self.silent:
            self.asked.append(daemon)
        elif not self.lose_orders:
            self._begin(daemon)
        return daemon

    def _begin(self, daemon: Daemon) -> None:
        host = self.hosts[daemon.node]
        assert not host.lanes.get(daemon.lane), "a daemon came into the lane of another attempt"
        host.daemons[daemon.lane] = daemon

    def end_daemon(self, daemon: Daemon, outcome: Outcome = Outcome.exited) -> list[Command]:
        """A daemon ends, and its node tells that."""
        del self.hosts[daemon.node].daemons[daemon.lane]
        report = Report(daemon.attempt, daemon.lane, outcome, 0, self.now, self.now, 0.0, 0)
        return self.tell(Ended(daemon.node, (report,)))

    def return_daemon(self, daemon: Daemon) -> list[Command]:
        """Its keeper died before a daemon began."""
        del self.hosts[daemon.node].daemons[daemon.lane]
        return self.tell(Returned(daemon.node, daemon.lane, (daemon.attempt,)))

    def daemons(self, *names: str) -> list[Daemon]:
        """Those that live, by default on all hosts."""
        hosts = self.hosts.values() if not names else [self.hosts[name] for name in names if name in self.hosts]
        return [daemon for host in hosts for daemon in host.daemons.values()]

    def restart(self) -> None:
        """A new manager reads what the old one recorded; the hosts are not connected yet."""
        self.store = self.store.reopened()
        self.scheduler = Scheduler(self.settings, self.store.epoch)
        self.woken_at = None
        self.silent.clear()
        self.expect(self.expected)
        self.tell(Restored(self.store.load()))

    def run(self, limit: int = 100_000) -> None:
        """Let hosts work in virtual time until nothing happens any more."""
        for _ in range(limit):
            self.answer()
            ends = [
                (max(self.now, host.since[lane] + self.seconds(queue[0])), name, lane)
                for name, host in self.hosts.items()
                for lane, queue in host.lanes.items()
                if queue and name not in self.silent
            ]
            if not ends and (self.woken_at is None or not self.scheduler.unfinished):
                return
            time, name, lane = min(ends, default=(math.inf, "", 0))
            if self.woken_at is not None and self.woken_at <= time:
                self.now, self.woken_at = max(self.now, self.woken_at), None
                self.tell(Woken())
                continue
            self.now = time
            attempt = self.hosts[name].lanes[lane][0]
            started = self.hosts[name].since[lane]
            self._leave(name, lane, attempt)
            report = Report(attempt, lane, Outcome.exited, self.code(attempt), started, time, 0.0, 0)
            self.tell(Ended(name, (report,)))
        raise AssertionError(f"did not end in {limit} steps")

    # What can be seen

    def count(self, number: int) -> int:
        return self.scheduler.jobs[number].spec.count

    def states(self, number: int) -> str:
        """One letter a task: w r R(unning) S(topping) s f c k."""
        return "".join("wrRSsfck"[state] for state in self.scheduler.states(number))

    def running(self) -> list[tuple[str, int, AttemptId]]:
        """The first attempt of each lane, with its node and lane."""
        return [(n, lane, queue[0]) for n, host in self.hosts.items() for lane, queue in host.lanes.items() if queue]

    def jobs_running(self) -> list[int]:
        return sorted(attempt.job for _, _, attempt in self.running())

    def attempt(self, number: int, position: int = 0) -> AttemptId:
        held = self.scheduler.holder(number, position)
        assert held is not None
        return held[2]

    def lane(self, number: int, position: int = 0) -> int:
        return next(n for _, n, attempt in self.running() if (attempt.job, attempt.position) == (number, position))

    def explain(self, number: int, position: int = 0) -> str:
        return self.scheduler.explain(number, position, self.now).reason

    # Hosts

    def _leave(self, name: str, lane: int, attempt: AttemptId) -> None:
        host = self.hosts[name]
        if attempt == host.lanes[lane][0]:
            host.since[lane] = self.now
        host.lanes[lane].remove(attempt)

    def _obey(self, command: Command) -> None:
        if isinstance(command, Retract | Kill):
            self.asked.append(command)
        elif isinstance(command, CloseLane) and command.node in self.hosts:
            assert not self.hosts[command.node].lanes.pop(command.lane, ()), "a lane was closed over an attempt"
            assert command.lane not in self.hosts[command.node].daemons, "a lane was closed over a daemon"
        elif isinstance(command, Grant) and command.node in self.hosts:
            self._start(self.hosts[command.node], command)

    def _start(self, host: Host, grant: Grant) -> None:
        queue = host.lanes.setdefault(grant.lane, [])
        if not queue:
            host.since[grant.lane] = self.now
        assert not queue or host.slots[grant.lane] == grant.slots, "the slots of a lane were changed over an attempt"
        host.slots[grant.lane] = grant.slots
        queue += [AttemptId(grant.job, at, grant.number, grant.epoch) for at in range(grant.lo, grant.hi)]


def of_type(commands: Iterable[Command], kind: type[Kind]) -> list[Kind]:
    return [command for command in commands if isinstance(command, kind)]


def granted(commands: Iterable[Command]) -> list[tuple[int, int]]:
    """(job, position) of all grants, in their order."""
    return [(grant.job, at) for grant in of_type(commands, Grant) for at in range(grant.lo, grant.hi)]
