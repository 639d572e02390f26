"""Jobs as submitted: immutable, small however many tasks they have.

A task of a job is named by its *position*, 0 … count-1; what users see is its *index*,
which for ``array: 10-20:2`` is 10, 12, … Positions stay inside; :meth:`RangeArray.index`
and :meth:`RangeArray.position` translate at the edges.
"""

import math
from enum import StrEnum
from typing import Self

import msgspec

from pilotfish.model.resources import Request

__all__ = [
    "MOST_TEXT",
    "Array",
    "CallArray",
    "Dependency",
    "Function",
    "Job",
    "JobSpec",
    "Launcher",
    "OnLost",
    "OnSilence",
    "ProductArray",
    "RangeArray",
    "Retries",
    "Signal",
    "Span",
    "TableArray",
    "When",
    "task_name",
]


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


MOST_TEXT = 15_000_000
"""Characters of all values of one array: a job travels as one message."""


class TableArray(msgspec.Struct, frozen=True, tag="table"):
    """One task per row; index and position are the same. A plain list is a table with the one column ``value``."""

    names: tuple[str, ...]
    """Of the columns: each is a placeholder."""
    columns: tuple[tuple[str, ...], ...]
    """The values of each column, from the first row to the last; all of one length."""

    @property
    def count(self) -> int:
        """The number of tasks."""
        return len(self.columns[0])

    def row(self, position: int) -> tuple[str, ...]:
        """The values at `position`, one for each name."""
        return tuple([column[position] for column in self.columns])

    def index(self, position: int) -> int:
        """The index that users see at `position`."""
        return position

    def position(self, index: int) -> int | None:
        """The position of `index`, None where the array has no such task."""
        return index if 0 <= index < self.count else None


class ProductArray(msgspec.Struct, frozen=True, tag="product"):
    """One task per combination of values, the last name changing fastest; index and position are the same."""

    names: tuple[str, ...]
    """Each is a placeholder."""
    choices: tuple[tuple[str, ...], ...]
    """The values of each name."""

    @property
    def count(self) -> int:
        """The number of tasks."""
        return math.prod(map(len, self.choices))

    def row(self, position: int) -> tuple[str, ...]:
        """The values at `position`, one for each name."""
        row = []
        for values in reversed(self.choices):
            position, place = divmod(position, len(values))
            row.append(values[place])
        return tuple(reversed(row))

    def index(self, position: int) -> int:
        """The index that users see at `position`."""
        return position

    def position(self, index: int) -> int | None:
        """The position of `index`, None where the array has no such task."""
        return index if 0 <= index < self.count else None


class CallArray(msgspec.Struct, frozen=True, tag="calls"):
    """Calls of functions, which are added one by one or by the thousand; index and position are the same."""

    count: int = 0
    """How many there are when it is read: none at first."""

    def index(self, position: int) -> int:
        """The index that users see at `position`."""
        return position

    def position(self, index: int) -> int | None:
        """The position of `index`, None where there is no such task."""
        return index if 0 <= index < self.count else None


Array = RangeArray | TableArray | ProductArray | CallArray
"""What makes a job many tasks."""


class Function(msgspec.Struct, frozen=True):
    """What a worker must be to make the calls of a job; each call says which function."""

    values: str
    """Absolute path of the folder where functions lie, and large values."""
    spill: str
    """Likewise for what that has no room for."""
    limit: int
    """Bytes that it has room for."""
    python: tuple[int, int]
    """The version of Python, major and minor, that can read it."""
    path: tuple[str, ...]
    """Where that finds modules: ``sys.path``."""
    most_calls: int | None = None
    """After so many a worker is replaced; None: never for that."""
    initializer: str | None = None
    """Name of the value that is called first in each worker."""


class When(StrEnum):
    """What must be true of the job that another one comes after."""

    succeeded = "succeeded"
    failed = "failed"
    finished = "finished"
    started = "started"
    """All its tasks have been given to nodes, or the one task that is meant."""


class Launcher(StrEnum):
    """How the command of an attempt becomes processes."""

    default = "default"
    """Once, on the first node."""
    threads = "threads"
    """Likewise; libraries are told to start so many threads whatever the environment says."""
    openmpi = "openmpi"
    """As ranks, by Open MPI's ``mpiexec``."""
    intelmpi = "intelmpi"
    """As ranks, by Hydra: the ``mpiexec`` of Intel MPI, MPICH, MVAPICH."""
    srun = "srun"
    """As ranks, by Slurm's own, within its allocation."""

    @property
    def has_ranks(self) -> bool:
        """Whether it starts the command several times."""
        return self not in (Launcher.default, Launcher.threads)


class OnLost(StrEnum):
    """What follows an end that nobody witnessed."""

    rerun = "rerun"
    fail = "fail"
    hold = "hold"


class OnSilence(StrEnum):
    """What follows when nothing is heard of the node of an attempt."""

    wait = "wait"
    """It goes on, as far as we know; it is lost when its lease ends, or the node is proven dead."""
    rerun = "rerun"
    """It is given up, and starts elsewhere at once; so two of it may run for a while, of which the later counts."""


class Retries(msgspec.Struct, frozen=True, array_like=True):
    """When a task that failed is tried again."""

    count: int = 0
    """Tries after the first."""
    delay: float = 0.0
    """Seconds before the first of them."""
    backoff: float = 1.0
    """By what the delay grows with each further one."""
    max_delay: float | None = None
    """Seconds up to which it grows."""
    retry_on: tuple[int | str, ...] = ()
    """Exit codes and outcomes after which it is tried again; empty: whatever it was."""


class Signal(msgspec.Struct, frozen=True, array_like=True):
    """A warning to a running attempt."""

    number: int
    before: float
    """Seconds before its time limit, or the end of its node's allocation, whichever comes first."""


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
    """A string for ``/bin/sh -c``, or the argument vector; with placeholders in either. Empty for a function."""
    function: Function | None = None
    """Functions are called instead of a command; calls are added to the job, and its array is a `CallArray`. Where it
    depends on other jobs, or they on it, then as a whole: the tasks that these have at the time."""
    directory: str
    """The job file's folder, absolute: ``{dir}``."""
    cwd: str
    """Absolute, may hold placeholders."""
    array: Array | None = None
    after: tuple[Dependency, ...] = ()
    same_node: bool = False
    """Each task runs on the node where the one ran that it comes after, as long as that is there."""
    request: Request = Request()
    variants: tuple[Request, ...] = ()
    """Alternatives to `request`, each worse than the one before it."""
    time: float | None = None
    """Limit of one attempt in seconds."""
    estimate: float | None = None
    """Seconds that an attempt probably takes."""
    grace: float | None = None
    """Seconds between TERM and KILL; None: the settings say it."""
    signal: Signal | None = None
    retries: Retries = Retries()
    memory_growth: float | None = None
    """By what the memory grows after an attempt ran out of it."""
    on_lost: OnLost = OnLost.rerun
    on_silence: OnSilence = OnSilence.wait
    priority: int = 0
    """Higher first."""
    max_parallel: int | None = None
    """Tasks of this job at once."""
    max_fails: int | None = None
    """When so many of its tasks have failed, the rest is cancelled."""
    uses: dict[str, int] = {}
    """What each task takes of named limits while it runs."""
    start_after: float | None = None
    """Seconds since 1970 before which nothing starts."""
    start_delay: float | None = None
    """Seconds after the submission before which nothing starts."""
    hold: bool = False
    """It waits for a release by the user."""
    modules: tuple[str, ...] = ()
    """Environment modules to load before the command."""
    venv: str | None = None
    """Absolute path of a Python environment to activate before the command; may hold placeholders."""
    setup: tuple[str, ...] = ()
    """Lines for the shell that run before the command, in its shell; with placeholders."""
    launcher: Launcher = Launcher.default
    ranks: int | None = None
    """Processes on all nodes together; None: one for each `threads` of the cores that it is given."""
    threads: int | None = None
    """Of one process; None: as many as its share of the cores."""
    env: dict[str, str] = {}
    stdin: str | None = None
    """Absolute path, may hold placeholders; None: nothing to read."""
    stdout: str | None = None
    """Absolute path, may hold placeholders; None: kept by the store."""
    stderr: str | None = None
    """Absolute path, may hold placeholders; ``stdout``: the same file as stdout; None: kept by the store."""
    output_limit: int | None = None
    """Bytes of stdout and of stderr each; more is cut."""

    @property
    def followed(self) -> int | None:
        """The place in `after` of the job on whose nodes its tasks run; None: they run anywhere."""
        if not self.same_node:
            return None
        return next((place for place, one in enumerate(self.after) if one.each), 0)

    @property
    def requests(self) -> tuple[Request, ...]:
        """What a task may ask for, best first."""
        return (self.request, *self.variants)

    @property
    def count(self) -> int:
        """The number of tasks."""
        return 1 if self.array is None else self.array.count

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what the rows of its array hold; each is a placeholder."""
        return self.array.names if isinstance(self.array, TableArray | ProductArray) else ()

    def row(self, position: int) -> tuple[str, ...]:
        """The values at `position`, one for each of `columns`."""
        return self.array.row(position) if isinstance(self.array, TableArray | ProductArray) else ()

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
    origin: str = ""
    """The submission to a server that it came with, ``CLIENT/NUMBER``: made twice, it enters once. Calls of others are
    not added to it."""

    @property
    def start_time(self) -> float:
        """Before which nothing of it starts, in seconds since 1970; 0: at once."""
        delay = self.spec.start_delay
        return max(self.spec.start_after or 0.0, 0.0 if delay is None else self.submitted_at + delay)

    def grown(self, count: int) -> Self:
        """The same job with so many calls."""
        return msgspec.structs.replace(self, spec=msgspec.structs.replace(self.spec, array=CallArray(count)))


def task_name(job: Job, position: int) -> str:
    """How a task is shown and asked for: ``sim:3``, or ``prepare`` for a job without an array."""
    index = job.spec.index(position)
    return job.spec.name if index is None else f"{job.spec.name}:{index}"
