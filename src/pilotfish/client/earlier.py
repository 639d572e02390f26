"""Calls of earlier sessions on the same store: the same call again takes up what became of it.

What belongs here: which call is the same, and what is known of it. What must not: sending calls.
"""

from collections import defaultdict, deque
from hashlib import blake2b

import msgspec

from pilotfish.functions.envelope import value_names
from pilotfish.functions.wire import join_call, split_call
from pilotfish.model.changes import Snapshot
from pilotfish.model.jobs import JobSpec
from pilotfish.store.base import Store

__all__ = ["EarlierCall", "EarlierCalls"]


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
