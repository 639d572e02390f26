"""Where durations are known exactly, the scheduler starts every task when EASY backfill by the book would."""

import math
import random
from collections.abc import Iterable
from typing import NamedTuple

import pytest

from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.changes import Grant, Submit
from pilotfish.model.events import Ended, Event, NodeJoined, Submitted, WakeAt, Woken
from pilotfish.model.jobs import Job, JobSpec
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Inventory, Request
from pilotfish.model.states import Outcome
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from tests.unit.scheduler.easy_reference import Amounts, Work, easy
from tests.unit.scheduler.language import GIB, cores, inventory

# The reference, by hand: a pool, then for each job in the order of the queue what it is and when it starts

BY_HAND: dict[str, tuple[Amounts, list[tuple[Work, float]]]] = {
    "all fit": ((4,), [(Work((2,), 5), 0), (Work((2,), 3), 0)]),
    "the next one waits for its turn": ((2,), [(Work((2,), 5), 0), (Work((2,), 3), 5)]),
    "one that ends in time goes ahead": ((4,), [(Work((3,), 10), 0), (Work((4,), 5), 10), (Work((1,), 10), 0)]),
    "one that would end later does not": ((4,), [(Work((3,), 10), 0), (Work((4,), 5), 10), (Work((1,), 11), 15)]),
    "what is left beside the reservation may be used for any time": (
        (4,),
        [(Work((2,), 10), 0), (Work((3,), 5), 10), (Work((1,), 100), 0), (Work((1,), 100), 15)],
    ),
    "one that ends in time leaves that to others": (
        (4,),
        [(Work((2,), 10), 0), (Work((3,), 5), 10), (Work((1,), 10), 0), (Work((1,), 100), 0)],
    ),
    "all that ends at the same time counts": (
        (4,),
        [(Work((2,), 10), 0), (Work((1,), 10), 0), (Work((3,), 5), 10), (Work((1,), 100), 0)],
    ),
    "only the first that does not fit has a reservation": (
        (4,),
        [(Work((2,), 10), 0), (Work((3,), 10), 10), (Work((4,), 1), 100), (Work((1,), 100), 0)],
    ),
    "what has not arrived is not known": ((4,), [(Work((4,), 5, 2), 10), (Work((3,), 10), 0), (Work((1,), 7), 0)]),
    "who arrives in front takes the reservation": (
        (4,),
        [(Work((4,), 5, 1), 10), (Work((2,), 10), 0), (Work((4,), 5), 15)],
    ),
    "memory may be what is missing": (
        (4, 8),
        [(Work((1, 6), 10), 0), (Work((1, 4), 5), 10), (Work((3, 2), 100), 0)],
    ),
    "memory may be what is left over": (
        (4, 8),
        [(Work((1, 4), 10), 0), (Work((1, 6), 5), 10), (Work((1, 3), 100), 15), (Work((1, 2), 100), 0)],
    ),
}


@pytest.mark.parametrize(("pool", "jobs"), BY_HAND.values(), ids=BY_HAND)
def test_the_reference_does_what_is_computed_by_hand(pool: Amounts, jobs: list[tuple[Work, float]]) -> None:
    assert easy(pool, [work for work, _ in jobs]) == [start for _, start in jobs]


# Instances for both


class Instance(NamedTuple):
    pool: Amounts
    works: list[Work]
    priorities: list[int]

    @property
    def order(self) -> list[int]:
        """Numbers of the works as they come before each other: by priority, then the longer, then the older."""
        return sorted(range(len(self.works)), key=lambda n: (-self.priorities[n], -self.works[n].seconds, n))

    def expected(self) -> list[float]:
        """By number, when it starts by the book."""
        starts = dict(zip(self.order, easy(self.pool, [self.works[n] for n in self.order]), strict=True))
        return [starts[number] for number in range(len(self.works))]


def instance(seed: int, *pool: int, arriving: bool = False, alike: bool = False) -> Instance:
    """Mostly narrow and some wide, mostly short and some long; the order by priority, or by itself for odd seeds.

    With `alike` durations are whole seconds, so that many end at once.
    """
    chance = random.Random(seed)
    works = []
    arrives = 0.0
    for _ in range(chance.randrange(30, 200)):
        needs = tuple(max(1, round(most * chance.random() ** 4)) for most in pool)
        seconds = float(chance.randrange(1, 10)) if alike else exact(1 + 100 * chance.random() ** 3)
        works.append(Work(needs, seconds, arrives))
        arrives += exact(chance.expovariate(0.2)) if arriving else 0.0
    priorities = [0 if seed % 2 else chance.randrange(len(works)) for _ in works]
    return Instance(pool, works, priorities)


def exact(seconds: float) -> float:
    """So coarse that sums have no rounding error, so fine that no two are equal by chance."""
    return round(seconds * 2**24) / 2**24


# The scheduler on virtual time


class Agents:
    """Nodes that run what they are told for as long as it takes."""

    def __init__(self, nodes: Iterable[Inventory], seconds: dict[int, float]) -> None:
        self.scheduler = Scheduler(Settings(), 1)
        self.seconds = seconds
        self.now = 0.0
        self.wake_at = math.inf
        self.starts: dict[int, float] = {}
        self.running: dict[AttemptId, tuple[Grant, float]] = {}
        """With their ends."""
        for number, node in enumerate(nodes):
            self.tell(NodeJoined(f"n{number}", node))

    def tell(self, event: Event) -> None:
        for command in self.scheduler.handle(event, self.now):
            if isinstance(command, Grant):
                self.start(command)
            elif isinstance(command, WakeAt):
                self.wake_at = command.time
        self.scheduler.check()

    def start(self, grant: Grant) -> None:
        assert grant.hi == grant.lo + 1
        taken = {place for other, _ in self.running.values() for place in places(other)}
        assert not taken & places(grant), "what takes seconds never waits in a lane"
        attempt = AttemptId(grant.job, grant.lo, grant.number, grant.epoch)
        self.starts[grant.job] = self.now
        self.running[attempt] = grant, self.now + self.seconds[grant.job]

    def pass_time(self, until: float = math.inf) -> None:
        """Tell what ends, that on one node at one time together, and wake who asked for it, before `until`."""
        while (moment := min([self.wake_at, *(end for _, end in self.running.values())])) < until:
            self.now = moment
            if moment == self.wake_at:
                self.wake_at = math.inf
                self.tell(Woken())
            for node in sorted({grant.node for grant, end in self.running.values() if end <= moment}):
                self.end([one for one, (grant, end) in self.running.items() if grant.node == node and end <= moment])
        self.now = until

    def end(self, attempts: list[AttemptId]) -> None:
        grants = {attempt: self.running.pop(attempt)[0] for attempt in attempts}
        reports = tuple(
            Report(attempt, grant.lane, Outcome.exited, 0, self.starts[attempt.job], self.now, 0.0, 0)
            for attempt, grant in grants.items()
        )
        self.tell(Ended(grants[attempts[0]].node, reports))


def places(grant: Grant) -> set[tuple[str, int]]:
    """The nodes and lanes that it holds."""
    return {(grant.node, grant.lane), *((part.node, part.lane) for part in grant.beside)}


def scheduled(given: Instance, nodes: Iterable[Inventory], requests: Iterable[Request]) -> list[float]:
    """By number, when it starts by the scheduler, which hears of each job when it arrives."""
    jobs = []
    for number, (work, request) in enumerate(zip(given.works, requests, strict=True)):
        spec = JobSpec(
            name=f"j{number}",
            command="true",
            directory="/",
            cwd="/",
            request=request,
            estimate=work.seconds,
            priority=given.priorities[number],
        )
        jobs.append(Submit(Job(number, spec)))
    agents = Agents(nodes, {number: work.seconds for number, work in enumerate(given.works)})
    for arrives in sorted({work.arrives for work in given.works}):
        agents.pass_time(arrives)
        agents.now = arrives
        together = [job for job, work in zip(jobs, given.works, strict=True) if work.arrives == arrives]
        agents.tell(Submitted(tuple(together)))
    agents.pass_time()
    return [agents.starts[number] for number in range(len(jobs))]


@pytest.mark.parametrize("arriving", [False, True], ids=["all at once", "one by one"])
@pytest.mark.parametrize("seed", range(8))
def test_cores_of_one_node(seed: int, *, arriving: bool) -> None:
    given = instance(seed, 16 << seed % 3, arriving=arriving)
    requests = [Request(cores(*work.needs)) for work in given.works]
    assert scheduled(given, [inventory(*given.pool)], requests) == given.expected()


@pytest.mark.parametrize("seed", range(8))
def test_tasks_that_end_at_the_same_time(seed: int) -> None:
    given = instance(seed, 16, alike=True)
    requests = [Request(cores(*work.needs)) for work in given.works]
    assert scheduled(given, [inventory(*given.pool)], requests) == given.expected()


@pytest.mark.parametrize("arriving", [False, True], ids=["all at once", "one by one"])
@pytest.mark.parametrize("seed", range(4))
def test_cores_and_memory_of_one_node(seed: int, *, arriving: bool) -> None:
    given = instance(seed, 16, 24, arriving=arriving)
    requests = [Request(cores(needs[0]), needs[1] * GIB) for needs, *_ in given.works]
    assert scheduled(given, [inventory(*given.pool)], requests) == given.expected()


@pytest.mark.parametrize("arriving", [False, True], ids=["all at once", "one by one"])
@pytest.mark.parametrize("seed", range(4))
def test_whole_nodes(seed: int, *, arriving: bool) -> None:
    given = instance(seed, 12, arriving=arriving)
    requests = [Request(ONE, nodes=work.needs[0], exclusive=True) for work in given.works]
    assert scheduled(given, [inventory(4)] * 12, requests) == given.expected()


@pytest.mark.parametrize("seed", range(4))
def test_cores_of_many_nodes_where_each_task_takes_all_of_some(seed: int) -> None:
    given = instance(seed, 12)
    requests = [Request(cores(4), nodes=work.needs[0]) for work in given.works]
    assert scheduled(given, [inventory(4)] * 12, requests) == given.expected()
