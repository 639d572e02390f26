"""What a call asks for besides its function, in the words of the job file: ``options(cores=4, memory="2GiB")``.

What belongs here: reading these words, and their form as a value. What must not: calls.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import msgspec

from pilotfish.client.resources import Resource, as_request
from pilotfish.errors import UserError
from pilotfish.formats.entries import EntryError, shown_path
from pilotfish.formats.job import JobReader
from pilotfish.formats.values import read_limits
from pilotfish.model.jobs import Dependency, JobSpec, OnLost, OnSilence, Retries, When
from pilotfish.model.resources import Request

__all__ = ["Wanted", "read_job", "read_named_limits"]

_NOT_OF_FUNCTIONS = (
    "array", "command", "launcher", "modules", "ranks", "same_node", "setup", "signal", "stderr", "stdin", "stdout",
    "threads", "venv",
)  # fmt: skip


class Wanted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, cache_hash=True):
    """All that calls of one job have in common; equal ones of one name share a job."""

    name: str | None = None
    """Of the job; None: that of the function."""
    request: Request = Request()
    variants: tuple[Request, ...] = ()
    time: float | None = None
    """Seconds after which a call is ended."""
    estimate: float | None = None
    """Seconds that it probably takes."""
    grace: float | None = None
    retries: Retries = Retries()
    memory_growth: float | None = None
    on_lost: OnLost = OnLost.rerun
    on_silence: OnSilence = OnSilence.wait
    priority: int = 0
    max_parallel: int | None = None
    uses: tuple[tuple[str, int], ...] = ()
    start_after: float | None = None
    start_delay: float | None = None
    hold: bool = False
    env: tuple[tuple[str, str], ...] = ()
    output_limit: int | None = None
    cwd: str | None = None
    """Absolute; None: where the session was made."""
    most_calls: int | None = None
    """After which a worker is replaced; None: never for that."""
    after: tuple[Dependency, ...] = ()
    depends_on: tuple[int, ...] = ()
    """Ids of the jobs that `after` names."""

    def changed(self, keys: Mapping[str, object]) -> Self:
        """The same but for these keys of the job file. Raises UserError naming the key."""
        for key in _NOT_OF_FUNCTIONS:
            if key in keys:
                raise UserError(f"{key}: a call of a function has none; `command(…)` takes it")
        if not keys:
            return self
        spec = read_job({"name": self.name or "call", **keys, "command": ["true"]})
        fields = {"start_delay"} if "start_after" in keys else set()
        fields |= keys.keys() & set(self.__struct_fields__)
        values = {field: getattr(spec, field) for field in fields}
        for field in ("uses", "env"):
            if field in values:
                values[field] = tuple(sorted(values[field].items()))
        request, variants = self._requests(spec, keys)
        return msgspec.structs.replace(self, **{**values, "request": request, "variants": variants})

    def on(self, resource: Resource) -> Self:
        """The same, asking for this resource. Raises ResourceError."""
        asked = as_request(resource)
        time = self.time if asked.time is None else asked.time
        estimate = self.estimate if asked.estimate is None else asked.estimate
        return msgspec.structs.replace(self, request=asked.request, variants=(), time=time, estimate=estimate)

    def lasting(self, time: float | None, estimate: float | None) -> Self:
        """The same with this limit, and this estimate, in seconds."""
        return msgspec.structs.replace(self, time=time, estimate=estimate)

    def after_jobs(self, jobs: Iterable[tuple[str, int, When]]) -> Self:
        """The same, coming after these jobs too: name, id, and what must be true of it."""
        named = [(Dependency(name, when), job) for name, job, when in jobs]
        return msgspec.structs.replace(
            self,
            after=(*self.after, *(dependency for dependency, _ in named)),
            depends_on=(*self.depends_on, *(job for _, job in named)),
        )

    def over(self, spec: JobSpec, keys: Mapping[str, object]) -> JobSpec:
        """A job of a command that wants this, where its own keys do not say otherwise."""
        default = type(self)()
        fields = {
            field: getattr(self, field)
            for field in self.__struct_fields__
            if field in _SPEC_FIELDS and field not in keys and getattr(self, field) != getattr(default, field)
        }
        for field in {"uses", "env"} & fields.keys():
            fields[field] = dict(fields[field])
        fields["request"], fields["variants"] = self._requests(spec, keys)
        return msgspec.structs.replace(spec, **fields)

    def _requests(self, spec: JobSpec, keys: Mapping[str, object]) -> tuple[Request, tuple[Request, ...]]:
        """What is asked for when the keys of a job say otherwise: of its alternatives, if it has any."""
        if "variants" in keys:
            return spec.request, spec.variants
        changed = _REQUEST_KEYS & keys.keys()
        changed |= {"most_cores"} if "cores" in keys else set()
        news = {field: getattr(spec.request, field) for field in changed}
        request, *variants = (msgspec.structs.replace(one, **news) for one in (self.request, *self.variants))
        return request, tuple(variants)

    def spec(self, **fields: Any) -> JobSpec:  # noqa: ANN401 - what the job is besides
        """The job of calls that want this."""
        own = {field: getattr(self, field) for field in self.__struct_fields__ if field in _SPEC_FIELDS}
        return JobSpec(**{**own, "uses": dict(self.uses), "env": dict(self.env), **fields})


_REQUEST_KEYS = frozenset(
    {"cores", "memory", "gpus", "nodes", "exclusive", "spread", "resources", "labels", "variants"}
)
_SPEC_FIELDS = frozenset(JobSpec.__struct_fields__) - {"name", "cwd"}


def read_job(keys: Mapping[str, object]) -> JobSpec:
    """A job from the keys of a job file with Python's values. Raises UserError naming the key."""
    if keys.get("hold"):
        raise UserError("hold: a session has nobody who would release it; submit it later")
    if keys.get("on_lost") == OnLost.hold:
        raise UserError("on_lost: a session has nobody who would release what is held; write rerun or fail")
    try:
        return JobReader(str(Path.cwd()), {}).read({key: _plain(value) for key, value in keys.items()}, None)
    except EntryError as error:
        raise UserError(f"{shown_path(error.path)}: {error}") from None


def read_named_limits(limits: Mapping[str, object]) -> dict[str, int]:
    """The named limits of a session. Raises UserError naming the one that is wrong."""
    try:
        return read_limits(dict(limits))
    except EntryError as error:
        raise UserError(f"limits.{shown_path(error.path)}: {error}") from None


def _plain(value: object) -> object:
    """As a job file would have it."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, range):
        if not value or value.step < 1:
            raise UserError(f"array: expected a range that rises, got {value!r}")
        return f"{value[0]}-{value[-1]}:{value.step}"
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, str | int | float | bool | None):
        raise UserError(f"expected text, a number, a list or a mapping; got {value!r}")
    return value
