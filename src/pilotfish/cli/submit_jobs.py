"""Job files, and one command, for a server: from arguments to jobs, and their ids.

What belongs here: what the arguments of `submit` make of these. What must not: job classes (`submit`), the queue.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from pilotfish.cli.output import print_line
from pilotfish.errors import UnavailableError, UserError
from pilotfish.formats.entries import EntryError
from pilotfish.formats.job import JobReader
from pilotfish.formats.native import STDIN, load_all
from pilotfish.formats.placeholders import escape
from pilotfish.manager.requests import Enqueue, question_name
from pilotfish.manager.servers import greet, server_socket
from pilotfish.model.jobs import Dependency, JobSpec, When
from pilotfish.transport.caller import Caller

__all__ = ["refuse_options", "submit_command", "submit_files"]

_PATIENCE = 5.0
"""Seconds that a server gets to answer."""
_ENTRY = 60.0
"""Seconds that it gets to take in jobs, of which there may be very many."""
_KINDS = {
    "after": Dependency("", When.started),
    "afterany": Dependency("", When.finished),
    "afternotok": Dependency("", When.failed),
    "afterok": Dependency("", When.succeeded),
    "aftercorr": Dependency("", When.succeeded, each=True),
}
"""Slurm's words."""
_OPTIONS = {
    "array": "-a",
    "cores": "-c",
    "gpus": "-G",
    "memory": "--mem",
    "name": "-J",
    "time": "-t",
}
"""The options by the keys of a job file that they stand for."""


def refuse_options(arguments: argparse.Namespace) -> None:
    """Raise UserError naming an option that only a command has, where there is none."""
    for key, option in {**_OPTIONS, "after": "-d"}.items():
        if getattr(arguments, f"job_{key}") is not None:
            raise UserError(f"{option} is for `submit -- COMMAND`; a job file, or a class, says it for each job")


def submit_files(server: Path | None, arguments: argparse.Namespace) -> int:
    """Submit all jobs of files together; prints their ids. Raises as reading does."""
    files = [arguments.kind, *arguments.words]
    if files.count(STDIN) > 1:
        raise UserError("standard input (-) can be read once only")
    texts = [(file, sys.stdin.read() if file == STDIN else None) for file in files]
    if server is None:
        load_all(texts)  # what is wrong with it matters more
        raise _no_server(f"pilotfish run {' '.join(files)}")
    caller = Caller(server_socket(server), _PATIENCE)
    limits = greet(caller).limits
    loaded = load_all(texts, jobs=frozenset(caller.ask("names", {})), limits=limits)
    return _enter(server, caller, loaded.jobs, arguments)


def submit_command(server: Path | None, arguments: argparse.Namespace) -> int:
    """Submit a command; prints its id. Raises UserError naming the option."""
    if arguments.kind is not None:
        raise UserError(f"a job file ({arguments.kind}) and a command at once: choose one")
    if not arguments.command:
        raise UserError("name a command behind --")
    spec = _of_command(arguments)
    if server is None:
        raise _no_server("pilotfish run -- COMMAND")
    caller = Caller(server_socket(server), _PATIENCE)
    greet(caller)
    return _enter(server, caller, [spec], arguments)


def _of_command(arguments: argparse.Namespace) -> JobSpec:
    given = {key: getattr(arguments, f"job_{key}") for key in _OPTIONS}
    keys: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for key in {"cores", "gpus"} & keys.keys():
        with suppress(ValueError):  # the reader says what is wrong with it
            keys[key] = int(keys[key]) if keys[key].isdecimal() else float(keys[key])
    if re.fullmatch(r"[0-9.]+", keys.get("time", "")):
        raise UserError(f"-t: {keys['time']} of what? say {keys['time']}s or {keys['time']}m")
    if keys.get("array", "").isdecimal():
        count = int(keys["array"])
        raise UserError(
            f"-a: {count} of what? say 0-{max(count - 1, 0)} for so many tasks, {count}-{count} for one with that index"
        )
    # Without an array there is nothing that a placeholder could stand for, and braces are the command's own.
    words = arguments.command if "array" in keys else [escape(word) for word in arguments.command]
    try:
        spec = JobReader(str(Path.cwd()), {}).read({**keys, "command": words}, Path(arguments.command[0]).name)
    except EntryError as error:
        key = str(error.path[0]) if error.path else ""
        raise UserError(f"{_OPTIONS.get(key, key) or 'command'}: {error}") from None
    return msgspec.structs.replace(spec, after=_after(arguments.job_after))


def _after(text: str | None) -> tuple[Dependency, ...]:
    """What ``afterok:17:18,afterany:sim`` means. Raises UserError."""
    found = []
    for part in text.split(",") if text else ():
        kind, *jobs = part.split(":")
        if kind not in _KINDS or not jobs or not all(jobs):
            known = ", ".join(_KINDS)
            raise UserError(f"-d: expected KIND:JOB such as afterok:17, with one of {known}; got {part!r}")
        found += [msgspec.structs.replace(_KINDS[kind], on=job) for job in jobs]
    return tuple(found)


def _enter(server: Path, caller: Caller, specs: Sequence[JobSpec], arguments: argparse.Namespace) -> int:
    packed = tuple(msgspec.msgpack.encode(spec) for spec in specs)
    question = Enqueue(origin=f"submit-{os.urandom(8).hex()}/1", specs=packed)
    try:
        ids = caller.ask(question_name(question), msgspec.structs.asdict(question), timeout=_ENTRY)
    except TimeoutError:
        raise UnavailableError(
            f"the server has not answered for {_ENTRY:g} s: `pilotfish jobs` will tell whether the jobs have entered"
        ) from None
    for number, spec in zip(ids, specs, strict=True):
        if arguments.json:
            print_line("submitted", {"job": number, "name": spec.name, "tasks": spec.count})
        else:
            sys.stdout.write(f"{number}\n")
    sys.stdout.flush()
    if not arguments.wait:
        return 0
    from pilotfish.cli.wait import wait_for

    return wait_for(server, [str(number) for number in ids], seen=True)


def _no_server(command: str) -> UnavailableError:
    return UnavailableError(f"no server is running: `pilotfish serve` is one; `{command}` runs it without")
