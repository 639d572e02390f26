"""Jobs as submitted: immutable, small however many tasks they have.

A task of a job is named by its *position*, 0 … count-1; what users see is its *index*,
which for ``array: 10-20:2`` is 10, 12, … Positions stay inside; :meth:`RangeArray.index`
and :meth:`RangeArray.position` translate at the edges.
"""

from enum import StrEnum

import msgspec

from pilotfish.model.resources import Request

__all__ = ["Array", "Dependency", "Job", "JobSpec", "ListArray", "RangeArray", "Span", "When", "task_name"]


class Span(msgspec.Struct, frozen=True, array_like=True, order=True):
    """The positions `lo` … `hi` - 1."""

    lo: int
    hi: int

    def __len__(self) -> int:
        """The number of positions."""
        return self.hi - self.lo


class RangeArray(msgspec.Struct, frozen=True, tag="range"):
    """Tasks whose indices are `start`, `start + step`, … (`count` of them)."""

    start: int
    count: int
    step: int = 1

    def index(self, position: int) -> int:
        """The index that users see at `position`."""
        return self.start + position * self.step

    def position(self, index: int) -> int | None:
        """The position of `index`, None where the array has no such task."""
        place, rest = divmod(index - self.start, self.step)
        return place if rest == 0 and 0 <= place < self.count else None


class ListArray(msgspec.Struct, frozen=True, tag="list"):
    """One task per value; index and position are the same."""

    values: tuple[str, ...]

    @property
    def count(self) -> int:
        """The number of tasks."""
        return len(self.values)

    def index(self, position: int) -> int:
        """The index that users see at `position`."""
        return position

    def position(self, index: int) -> int | None:
        """The position of `index`, None where the array has no such task."""
        return index if 0 <= index < len(self.values) else None


Array = RangeArray | ListArray
"""What makes a job many tasks."""


class When(StrEnum):
    """What must be true of the job that another one comes after."""

    succeeded = "succeeded"
    failed = "failed"
    finished = "finished"


class Dependency(msgspec.Struct, frozen=True, array_like=True):
    """A job runs after job `on`; with `each`, task i after task i."""

    on: str
    """The name, as written in the job file."""
    when: When = When.succeeded
    each: bool = False


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to run and what it needs: checked, complete, with absolute paths."""

    name: str
    command: str | tuple[str, ...]
    """A string for ``/bin/sh -c``, or the argument vector; with placeholders in either."""
    directory: str
    """The job file's folder, absolute: ``{dir}``."""
    cwd: str
    """Absolute, may hold placeholders."""
    array: Array | None = None
    after: tuple[Dependency, ...] = ()
    request: Request = Request()
    time: float | None = None
    """Limit of one attempt in seconds."""
    retries: int = 0
    """Tries after the first."""
    priority: int = 0
    """Higher first."""
    max_parallel: int | None = None
    """Tasks of this job at once."""
    env: dict[str, str] = {}
    stdout: str | None = None
    """Absolute path, may hold placeholders; None: kept by the store."""
    stderr: str | None = None
    """Absolute path, may hold placeholders; ``stdout``: the same file as stdout; None: kept by the store."""

    @property
    def count(self) -> int:
        """The number of tasks."""
        return 1 if self.array is None else self.array.count

    def index(self, position: int) -> int | None:
        """The index that users see, None for a job without an array."""
        return None if self.array is None else self.array.index(position)


class Job(msgspec.Struct, frozen=True):
    """A submission with its identity."""

    id: int
    spec: JobSpec
    depends_on: tuple[int, ...] = ()
    """For each entry of ``spec.after`` the id of the job it names, resolved when submitted."""
    submitted_at: float = 0.0
    """Seconds since 1970."""


def task_name(job: Job, position: int) -> str:
    """How a task is shown and asked for: ``sim:3``, or ``prepare`` for a job without an array."""
    index = job.spec.index(position)
    return job.spec.name if index is None else f"{job.spec.name}:{index}"
