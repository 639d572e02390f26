"""The scheduler's only door: an event and the time go in, commands come out.

What belongs here: which part is told of which event, what follows from each, and what can be read. What must not:
decisions; they stand in `submissions`, `attempts`, `graph`, `queue`, `place`, `recall`, `retry`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pilotfish.model.attempts import AttemptId
from pilotfish.model.events import (
    Backlog,
    Cancelled,
    Command,
    Draining,
    Ended,
    Event,
    Expected,
    Explanation,
    Grown,
    Held,
    Hosted,
    Limited,
    NodeBack,
    NodeJoined,
    NodeLost,
    NodeSilent,
    Restored,
    Returned,
    Revived,
    Submitted,
    WakeAt,
    Woken,
)
from pilotfish.model.jobs import Job
from pilotfish.model.states import FINAL, TaskState
from pilotfish.scheduler.attempts import Attempts
from pilotfish.scheduler.book import Book
from pilotfish.scheduler.recall import Recall
from pilotfish.scheduler.submissions import Submissions
from pilotfish.scheduler.tasks import JobTasks
from pilotfish.settings import Settings

__all__ = ["Scheduler"]

_LOOK_AFTER = 0.1
"""Seconds between two looks at lanes in which attempts wait."""
_UNFINISHED = tuple([state for state in TaskState if state not in FINAL])


class Scheduler:
    """All that is decided about one queue.

    Args:
        settings: depths, patience and limits.
        epoch: of the manager; part of every attempt that it grants.

    """

    def __init__(self, settings: Settings, epoch: int) -> None:
        """Begin without jobs and nodes."""
        self._book = book = Book(settings, epoch)
        self._bodies = _Bodies(book.jobs)
        self._recall = Recall(book.jobs, book.queue, book.placement)
        self._looking = False
        """Whether a look at lanes in which attempts wait is due."""
        self._wake_at: float | None = None
        submissions, attempts = Submissions(book), Attempts(book)
        self._deciders: dict[type, Callable[[Any, float], None]] = {
            Restored: submissions.restore,
            Submitted: submissions.submit,
            Grown: submissions.grow,
            Revived: submissions.revive,
            Cancelled: submissions.cancel,
            Held: submissions.hold,
            Limited: submissions.limit,
            Expected: attempts.expect,
            NodeJoined: attempts.join,
            NodeLost: attempts.lose,
            NodeSilent: attempts.fall_silent,
            NodeBack: attempts.come_back,
            Ended: attempts.end,
            Hosted: attempts.host,
            Returned: attempts.take_back,
            Draining: attempts.drain,
            Woken: self._wake,
        }

    def handle(self, event: Event, now: float) -> list[Command]:
        """Decide what an event means; deterministic.

        Args:
            event: what has happened.
            now: seconds since 1970: start times, and ends of allocations, are of that clock.

        """
        book = self._book
        book.out = []
        self._deciders[type(event)](event, now)
        self._pass(now)
        self._set_alarm(now)
        return book.out

    def _wake(self, _event: Woken, now: float) -> None:
        self._wake_at = None
        self._book.do_due(now)

    def _look(self, now: float) -> None:
        self._looking = False
        self._book.out.extend(self._recall.stuck(now))

    def _pass(self, now: float) -> None:
        """Start what can start; and again as long as that lets further tasks start."""
        book, queue, start = self._book, self._book.queue, self._book.draining is None
        while True:
            fresh, touched, book.touched = tuple(queue.fresh), book.touched, {}
            book.out.extend(book.placement.decide(touched, now, start=start))
            if not start:
                return
            book.out.extend(self._recall.after_pass(fresh))
            if not queue.fresh:
                return

    def _set_alarm(self, now: float) -> None:
        """Ask to be woken when something is due, unless that has been asked for."""
        book = self._book
        if book.placement.some_wait and not self._looking:
            self._looking = True
            book.at(now + _LOOK_AFTER, self._look)
        due = book.next_due
        if self._wake_at is None or due < self._wake_at:
            self._wake_at = None
            if due < float("inf"):
                self._wake_at = due
                book.out.append(WakeAt(due))

    # What can be read

    @property
    def jobs(self) -> Mapping[int, Job]:
        """The current jobs by id."""
        return self._bodies

    @property
    def unfinished(self) -> int:
        """Tasks that are not final."""
        return sum([self._book.totals[state] for state in _UNFINISHED])

    @property
    def running(self) -> int:
        """Tasks that are granted now."""
        return len(self._book.placement.held)

    @property
    def waits_for_time(self) -> bool:
        """Whether some task waits for its start time, or for its next try."""
        jobs = self._book.jobs.values()
        return any(tasks.delayed or self._book.graph.is_gated(tasks) for tasks in jobs)

    @property
    def stranded(self) -> bool:
        """Whether nothing can start any more of what is left: no node could hold it that is here or may still come."""
        if self.running or self.waits_for_time:
            return False
        book = self._book
        left = [pool for tasks in book.jobs.values() for pool in tasks.pools() if pool.size]
        return bool(left) and not any(book.reach.still(pool.cls) for pool in left)

    def state(self, job: int, position: int) -> TaskState:
        """The state of one task."""
        return self._book.jobs[job].state(position)

    def states(self, job: int) -> Sequence[int]:
        """The states of all tasks of a job, by position."""
        return bytes(self._book.jobs[job].states)

    def count(self, job: int) -> int:
        """How many tasks a job has now."""
        return self._book.jobs[job].count

    def tries(self, job: int, position: int) -> int:
        """How often a task has failed since it was submitted or revived."""
        return self._book.jobs[job].tries.get(position, 0)

    def is_held(self, job: int, position: int) -> bool:
        """Whether the user holds a task back."""
        return self._book.jobs[job].is_held(position)

    def counts(self, job: int) -> Mapping[TaskState, int]:
        """How many tasks of a job are in each state."""
        return dict(zip(TaskState, self._book.jobs[job].counts, strict=True))

    def totals(self) -> Mapping[TaskState, int]:
        """How many tasks of all jobs are in each state."""
        return dict(zip(TaskState, self._book.totals, strict=True))

    def holder(self, job: int, position: int) -> tuple[str, int, AttemptId] | None:
        """The node and lane of a granted task, and its attempt."""
        number = self._book.jobs[job].numbers.get(position)
        for attempt, (node, lane) in self._book.placement.held.items():
            if (attempt.job, attempt.position, attempt.number) == (job, position, number):
                return node, lane, attempt
        return None

    def head(self, node: str, lane: int) -> AttemptId | None:
        """The attempt that a lane runs now: those behind it have not started. None where nobody can tell."""
        found = self._book.placement.lanes.get(node, {}).get(lane)
        return found.attempts[0] if found is not None and found.attempts else None

    def explain(self, job: int, position: int, now: float) -> Explanation:
        """Why a task is where it is, and when it will probably start."""
        from pilotfish.scheduler.explain import explain  # most runs are asked nothing

        return explain(self._book, self._book.jobs[job], position, now)

    def backlog(self) -> Backlog:
        """What is still to be done, and what each node has of it."""
        from pilotfish.scheduler.backlog import backlog  # asked by who could bring more nodes, if anybody does

        return backlog(self._book)

    def check(self) -> None:
        """Raise InternalError where an invariant does not hold."""
        self._book.check()


class _Bodies(Mapping[int, Job]):
    """The jobs behind their tasks, with as many calls as they have now."""

    def __init__(self, jobs: Mapping[int, JobTasks]) -> None:
        self._jobs = jobs

    def __getitem__(self, job: int) -> Job:
        tasks = self._jobs[job]
        return tasks.job if tasks.job.spec.count == tasks.count else tasks.job.grown(tasks.count)

    def __iter__(self) -> Iterator[int]:
        return iter(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)
