"""One job: what its keys say together, over the defaults of its file.

What belongs here: what needs more than one key of a job. What must not: the meaning of single values (`values`),
other jobs.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pilotfish.formats.entries import EntryError, read_mapping
from pilotfish.formats.keys import DEFAULT_KEYS, JOB_KEYS, REQUEST_KEYS
from pilotfish.formats.placeholders import ALWAYS, escape, names_in
from pilotfish.formats.ranks import check_ranks, cores_for
from pilotfish.formats.values import readers_in
from pilotfish.model.jobs import JobSpec
from pilotfish.model.quantities import format_seconds
from pilotfish.model.resources import Request

__all__ = ["JobReader"]

_WITH_PLACEHOLDERS = ("command", "cwd", "stdin", "stdout", "stderr", "venv", "setup")


class JobReader:
    """Reads the jobs of one file: what they have in common is read once."""

    def __init__(self, folder: str, defaults: object) -> None:
        """Read the defaults. `folder` is the job file's, absolute. Raises EntryError with the way from `defaults`."""
        self._folder = folder
        self._cwd = escape(folder)
        self._readers = readers_in(folder)
        self._defaults = read_mapping(defaults, DEFAULT_KEYS, self._readers)

    def read(self, value: object, name: str | None) -> JobSpec:
        """The spec of one job, called `name` where it has none. Raises EntryError with the way from the job."""
        own = read_mapping(value, JOB_KEYS, self._readers)
        read = {"name": name, "cwd": self._cwd, **self._defaults, **own}
        if read["name"] is None:
            msg = "the key name is missing: a file of several jobs names each of them"
            raise EntryError(msg)
        if "env" in own and "env" in self._defaults:
            read["env"] = {**self._defaults["env"], **own["env"]}
        if "start_after" in read:
            field, seconds = read.pop("start_after")
            read[field] = seconds
        _spread_array(read, "max_parallel" in own)
        _spread_requests(read)
        spec = JobSpec(directory=self._folder, **read)
        _check_between_keys(spec)
        _check_placeholders(spec)
        return spec


def _spread_array(read: dict[str, Any], limited: bool) -> None:  # noqa: FBT001 - whether the job has its own limit
    """Part what `array` says into the array and how many of its tasks may run at once."""
    if "array" not in read:
        return
    read["array"], parallel = read["array"]
    if parallel is None:
        return
    if limited:
        msg = "says after % how many tasks run at once, as max_parallel does: keep one of them"
        raise EntryError(msg, "array")
    read["max_parallel"] = parallel


def _spread_requests(read: dict[str, Any]) -> None:
    """Put together what a task asks for: first the best of its variants, each over what the job itself asks for."""
    asked = {key: read.pop(key) for key in REQUEST_KEYS if key in read}
    variants = read.pop("variants", None)
    if variants is not None:
        read["request"], *others = dict.fromkeys(_request({**asked, **variant}, read) for variant in variants)
        read["variants"] = tuple(others)
    elif asked or "ranks" in read or "threads" in read:
        read["request"] = _request(asked, read)


def _request(asked: Mapping[str, Any], read: Mapping[str, Any]) -> Request:
    least, most = asked["cores"] if "cores" in asked else (cores_for(read, asked.get("nodes", 1)), None)
    return Request(**{**asked, "cores": least, "most_cores": most})


def _check_between_keys(spec: JobSpec) -> None:
    if spec.max_fails is not None and spec.array is None:
        msg = "counts the tasks of an array, and this job has none: leave it out"
        raise EntryError(msg, "max_fails")
    if spec.memory_growth is not None and all(request.memory is None for request in spec.requests):
        msg = "needs `memory`: without it there is no limit that could grow"
        raise EntryError(msg, "memory_growth")
    check_ranks(spec)
    if spec.same_node:
        _check_same_node(spec)
    if spec.time is not None:
        if spec.estimate is not None and spec.estimate > spec.time:
            msg = f"{format_seconds(spec.estimate)} is more than time, the limit of {format_seconds(spec.time)}"
            raise EntryError(msg, "estimate")
        if spec.signal is not None and spec.signal.before >= spec.time:
            before, time = format_seconds(spec.signal.before), format_seconds(spec.time)
            msg = f"is sent {before} before the end, and time is no more than {time}: write, for example, USR1@10s"
            raise EntryError(msg, "signal")


def _check_same_node(spec: JobSpec) -> None:
    if any(request.nodes > 1 for request in spec.requests):
        msg = "is for tasks on one node: leave it out, or nodes"
        raise EntryError(msg, "same_node")
    if not any(one.each for one in spec.after) and (spec.array is not None or not spec.after):
        msg = "needs the job whose nodes are meant: write, for example, `after: {job: prepare, each: true}`"
        raise EntryError(msg, "same_node")


def _check_placeholders(spec: JobSpec) -> None:
    for text, *path in _texts(spec):
        unknown = names_in(text).difference(ALWAYS, spec.columns)
        if unknown:
            name = min(unknown)
            listed = ", ".join(f"{{{each}}}" for each in (*ALWAYS, *spec.columns))
            msg = f"unknown placeholder {{{name}}}; known here are {listed}"
            msg += "; {value} needs a list array" if name == "value" else f"; for the text itself: {{{{{name}}}}}"
            raise EntryError(msg, *path)


def _texts(spec: JobSpec) -> Iterator[tuple[Any, ...]]:
    """Every text that may hold placeholders and has a brace, with the way to it."""
    for key in _WITH_PLACEHOLDERS:
        texts = getattr(spec, key)
        if isinstance(texts, str):
            if "{" in texts:
                yield texts, key
        elif texts:
            for place, text in enumerate(texts):
                if "{" in text:
                    yield text, key, place
