"""The scheduler's only door: an event and the time go in, commands come out.

What belongs here: which part is told of which event, and the changes that follow. What must not: policies;
they stand in `graph`, `queue`, `place`, `lanes`, `limits`, `retry`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pilotfish.errors import InternalError
from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.changes import Finish, Release, Revive, Settle, Submit
from pilotfish.model.events import (
    Cancelled,
    Command,
    Draining,
    Ended,
    Event,
    Kill,
    NodeJoined,
    NodeLost,
    Restored,
    Retract,
    Returned,
    Revived,
    Submitted,
    WakeAt,
    Woken,
)
from pilotfish.model.jobs import Job
from pilotfish.model.states import FINAL, Outcome, TaskState, Trigger
from pilotfish.scheduler.explain import explain
from pilotfish.scheduler.graph import Graph
from pilotfish.scheduler.lanes import Lane
from pilotfish.scheduler.occupancy import Node
from pilotfish.scheduler.place import Placement
from pilotfish.scheduler.queue import Queue
from pilotfish.scheduler.retry import consequence
from pilotfish.scheduler.tasks import JobTasks
from pilotfish.settings import Settings

__all__ = ["Scheduler"]

_LOOK_AFTER = 0.1
"""Seconds between two looks at lanes in which attempts wait."""


class Scheduler:
    """All that is decided about one queue.

    Args:
        settings: depths, patience and limits.
        epoch: of the manager; part of every attempt that it grants.

    """

    def __init__(self, settings: Settings, epoch: int) -> None:
        """Begin without jobs and nodes."""
        self._settings, self._epoch = settings, epoch
        self._jobs: dict[int, JobTasks] = {}
        self._totals = [0] * len(TaskState)
        self._graph = Graph(self._jobs, skipped=self._skipped, released=self._released)
        self._queue = Queue(self._jobs, self._graph.ranks)
        self._placement = Placement(self._jobs, self._queue, settings, epoch)
        self._draining: Draining | None = None
        self._out: list[Command] = []
        self._touched: dict[Lane, None] = {}
        """Lanes that may have run empty in this event."""
        self._wake_at: float | None = None
        self._deciders: dict[type, Callable[[Any, float], None]] = {
            Restored: self._restore,
            Submitted: self._submit,
            Revived: self._revive,
            Cancelled: self._cancel,
            NodeJoined: self._join,
            NodeLost: self._lose,
            Ended: self._end,
            Returned: self._take_back,
            Draining: self._drain,
            Woken: self._wake,
        }

    def handle(self, event: Event, now: float) -> list[Command]:
        """Decide what an event means; deterministic.

        Args:
            event: what has happened.
            now: seconds on any clock that all calls share.

        """
        self._out = []
        self._deciders[type(event)](event, now)
        self._place(now)
        return self._out

    # What can be read

    @property
    def jobs(self) -> Mapping[int, Job]:
        """The current jobs by id."""
        return _Bodies(self._jobs)

    @property
    def unfinished(self) -> int:
        """Tasks that are not final."""
        return sum(self._totals[state] for state in TaskState if state not in FINAL)

    @property
    def running(self) -> int:
        """Tasks that are granted now."""
        return len(self._placement.held)

    def state(self, job: int, position: int) -> TaskState:
        """The state of one task."""
        return self._jobs[job].state(position)

    def states(self, job: int) -> Sequence[int]:
        """The states of all tasks of a job, by position."""
        return bytes(self._jobs[job].states)

    def counts(self, job: int) -> Mapping[TaskState, int]:
        """How many tasks of a job are in each state."""
        return dict(zip(TaskState, self._jobs[job].counts, strict=True))

    def totals(self) -> Mapping[TaskState, int]:
        """How many tasks of all jobs are in each state."""
        return dict(zip(TaskState, self._totals, strict=True))

    def holder(self, job: int, position: int) -> tuple[str, int, AttemptId] | None:
        """The node and lane of a granted task, and its attempt."""
        number = self._jobs[job].numbers.get(position)
        for attempt, (node, lane) in self._placement.held.items():
            if (attempt.job, attempt.position, attempt.number) == (job, position, number):
                return node, lane, attempt
        return None

    def head(self, node: str, lane: int) -> AttemptId | None:
        """The attempt that a lane runs now: those behind it have not started. None where nobody can tell."""
        found = self._placement.lanes.get(node, {}).get(lane)
        return found.attempts[0] if found is not None and found.attempts else None

    def explain(self, job: int, position: int, now: float) -> str:  # noqa: ARG002 - times come with `start_after`
        """Why a task is where it is, in one line for people."""
        return explain(
            self._jobs[job],
            position,
            graph=self._graph,
            queue=self._queue,
            placement=self._placement,
            draining=self._draining is not None,
        )

    # Jobs

    def _restore(self, event: Restored, _now: float) -> None:
        snapshot = event.snapshot
        for submit in snapshot.submits:
            self._add(submit)
        for record in snapshot.tasks:
            tasks, position = self._jobs[record.job], record.position
            if record.state is not TaskState.ready:
                tasks.restore(position, position + 1, record.state)
            tasks.numbers[position] = record.number
            tasks.tries[position], tasks.losses[position] = record.tries, record.losses
        for finish in snapshot.finishes:
            self._jobs[finish.job].restore(finish.lo, finish.hi, finish.state)
        for grant in snapshot.grants:
            tasks = self._jobs[grant.job]
            tasks.restore(grant.lo, grant.hi, TaskState.running)
            for position in range(grant.lo, grant.hi):
                tasks.numbers[position] = grant.number
                attempt = AttemptId(grant.job, position, grant.number, grant.epoch)
                self._placement.held[attempt] = (grant.node, grant.lane)
        self._graph.add(self._jobs.values())
        self._graph.settle(list(self._jobs.values()))

    def _submit(self, event: Submitted, now: float) -> None:
        added = [self._add(submit) for submit in event.submits]
        for tasks in self._graph.add(added):
            self._queue.rank_changed(tasks)
        for submit in event.submits:
            if submit.replaces in self._jobs:
                self._cancel(Cancelled(submit.replaces, 0, self._jobs[submit.replaces].count, "replaced"), now)
        self._graph.settle(added)
        self._fail_impossible(added)

    def _add(self, submit: Submit) -> JobTasks:
        tasks = self._jobs[submit.job.id] = JobTasks(submit.job, self._totals)
        self._queue.lowest_priority = min(self._queue.lowest_priority, submit.job.spec.priority)
        for kept in submit.kept:
            tasks.restore(kept.span.lo, kept.span.hi, TaskState.succeeded)
        return tasks

    def _revive(self, event: Revived, _now: float) -> None:
        tasks = self._jobs[event.job]
        for span in list(tasks.runs(event.lo, event.hi)):
            if tasks.states[span.lo] not in FINAL or tasks.states[span.lo] == TaskState.succeeded:
                continue
            tasks.move_span(span.lo, span.hi, Trigger.revive)
            self._out.append(Revive(event.job, span.lo, span.hi))
            for position in range(span.lo, span.hi):
                tasks.tries.pop(position, None)
                tasks.losses.pop(position, None)
        self._graph.reopened(tasks)
        self._graph.settle([tasks])
        self._fail_impossible([tasks])

    def _cancel(self, event: Cancelled, _now: float) -> None:
        tasks = self._jobs[event.job]
        for span in list(tasks.runs(event.lo, event.hi)):
            state = tasks.state(span.lo)
            if state in (TaskState.waiting, TaskState.ready):
                self._finish(tasks, (span.lo, span.hi), Trigger.cancel, event.reason)
            elif state is TaskState.running:
                tasks.move_span(span.lo, span.hi, Trigger.stop)
        if not tasks.granted:
            return
        wanted = range(event.lo, event.hi)
        for attempt, (node, lane) in self._placement.held.items():
            if attempt.job == event.job and attempt.position in wanted:
                self._out.append(Kill(node, lane, attempt, Outcome.cancelled))

    def _finish(self, tasks: JobTasks, span: tuple[int, int], trigger: Trigger, reason: str) -> None:
        tasks.move_span(*span, trigger)
        self._queue.first(tasks.job.spec.request)
        self._out.append(Finish(tasks.job.id, *span, tasks.state(span[0]), reason))
        self._graph.ended([(tasks, *span)])

    def _skipped(self, tasks: JobTasks, lo: int, hi: int, reason: str) -> None:
        self._out.append(Finish(tasks.job.id, lo, hi, TaskState.skipped, reason))

    def _released(self, tasks: JobTasks) -> None:
        self._queue.push(tasks)

    def _fail_impossible(self, jobs: Iterable[JobTasks]) -> None:
        """Requests that no joined node could ever hold fail at once; before any has joined nobody can tell."""
        nodes = self._placement.nodes.values()
        able: dict[object, bool] = {}
        for tasks in jobs:
            request = tasks.job.spec.request
            if not able.setdefault(request, not nodes or any(node.could_hold(request) for node in nodes)):
                for span in list(tasks.runs(0, tasks.count)):
                    if tasks.states[span.lo] in (TaskState.waiting, TaskState.ready):
                        reason = f"asks for {request}, more than any node has"
                        self._finish(tasks, (span.lo, span.hi), Trigger.fail, reason)

    # Nodes

    def _join(self, event: NodeJoined, now: float) -> None:
        placement, name = self._placement, event.node
        node = Node(name, event.inventory)
        placement.join(node)
        granted = {attempt for attempt, (where, _) in placement.held.items() if where == name}
        for told in event.lanes:
            known = [attempt for attempt in told.attempts if attempt in granted]
            request = self._jobs[known[0].job].job.spec.request if known else None
            lane = placement.open(node, told.slots, request, told.lane)
            lane.attempts.extend(known)
            lane.strangers.update(attempt for attempt in told.attempts if attempt not in granted)
            lane.since = now if told.started_at is None else min(now, told.started_at)
            for attempt in known:
                placement.held[attempt] = (name, told.lane)
                if self.state(attempt.job, attempt.position) is TaskState.stopping:
                    self._out.append(Kill(name, told.lane, attempt, Outcome.cancelled))
            for attempt in told.attempts:
                if attempt not in granted:
                    self._out.append(Kill(name, told.lane, attempt, Outcome.cancelled, hard=True))
            granted.difference_update(known)
            if self._draining is not None:
                self._run_dry(lane, self._draining)
            self._touched[lane] = None
        for attempt in sorted(granted, key=lambda a: (a.job, a.position)):
            self._undo(attempt)
        self._fail_impossible(self._jobs.values())

    def _lose(self, event: NodeLost, now: float) -> None:
        lost = [attempt for attempt, (node, _) in self._placement.held.items() if node == event.node]
        self._placement.drop(event.node)
        reports = [
            Report(attempt, self._placement.held[attempt][1], Outcome.lost, 0, 0.0, now, 0.0, 0, reason=event.reason)
            for attempt in lost
        ]
        self._end(Ended(event.node, tuple(reports)), now)

    # Attempts

    def _end(self, event: Ended, now: float) -> None:
        node = event.node
        ends: list[tuple[JobTasks, int, int]] = []
        for report in event.reports:
            attempt = report.attempt
            place = self._placement.held.pop(attempt, None)
            lane = self._leave(node, report.lane if place is None else place[1], attempt, now)
            if place is None:
                continue  # fenced, or told twice
            tasks = self._jobs[attempt.job]
            if report.started_at:
                tasks.measured(report.ended_at - report.started_at)
            state = self._settle(tasks, report, node)
            if state in FINAL:
                ends.append((tasks, attempt.position, attempt.position + 1))
            if lane is not None:
                self._touched[lane] = None
            self._queue.push(tasks)
        self._graph.ended(ends)

    def _settle(self, tasks: JobTasks, report: Report, node: str) -> TaskState:
        position, spec = report.attempt.position, tasks.job.spec
        tries, losses = tasks.tries.get(position, 0), tasks.losses.get(position, 0)
        crash_limit = self._settings.crash_limit
        trigger, charged = consequence(
            report, tries=tries, losses=losses, retries=spec.retries.count, crash_limit=crash_limit
        )
        if tasks.states[position] == TaskState.stopping and trigger is Trigger.give_back:
            trigger = Trigger.cancel
        if charged and trigger is not Trigger.succeed:
            tasks.tries[position] = tries + 1
        if report.outcome is Outcome.lost:
            tasks.losses[position] = losses + 1
        state = tasks.move(position, trigger)
        self._out.append(Settle(report, node, state, charged))
        return state

    def _leave(self, node: str, number: int, attempt: AttemptId, now: float) -> Lane | None:
        """Take an attempt out of its lane; the next one in it begins now."""
        lane = self._placement.lanes.get(node, {}).get(number)
        if lane is None:
            return None
        if attempt in lane.strangers:
            lane.strangers.discard(attempt)
        elif lane.attempts and lane.attempts[0] == attempt:
            lane.attempts.popleft()
            lane.since = now
            lane.recalled = False
        elif attempt in lane.attempts:
            lane.attempts.remove(attempt)
        self._touched[lane] = None
        return lane

    def _take_back(self, event: Returned, _now: float) -> None:
        for attempt in event.attempts:
            if attempt in self._placement.held:
                lane = self._placement.lanes.get(event.node, {}).get(event.lane)
                if lane is not None and attempt in lane.attempts:
                    lane.attempts.remove(attempt)
                    self._touched[lane] = None
                self._undo(attempt)

    def _undo(self, attempt: AttemptId) -> None:
        """A granted attempt never started: as if it had not been granted."""
        del self._placement.held[attempt]
        tasks, position = self._jobs[attempt.job], attempt.position
        self._out.append(Release(attempt.job, position, position + 1, attempt.number, attempt.epoch))
        tasks.numbers[position] = attempt.number - 1
        if tasks.state(position) is TaskState.stopping:
            tasks.move(position, Trigger.give_back)
            self._finish(tasks, (position, position + 1), Trigger.cancel, "cancelled by the user")
        else:
            tasks.move(position, Trigger.give_back)
        self._queue.push(tasks)

    def _drain(self, event: Draining, _now: float) -> None:
        self._draining = event
        for lane in self._placement.all_lanes():
            self._run_dry(lane, event)

    def _run_dry(self, lane: Lane, event: Draining) -> None:
        if lane.waiting:
            lane.recalled = True
            self._out.append(Retract(lane.node.name, lane.number, lane.waiting))
        if event.kill:  # all of them: the first may have ended, and the next begun, before this arrives
            for attempt in lane.attempts:
                self._out.append(Kill(lane.node.name, lane.number, attempt, Outcome.interrupted, hard=event.hard))

    def _wake(self, _event: Woken, now: float) -> None:
        self._wake_at = None
        self._out.extend(self._placement.recall_stuck(now))

    # What follows from every event

    def _place(self, now: float) -> None:
        self._out.extend(self._placement.decide(self._touched, now, start=self._draining is None))
        self._touched = {}
        if self._wake_at is None and self._placement.some_wait:
            self._wake_at = now + _LOOK_AFTER
            self._out.append(WakeAt(self._wake_at))

    def check(self) -> None:
        """Raise InternalError where an invariant does not hold."""
        self._placement.check()
        for tasks in self._jobs.values():
            counted = [tasks.states.count(state) for state in TaskState]
            if counted != tasks.counts:
                raise InternalError(f"job {tasks.job.id} counts {tasks.counts}, and has {counted}")
            most = tasks.job.spec.max_parallel
            if most is not None and tasks.granted > most:
                raise InternalError(f"job {tasks.job.id} has {tasks.granted} granted tasks, its limit is {most}")
        if [sum(column) for column in zip(self._totals, *(t.counts for t in self._jobs.values()), strict=True)] != [
            2 * total for total in self._totals
        ]:
            raise InternalError("the totals are not the sums of the jobs' counts")
        running = {
            (job, position)
            for job, tasks in self._jobs.items()
            for position, state in enumerate(tasks.states)
            if state in (TaskState.running, TaskState.stopping)
        }
        if running != {(attempt.job, attempt.position) for attempt in self._placement.held}:
            raise InternalError("tasks that run and attempts that are held are not the same")


class _Bodies(Mapping[int, Job]):
    """The jobs behind their tasks, without a copy."""

    def __init__(self, jobs: Mapping[int, JobTasks]) -> None:
        self._jobs = jobs

    def __getitem__(self, job: int) -> Job:
        return self._jobs[job].job

    def __iter__(self) -> Iterator[int]:
        return iter(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)
