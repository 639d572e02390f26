"""Job files to specs: the one door of this folder, for files and for text from elsewhere.

What belongs here: reading the file, the order of the checks, what needs more than one key of a job (names,
paths, placeholders), and the place in every error. What must not: syntax (`document`, `lines`), the meaning of single
values (`values`), the table of keys (`keys`).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pilotfish.errors import JobFileError, NotYetSupportedError
from pilotfish.formats import dependencies, document, keys, lines, values
from pilotfish.formats.document import Format
from pilotfish.formats.placeholders import ALWAYS, Template, escape
from pilotfish.model.jobs import JobSpec
from pilotfish.model.resources import Request

__all__ = ["STDIN", "JobFile", "load", "load_text"]

STDIN = "-"
"""The name of a text that comes from standard input."""

_SUFFIXES = {".yaml": Format.yaml, ".yml": Format.yaml, ".json": Format.json, ".toml": Format.toml}
_LONGEST_MESSAGE = 500


class JobFile(msgspec.Struct, frozen=True):
    """What one job file asks for: checked and complete."""

    name: str | None
    """As the file says; None where it does not."""
    file: str
    """Its absolute path, or ``-`` for standard input."""
    jobs: tuple[JobSpec, ...]
    """In the file's order; names are unique, dependencies known and without a circle."""


def load(path: Path) -> JobFile:
    """Read a job file: ``.yaml``, ``.yml``, ``.json``, ``.toml``, else what its text looks like.

    Raises JobFileError where it cannot be read or is wrong, NotYetSupportedError for what is yet to come.
    """
    name = os.fspath(path)
    return load_text(_read(path, name), name=name, format=_SUFFIXES.get(path.suffix.lower()))


def load_text(text: str, *, name: str, format: Format | None = None) -> JobFile:  # noqa: A002 - the plain word
    """Read the text of a job file. Raises as :func:`load` does.

    Args:
        text: all of it.
        name: its path, whose folder is the jobs' folder, or `STDIN`: then that is the current one.
        format: None guesses it from the text.

    """
    where = "standard input" if name == STDIN else name
    _require_text(text, name, where)
    text = text.removeprefix("\ufeff")
    directory = _directory(name, where)
    chosen = document.guess_format(text) if format is None else format
    stem = "stdin" if name == STDIN else Path(name).stem
    if chosen is Format.lines:
        title, jobs = None, _list_of_commands(text, _name_from(stem), directory, where)
    else:
        parsed = document.parse_document(text, chosen, where)
        try:
            title, jobs = _campaign(parsed.value, _name_from(stem), directory)
        except ValueError as error:
            raise _placed(error, parsed, where) from error
    return JobFile(title, name if name == STDIN else _absolute_file(name), jobs)


def _read(path: Path, name: str) -> str:
    """The text of a file."""
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise JobFileError(f"is a folder: name a file in it, such as {path / 'jobs.yaml'}", file=name) from None
    except FileNotFoundError:
        raise JobFileError("no such file", file=name) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise JobFileError(f"cannot be read: {reason}", file=name) from error
    return data.decode(errors="surrogateescape")  # what that hides is found with everything else


def _require_text(text: str, name: str, where: str) -> None:
    """Refuse what holds a NUL byte or is not UTF-8."""
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        hint = "" if name == STDIN else f"; to run a program, type pilotfish run -- {name}"
        raise JobFileError(f"holds a NUL byte, so it is no text{hint}", file=where, line=line)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        msg = f"is not UTF-8: byte 0x{ord(text[error.start]) & 0xFF:02x}; save it as UTF-8"
        raise JobFileError(msg, file=where, line=line) from error


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


def _placed(error: ValueError, parsed: document.Document, where: str) -> JobFileError:
    """The error with file, line and key path."""
    path = error.path if isinstance(error, keys.EntryError) else ()
    later = isinstance(error, keys.EntryError) and error.later
    message = str(error)
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}…"
    kind = NotYetSupportedError if later else JobFileError
    return kind(message, file=where, line=parsed.line(path), key="".join(map(_shown_step, path)).lstrip("."))


def _shown_step(step: str | int) -> str:
    """One step of a key path: ``[2]``, ``.cores``, or in quotes what would not be readable so."""
    if isinstance(step, str) and step.isprintable() and 0 < len(step) <= 100:
        return f".{step}"
    return f"[{keys.shown(step)}]"


def _list_of_commands(text: str, name: str, directory: str, where: str) -> tuple[JobSpec, ...]:
    try:
        array = values.list_array(lines.read_commands(text, where))
    except ValueError as error:
        message = str(error) if text.strip() else "is empty: write one command a line, or a job file"
        raise JobFileError(message, file=where) from error
    return (JobSpec(name=name, command=lines.COMMAND, array=array, directory=directory, cwd=escape(directory)),)


def _campaign(value: object, stem: str, directory: str) -> tuple[str | None, tuple[JobSpec, ...]]:
    if value is None:
        msg = "is empty: write `jobs:` and a list of jobs"
        raise keys.EntryError(msg)
    if isinstance(value, list):
        msg = "begins with a list: write `jobs:` before it"
        raise keys.EntryError(msg)
    top = keys.read_mapping(value, keys.FILE_KEYS, {"name": values.read_title, "jobs": list})
    fallback = stem if len(top["jobs"]) == 1 else None
    specs = []
    try:
        if not top["jobs"]:
            msg = "is empty: a campaign needs at least one job"
            raise keys.EntryError(msg)
        for place, entry in enumerate(top["jobs"]):
            try:
                specs.append(_job(entry, fallback, directory))
            except ValueError as error:
                raise keys.EntryError.under(place, error) from error
        dependencies.check_dependencies(specs)
    except ValueError as error:
        raise keys.EntryError.under("jobs", error) from error
    return top.get("name"), tuple(specs)


def _job(value: object, fallback: str | None, directory: str) -> JobSpec:
    read = keys.read_mapping(value, keys.JOB_KEYS, values.READERS)
    if read.setdefault("name", fallback) is None:
        msg = "the key name is missing: a file of several jobs names each of them"
        raise keys.EntryError(msg)
    request = Request(**{key: read.pop(key) for key in ("cores", "memory") if key in read})
    folder = escape(directory)
    for key in ("cwd", "stdout", "stderr"):
        if key in read and (key, read[key]) != ("stderr", "stdout"):
            try:
                read[key] = _absolute(folder, read[key])
            except ValueError as error:
                raise keys.EntryError.under(key, error) from error
    read.setdefault("cwd", folder)
    _check_placeholders(read)
    return JobSpec(directory=directory, request=request, **read)


def _absolute(folder: str, path: str) -> str:
    """A path of the job file, seen from the root. ``..`` stays: the folder before it may be a symbolic link."""
    if path.startswith("~"):
        try:
            path = str(Path(path).expanduser())
        except RuntimeError as error:
            msg = f"{keys.shown(path)}: there is no such user; for a folder of that name put ./ before it"
            raise ValueError(msg) from error
    joined = path if path.startswith("/") else f"{folder.rstrip('/')}/{path}"
    return joined if ".." in path else os.path.normpath(joined)


def _check_placeholders(read: Mapping[str, Any]) -> None:
    known = (*ALWAYS, *getattr(read.get("array"), "names", ()))
    for key in ("command", "cwd", "stdout", "stderr"):
        texts = read.get(key, ())
        for place, text in enumerate((texts,) if isinstance(texts, str) else texts):
            if "{" in text and (unknown := Template.compile(text, quoted=False).names.difference(known)):
                name = min(unknown)
                listed = ", ".join(f"{{{each}}}" for each in known)
                msg = f"unknown placeholder {{{name}}}; known here are {listed}"
                msg += "; {value} needs a list array" if name == "value" else f"; for the text itself: {{{{{name}}}}}"
                raise keys.EntryError(msg, key, *(() if isinstance(texts, str) else (place,)))
