"""What earlier sessions have left in a store: the same call, or command, again takes up what became of it.

What belongs here: which is the same, and what is known of it. What must not: sending, waiting.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from hashlib import blake2b

import msgspec

from pilotfish.formats.fingerprint import matches
from pilotfish.functions.envelope import value_names
from pilotfish.functions.wire import join_call, split_call
from pilotfish.model.changes import Kept, Settle, Snapshot, Submit
from pilotfish.model.jobs import Job, JobSpec, Span
from pilotfish.model.states import TaskState
from pilotfish.store.base import Store

__all__ = ["EarlierCall", "EarlierCalls", "EarlierCommands"]


class EarlierCall(msgspec.Struct, frozen=True, array_like=True):
    """Where a call stands among the tasks of the store."""

    job: int
    position: int


class EarlierCalls:
    """What a store knew when it was opened. Each call is given out once, so that two equal ones are two."""

    def __init__(self, store: Store, snapshot: Snapshot) -> None:
        """Read all calls, by what is called with what; never by what they ask for."""
        self._jobs = [submit.job for submit in snapshot.submits if submit.job.spec.function is not None]
        self._places: dict[tuple[str, bytes], deque[EarlierCall]] = defaultdict(deque)
        for job in self._jobs:
            for position, packed in sorted(store.calls(job.id).items()):
                self._places[job.spec.name, _digest(packed)].append(EarlierCall(job.id, position))

    def job(self, spec: JobSpec) -> int | None:
        """The job that asks for the same, so that calls can be added to it."""
        for job in self._jobs:
            same = msgspec.structs.replace(job.spec, array=spec.array, function=spec.function)
            if not job.depends_on and same == spec:
                return job.id
        return None

    def take(self, name: str, function: bytes, arguments: bytes) -> EarlierCall | None:
        """The place of the first such call that was not given out; None: it is new."""
        places = self._places.get((name, _digest(join_call(function, arguments)))) if self._places else None
        return places.popleft() if places else None


def _digest(packed: bytes) -> bytes:
    """The same for calls that mean the same: large values by their content, not by the name they were given."""
    _, arguments = split_call(packed)
    for name in value_names(arguments):
        packed = packed.replace(name.encode(), name.partition(".")[0].encode())
    return blake2b(packed, digest_size=16).digest()


class EarlierCommands:
    """The jobs of commands that a store knew when it was opened. Each is taken up once."""

    def __init__(self, store: Store, snapshot: Snapshot) -> None:
        """Know the newest of each name."""
        self._store, self._snapshot = store, snapshot
        self._jobs = {one.job.spec.name: one for one in snapshot.submits if one.job.spec.function is None}

    def same(self, spec: JobSpec, depends_on: tuple[int, ...]) -> int | None:
        """The job that is this very one, so that what runs of it goes on."""
        found = self._jobs.get(spec.name)
        if found is None or (found.job.spec, found.job.depends_on) != (spec, depends_on):
            return None
        del self._jobs[spec.name]
        return found.job.id

    def replacing(self, job: Job) -> Submit:
        """The job, in the place of the one of its name: tasks that are the same work and have succeeded are kept."""
        found = self._jobs.pop(job.spec.name, None)
        if found is None:
            return Submit(job)
        done = self._succeeded(found)
        kept = [
            Kept(Span(match.lo + lo, match.lo + hi), found.job.id, match.old_lo + lo)
            for match in matches(found.job.spec, job.spec)
            for lo, hi in _runs([match.old_lo + step in done for step in range(match.hi - match.lo)])
        ]
        return Submit(job, tuple(kept), replaces=found.job.id)

    def ends(self, job: int, position: int) -> Settle:
        """How a task ended that has succeeded, here or in the job that this one has replaced."""
        while not (found := self._store.results([(job, position)])):
            kept = next(kept for kept in self._kept(job) if kept.span.lo <= position < kept.span.hi)
            job, position = kept.from_job, kept.from_lo + position - kept.span.lo
        return found[0]

    def _kept(self, job: int) -> tuple[Kept, ...]:
        return next(submit.kept for submit in self._store.submits() if submit.job.id == job)

    def _succeeded(self, submit: Submit) -> set[int]:
        done = {position for kept in submit.kept for position in range(kept.span.lo, kept.span.hi)}
        for task in self._snapshot.tasks:
            if task.job == submit.job.id and task.state is TaskState.succeeded:
                done.add(task.position)
        return done


def _runs(marks: list[bool]) -> Iterator[tuple[int, int]]:
    """Where the longest runs of True begin and end."""
    begin = None
    for place, mark in enumerate([*marks, False]):
        if mark and begin is None:
            begin = place
        elif not mark and begin is not None:
            yield begin, place
            begin = None
