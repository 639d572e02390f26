"""``pf.JobClass``: a kind of job as a class, in the manner and the words of core4.

What belongs here: the words, what is wrong with a class or with arguments, the class as a function that can be called.
What must not: what becomes of jobs (`trial`), values by key (`cookie`), finding a class.
"""

import inspect
import math
import time as clock
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Never, TypeVar

from pilotfish.errors import NotYetSupportedError, UserError
from pilotfish.functions.context import Deferred, current
from pilotfish.functions.cookie import Cookie
from pilotfish.functions.envelope import pack_arguments, pack_function
from pilotfish.functions.trial import Children, Trial
from pilotfish.functions.wire import IN_BAND, join_call
from pilotfish.model.jobs import Retries
from pilotfish.model.quantities import ONE, parse_amount, parse_memory, parse_seconds
from pilotfish.model.resources import Request, Slots

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["JobClass", "JobRunner", "check_arguments", "job_fields", "packed_call", "schedule_of"]

_T = TypeVar("_T")

_MOST = 1_000_000_000
"""Of `priority`, upwards and downwards; what is forced comes before all of it."""
_LATER = ("chain", "dependency", "worker", "wall_at", "zombie_time")
"""Words of core4 that say nothing here, or not yet; no class may believe that they do."""


class JobClass:
    """A kind of job: its attributes say what each job needs, its `execute` what it does.

    A job's arguments are those of `execute`, by name. All jobs of a class in a campaign are tasks of one job of the
    queue, which is called like the class. Times are seconds, or text such as ``"10m"``.
    """

    cores: ClassVar[float | str] = 1
    """A fraction, or a whole number."""
    memory: ClassVar[int | str | None] = None
    """Such as ``"2GiB"``: counted, and the limit; None: neither."""
    gpus: ClassVar[float | str] = 0
    time: ClassVar[float | str | None] = None
    """After which an execution is ended; None: never."""
    wall_time: ClassVar[float | str | None] = None
    """The same, in core4's word."""
    priority: ClassVar[int] = 0
    """Higher first."""
    force: ClassVar[bool] = False
    """Before every priority. Neither resources nor `max_parallel` are exceeded."""
    max_parallel: ClassVar[int | None] = None
    """Jobs of this class at once."""
    attempts: ClassVar[int] = 1
    """Executions in all, where they fail. Those that defer, or whose end nobody witnessed, are not counted."""
    error_time: ClassVar[float | str] = 600
    """Between a failure and the next execution."""
    defer_time: ClassVar[float | str] = 300
    """Between a deferral and the next execution."""
    defer_max: ClassVar[float | str | None] = None
    """After its first execution began, a job that defers once more fails; None: it never does for that."""
    schedule: ClassVar[str | None] = None
    """When a server enqueues a job of this very class, again and again: cron's five fields. Not inherited."""
    author: ClassVar[str | None] = None
    """For people."""
    tag: ClassVar[str | tuple[str, ...] | list[str] | None] = None
    """For people."""

    execute: Callable[..., Any]
    """What the job does. What it returns is its result."""

    _trial: Trial | None = None

    @property
    def trial(self) -> int:
        """Which execution this is, from 1: one more after each deferral and each failure.

        One whose end nobody witnessed, because its process or node died, is made again with the same number, as if it
        had never been: also nothing of what it had enqueued is in the queue.
        """
        return self._running.number

    @property
    def attempt(self) -> int:
        """How often it was started, from 1, whatever became of that."""
        return self._running.task.attempt

    @property
    def slots(self) -> Slots:
        """The very cores and GPUs that it was given."""
        return self._running.task.slots

    @property
    def children(self) -> Children:
        """The jobs that it has enqueued in earlier trials, as they are now."""
        return self._running.children

    @property
    def cookie(self) -> Cookie:
        """Values by key that the jobs of this class share. ``last_runtime`` is the seconds that the last one took."""
        cookie = self.__dict__.get("_cookie")
        if cookie is None:
            owner = type(self)
            cookie = Cookie(self._running.task.kv, f"{owner.__module__}.{owner.__qualname__}")
            self.__dict__["_cookie"] = cookie
        return cookie

    @property
    def logger(self) -> "Logger":
        """Writes to standard error, under the name of the job."""
        import logging  # 10 ms, which jobs that log nothing need not wait for
        import sys

        logger = logging.getLogger(f"pilotfish.{self._running.task.name}")
        if not logger.handlers:
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            logger.addHandler(handler)
            logger.setLevel(logging.DEBUG)
            logger.propagate = False
        return logger

    def progress(self, fraction: float, text: str = "") -> None:
        """Tell those who watch how far it is, from 0 to 1."""
        self._running.task.progress(fraction, text)

    def enqueue(self, kind: "type[JobClass] | None" = None, /, **arguments: object) -> None:
        """Enqueue a child: a job of this class, or of another one, with these arguments.

        It enters the queue when this trial returns or defers, together with all others of the trial; of a trial that
        fails none does. It is one job, whatever the `schedule` of its class. Raises UserError, UnpicklableError.
        """
        kind = type(self) if kind is None else kind
        fields = job_fields(kind)
        check_arguments(kind, arguments)
        self._running.enqueue(fields, packed_call(kind, arguments))

    def defer(self, message: str = "", time: float | str | None = None) -> Never:
        """End this trial; the job is executed again after `time`, by default its class's `defer_time`.

        Raises UserError where it has been deferring for longer than `defer_max`.
        """
        most = _seconds(type(self), "defer_max", least=0)
        if most is not None and (waited := self._running.waited) > most:
            why = f" ({message})" if message else ""
            raise UserError(f"deferred for {waited:.0f} s, longer than its defer_max of {most:g} s{why}")
        raise Deferred(parse_seconds(self.defer_time if time is None else time), message)

    @property
    def _running(self) -> Trial:
        if self._trial is None:
            raise UserError(f"this {type(self).__name__} is not executed by pilotfish")
        return self._trial


class JobRunner:
    """A job class as a function: called with a job's arguments, it executes the job."""

    def __init__(self, kind: type[JobClass]) -> None:
        """Of this class."""
        self._kind = kind

    def __call__(self, **arguments: object) -> object:
        """The result. Raises whatever `execute` raises, `Deferred` among it."""
        trial = Trial(current())
        job = self._kind()
        job._trial = trial  # noqa: SLF001 - a user's attributes are the class's; this one is ours
        try:
            returned = job.execute(**arguments)
            if isinstance(returned, Coroutine):
                import asyncio  # 45 ms, which most classes need not wait for

                returned = asyncio.run(returned)
        except Deferred:
            trial.end(deferred=True)
            raise
        trial.end()
        if "_cookie" in vars(job):  # for whoever looks at its cookie; others need not pay for it
            job.cookie.set("last_runtime", clock.time() - trial.began)
        return returned

    def __reduce__(self) -> tuple[Any, ...]:
        """By its class alone."""
        return JobRunner, (self._kind,)


def packed_call(kind: type[JobClass], arguments: Mapping[str, object]) -> bytes:
    """The execution of a job as it travels. Raises UnpicklableError."""
    runner = JobRunner(kind)
    return join_call(IN_BAND + pack_function(runner)[1], pack_arguments((), arguments, None, function=kind.execute))


def schedule_of(kind: type[JobClass]) -> str | None:
    """At which times jobs of a class are to be enqueued; None: at none. Raises UserError."""
    schedule = vars(kind).get("schedule")
    if schedule is not None and not isinstance(schedule, str):
        raise _wrong(kind, "schedule", "expected cron's five fields, such as '*/5 * * * *'")
    return schedule


def check_arguments(kind: type[JobClass], arguments: Mapping[str, object]) -> None:
    """Raise UserError where `execute` does not take these."""
    try:
        inspect.signature(kind.execute).bind(None, **arguments)
    except TypeError as error:
        takes = inspect.signature(kind.execute)
        raise UserError(f"{kind.__name__}.execute{takes}: {error}") from None


def job_fields(kind: type[JobClass]) -> dict[str, Any]:
    """What the attributes of a class say, as fields of a `JobSpec`. Raises UserError naming class and attribute."""
    if not (isinstance(kind, type) and issubclass(kind, JobClass)):  # type: ignore[redundant-expr] # users may err
        raise UserError(f"expected a class derived from pilotfish.JobClass, got {kind!r}")
    if not callable(getattr(kind, "execute", None)):
        raise UserError(f"{kind.__name__} has no method `execute`: it says what a job of the class does")
    for word in _LATER:
        if getattr(kind, word, None) is not None:
            raise NotYetSupportedError(f"{kind.__name__}.{word} is not yet supported; see docs/limits.md")
    if kind.time is not None and kind.wall_time is not None:
        raise UserError(f"{kind.__name__}: time and wall_time are the same: say one of them")
    limit = "time" if kind.wall_time is None else "wall_time"
    for attribute in ("defer_time", "defer_max"):
        _seconds(kind, attribute, least=0)
    for attribute in ("author", "tag"):
        _text(kind, attribute)
    if not isinstance(kind.force, bool):
        raise _wrong(kind, "force", "expected True or False")
    return {
        "name": kind.__name__,
        "request": Request(
            cores=_checked(kind, "cores", _units),
            memory=None if kind.memory is None else _checked(kind, "memory", _some_memory),
            gpus=_checked(kind, "gpus", _units),
        ),
        "time": _seconds(kind, limit, least=math.ulp(0)),
        "priority": _MOST + 1 if kind.force else _whole(kind, "priority", least=-_MOST),
        "max_parallel": None if kind.max_parallel is None else _whole(kind, "max_parallel", least=1),
        "retries": Retries(_whole(kind, "attempts", least=1) - 1, _seconds(kind, "error_time", least=0) or 0.0),
    }


def _units(value: object) -> Any:  # noqa: ANN401 - an Amount
    amount = parse_amount(value)
    if amount > ONE and amount % ONE:
        raise ValueError(f"expected a whole number, or less than 1, got {value!r}")
    return amount


def _some_memory(value: object) -> int:
    size = parse_memory(value)
    if not size:
        raise ValueError("must be more than 0")
    return size


def _checked(kind: type[JobClass], attribute: str, parse: Callable[[object], _T]) -> _T:
    try:
        return parse(getattr(kind, attribute))
    except ValueError as error:
        raise UserError(f"{kind.__name__}.{attribute}: {error}") from None


def _seconds(kind: type[JobClass], attribute: str, *, least: float) -> float | None:
    if getattr(kind, attribute) is None:
        return None
    seconds = _checked(kind, attribute, parse_seconds)
    if seconds < least:
        raise _wrong(kind, attribute, "must be more than 0")
    return seconds


def _whole(kind: type[JobClass], attribute: str, *, least: int) -> int:
    value = getattr(kind, attribute)
    if type(value) is not int or not least <= value <= _MOST:
        raise _wrong(kind, attribute, f"expected a whole number from {least} to {_MOST}")
    return value


def _text(kind: type[JobClass], attribute: str) -> None:
    value = getattr(kind, attribute)
    texts = value if isinstance(value, list | tuple) else [value]
    if value is not None and not all(isinstance(text, str) for text in texts):
        raise _wrong(kind, attribute, "expected text")


def _wrong(kind: type[JobClass], attribute: str, what: str) -> UserError:
    return UserError(f"{kind.__name__}.{attribute}: {what}, got {getattr(kind, attribute)!r}")
