"""The Protocol of every store and its laws, which one contract suite (``tests/contracts``) proves.

1. Changes given to one :meth:`Store.commit` become durable together or not at all, in the order of the calls.
2. What is durable (``durable >= ticket``) survives ``kill -9`` and loss of power, and is in the next `load`.
3. `commit` returns at once; an idle store begins at once; what comes in meanwhile is the next transaction.
4. Of two changes to one task the later holds, and the first record of an attempt stands: a repetition changes nothing.
5. The epoch is higher, durably, at each opening.
6. A store has one writing owner; a second one gets BusyError with host and process id of the first.
7. A hold stands beside whatever becomes of its task, until a later `Hold` lets go of it. A cancellation stands until
   its task ends, by a later `Settle` with a final state or a `Finish`, or is revived.
8. Of a job that was replaced or forgotten nothing is in `load`, and no hold in any `survey`; the rest stays readable.
9. The durations in `load` are up to DURATIONS that are found among the LOOKED_AT newest attempts of the job and the
   earlier ones of its name: by descending job id, position and number.
10. A job that has grown is read, wherever it is, with as many calls as were added to it. Their arguments stay: the
    same call again is known by them.
11. The nodes in `load` are those of all jobs whose tasks some current job follows (`same_node`).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from pilotfish.model.changes import Change, Finish, Put, Settle, Snapshot, Submit, Survey
from pilotfish.model.jobs import Span

__all__ = ["DURATIONS", "LOOKED_AT", "Store", "followed_jobs", "origins"]

DURATIONS = 15
"""How many durations a snapshot tells of one job: enough for a median that a few odd ones do not move."""
LOOKED_AT = 1000
"""Attempts among which they are looked for, so that a million that failed cost no time."""


class Store(Protocol):
    """Durable memory of one campaign."""

    epoch: int
    """Of this opening: 1, 2, …"""

    def load(self) -> Snapshot:
        """All that a new manager must know. Call before the first commit."""

    def commit(self, changes: Sequence[Change]) -> int:
        """Make the changes durable soon and in order; the ticket to compare with `durable`."""

    @property
    def durable(self) -> int:
        """The highest ticket whose changes, and all before them, are durable."""

    @property
    def trouble(self) -> str | None:
        """Why the store cannot write at the moment (it tries again by itself), None when all is well."""

    def raise_failure(self) -> None:
        """Raise the error that ended the writing for good, if there was one."""

    def flush(self) -> None:
        """Wait until everything given to `commit` is durable.

        Raises StoreError if it cannot be or, as all that asks something of the store, while there is `trouble`.
        """

    def submits(self) -> tuple[Submit, ...]:
        """All jobs ever submitted, forgotten and replaced ones too, by ascending id."""

    def attempts(self, job: int, position: int) -> tuple[Settle, ...]:
        """All settled attempts of a task, oldest first; those before a revival read as ready and not charged."""

    def finishes(self, job: int) -> tuple[Finish, ...]:
        """The ends without an attempt that hold for tasks of the job, by position."""

    def current(self) -> tuple[Submit, ...]:
        """The jobs that were neither replaced nor forgotten, by ascending id: those of `load`, without their tasks."""

    def survey(self, job: int | None = None, span: Span | None = None) -> Survey:
        """The standing of all tasks of the current jobs, or of a span of any one job. Much cheaper than `load`.

        Of a span: the finishes, grants and holds that reach into it, in their whole length.
        """

    def results(self, tasks: Sequence[tuple[int, int]]) -> tuple[Settle, ...]:
        """The newest settled attempt of each of these tasks, as (job, position), that has one; in their order."""

    def calls(self, job: int, span: Span | None = None) -> dict[int, bytes]:
        """The arguments of calls of a job, or of a span of it, by position."""

    def nodes(self, job: int) -> dict[int, str]:
        """Where tasks of a job ran last, by position; of those that were kept, where they ran then."""

    def values(self, prefix: str) -> tuple[Put, ...]:
        """The values of the keys that begin so, by key."""

    def close(self) -> None:
        """Flush and release everything. Idempotent. Raises StoreError, in the end, if something is not durable."""


def followed_jobs(submits: Sequence[Submit]) -> set[int]:
    """Those whose tasks the tasks of some of these jobs follow to their nodes."""
    jobs = [submit.job for submit in submits]
    return {job.depends_on[place] for job in jobs if (place := job.spec.followed) is not None}


def origins(submit: Submit, earlier: Callable[[int], Submit]) -> list[tuple[int, Span, int]]:
    """Where attempts of a job's tasks are recorded, the oldest first: under its own id, and of kept ones elsewhere.

    Each as a job, a span of it, and what is to be taken from its positions to get those of the first job.

    Args:
        submit: of the job.
        earlier: finds the submission of another one by its id.

    """
    found, todo = [], [(submit, Span(0, submit.job.spec.count), 0)]
    while todo:
        at, span, shift = todo.pop()
        found.append((at.job.id, span, shift))
        for kept in at.kept:
            lo, hi = max(span.lo, kept.span.lo), min(span.hi, kept.span.hi)
            by = kept.from_lo - kept.span.lo
            if lo < hi:
                todo.append((earlier(kept.from_job), Span(lo + by, hi + by), shift + by))
    return found[::-1]
