"""Job files to specs: the one door of this folder, for files and for text from elsewhere, one or several.

What belongs here: the order of the checks, what needs more than one job or file, and the place in every error.
What must not: syntax (`document`, `lines`), one job (`job`), single values (`values`), the table of keys (`keys`).
"""

import gc
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pilotfish.errors import InternalError, JobFileError, NotYetSupportedError
from pilotfish.formats import dependencies, document, lines, textfile, values
from pilotfish.formats.arrays import list_array
from pilotfish.formats.document import Document, Format
from pilotfish.formats.entries import EntryError, KeyPath, read_entries, read_mapping, shown, shown_path
from pilotfish.formats.job import JobReader
from pilotfish.formats.keys import FILE_KEYS
from pilotfish.formats.placeholders import escape
from pilotfish.model.jobs import JobSpec

__all__ = ["STDIN", "JobFile", "load", "load_all", "load_text"]

STDIN = "-"
"""The name of a text that comes from standard input."""

_SUFFIXES = {".yaml": Format.yaml, ".yml": Format.yaml, ".json": Format.json, ".toml": Format.toml}
_LONGEST_MESSAGE = 500


class _Part(msgspec.Struct, frozen=True):
    """What one file says, before it is known to fit the others."""

    where: str
    """What errors call it."""
    file: str
    jobs: tuple[JobSpec, ...]
    document: Document | None = None
    """None for a plain list of commands."""
    name: str | None = None
    limits: dict[str, int] = {}


class JobFile(msgspec.Struct, frozen=True):
    """What one job file, or several together, ask for: checked and complete."""

    name: str | None
    """As the files say; None where none does."""
    file: str
    """The absolute path of the first, or ``-`` for standard input."""
    jobs: tuple[JobSpec, ...]
    """In the files' order; names are unique, dependencies known and without a circle."""
    limits: dict[str, int] = {}
    """Named limits of the whole queue; nothing uses one that is not here."""
    parts: tuple[_Part, ...] = ()
    """What each file says by itself."""

    def refusal(self, place: int, message: str) -> JobFileError:
        """An error about the job at a place among `jobs`, which names its file and line."""
        part, inside = _home(self.parts, place)
        return _placed(EntryError(message, "jobs", inside), part.document, part.where)


def load(path: Path) -> JobFile:
    """Read a job file: ``.yaml``, ``.yml``, ``.json``, ``.toml``, else what its text looks like.

    Raises JobFileError where it cannot be read or is wrong, NotYetSupportedError for what is yet to come.
    """
    return load_all([(os.fspath(path), None)])


def load_text(text: str, *, name: str, format: Format | None = None) -> JobFile:  # noqa: A002 - the plain word
    """Read the text of a job file. Raises as :func:`load` does.

    Args:
        text: all of it.
        name: its path, whose folder is the jobs' folder, or `STDIN`: then that is the current one.
        format: None guesses it from the text.

    """
    with _no_collection():
        return _united([_parsed(text, name, format)], (), None)


def load_all(
    files: Sequence[tuple[str, str | None]],
    *,
    jobs: Collection[str] = (),
    limits: Mapping[str, int] | None = None,
) -> JobFile:
    """Read files that are one campaign: each a path with None, or `STDIN` with its text. At least one.

    Names of jobs are unique in all of them together, and `after` may name a job of any; what two files
    say of the campaign (its name, a limit) must be the same. Raises as :func:`load` does.

    Args:
        files: at least one.
        jobs: names of those in the queue that these enter; `after` may name them too.
        limits: the named limits of that queue, which those of the files must agree with; None: there is no queue.

    """
    with _no_collection():
        parts = [_loaded(name) if text is None else _parsed(text, name, None) for name, text in files]
        return _united(parts, jobs, limits)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Nothing that is read here refers to itself: to look for circles among it would take a third of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _loaded(name: str) -> _Part:
    path = Path(name)
    try:
        data = textfile.read_bytes(path)
    except ValueError as error:
        raise JobFileError(str(error), file=name) from error
    text = data.decode(errors="surrogateescape")  # what that hides is found with everything else
    return _parsed(text, name, _SUFFIXES.get(path.suffix.lower()))


def _parsed(text: str, name: str, format_: Format | None) -> _Part:
    where = "standard input" if name == STDIN else name
    program = "" if name == STDIN else f"; to run a program, type pilotfish run -- {name}"
    textfile.require_plain(text, where, program=program)
    text = text.removeprefix("\ufeff")
    file = name if name == STDIN else _absolute_file(name)
    directory = _directory(name, where)
    job_name = _name_from("stdin" if name == STDIN else Path(name).stem)
    format_ = document.guess_format(text) if format_ is None else format_
    if format_ is Format.lines:
        return _Part(where, file, _list_of_commands(text, job_name, directory, where))
    parsed = document.parse_document(text, format_, where)
    try:
        top = _top(parsed.value)
        jobs = _jobs(top, directory, job_name)
    except ValueError as error:
        raise _placed(error, parsed, where) from error
    return _Part(where, file, jobs, parsed, top.get("name"), top.get("limits", {}))


def _top(value: object) -> dict[str, Any]:
    if value is None:
        msg = "is empty: write `jobs:` and a list of jobs"
        raise EntryError(msg)
    if isinstance(value, list):
        msg = "begins with a list: write `jobs:` before it"
        raise EntryError(msg)
    readers: dict[str, values.Reader] = {
        "defaults": dict,
        "jobs": list,
        "limits": values.read_limits,
        "name": values.read_title,
    }
    return read_mapping(value, FILE_KEYS, readers)


def _jobs(top: Mapping[str, Any], directory: str, job_name: str) -> tuple[JobSpec, ...]:
    if not top["jobs"]:
        msg = "is empty: a campaign needs at least one job"
        raise EntryError(msg, "jobs")
    try:
        reader = JobReader(directory, top.get("defaults", {}))
    except ValueError as error:
        raise EntryError.under("defaults", error) from error
    fallback = job_name if len(top["jobs"]) == 1 else None
    try:
        return tuple(read_entries(enumerate(top["jobs"]), lambda entry: reader.read(entry, fallback)))
    except ValueError as error:
        raise EntryError.under("jobs", error) from error


def _list_of_commands(text: str, name: str, directory: str, where: str) -> tuple[JobSpec, ...]:
    try:
        array = list_array(lines.read_commands(text, where))
    except ValueError as error:
        message = str(error) if text.strip() else "is empty: write one command a line, or a job file"
        raise JobFileError(message, file=where) from error
    return (JobSpec(name=name, command=lines.COMMAND, array=array, directory=directory, cwd=escape(directory)),)


def _united(parts: Sequence[_Part], jobs: Collection[str], queue: Mapping[str, int] | None) -> JobFile:
    """One campaign of several files. Raises JobFileError for what does not fit, in the file where it shows."""
    name: str | None = None
    limits: dict[str, int] = {}
    for part in parts:
        try:
            if part.name is not None:
                name = _agreed(name or part.name, part.name, "name")
            for limit, amount in part.limits.items():
                if queue is not None and queue.get(limit) != amount:
                    msg = f"{amount} here, and the server has {queue.get(limit, 'none of that name')}"
                    raise EntryError(f"{msg}: `pilotfish serve --limit {limit}={amount}`", "limits", limit)
                limits[limit] = _agreed(limits.get(limit, amount), amount, "limits", limit)
        except ValueError as error:
            raise _placed(error, part.document, part.where) from error
    specs = [spec for part in parts for spec in part.jobs]
    try:
        dependencies.check_dependencies(specs, lambda place: _shown_place(parts, place), outside=jobs)
        dependencies.check_uses(specs, {**(queue or {}), **limits})
    except EntryError as error:
        part, place = _home(parts, int(error.path[0]))
        inside = EntryError(str(error), "jobs", place, *error.path[1:])
        raise _placed(inside, part.document, part.where) from error
    return JobFile(name, parts[0].file, tuple(specs), limits, tuple(parts))


_Said = TypeVar("_Said", str, int)


def _agreed(before: _Said, now: _Said, *path: str) -> _Said:
    """What two files say of one thing."""
    if before != now:
        msg = f"{shown(now)} here and {shown(before)} in an earlier file: files of one campaign must agree"
        raise EntryError(msg, *path)
    return now


def _home(parts: Sequence[_Part], place: int) -> tuple[_Part, int]:
    """The file of the job at a place among those of all files, and its place in that file."""
    for part in parts:
        if place < len(part.jobs):
            return part, place
        place -= len(part.jobs)
    raise InternalError("a place beyond the last job")


def _shown_place(parts: Sequence[_Part], place: int) -> str:
    part, inside = _home(parts, place)
    return f"jobs[{inside}]" + (f" of {part.where}" if len(parts) > 1 else "")


def _directory(name: str, where: str) -> str:
    """The folder of the job file, absolute; symbolic links stay as the user wrote them."""
    try:
        directory = str(Path.cwd() if name == STDIN else Path(_absolute_file(name)).parent)
    except FileNotFoundError:
        raise JobFileError("the current folder has been deleted: change to another one", file=where) from None
    try:
        directory.encode()
    except UnicodeEncodeError:
        raise JobFileError("the name of its folder is not UTF-8: rename the folder", file=where) from None
    return directory


def _absolute_file(name: str) -> str:
    return os.path.normpath(Path(name).absolute())


def _name_from(stem: str) -> str:
    """A job's name from a file's."""
    name = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in stem)
    return (name if name[:1].isalpha() or name.startswith("_") else f"_{name}")[:100]


def _placed(error: ValueError, parsed: Document | None, where: str) -> JobFileError:
    """The error with file, line and key path; what a job has from the defaults is shown there."""
    message = str(error)
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}…"
    if parsed is None or not isinstance(error, EntryError):
        return JobFileError(message, file=where)
    path = error.path
    if _is_default(path, parsed.value):
        message = f"for {shown_path(path[:2])}, {message}"
        path = ("defaults", *path[2:])
    kind = NotYetSupportedError if error.later else JobFileError
    return kind(message, file=where, line=parsed.line(path), key=shown_path(path))


def _is_default(path: KeyPath, value: Mapping[str, Any]) -> bool:
    """True where a job has the culprit from the defaults of its file."""
    match path:
        case ("jobs", int(place), str(key), *_):
            return key not in value["jobs"][place] and key in value.get("defaults", ())
    return False
