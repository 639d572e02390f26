"""The shapes of answers: what `manager.api` says about jobs and tasks, as plain data with names.

Times are seconds since 1970, durations seconds, sizes bytes; None is "not known" or "not so". The same
shapes are what ``--json`` prints. What belongs here: fields and their meaning. What must not: how they are found.
"""

import msgspec

__all__ = [
    "AfterRow",
    "AttemptRow",
    "Done",
    "Explained",
    "Failed",
    "JobRow",
    "JobView",
    "OutputPage",
    "OutputRow",
    "Place",
    "Plight",
    "RequestRow",
    "RetriesRow",
    "Shown",
    "SignalRow",
    "TaskPage",
    "TaskRow",
    "TaskView",
]


class TaskRow(msgspec.Struct, kw_only=True):
    """One task with its newest attempt."""

    id: str
    """``17:3``"""
    name: str
    """``sim:3``"""
    job: int
    index: int | None
    value: str | None
    """Of a list; of several columns all values, with commas."""
    state: str
    attempt: int | None
    """Number of the newest attempt, the running one included."""
    outcome: str | None = None
    code: int | None = None
    """Exit code or signal, as the outcome says."""
    reason: str = ""
    """In words, where state and outcome do not say it."""
    started_at: float | None = None
    ended_at: float | None = None
    cpu_seconds: float | None = None
    peak_rss: int | None = None
    node: str | None = None
    kept_from: str | None = None
    """The task of an earlier run whose success counts for this one: attempt and outputs are its."""
    held: str | None = None
    """Why it is held back; None: it is not."""


class Failed(TaskRow, kw_only=True):
    """One failed task."""

    last_line: str
    """Of what it wrote to stderr; empty where it wrote nothing."""


class TaskPage(msgspec.Struct):
    """Some tasks, by job and position."""

    tasks: list[TaskRow]
    next: tuple[int, int] | None
    """What to give as `start` to get those that follow; None: there are none."""


class Place(msgspec.Struct):
    """Where an output lies."""

    path: str
    offset: int
    length: int | None
    """None while it grows."""


class AttemptRow(msgspec.Struct):
    """One ended attempt."""

    number: int
    outcome: str
    code: int
    reason: str
    state: str
    """What it made of its task."""
    charged: bool
    """It used up one of the task's tries."""
    started_at: float | None
    ended_at: float
    cpu_seconds: float
    peak_rss: int
    node: str
    stdout: Place | None
    stderr: Place | None


class TaskView(TaskRow, kw_only=True):
    """All that is known of one task."""

    command: str | list[str]
    """With its placeholders filled in."""
    cwd: str
    why: str
    """Why it has not ended; empty when it has."""
    starts_at: float | None
    """When it will probably start."""
    attempts: list[AttemptRow]
    """Ended ones, oldest first."""


class AfterRow(msgspec.Struct):
    """A job that another one comes after."""

    job: str
    id: int
    when: str
    each: bool


class RequestRow(msgspec.Struct, kw_only=True):
    """What a task asks for; where it asks for several nodes, on each of them."""

    cores: float
    most_cores: float | None
    """With it: as many as are free, from `cores` up to so many."""
    memory: int | None
    gpus: float
    nodes: int
    exclusive: bool
    resources: dict[str, float]
    labels: tuple[str, ...]
    words: str
    """All of it, for people."""


class RetriesRow(msgspec.Struct, kw_only=True):
    """When a task that failed is tried again."""

    count: int
    delay: float
    """Before the first retry."""
    backoff: float
    """By what it grows with each further one."""
    max_delay: float | None
    retry_on: tuple[int | str, ...]
    """Exit codes and outcomes; empty: whatever it was."""


class SignalRow(msgspec.Struct):
    """A warning to a running attempt."""

    number: int
    before: float
    """Before its end."""


class JobRow(msgspec.Struct, kw_only=True):
    """One job with the states of its tasks."""

    id: int
    name: str
    tasks: int
    counts: dict[str, int]
    """Tasks by state; states that no task is in are left out."""
    schedule: str | None = None
    """When a server enqueues its next task: cron's five fields. None: it does not."""
    due: float | None = None
    """When that is next; None also where no server runs."""


class JobView(msgspec.Struct, kw_only=True):
    """What was submitted."""

    id: int
    name: str
    tasks: int
    current: bool
    """False once it was replaced or is no longer in the file."""
    replaced_by: int | None
    submitted_at: float
    command: str | list[str]
    directory: str
    cwd: str
    array: str
    """Indices, as in ``0-99``."""
    after: list[AfterRow]
    requests: list[RequestRow]
    """What a task asks for: alternatives, best first."""
    time: float | None
    estimate: float | None
    grace: float | None
    signal: SignalRow | None
    retries: RetriesRow
    memory_growth: float | None
    on_lost: str
    priority: int
    max_parallel: int | None
    max_fails: int | None
    uses: dict[str, int]
    """What each task takes of named limits."""
    start_after: float | None
    schedule: str | None
    """As in `JobRow`."""
    due: float | None
    """Likewise."""
    hold: bool
    """As the file says."""
    modules: tuple[str, ...]
    venv: str | None
    setup: tuple[str, ...]
    env: dict[str, str]
    stdin: str | None
    stdout: str | None
    stderr: str | None
    output_limit: int | None


class Shown(msgspec.Struct):
    """A job, and one task of it where one was asked for or there is but one."""

    job: JobView
    counts: dict[str, int] | None
    """Tasks by state, where the job as a whole was asked for."""
    task: TaskView | None


class Plight(msgspec.Struct, kw_only=True):
    """Tasks in one state, and why the first of them is in it."""

    state: str
    tasks: int
    first: str
    """Name of the first of them."""
    reason: str
    starts_at: float | None
    """When that one will probably start."""
    attempt: int | None
    outcome: str | None
    code: int | None
    kept_from: str | None


class Explained(msgspec.Struct):
    """Why a task, or the tasks of a job, are where they are."""

    id: str
    name: str
    live: bool
    """A manager runs the campaign."""
    plights: list[Plight]


class OutputRow(msgspec.Struct, kw_only=True):
    """Where the outputs of one attempt lie."""

    id: str
    name: str
    state: str
    """Of the task."""
    attempt: int | None = None
    """None: it has had none."""
    running: bool = False
    """It has been given to a node and has not ended."""
    node: str | None = None
    lane: int | None = None
    """Where it writes what the store will keep; None where it has not begun."""
    stdout: Place | None = None
    stderr: Place | None = None


class OutputPage(msgspec.Struct):
    """Some tasks' outputs, by position."""

    outputs: list[OutputRow]
    next: int | None
    """What to give as `start` to get those that follow; None: there are none."""


class Done(msgspec.Struct, kw_only=True):
    """What a wish has come to; all of it is durable."""

    verb: str
    """``cancel``, ``hold``, ``release`` or ``retry``."""
    tasks: int
    """Cancelled, held, released, or to run again."""
    ending: int = 0
    """Of `cancel`: they run, and are told to end."""
    running: int = 0
    """Of `hold`: they run on, and are held afterwards."""
    skipped: int = 0
    """Of `cancel`: they depend on cancelled ones and can no longer run."""
    schedules: int = 0
    """Of `cancel`: taken back, as their jobs were meant as a whole."""
    states: dict[str, int]
    """The tasks that were meant by the state that they were in."""
    live: bool
    """A manager runs the campaign."""
