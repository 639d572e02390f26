"""The standing of tasks as the store alone tells it: for looking at a campaign that no manager runs.

What belongs here: from records to states, without a scheduler and without what only a scheduler needs.
What must not: decisions. A scheduler that is fed with the same records comes to the same states; a test proves it.
"""

import math
import time
from collections.abc import Mapping

import msgspec

from pilotfish.model.attempts import AttemptId
from pilotfish.model.changes import Survey
from pilotfish.model.events import Explanation
from pilotfish.model.jobs import Dependency, Job, Span, When, task_name
from pilotfish.model.states import FINAL, TaskState
from pilotfish.store.base import Store

__all__ = ["Records"]

_S = TaskState
_ENDS = {
    When.succeeded: "to succeed",
    When.failed: "to fail",
    When.finished: "to end",
    When.started: "to start",
}


class _Recorded(msgspec.Struct):
    """What is recorded of tasks that follow one another."""

    states: bytearray
    """`ready` also stands for what only dependencies and the time can tell."""
    begun: bytearray
    """1 for each that has been given to a node or has succeeded without, 0 for the others."""


class Records:
    """Tells of tasks what the store knows: those of current jobs, and of any other job by its number."""

    def __init__(self, store: Store, now: float = math.inf) -> None:
        """Read the jobs; their tasks are read when they are asked for.

        `now`, in seconds since 1970, tells which jobs still wait for their start time; by default none does.
        """
        self._store = store
        self._now = now
        self._submits = {submit.job.id: submit for submit in store.submits()}
        self._of_current: dict[int, _Recorded] = {}
        self.jobs: Mapping[int, Job] = {submit.job.id: submit.job for submit in store.current()}
        """The current ones by id."""

    def state(self, job: int, position: int) -> TaskState:
        """The state of one task; reads only what concerns it."""
        span = Span(position, position + 1)
        return _S(self._judged(job, span, self._recorded(job, span).states)[0])

    def states(self, job: int) -> bytes:
        """The states of all tasks of a job, by position."""
        return self._judged(job, self._whole(job), self._all_recorded(job).states)

    def counts(self, job: int) -> Mapping[TaskState, int]:
        """How many tasks of a job are in each state."""
        states = self.states(job)
        return {state: states.count(state) for state in TaskState}

    def holder(self, job: int, position: int) -> tuple[str, int, AttemptId] | None:
        """The node and lane of a running task, and its attempt."""
        grants = self._store.survey(job, Span(position, position + 1)).grants
        if not grants:
            return None
        grant = max(grants, key=lambda one: (one.number, one.epoch))
        return grant.node, grant.lane, AttemptId(job, position, grant.number, grant.epoch)

    def head(self, node: str, lane: int) -> AttemptId | None:
        """The attempt that a lane runs, where it holds no other: in which order they run is not recorded."""
        held = [grant for grant in self._store.survey().grants if (grant.node, grant.lane) == (node, lane)]
        if len(held) != 1 or held[0].hi - held[0].lo != 1:
            return None
        return AttemptId(held[0].job, held[0].lo, held[0].number, held[0].epoch)

    def explain(self, job: int, position: int, now: float) -> Explanation:
        """Why a task that has not ended is where it is; without a manager nobody can tell when it starts."""
        return Explanation(self._reason(job, position, now))

    def _reason(self, job: int, position: int, now: float) -> str:
        survey = self._store.survey(job, Span(position, position + 1))
        if survey.grants:
            return "was running when its manager went away"
        if survey.holds:
            return Explanation.of_hold(self._submits[job].job.spec.name, survey.holds[0].reason).reason
        missing = self._missing(job, position)
        if (start := self._submits[job].job.start_time) > now:
            missing.append(f"waits until {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(start))}")
        return "; ".join(missing) or "could start, but no manager is running"

    def _missing(self, job: int, position: int) -> list[str]:
        """What must still happen before a task may start."""
        found = []
        for dependency, on in self._dependencies(job):
            if dependency.each:
                upstream = self._recorded(on, Span(position, position + 1))
                name = task_name(self._submits[on].job, position)
            else:
                upstream, name = self._all_recorded(on), dependency.on
            if not _holds(dependency.when, upstream):
                found.append(f"waits for {name} {_ENDS[dependency.when]}{_so_far(dependency.when, upstream)}")
        return found

    def _dependencies(self, job: int) -> list[tuple[Dependency, int]]:
        submitted = self._submits[job].job
        return list(zip(submitted.spec.after, submitted.depends_on, strict=True))

    def _whole(self, job: int) -> Span:
        return Span(0, self._submits[job].job.spec.count)

    def _all_recorded(self, job: int) -> _Recorded:
        """What is recorded of a whole job; the current ones are read together."""
        if job not in self.jobs:
            return self._recorded(job, self._whole(job))
        if not self._of_current:
            self._of_current = self._laid_out(self._store.survey(), {one: self._whole(one) for one in self.jobs})
        return self._of_current[job]

    def _recorded(self, job: int, span: Span) -> _Recorded:
        return self._laid_out(self._store.survey(job, span), {job: span})[job]

    def _laid_out(self, survey: Survey, spans: Mapping[int, Span]) -> dict[int, _Recorded]:
        """What a survey tells of spans of jobs."""
        states = {job: bytearray([_S.waiting]) * len(span) for job, span in spans.items()}
        for job, span in spans.items():
            for kept in self._submits[job].kept:
                _fill(states[job], span, kept.span, _S.succeeded)
            of_job = states[job]
            for state, positions in survey.states.get(job, ()):
                for position in positions:
                    of_job[position - span.lo] = state
        begun = {job: of_job.translate(_BEGUN) for job, of_job in states.items()}
        for finish in survey.finishes:
            part = Span(finish.lo, finish.hi)
            _fill(states[finish.job], spans[finish.job], part, finish.state)
            if finish.state is _S.succeeded:
                _fill(begun[finish.job], spans[finish.job], part, 1)
        for grant in survey.grants:
            part = Span(grant.lo, grant.hi)
            _fill(states[grant.job], spans[grant.job], part, _S.running)
            _fill(begun[grant.job], spans[grant.job], part, 1)
        return {job: _Recorded(of_job.replace(_WAITING, _READY), begun[job]) for job, of_job in states.items()}

    def _judged(self, job: int, span: Span, recorded: bytearray) -> bytes:
        """The states, with those waiting whose dependencies do not hold, or whose start time has not come."""
        if self._submits[job].job.start_time > self._now:
            return bytes(recorded.replace(_READY, _WAITING))
        states = recorded
        for dependency, on in self._dependencies(job):
            if _S.ready not in states:
                break
            if dependency.each:
                upstream = self._recorded(on, span) if len(span) == 1 else self._all_recorded(on)
                judged = _verdicts(dependency.when, upstream)
                states = bytearray([new if old == _S.ready else old for old, new in zip(states, judged, strict=True)])
            elif not _holds(dependency.when, self._all_recorded(on)):
                states = states.replace(_READY, _WAITING)
        return bytes(states)


_READY, _WAITING = bytes([_S.ready]), bytes([_S.waiting])
_BEGUN = bytes([state is not _S.waiting for state in _S]).ljust(256)
"""Where only those wait that nothing is recorded of: 1 for each that has begun."""


def _ended(states: bytes | bytearray) -> int:
    return sum(map(states.count, FINAL))


def _holds(when: When, upstream: _Recorded) -> bool:
    """Whether a dependency on these tasks together is fulfilled."""
    if when is When.started:
        return 0 not in upstream.begun
    succeeded = upstream.states.count(_S.succeeded)
    if when is When.succeeded:
        return succeeded == len(upstream.states)
    all_ended = _ended(upstream.states) == len(upstream.states)
    return all_ended and (when is When.finished or succeeded < len(upstream.states))


def _verdicts(when: When, upstream: _Recorded) -> bytearray:
    """For each of these tasks `ready` where a dependency on it alone is fulfilled, else `waiting`."""
    if when is When.started:
        return upstream.begun.translate((_WAITING + _READY).ljust(256))
    alone = [_holds(when, _Recorded(bytearray([state]), bytearray())) for state in _S]
    return upstream.states.translate(bytes([_S.ready if held else _S.waiting for held in alone]).ljust(256))


def _so_far(when: When, upstream: _Recorded) -> str:
    """How far several tasks are, for people."""
    everything = len(upstream.states)
    if everything == 1:
        return ""
    done, what = (sum(upstream.begun), "started") if when is When.started else (_ended(upstream.states), "ended")
    return f" ({done} of {everything} tasks have {what})"


def _fill(values: bytearray, span: Span, part: Span, value: int) -> None:
    """Set the values of those positions of the span that lie in the part."""
    lo, hi = max(part.lo, span.lo), min(part.hi, span.hi)
    if lo < hi:
        values[lo - span.lo : hi - span.lo] = bytes([value]) * (hi - lo)
