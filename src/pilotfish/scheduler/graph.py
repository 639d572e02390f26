"""Dependencies and start times: when a waiting task becomes ready, and when it can never run.

What belongs here: which jobs wait for which, the longest path that remains after each. What must not:
resources, order among what is ready, clocks.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from pilotfish.model.jobs import Dependency, Span, When
from pilotfish.model.states import FINAL, TaskState, Trigger
from pilotfish.scheduler.tasks import JobTasks

__all__ = ["Graph"]

_AWAITED = {When.succeeded: "succeed", When.failed: "fail", When.finished: "end", When.started: "start"}
_BROKEN = {
    When.succeeded: "did not succeed",
    When.failed: "did not fail",
    When.finished: "did not end",
    When.started: "ended without having started",
}
_FINAL_BYTES = frozenset(int(state) for state in FINAL)
# The members that are wanted for each task: before Python 3.12 an enumeration takes its time to find one.
_WAITING, _SUCCEEDED, _RELEASE = TaskState.waiting, TaskState.succeeded, Trigger.release
_STARTED, _FINISHED, _WELL = When.started, When.finished, When.succeeded


class _Links:
    """One job among the others."""

    __slots__ = ("awaited", "dependents", "ended", "seconds", "tasks")

    def __init__(self, tasks: JobTasks, seconds: float) -> None:
        """Nobody waits for it, and it waits for nobody."""
        self.tasks = tasks
        self.seconds = seconds
        """What one of its tasks counts for in ranks."""
        self.dependents: list[tuple[_Links, Dependency]] = []
        """Those that wait for the end of the job as a whole."""
        self.ended = not tasks.unfinished
        """Whether its end has been told to them."""
        self.awaited = 0
        """On how many ends of whole jobs it still waits; a job with many is looked at when it is 0."""


class Graph:
    """The dependencies between jobs.

    Args:
        jobs: by id; the graph looks, and moves tasks out of `waiting` only.
        skipped: is told (job, position, end, reason) of spans that became skipped.
        released: is told of each job that got ready tasks.

    """

    def __init__(
        self,
        jobs: Mapping[int, JobTasks],
        *,
        skipped: Callable[[JobTasks, int, int, str], None],
        released: Callable[[JobTasks], None],
    ) -> None:
        """Begin without jobs."""
        self._jobs, self._skipped, self._released = jobs, skipped, released
        self._links: dict[int, _Links] = {}
        """By job id."""
        self._task_dependents: dict[int, list[int]] = {}
        """By job id: those whose tasks wait for one of its tasks each."""
        self._one_by_one: set[int] = set()
        """Jobs of which each task waits for tasks of others."""
        self._start_dependents: dict[int, list[tuple[int, Dependency]]] = {}
        """By job id: those that wait for the start of the job, or of one of its tasks each."""
        self._started: set[tuple[int, int]] = set()
        """Jobs that have been told that another one has started, with that one."""
        self._gates: set[int] = set()
        """Jobs whose start time has not come."""
        self._ends: list[tuple[JobTasks, int, int]] = []
        """Ends whose consequences are yet to be drawn: a list, because a chain may be longer than a stack."""

    def add(self, jobs: Iterable[JobTasks], *, gated: Container[int] = ()) -> list[JobTasks]:
        """Take in jobs that were submitted together; those that they depend on are known or among them.

        Those with an id in `gated` wait until :meth:`open_gate`. Returns older jobs whose rank this has raised.
        """
        added, first = list(jobs), not self._links
        known = [tasks.job.spec.estimate for tasks in added if tasks.job.spec.estimate is not None]
        unknown = sum(known) / len(known) if known else 1.0
        for tasks in added:
            job, estimate = tasks.job.id, tasks.job.spec.estimate
            links = self._links[job] = _Links(tasks, unknown if estimate is None else estimate)
            if job in gated:
                self._gates.add(job)
                links.awaited = 1
        for tasks in added:
            if tasks.job.depends_on:
                self._link(self._links[tasks.job.id])
        for tasks in reversed(added):  # dependants mostly stand behind what they depend on
            self._rank(self._links[tasks.job.id])
        return [] if first else [raised for tasks in added for raised in self._raise_ranks(tasks)]

    def _link(self, links: _Links) -> None:
        """Let the jobs on which a new one depends know of it."""
        job = links.tasks.job.id
        for dependency, on in self._dependencies(links.tasks):
            if dependency.each:
                self._one_by_one.add(job)
            if dependency.when is _STARTED:
                self._start_dependents.setdefault(on, []).append((job, dependency))
                if not dependency.each and self._holds(dependency, self._jobs[on], 0) is None:
                    links.awaited += 1
                else:
                    self._started.add((job, on))
            elif dependency.each:
                self._task_dependents.setdefault(on, []).append(job)
            else:
                earlier = self._links[on]
                earlier.dependents.append((links, dependency))
                links.awaited += not earlier.ended

    def _after(self, links: _Links) -> list[_Links]:
        after = [later for later, _ in links.dependents]
        if self._task_dependents or self._start_dependents:
            job = links.tasks.job.id
            after += [self._links[later] for later in self._task_dependents.get(job, ())]
            after += [self._links[later] for later, _ in self._start_dependents.get(job, ())]
        return after

    def _rank(self, links: _Links) -> None:
        """Compute the rank of a new job and of the new ones after it, depth first."""
        path = [links]
        while path:
            last, longest, unknown = path[-1], 0.0, False
            for later in self._after(last):
                rank = later.tasks.rank
                if rank < 0:
                    path.append(later)
                    unknown = True
                elif rank > longest:
                    longest = rank
            if not unknown:
                last.tasks.rank = last.seconds + longest
                path.pop()

    def _raise_ranks(self, tasks: JobTasks) -> Iterator[JobTasks]:
        """Raise those of older jobs that a new one lengthens, and tell which."""
        lengthened = [tasks]
        while lengthened:
            last = lengthened.pop()
            for on in last.job.depends_on:
                earlier = self._jobs[on]
                rank = self._links[on].seconds + last.rank
                if earlier.rank < rank and earlier.unfinished:
                    earlier.rank = rank
                    lengthened.append(earlier)
                    yield earlier

    def settle(self, jobs: Iterable[JobTasks]) -> None:
        """Release or skip what can be told of these jobs' waiting tasks, and of what that decides in turn."""
        for tasks in jobs:
            self._decide_all(tasks)
        self._go_on()

    def open_gate(self, tasks: JobTasks) -> None:
        """The start time of a job has come."""
        if tasks.job.id in self._gates:
            self._gates.discard(tasks.job.id)
            self._links[tasks.job.id].awaited -= 1
            self.settle([tasks])

    def is_gated(self, tasks: JobTasks) -> bool:
        """Whether the job's start time is yet to come."""
        return tasks.job.id in self._gates

    def started(self, tasks: JobTasks, lo: int, hi: int) -> None:
        """Tasks (of a job, from position to position) have been given to a node: decide what waits for that."""
        if tasks.job.id in self._start_dependents:
            self._tell_start(tasks, lo, hi)
            self._go_on()

    def _tell_start(self, tasks: JobTasks, lo: int, hi: int) -> None:
        on = tasks.job.id
        for job, dependency in self._start_dependents.get(on, ()):
            later = self._jobs[job]
            if dependency.each:
                for position in range(lo, hi) if later.counts[_WAITING] else ():
                    self._decide_one(later, position)
            elif (job, on) not in self._started and (holds := self._holds(dependency, tasks, 0)) is not None:
                self._started.add((job, on))
                self._told(self._links[job], dependency, on, holds=holds)

    def ended(self, ends: Iterable[tuple[JobTasks, int, int]]) -> None:
        """Tasks (of a job, from position to position) have become final: decide what that decides."""
        self._ends.extend(ends)
        self._go_on()

    def _go_on(self) -> None:
        while self._ends:
            tasks, lo, hi = self._ends.pop()
            for job in self._task_dependents.get(tasks.job.id, ()) if self._task_dependents else ():
                later = self._jobs[job]
                if later.counts[_WAITING]:
                    for position in range(lo, hi):
                        self._decide_one(later, position)
            if self._start_dependents:
                self._tell_start(tasks, lo, hi)
            if not tasks.unfinished:
                links = self._links[tasks.job.id]
                if not links.ended:
                    self._tell_end(links)

    def _tell_end(self, links: _Links) -> None:
        """Tell those that wait for a whole job that it has ended."""
        links.ended = True
        tasks = links.tasks
        succeeded = tasks.counts[_SUCCEEDED] == tasks.count
        for later, dependency in links.dependents:
            when = dependency.when
            holds = when is _FINISHED or succeeded == (when is _WELL)
            self._told(later, dependency, tasks.job.id, holds=holds)

    def _told(self, links: _Links, dependency: Dependency, on: int, *, holds: bool) -> None:
        """One thing less that a job as a whole waits for."""
        links.awaited -= 1
        tasks = links.tasks
        if not holds:
            self._skip(tasks, 0, tasks.count, self._reason(dependency, on))
        elif not links.awaited:
            self._release(tasks) if tasks.job.id not in self._one_by_one else self._decide_all(tasks)

    def grown(self, tasks: JobTasks, added: Span) -> None:
        """Tasks were added to a job: they may start where nothing is left that it waits for, or are skipped with it."""
        self.reopened(tasks)
        for job, dependency in self._start_dependents.get(tasks.job.id, ()):
            if not dependency.each and (job, tasks.job.id) in self._started:
                self._started.discard((job, tasks.job.id))
                self._links[job].awaited += 1
        for dependency, on in self._dependencies(tasks):
            if self._holds(dependency, self._jobs[on], 0) is False:
                self._skip(tasks, added.lo, added.hi, self._reason(dependency, on))
                self._go_on()
                return
        if not self._links[tasks.job.id].awaited:
            self._let_start(tasks, added.lo, added.hi)

    def reopened(self, tasks: JobTasks) -> None:
        """Tasks of a job were revived: whoever waits for its end waits again, where it had ended."""
        links = self._links[tasks.job.id]
        if tasks.unfinished and links.ended:
            links.ended = False
            for later, _ in links.dependents:
                later.awaited += 1

    def missing(self, tasks: JobTasks, position: int) -> list[str]:
        """What a waiting task waits for, for people."""
        found = []
        for dependency, on in self._dependencies(tasks):
            if self._holds(dependency, self._jobs[on], position) is not None:
                continue
            other = self._jobs[on]
            what = _AWAITED[dependency.when]
            if dependency.each:
                found.append(f"waits for {other.job.spec.name}:{other.job.spec.index(position)} to {what}")
            else:
                so_far = f" ({other.count - other.unfinished} of {other.count} tasks have ended)"
                found.append(f"waits for {other.job.spec.name} to {what}{so_far if other.count > 1 else ''}")
        return found

    def _dependencies(self, tasks: JobTasks) -> Iterable[tuple[Dependency, int]]:
        return zip(tasks.job.spec.after, tasks.job.depends_on, strict=True)

    def _decide_all(self, tasks: JobTasks) -> None:
        """Decide a whole job's waiting tasks, where its dependencies on whole jobs can be told."""
        job = tasks.job.id
        awaited = self._links[job].awaited
        if not tasks.counts[_WAITING] or (awaited and awaited - (job in self._gates) == len(tasks.job.depends_on)):
            return  # nothing waits, or nothing that it waits for has been told
        too_early = False
        for dependency, on in self._dependencies(tasks):
            other = self._jobs[on]
            if dependency.each:
                too_early = too_early or (dependency.when is not _STARTED and other.unfinished == other.count)
            elif self._holds(dependency, other, 0) is False:
                self._skip(tasks, 0, tasks.count, self._reason(dependency, on))
                return
        if not too_early and not awaited:
            self._release(tasks)

    def _release(self, tasks: JobTasks) -> None:
        """Let waiting tasks start, where what each of them waits for is there too."""
        if tasks.count == 1:
            self._decide_one(tasks, 0) if tasks.job.id in self._one_by_one else self._let_start(tasks, 0, 1)
            return
        one_by_one = tasks.job.id in self._one_by_one
        for span in list(tasks.runs(0, tasks.count)):
            if tasks.states[span.lo] != _WAITING:
                continue
            if one_by_one:
                for position in range(span.lo, span.hi):
                    self._decide_one(tasks, position)
            else:
                self._let_start(tasks, span.lo, span.hi)

    def _let_start(self, tasks: JobTasks, lo: int, hi: int) -> None:
        if tasks.states[lo] == _WAITING:
            tasks.move_span(lo, hi, _RELEASE)
            self._released(tasks)

    def _decide_one(self, tasks: JobTasks, position: int) -> None:
        """Decide one task, where it waits."""
        if tasks.states[position] != _WAITING:
            return
        ready = tasks.job.id not in self._gates
        for dependency, on in self._dependencies(tasks):
            holds = self._holds(dependency, self._jobs[on], position)
            if holds is False:
                self._skip(tasks, position, position + 1, self._reason(dependency, on))
                return
            ready = ready and bool(holds)
        if ready:
            tasks.move(position, _RELEASE)
            self._released(tasks)

    def _skip(self, tasks: JobTasks, lo: int, hi: int, reason: str) -> None:
        for span in list(tasks.runs(lo, hi)) if tasks.counts[_WAITING] else ():
            if tasks.states[span.lo] == _WAITING:
                tasks.move_span(span.lo, span.hi, Trigger.skip)
                self._skipped(tasks, span.lo, span.hi, reason)
                self._ends.append((tasks, span.lo, span.hi))

    def _reason(self, dependency: Dependency, on: int) -> str:
        return f"{self._jobs[on].job.spec.name} {_BROKEN[dependency.when]}"

    def _holds(self, dependency: Dependency, on: JobTasks, position: int) -> bool | None:
        """Whether a dependency holds; None while nobody can tell."""
        if dependency.when is _STARTED:
            return _has_started(on, position if dependency.each else None)
        if dependency.each:
            if on.states[position] not in _FINAL_BYTES:
                return None
            good = on.states[position] == _SUCCEEDED
        else:
            if on.unfinished:
                return None
            good = on.counts[_SUCCEEDED] == on.count
        return dependency.when is _FINISHED or good == (dependency.when is _WELL)


def _has_started(on: JobTasks, position: int | None) -> bool | None:
    """Whether a task, or each of a job, has been given to a node; None while nobody can tell."""
    if position is not None:
        if on.numbers.get(position) or on.states[position] == _SUCCEEDED:
            return True
        return False if on.states[position] in _FINAL_BYTES else None
    missing = on.count - len(on.numbers) - on.kept
    if missing <= 0:
        return True
    ended = on.count - on.unfinished - on.counts[_SUCCEEDED]
    if on.unstarted and missing > ended:
        return None
    return None if any(_has_started(on, place) is None for place in range(on.count)) else False
