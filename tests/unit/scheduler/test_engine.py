"""Whole campaigns in virtual time, and what is true of the scheduler whatever happens to it."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.changes import Submit
from pilotfish.model.events import Ended, Held, Limited, NodeJoined, Submitted, Woken
from pilotfish.model.jobs import Job, OnSilence, Retries, When
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Request
from pilotfish.model.states import FINAL, Outcome, TaskState
from pilotfish.scheduler.fit import fits
from tests.unit.scheduler.language import GIB, LONG, SHORT, Daemon, World, calling, cores, inventory, job


def campaign() -> list[Job]:
    return [
        job(1, 40),
        job(2, 300, cpus=0.5, retries=1),
        job(3, 40, after=[(1, When.finished, True)], gib=1),
        job(4, 3, after=[1, (2, When.finished)], cpus=2),
        job(5, 100, most=3, priority=1),
        job(6, after=[4, 5]),
        job(7, after=[(2, When.failed)], priority=-1),
        job(8, 20, cpus=0),
    ]


def uneven(attempt: AttemptId) -> float:
    return LONG if attempt.position % 17 == 3 else SHORT * (1 + attempt.position % 5)


@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_a_campaign_runs_to_its_end(nodes: int) -> None:
    world = World(*campaign())
    world.seconds = uneven
    world.code = lambda attempt: int(attempt.job == 2 and attempt.position % 50 == 7 and attempt.number == 1)
    for number in range(nodes):
        world.join(f"n{number}", cpus=3)
    world.run()
    totals = world.scheduler.totals()
    assert world.scheduler.unfinished == 0
    assert totals[TaskState.skipped] == 1  # job 7: nothing failed for good
    assert totals[TaskState.succeeded] == sum(one.spec.count for one in campaign()) - 1


@pytest.mark.parametrize("nodes", [1, 2, 4])
@pytest.mark.parametrize("seconds", [SHORT, LONG])
def test_all_cores_are_used_until_the_work_runs_out(*, nodes: int, seconds: float) -> None:
    world = World(job(1, 800))
    world.seconds = lambda _: seconds
    for number in range(nodes):
        world.join(f"n{number}", cpus=4)
    world.run()
    assert world.now == pytest.approx(800 * seconds / (4 * nodes), rel=0.1)


def test_the_same_events_give_the_same_commands() -> None:
    worlds = [World(*campaign()) for _ in range(2)]
    for world in worlds:
        world.seconds = uneven
        world.join("a", cpus=3)
        world.join("b", cpus=2)
        world.run()
    assert worlds[0].said == worlds[1].said


def test_a_million_tasks_that_wait_cost_nothing_per_event() -> None:
    world = World()
    world.scheduler.handle(Submitted((Submit(job(1, 10)), Submit(job(2, 1_000_000, after=[1])))), 0.0)
    world.scheduler.handle(NodeJoined("n", inventory(1)), 0.0)
    for position in range(9):
        assert world.scheduler.counts(2)[TaskState.waiting] == 1_000_000
        report = Report(AttemptId(1, position, 1, 1), 0, Outcome.exited, 0, 0.0, 1.0, 0.0, 0)
        world.scheduler.handle(Ended("n", (report,)), 1.0)
    assert world.scheduler.counts(2)[TaskState.waiting] == 1_000_000


NODES = st.sampled_from(["a", "b", "c"])
ONE_NODE = st.builds(
    Request,
    cores=st.sampled_from([Amount(0), Amount(3000), Amount(5000), ONE, ONE, cores(2), cores(3)]),
    memory=st.sampled_from([None, None, GIB, 3 * GIB]),
    gpus=st.sampled_from([Amount(0), Amount(0), Amount(5000), ONE]),
    exclusive=st.sampled_from([False, False, False, True]),
)
REQUESTS = ONE_NODE | st.sampled_from(
    [
        Request(ONE, nodes=2),
        Request(ONE, nodes=2, spread=True),
        Request(ONE, nodes=3),
        Request(ONE, most_cores=cores(3)),
        Request(ONE, spread=True),
        Request(Amount(5000), spread=True),
    ]
)
RETRIES = st.sampled_from([0, 1, 2, Retries(2, delay=0.5, backoff=2.0), Retries(1, retry_on=("out_of_memory",))])
WHEN = st.sampled_from(When)


class Turmoil(RuleBasedStateMachine):
    """Anything may happen in any order; the world checks the invariants after each event."""

    @initialize()
    def begin(self) -> None:
        self.world = World(crash_limit=3, nodes=None)
        self.world.tell(Limited({"a": 2, "b": 1}))
        self.next = 1
        self.calling: list[int] = []
        self.judged_again: set[int] = set()
        """Jobs that began before one that they had waited for has grown: a restart forgets that they may."""

    @rule(
        data=st.data(),
        tasks=st.sampled_from([1, 1, 2, 4, 4, 4, 8]),
        priority=st.integers(-1, 1),
        most=st.sampled_from([None, None, 1, 2]),
        asks=REQUESTS,
        estimate=st.sampled_from([None, None, SHORT, 1.0, LONG]),
        uses=st.sampled_from([{}, {}, {}, {"a": 1}, {"a": 2}, {"a": 1, "b": 1}]),
        hold=st.booleans(),
        start_after=st.sampled_from([None, None, None, 5.0]),
        memory_growth=st.sampled_from([None, 1.5]),
        max_fails=st.sampled_from([None, None, 2]),
        on_silence=st.sampled_from(OnSilence),
        calls=st.booleans(),
    )
    def submit(self, data: st.DataObject, tasks: int, *, calls: bool, **options: Any) -> None:
        after = []
        for on in data.draw(st.sets(st.integers(1, self.next), max_size=3)):
            if on < self.next:
                as_many = not calls and on not in self.calling and self.world.count(on) == tasks > 1
                each = as_many and data.draw(st.booleans())
                after.append((on, data.draw(WHEN), each))
        alone = len(after) == 1 and not calls and tasks == 1 == self.world.count(after[0][0])
        if options["asks"].nodes == 1 and (alone or any(each for _, _, each in after)):
            options["same_node"] = data.draw(st.booleans())
        options["retries"] = data.draw(RETRIES)
        options["variants"] = data.draw(st.sampled_from([(), (), (Request(ONE),)]))
        if calls:
            self.calling.append(self.next)
            self.world.submit(calling(self.next, after=after, **options))
        else:
            self.world.submit(job(self.next, tasks, after=after, **options))
        self.next += 1

    @precondition(lambda self: self.calling)
    @rule(data=st.data(), calls=st.integers(1, 4))
    def grow(self, data: st.DataObject, calls: int) -> None:
        number = data.draw(st.sampled_from(self.calling))
        later = [one.id for one in self.world.scheduler.jobs.values() if number in one.depends_on]
        if any(set(self.world.scheduler.states(one)) - {TaskState.waiting} for one in later):
            self.judged_again.update(later)
        self.world.grow(number, calls)

    @rule(name=NODES, cpus=st.integers(1, 4))
    def join(self, name: str, cpus: int) -> None:
        if name in self.world.hosts:
            self.world.reconnect(name)
        else:
            self.world.join(name, cpus=cpus, gib=3, gpus=cpus // 2)

    @rule(nodes=st.sampled_from([None, None, 1, 2, 3]))
    def expect(self, nodes: int | None) -> None:
        self.world.expect(nodes)

    @precondition(lambda self: not self.world.lose_orders)
    @rule(name=NODES)
    def silence(self, name: str) -> None:
        if name in self.world.hosts:
            self.world.silence(name)

    @rule(name=NODES)
    def back(self, name: str) -> None:
        if name in self.world.silent:
            self.world.back(name)

    @rule(name=NODES)
    def lose(self, name: str) -> None:
        self.world.lose(name)

    @precondition(lambda self: not self.world.lose_orders)
    @rule(name=NODES)
    def leave(self, name: str) -> None:
        if name not in self.world.silent:
            self.world.leave(name)

    @rule(
        data=st.data(),
        code=st.sampled_from([0, 0, 1]),
        took=st.sampled_from([SHORT, 0.04, LONG]),
        outcome=st.sampled_from(
            [Outcome.exited, Outcome.exited, Outcome.out_of_memory, Outcome.lost, Outcome.preempted]
        ),
        times=st.integers(1, 3),
    )
    def end(self, data: st.DataObject, code: int, took: float, outcome: Outcome, times: int) -> None:
        for _ in range(times):
            if running := self.world.running():
                chosen = data.draw(st.sampled_from(running))
                self.world.end(chosen[2], code=code, took=took, outcome=outcome)

    @precondition(lambda self: self.hosts())
    @rule(data=st.data())
    def host(self, data: st.DataObject) -> None:
        self.world.host(*data.draw(st.sampled_from(self.hosts())))

    def hosts(self) -> list[tuple[AttemptId, str]]:
        """Attempts, and others of their nodes, on which their launchers have not started daemons yet."""
        beside = self.world.scheduler._book.placement.beside  # noqa: SLF001 - as the manager knows them
        there = {(daemon.attempt, daemon.node) for daemon in self.daemons()}
        parts = [(attempt, part.node) for attempt, parts in beside.items() for part in parts]
        return [part for part in parts if part[1] in self.world.hosts and part not in there]

    def daemons(self) -> list[Daemon]:
        """Those that live, or are about to."""
        return [*self.world.daemons(), *(one for one in self.world.asked if isinstance(one, Daemon))]

    @precondition(lambda self: self.world.daemons())
    @rule(data=st.data(), begun=st.sampled_from([True, True, False]))
    def end_daemon(self, data: st.DataObject, *, begun: bool) -> None:
        daemon = data.draw(st.sampled_from(self.world.daemons()))
        if daemon.node not in self.world.silent:
            (self.world.end_daemon if begun else self.world.return_daemon)(daemon)

    @rule()
    def answer(self) -> None:
        self.world.answer()

    @rule(seconds=st.floats(0, 3))
    def wake(self, seconds: float) -> None:
        self.world.now += seconds
        if self.world.woken_at is not None and self.world.woken_at <= self.world.now:
            self.world.woken_at = None
            self.world.tell(Woken())

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if jobs := self.with_tasks():
            number = data.draw(st.sampled_from(jobs))
            lo = data.draw(st.integers(0, self.world.count(number) - 1))
            self.world.cancel(number, lo, data.draw(st.integers(lo + 1, self.world.count(number))))

    @rule(data=st.data(), held=st.booleans())
    def hold(self, data: st.DataObject, *, held: bool) -> None:
        if jobs := self.with_tasks():
            number = data.draw(st.sampled_from(jobs))
            lo = data.draw(st.integers(0, self.world.count(number) - 1))
            hi = data.draw(st.integers(lo + 1, self.world.count(number)))
            self.world.tell(Held(number, lo, hi, held))

    @rule(data=st.data())
    def revive(self, data: st.DataObject) -> None:
        if jobs := sorted(self.world.scheduler.jobs):
            self.world.revive(data.draw(st.sampled_from(jobs)))

    @rule(deaf=st.booleans())
    def listen(self, *, deaf: bool) -> None:
        """A connection breaks, or all nodes come back."""
        self.world.lose_orders = deaf
        if not deaf:
            self.reconnect_all()

    @precondition(lambda self: not self.world.lose_orders)
    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        for number, one in sorted(self.world.scheduler.jobs.items()):
            if self.judged_again.intersection(one.depends_on):
                self.judged_again.add(number)
        before = self.seen()
        self.world.restart()
        assert self.seen() == before
        for name in data.draw(st.permutations(list(self.world.hosts))):
            for daemon in self.world.daemons(name):
                if data.draw(st.booleans()):
                    self.world.end_daemon(daemon)
            self.world.reconnect(name)
        held = self.world.scheduler._book.placement.held  # noqa: SLF001 - which nodes are missing is the manager's to know
        for name in {node for node, _ in held.values()} - self.world.hosts.keys():
            self.world.lose(name)

    def reconnect_all(self) -> None:
        for name in list(self.world.hosts):
            self.world.reconnect(name)

    def with_tasks(self) -> list[int]:
        return [number for number in sorted(self.world.scheduler.jobs) if self.world.count(number)]

    def seen(self) -> dict[int, object]:
        """What a restart must not change.

        Not recorded: that a task is to end; that it was ready before a job that it had waited for was revived;
        what a success cost.
        """
        scheduler = self.world.scheduler
        as_recorded = bytes.maketrans(
            bytes([TaskState.stopping, TaskState.waiting]), bytes([TaskState.running, TaskState.ready])
        )
        return {
            number: [
                (state, tasks.numbers.get(at, 0))
                if state == TaskState.succeeded
                else (state, tasks.numbers.get(at, 0), tasks.tries.get(at, 0), tasks.losses.get(at, 0))
                for at, state in enumerate(bytes(scheduler.states(number)).translate(as_recorded))
            ]
            for number, tasks in scheduler._book.jobs.items()  # noqa: SLF001 - tries and losses are seen only when they run out
            if number not in self.judged_again
        }

    @invariant()
    def daemons_are_known(self) -> None:
        """As long as a daemon lives, it is in its lane, whatever has become of its attempt; and none other is."""
        placement = self.world.scheduler._book.placement  # noqa: SLF001 - what lanes hold is not public
        daemons = self.daemons()
        for daemon in daemons:
            lane = placement.lanes[daemon.node][daemon.lane]
            assert daemon.attempt in lane.strangers
            assert lane.slots == daemon.slots
        parts = [(attempt, lane) for attempt, lanes in placement.parts.items() for lane in lanes.values()]
        assert {(lane.part_of, lane) for lane in placement.all_lanes() if lane.part_of is not None} == set(parts)
        assert placement.parts.keys() <= placement.beside.keys() <= placement.held.keys()
        if not self.world.lose_orders:
            known = {(daemon.attempt, daemon.node) for daemon in daemons}
            known |= {(one, name) for name, host in self.world.hosts.items() for q in host.lanes.values() for one in q}
            told = {(one, lane.node.name) for lane in placement.all_lanes() for one in lane.strangers}
            assert told <= known, "a lane waits for the end of what is nowhere"

    @invariant()
    def nothing_that_could_start_stays(self) -> None:
        """What is ready, and may start, fits nowhere; or a reservation stands in its way."""
        scheduler = self.world.scheduler
        book = scheduler._book  # noqa: SLF001 - what is free is not public
        nodes = book.placement.nodes.values()
        kept = book.placement.reservation
        for tasks in book.jobs.values():
            for pool in tasks.pools():
                if not book.queue.room(pool) or (kept is not None and book.placement.reserved_for is not pool.cls):
                    continue
                for need in pool.cls.needs:
                    assert sum(fits(need, node) for node in nodes) < need.nodes

    def teardown(self) -> None:
        """In the end, with enough of everything, all tasks become final."""
        world = self.world
        world.lose_orders = False
        world.expect(None)
        self.reconnect_all()
        for name in ("c", "d", "e"):
            world.lose(name)
            world.join(name, cpus=4, gib=3, gpus=2)
        for _ in range(20):  # what the end of an allocation ends is held each second time
            for number in world.scheduler.jobs:
                world.tell(Held(number, 0, world.count(number), held=False))
            world.run()
        assert world.scheduler.unfinished == 0
        assert world.scheduler.running == 0
        assert not world.daemons()
        assert not list(world.scheduler._book.placement.all_lanes())  # noqa: SLF001 - not public
        for number in world.scheduler.jobs:
            assert set(map(TaskState, world.scheduler.states(number))) <= FINAL


class TurmoilOnSeveralNodes(Turmoil):
    """The same where tasks run on several nodes from the beginning."""

    @initialize()
    def begin(self) -> None:
        super().begin()
        for name in "abc":
            self.world.join(name, cpus=2, gib=3, gpus=1)
        self.world.submit(job(1, 4, asks=Request(ONE, nodes=2)), job(2, 4, asks=Request(cores(2), nodes=3)))
        self.next = 3


TestTurmoil = Turmoil.TestCase
TestTurmoil.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTurmoilOnSeveralNodes = TurmoilOnSeveralNodes.TestCase
TestTurmoilOnSeveralNodes.settings = TestTurmoil.settings
