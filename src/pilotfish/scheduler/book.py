"""All that the scheduler knows, and what it has to say about the present event.

What belongs here: the state that the deciders share, the plain changes to it, its time table, its invariants. What
must not: what follows from events.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from itertools import count

import msgspec

from pilotfish.errors import InternalError
from pilotfish.model.changes import Cancel, Finish, Hold, Submit
from pilotfish.model.events import Command, Draining, Kill
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Request
from pilotfish.model.states import Outcome, TaskState, Trigger
from pilotfish.scheduler.classes import Classes, RequestClass
from pilotfish.scheduler.graph import Graph
from pilotfish.scheduler.homes import HOMECOMING, Homes
from pilotfish.scheduler.lanes import Lane
from pilotfish.scheduler.limits import Limits
from pilotfish.scheduler.place import Placement
from pilotfish.scheduler.queue import Queue
from pilotfish.scheduler.reach import Reach
from pilotfish.scheduler.retry import LOSSES_IN_COMPANY
from pilotfish.scheduler.tasks import JobTasks
from pilotfish.settings import Settings

__all__ = ["Book"]


class Book:
    """One queue's state."""

    def __init__(self, settings: Settings, epoch: int) -> None:
        """Begin without jobs and nodes."""
        self.settings = settings
        self.jobs: dict[int, JobTasks] = {}
        self.totals = [0] * len(TaskState)
        self.classes = Classes()
        self.limits = Limits()
        self.graph = Graph(self.jobs, skipped=self._skipped, released=self._released)
        self.queue = Queue(self.limits)
        self.placement = Placement(self.jobs, self.queue, settings, epoch, started=self._started)
        self.reach = Reach()
        self.homes = Homes(self.placement.nodes, self.reach)
        self.draining: Draining | None = None
        self.reasons: dict[tuple[int, type], str] = {}
        """By job, why tasks of it were held, or cancelled, last."""
        self.deferred: dict[tuple[int, int], str] = {}
        """By job and position, why those that wait because they wanted to do so; of tasks that are delayed."""
        self.out: list[Command] = []
        """What is answered to the present event."""
        self.touched: dict[Lane, None] = {}
        """Lanes that may have run empty in this event."""
        self._most_memory = 0
        """Of any node, as of the newest that joined: memory does not grow beyond."""
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = count()

    # Tasks

    def add(self, submit: Submit) -> JobTasks:
        """Take in a job; its tasks wait, but for those that are kept."""
        spec = submit.job.spec
        tasks = JobTasks(submit.job, self.class_of(spec.requests), self.totals, self._held_changed)
        self.jobs[submit.job.id] = tasks
        self.queue.lowest_priority = min(self.queue.lowest_priority, spec.priority)
        self.homes.add(tasks)
        for kept in submit.kept:
            tasks.restore(kept.span.lo, kept.span.hi, TaskState.succeeded)
            tasks.kept += len(kept.span)
        return tasks

    def finish(self, tasks: JobTasks, span: tuple[int, int], trigger: Trigger, reason: str) -> None:
        """Tasks that are all in one state end without an attempt."""
        tasks.move_span(*span, trigger)
        for pool in tasks.pools():
            self.queue.first(pool.cls)
        self.out.append(Finish(tasks.job.id, *span, tasks.state(span[0]), reason))
        self.graph.ended([(tasks, *span)])

    def cancel(self, tasks: JobTasks, span: tuple[int, int], reason: str, *, recorded: bool = False) -> None:
        """Give up tasks: waiting ones end at once, running ones are told to."""
        job = tasks.job.id
        self.reasons[job, Cancel] = reason
        for run in list(tasks.runs(*span)):
            state = tasks.state(run.lo)
            if state in (TaskState.waiting, TaskState.ready):
                self.finish(tasks, (run.lo, run.hi), Trigger.cancel, reason)
            elif state is TaskState.running:
                tasks.move_span(run.lo, run.hi, Trigger.stop)
                if not recorded:
                    self.out.append(Cancel(job, run.lo, run.hi, reason))
        for attempt, (node, lane) in self.placement.held.items() if tasks.granted else ():
            if attempt.job == job and span[0] <= attempt.position < span[1]:
                self.out.append(Kill(node, lane, attempt, Outcome.cancelled))

    def give_up(self, tasks: JobTasks, span: tuple[int, int]) -> None:
        """Cancel tasks where too many of their job have failed."""
        failed, most = tasks.counts[TaskState.failed], tasks.job.spec.max_fails
        if most is not None and failed >= most:
            self.cancel(tasks, span, f"{failed} tasks of {tasks.job.spec.name} failed")

    def hold(self, tasks: JobTasks, span: tuple[int, int], *, held: bool, reason: str, recorded: bool = False) -> None:
        """Hold tasks back, or let them go."""
        if held:
            self.reasons[tasks.job.id, Hold] = reason
        for lo, hi in map(msgspec.structs.astuple, tasks.hold(*span, held=held)):
            if not recorded:
                self.out.append(Hold(tasks.job.id, lo, hi, held, reason))
        for pool in tasks.pools():
            self.queue.first(pool.cls)
        self.queue.push_all(tasks)

    def ask_anew(self, tasks: JobTasks, position: int) -> None:
        """Let a task ask for what its past calls for: more memory, or a node for itself."""
        spec, requests = tasks.job.spec, tasks.job.spec.requests
        shortages = tasks.shortages.get(position, 0)
        if spec.memory_growth is not None and shortages:
            factor = spec.memory_growth**shortages
            requests = tuple(_grown(request, factor, self._most_memory) for request in requests)
        if tasks.losses.get(position, 0) >= LOSSES_IN_COMPANY:
            requests = tuple(msgspec.structs.replace(request, exclusive=True) for request in requests)
        tasks.ask_for(position, self.class_of(requests, self.homes.of(tasks, position, requests)))

    def class_of(self, requests: tuple[Request, ...], home: str | None = None) -> RequestClass:
        """The class of those who ask for this; with `home`, on the node of that name alone."""
        cls = self.classes.of(requests, home)
        if not cls.reached:
            self.queue.reach(cls, reached=self.reach.now(cls))
        return cls

    def nodes_changed(self) -> None:
        """Nodes have come or gone, or are expected no more: queue what those here could hold, fail what none can."""
        nodes = self.placement.nodes
        most = max([node.inventory.memory for node in nodes.values()], default=self._most_memory)
        if most != self._most_memory:
            self._most_memory = most
            self._ask_anew_for_memory()
        for cls in self.classes:
            self.queue.reach(cls, reached=self.reach.now(cls))
        for tasks, position in self.homes.left(self.classes):
            self.ask_anew(tasks, position)
            self.queue.push(tasks.pool_of(position))
        if not all(cls.reached or cls.home is not None or self.reach.ever(cls) for cls in self.classes):
            self.fail_impossible(self.jobs.values())

    def _ask_anew_for_memory(self) -> None:
        """Let tasks that ran out of memory ask anew: there is a node now that has more, or none that had."""
        for tasks in self.jobs.values():
            if tasks.shortages and tasks.unfinished:
                for position in tasks.shortages:
                    self.ask_anew(tasks, position)
                for pool in tasks.pools():
                    self.queue.first(pool.cls)
                self.queue.push_all(tasks)

    def fail_impossible(self, jobs: Iterable[JobTasks]) -> None:
        """Requests fail at once that no node could hold, neither those that are or were here nor any to come.

        What only nodes could that are gone stays as it is: a later run may have such nodes again.
        """
        verdicts: dict[RequestClass, str] = {}
        for tasks in jobs:
            cls = tasks.pool.cls
            if cls.reached or not tasks.unfinished:
                continue
            if cls not in verdicts:
                verdicts[cls] = "" if self.reach.ever(cls) else self.reach.lack(cls)
            if verdicts[cls]:
                for span in list(tasks.runs(0, tasks.count)):
                    if tasks.states[span.lo] in (TaskState.waiting, TaskState.ready):
                        self.finish(tasks, (span.lo, span.hi), Trigger.fail, verdicts[cls])

    def settle_at_home(self, nodes: Mapping[int, Mapping[int, str]], now: float) -> None:
        """Tasks have run on these nodes, by job and position: those that follow them wait a while for nodes to come."""
        for job, places in nodes.items():
            for position, node in places.items():
                self.homes.await_node(node)
                self.follow(job, position, position + 1, node)
        if nodes:
            self.at(now + HOMECOMING, self._wait_no_longer)

    def _wait_no_longer(self, _now: float) -> None:
        self.homes.await_none()
        self.nodes_changed()

    def follow(self, job: int, lo: int, hi: int, node: str) -> None:
        """Tasks have been given to a node: those that follow them are to run there."""
        for later, position in self.homes.follow(job, lo, hi, node):
            self.ask_anew(later, position)
            self.queue.push(later.pool_of(position))

    def _started(self, tasks: JobTasks, lo: int, hi: int, node: str) -> None:
        if self.homes.followed:
            self.follow(tasks.job.id, lo, hi, node)
        self.graph.started(tasks, lo, hi)

    def _skipped(self, tasks: JobTasks, lo: int, hi: int, reason: str) -> None:
        self.out.append(Finish(tasks.job.id, lo, hi, TaskState.skipped, reason))

    def _released(self, tasks: JobTasks) -> None:
        self.queue.push_all(tasks)

    def _held_changed(self, uses: Mapping[str, int], tasks: int) -> None:
        self.limits.change(uses, tasks)
        if tasks < 0:
            self.queue.given_back(uses)

    # Time

    @property
    def next_due(self) -> float:
        """When something is to be done; infinite: never."""
        return self._due[0][0] if self._due else math.inf

    def at(self, time: float, do: Callable[[float], None]) -> None:
        """Do something at that time."""
        heapq.heappush(self._due, (time, next(self._numbers), do))

    def do_due(self, now: float) -> None:
        """Do what is due."""
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[-1](now)

    # Invariants

    def check(self) -> None:
        """Raise InternalError where one does not hold."""
        for tasks in self.jobs.values():
            self._check_job(tasks)
        if [sum(column) for column in zip(self.totals, *(t.counts for t in self.jobs.values()), strict=True)] != [
            2 * total for total in self.totals
        ]:
            raise InternalError("the totals are not the sums of the jobs' counts")
        if any(cls.reached != self.reach.now(cls) for cls in self.classes):
            raise InternalError("a class is queued that no nodes could hold, or one is not that they could")
        self.limits.check(self._used())
        self._check_nodes()
        placement = self.placement
        running = {
            (job, position)
            for job, tasks in self.jobs.items()
            for position, state in enumerate(tasks.states)
            if state in (TaskState.running, TaskState.stopping)
        }
        if running != {(attempt.job, attempt.position) for attempt in placement.held}:
            raise InternalError("tasks that run and attempts that are held are not the same")
        in_lanes = [attempt for lane in placement.all_lanes() for attempt in lane.attempts]
        here = [attempt for attempt, (node, _) in placement.held.items() if node in placement.nodes]
        if sorted(map(repr, in_lanes)) != sorted(map(repr, here)):
            raise InternalError("attempts in lanes and attempts that are held are not the same")

    def _check_job(self, tasks: JobTasks) -> None:
        counted = [tasks.states.count(state) for state in TaskState]
        if counted != tasks.counts:
            raise InternalError(f"job {tasks.job.id} counts {tasks.counts}, and has {counted}")
        most = tasks.job.spec.max_parallel
        if most is not None and tasks.granted > most:
            raise InternalError(f"job {tasks.job.id} has {tasks.granted} granted tasks, its limit is {most}")
        for pool in tasks.pools():
            ready = (p for p in range(tasks.count) if tasks.states[p] == TaskState.ready and not tasks.is_held(p))
            there = sum(tasks.pool_of(position) is pool for position in ready)
            if there != pool.size:
                raise InternalError(f"pool {pool.number} of job {tasks.job.id} counts {pool.size}, and has {there}")

    def _used(self) -> dict[str, int]:
        used: dict[str, int] = {}
        for tasks in self.jobs.values():
            for name, amount in tasks.job.spec.uses.items():
                used[name] = used.get(name, 0) + tasks.granted * amount
        return used

    def _check_nodes(self) -> None:
        for name, node in self.placement.nodes.items():
            cores = dict.fromkeys(node.inventory.cores, int(ONE))
            gpus = {gpu.id: int(ONE) for gpu in node.inventory.gpus}
            memory = node.inventory.memory
            for lane in self.placement.lanes[name].values():
                memory -= lane.slots.memory or 0
                for core in cores.keys() & lane.slots.cores:
                    cores[core] -= min(int(lane.slots.amount), int(ONE))
                for gpu in gpus.keys() & lane.slots.gpus:
                    gpus[gpu] -= min(int(lane.slots.gpu_amount), int(ONE))
            held = (
                {core: free for core, free in cores.items() if free},
                {gpu: free for gpu, free in gpus.items() if free},
            )
            if held != (node.cores.free(), node.gpus.free()) or memory != node.free_memory:
                raise InternalError(f"node {name} counts {node.cores.free()} as free, its lanes leave {held[0]}")
            if min([*cores.values(), *gpus.values()], default=0) < 0:
                raise InternalError(f"something of node {name} is held twice")


def _grown(request: Request, factor: float, most: int) -> Request:
    """The request with more memory, at most so much; never with less than it asks for."""
    if request.memory is None:
        return request
    return msgspec.structs.replace(request, memory=max(request.memory, int(min(request.memory * factor, most))))
