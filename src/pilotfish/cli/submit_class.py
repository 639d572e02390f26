"""A job of a class from the command line: given to who works on its queue; where nobody does, this command works.

What belongs here: finding the class, its arguments, whom the job is given to. What must not: the work (`submit_run`).
"""

import argparse
import importlib
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from pilotfish.agent.inventory import read_inventory
from pilotfish.cli.inquiry import Inquiry
from pilotfish.cli.machine import declared_of, refuse_impossible
from pilotfish.cli.output import say_submitted
from pilotfish.client.repeated import class_job, repetition
from pilotfish.errors import BusyError, UnavailableError, UserError
from pilotfish.functions.family import Enter
from pilotfish.functions.jobclass import JobClass, check_arguments, packed_call, schedule_of
from pilotfish.manager.requests import question_name
from pilotfish.manager.servers import greet, server_socket
from pilotfish.model.jobs import JobSpec
from pilotfish.settings import Settings
from pilotfish.transport.caller import Caller
from pilotfish.ui.words import moment

__all__ = ["submit_class"]

_PATIENCE = 5.0
"""Seconds that a server gets to answer."""


def submit_class(server: Path | None, own: Path, arguments: argparse.Namespace) -> int:
    """Give the job to the manager of its queue, or be that; exit codes as those of `pilotfish run`.

    Args:
        server: folder of the server's campaign; None: there is none.
        own: folder of the campaign to work on then.
        arguments: of the command.

    """
    settings = Settings.from_environment()
    declared = declared_of(arguments)
    folder = server or own
    kind = _found(arguments.kind)
    given = _values(arguments.words)
    spec = class_job(kind, folder)
    check_arguments(kind, given)
    if schedule_of(kind) is not None:
        return _repeat(server, kind, given, arguments)
    call = packed_call(kind, given)
    while True:
        name = _handed_over(folder, spec, call)
        if name is not None:
            say_submitted(name, as_json=arguments.json)
            if not arguments.wait:
                return 0
            from pilotfish.cli.wait import wait_for

            return wait_for(folder, [name], seen=True)
        if server is not None:
            raise UnavailableError(
                f"the server of {server.parent} does not run: `pilotfish serve --store {server.parent}`"
            )
        inventory = read_inventory(declared)
        refuse_impossible([spec], inventory, lambda _, message: UserError(message))
        from pilotfish.cli.submit_run import work_off

        with suppress(BusyError):  # somebody has begun meanwhile
            return work_off(folder, spec, call, declared, arguments=arguments, settings=settings)


def _repeat(
    server: Path | None, kind: type[JobClass], given: Mapping[str, object], arguments: argparse.Namespace
) -> int:
    """Have jobs of a class with a schedule enqueued at its times; says when first."""
    if arguments.wait:
        raise UserError(f"--wait: {kind.__name__} has a schedule, which does not end")
    if server is None:
        raise UnavailableError(
            f"{kind.__name__} has a schedule, and no server is running that keeps it: `pilotfish serve` is one"
        )
    caller = Caller(server_socket(server), _PATIENCE)
    greet(caller)
    question = repetition(kind, given, server)
    name, due = caller.ask(question_name(question), msgspec.structs.asdict(question))
    say_submitted(name, as_json=arguments.json)
    if not arguments.json:
        sys.stderr.write(f"{name}: {schedule_of(kind)}, next at {moment(due)}\n")
    return 0


def _handed_over(folder: Path, spec: JobSpec, call: bytes) -> str | None:
    """The name that a living manager has given the job; None where none lives."""
    if not folder.exists():
        return None
    question = Enter(specs=(msgspec.msgpack.encode(spec),), calls=((0, call),))
    with Inquiry(folder) as inquiry:
        names = inquiry.ask_living("calls-enter", msgspec.structs.asdict(question), list[str])
    return None if names is None else names[0]


def _found(text: str) -> type[JobClass]:
    """The class that ``module:Class`` or ``file.py:Class`` means. Raises UserError."""
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise UserError(f"expected MODULE:CLASS, such as jobs:Count or jobs.py:Count, got {text!r}")
    folder, module = Path.cwd(), place
    if place.endswith(".py"):
        file = Path(place).absolute()
        if not file.exists():
            raise UserError(f"{place}: there is no such file")
        folder, module = file.parent, file.stem
    sys.path.insert(0, str(folder))
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise UserError(f"{place} cannot be imported: {error}") from error
        raise UserError(f"there is no module `{module}`, neither in {folder} nor installed") from error
    except (Exception, SystemExit) as error:  # it may be a program
        raise UserError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error
    kind = getattr(found, name, None)
    if not (isinstance(kind, type) and issubclass(kind, JobClass)):
        known = [one for one, value in vars(found).items() if _is_kind(value)]
        problem = "has no" if kind is None else "is not derived from pilotfish.JobClass:"
        raise UserError(f"{place} {problem} `{name}`; job classes there: {', '.join(known) or 'none'}")
    return kind


def _is_kind(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, JobClass) and value is not JobClass


def _values(words: list[str]) -> dict[str, object]:
    """Arguments by name. Raises UserError."""
    found: dict[str, object] = {}
    for word in words:
        key, sign, text = word.partition("=")
        if not sign or not key.isidentifier():
            raise UserError(f"expected KEY=VALUE, such as end=1000, got {word!r}")
        if key in found:
            raise UserError(f"{key} is given twice")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
        except RecursionError:
            raise UserError(f"{key}: its JSON is nested too deeply") from None
    return found
