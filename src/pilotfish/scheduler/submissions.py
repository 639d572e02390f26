"""What users want: jobs in, tasks again, tasks no more, tasks later.

What belongs here: events that come from people, and the beginning from records. What must not: nodes, attempts' ends.
"""

from collections.abc import Iterable
from functools import partial

from pilotfish.model.attempts import AttemptId
from pilotfish.model.changes import Grant, Grow, Revive, TaskRecord
from pilotfish.model.events import Cancelled, Grown, Held, Limited, Restored, Revived, Submitted
from pilotfish.model.states import FINAL, TaskState, Trigger
from pilotfish.scheduler.book import Book
from pilotfish.scheduler.tasks import JobTasks

__all__ = ["HELD_BY_FILE", "Submissions"]

HELD_BY_FILE = "hold: true in its job file"
"""Why tasks are held whose job says so."""


class Submissions:
    """Decides what users want."""

    def __init__(self, book: Book) -> None:
        """Decide over this state."""
        self._book = book

    def restore(self, event: Restored, now: float) -> None:
        """Take up what a store knows."""
        book, snapshot = self._book, event.snapshot
        for submit in snapshot.submits:
            book.add(submit)
        for job, durations in snapshot.durations.items():
            for seconds in durations:
                book.jobs[job].measured(seconds)
        book.settle_at_home(snapshot.nodes, now)
        for record in snapshot.tasks:
            self._restore_task(record)
        for finish in snapshot.finishes:
            book.jobs[finish.job].restore(finish.lo, finish.hi, finish.state)
        for grant in snapshot.grants:
            self._restore_grant(grant)
        for hold in snapshot.holds:
            book.hold(book.jobs[hold.job], (hold.lo, hold.hi), held=True, reason=hold.reason, recorded=True)
        book.graph.add(book.jobs.values(), gated=self._gated(book.jobs.values(), now))
        book.graph.settle(list(book.jobs.values()))
        for cancel in snapshot.cancels:
            book.cancel(book.jobs[cancel.job], (cancel.lo, cancel.hi), cancel.reason, recorded=True)

    def _restore_task(self, record: TaskRecord) -> None:
        tasks, position = self._book.jobs[record.job], record.position
        if record.state is not TaskState.ready:
            tasks.restore(position, position + 1, record.state)
        tasks.numbers[position] = record.number
        tasks.tries[position], tasks.losses[position] = record.tries, record.losses
        if record.shortages:
            tasks.shortages[position] = record.shortages
        if record.preemptions:
            tasks.preemptions[position] = record.preemptions
        if record.losses or record.shortages:
            self._book.ask_anew(tasks, position)

    def _restore_grant(self, grant: Grant) -> None:
        tasks, placement = self._book.jobs[grant.job], self._book.placement
        tasks.restore(grant.lo, grant.hi, TaskState.running)
        if self._book.homes.followed:
            self._book.homes.await_node(grant.node)
            self._book.follow(grant.job, grant.lo, grant.hi, grant.node)
        for position in range(grant.lo, grant.hi):
            tasks.numbers[position] = grant.number
            attempt = AttemptId(grant.job, position, grant.number, grant.epoch)
            placement.held[attempt] = (grant.node, grant.lane)
            placement.absent.setdefault(grant.node, []).append(attempt)
            if grant.beside:
                placement.beside[attempt] = grant.beside

    def submit(self, event: Submitted, now: float) -> None:
        """Take in jobs that come together."""
        book = self._book
        added = [book.add(submit) for submit in event.submits]
        book.settle_at_home(event.nodes, now)
        for tasks in book.graph.add(added, gated=self._gated(added, now)):
            book.queue.rank_changed(tasks)
        for tasks in added:
            if tasks.job.spec.hold:
                book.hold(tasks, (0, tasks.count), held=True, reason=HELD_BY_FILE)
        for submit in event.submits:
            if submit.replaces in book.jobs:
                replaced = book.jobs[submit.replaces]
                book.cancel(replaced, (0, replaced.count), "replaced")
        book.graph.settle(added)
        book.fail_impossible(added)

    def grow(self, event: Grown, _now: float) -> None:
        """Take in calls that are added to a job."""
        book = self._book
        tasks = book.jobs[event.job]
        added = tasks.grow(len(event.calls))
        book.out.append(Grow(event.job, added.lo, event.calls))
        book.graph.grown(tasks, added)
        book.fail_impossible([tasks])
        book.give_up(tasks, (added.lo, added.hi))

    def _gated(self, jobs: Iterable[JobTasks], now: float) -> set[int]:
        """Those whose start time is yet to come; it is seen to that they start then."""
        gated = set()
        for tasks in jobs:
            time = tasks.job.start_time
            if time > now:
                gated.add(tasks.job.id)
                self._book.at(time, partial(self._open_gate, tasks))
        return gated

    def _open_gate(self, tasks: JobTasks, _now: float) -> None:
        self._book.graph.open_gate(tasks)

    def revive(self, event: Revived, _now: float) -> None:
        """Failed, cancelled and skipped tasks are wanted again."""
        book = self._book
        tasks = book.jobs[event.job]
        for span in list(tasks.runs(event.lo, event.hi)):
            if tasks.states[span.lo] not in FINAL or tasks.states[span.lo] == TaskState.succeeded:
                continue
            tasks.move_span(span.lo, span.hi, Trigger.revive)
            book.out.append(Revive(event.job, span.lo, span.hi))
            for position in range(span.lo, span.hi):
                if tasks.tries.pop(position, 0) | tasks.losses.pop(position, 0) | tasks.shortages.pop(position, 0):
                    book.ask_anew(tasks, position)
        book.graph.reopened(tasks)
        book.graph.settle([tasks])
        book.fail_impossible([tasks])

    def cancel(self, event: Cancelled, _now: float) -> None:
        """Waiting tasks end at once, running ones are told to."""
        self._book.cancel(self._book.jobs[event.job], (event.lo, event.hi), event.reason)

    def hold(self, event: Held, _now: float) -> None:
        """Hold tasks back, or let them go."""
        self._book.hold(self._book.jobs[event.job], (event.lo, event.hi), held=event.held, reason=event.reason)

    def limit(self, event: Limited, _now: float) -> None:
        """Set the named limits."""
        self._book.limits.set(event.limits)
        self._book.queue.limits_changed()
