"""The standing of tasks as the store alone tells it: for looking at a campaign that no manager runs.

What belongs here: from records to states, without a scheduler and without what only a scheduler needs.
What must not: decisions. A scheduler that is fed with the same records comes to the same states; a test proves it.
"""

from collections.abc import Mapping

from pilotfish.model.attempts import AttemptId
from pilotfish.model.changes import Survey
from pilotfish.model.jobs import Dependency, Job, Span, When, task_name
from pilotfish.model.states import FINAL, TaskState
from pilotfish.store.base import Store

__all__ = ["Records"]

_S = TaskState
_ENDS = {When.succeeded: "to succeed", When.failed: "to fail", When.finished: "to end"}


class Records:
    """Tells of tasks what the store knows: those of current jobs, and of any other job by its number."""

    def __init__(self, store: Store) -> None:
        """Read the jobs; their tasks are read when they are asked for."""
        self._store = store
        self._submits = {submit.job.id: submit for submit in store.submits()}
        self._of_current: dict[int, bytearray] = {}
        self.jobs: Mapping[int, Job] = {submit.job.id: submit.job for submit in store.current()}
        """The current ones by id."""

    def state(self, job: int, position: int) -> TaskState:
        """The state of one task; reads only what concerns it."""
        span = Span(position, position + 1)
        return _S(self._judged(job, span, self._recorded(job, span))[0])

    def states(self, job: int) -> bytes:
        """The states of all tasks of a job, by position."""
        return self._judged(job, self._whole(job), self._all_recorded(job))

    def counts(self, job: int) -> Mapping[TaskState, int]:
        """How many tasks of a job are in each state."""
        return _counted(self.states(job))

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

    def explain(self, job: int, position: int, _now: float) -> str:
        """Why a task that has not ended is where it is."""
        match self.state(job, position):
            case TaskState.waiting:
                return "; ".join(self._missing(job, position))
            case TaskState.ready:
                return "could start, but no manager is running"
            case _:
                return "was running when its manager went away"

    def _missing(self, job: int, position: int) -> list[str]:
        """What must still happen before a waiting task may start."""
        found = []
        for dependency, on in self._dependencies(job):
            if dependency.each:
                upstream = _counted(self._recorded(on, Span(position, position + 1)))
                name = task_name(self._submits[on].job, position)
            else:
                upstream, name = _counted(self._all_recorded(on)), dependency.on
            if not _holds(dependency.when, upstream):
                ended, everything = sum(upstream[state] for state in FINAL), sum(upstream.values())
                so_far = f" ({ended} of {everything} tasks have ended)" if everything > 1 else ""
                found.append(f"waits for {name} {_ENDS[dependency.when]}{so_far}")
        return found

    def _dependencies(self, job: int) -> list[tuple[Dependency, int]]:
        submitted = self._submits[job].job
        return list(zip(submitted.spec.after, submitted.depends_on, strict=True))

    def _whole(self, job: int) -> Span:
        return Span(0, self._submits[job].job.spec.count)

    def _all_recorded(self, job: int) -> bytearray:
        """What is recorded of a whole job; the current ones are read together."""
        if job not in self.jobs:
            return self._recorded(job, self._whole(job))
        if not self._of_current:
            self._of_current = self._laid_out(self._store.survey(), {one: self._whole(one) for one in self.jobs})
        return self._of_current[job]

    def _recorded(self, job: int, span: Span) -> bytearray:
        return self._laid_out(self._store.survey(job, span), {job: span})[job]

    def _laid_out(self, survey: Survey, spans: Mapping[int, Span]) -> dict[int, bytearray]:
        """The states of spans of jobs as recorded; `ready` also stands for what only dependencies can tell."""
        found = {job: bytearray([_S.ready]) * len(span) for job, span in spans.items()}
        for job, span in spans.items():
            for kept in self._submits[job].kept:
                _fill(found[job], span, kept.span, _S.succeeded)
            states = found[job]
            for state, positions in survey.states.get(job, ()):
                for position in positions:
                    states[position - span.lo] = state
        for finish in survey.finishes:
            _fill(found[finish.job], spans[finish.job], Span(finish.lo, finish.hi), finish.state)
        for grant in survey.grants:
            _fill(found[grant.job], spans[grant.job], Span(grant.lo, grant.hi), _S.running)
        return found

    def _judged(self, job: int, span: Span, recorded: bytearray) -> bytes:
        """The states, with those waiting whose dependencies do not hold."""
        states = bytearray(recorded)
        for dependency, on in self._dependencies(job):
            if _S.ready not in states:
                break
            if not dependency.each:
                if not _holds(dependency.when, _counted(self._all_recorded(on))):
                    states = states.replace(bytes([_S.ready]), bytes([_S.waiting]))
                continue
            upstream = self._recorded(on, span) if len(span) == 1 else self._all_recorded(on)
            verdict = bytes(
                _S.ready if _holds(dependency.when, {**_NONE, state: 1}) else _S.waiting for state in TaskState
            )
            judged = upstream.translate(verdict.ljust(256))
            states = bytearray([new if old == _S.ready else old for old, new in zip(states, judged, strict=True)])
        return bytes(states)


_NONE = dict.fromkeys(TaskState, 0)


def _counted(states: bytes | bytearray) -> dict[TaskState, int]:
    return {state: states.count(state) for state in TaskState}


def _holds(when: When, upstream: Mapping[TaskState, int]) -> bool:
    """Whether a dependency on tasks in these states is fulfilled."""
    everything = sum(upstream.values())
    if when is When.succeeded:
        return upstream[_S.succeeded] == everything
    ended = sum(upstream[state] for state in FINAL) == everything
    return ended and (when is When.finished or upstream[_S.succeeded] < everything)


def _fill(states: bytearray, span: Span, part: Span, state: TaskState) -> None:
    """Set the states of those positions of the span that lie in the part."""
    lo, hi = max(part.lo, span.lo), min(part.hi, span.hi)
    if lo < hi:
        states[lo - span.lo : hi - span.lo] = bytes([state]) * (hi - lo)
