"""``pilotfish submit``: a job of a class enters a queue; where nobody works on that, this command does.

What belongs here: arguments, finding the class, whom the job is given to. What must not: the work (`submit_run`).
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
from pilotfish.cli.arguments import add_later
from pilotfish.cli.inquiry import Inquiry
from pilotfish.cli.machine import add_machine, declared_of, refuse_impossible
from pilotfish.cli.output import say_submitted
from pilotfish.errors import BusyError, NotYetSupportedError, UserError
from pilotfish.functions.family import Enter
from pilotfish.functions.jobclass import JobClass, check_arguments, job_fields, packed_call
from pilotfish.manager import campaigns
from pilotfish.model.jobs import CallArray, Function, JobSpec
from pilotfish.settings import Settings

__all__ = ["configure", "run"]

_CAMPAIGN = "jobs"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.usage = "pilotfish submit [options] MODULE:CLASS [KEY=VALUE …]"
    parser.add_argument("kind", nargs="?", metavar="MODULE:CLASS", help="a class derived from pilotfish.JobClass")
    parser.add_argument(
        "words", nargs="*", metavar="KEY=VALUE", help="arguments of its `execute`: JSON where they are JSON, else text"
    )
    parser.add_argument("--store", metavar="DIR", default=campaigns.DEFAULT_STORE, help="default: ./.pilotfish")
    parser.add_argument(
        "--campaign", metavar="NAME", default=_CAMPAIGN, help=f"which queue of the store (default: {_CAMPAIGN})"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line on stdout for all that happens")
    add_machine(parser)
    add_later(parser, "--wait")


def run(arguments: argparse.Namespace) -> int:
    """Give the job to the manager of its queue, or be that; exit codes as those of `pilotfish run`."""
    settings = Settings.from_environment()
    if arguments.command is not None:
        raise NotYetSupportedError("`submit -- COMMAND` is not yet supported; `pilotfish run -- COMMAND` runs it now")
    if arguments.kind is None:
        raise UserError("name a class: MODULE:CLASS, such as jobs:Count or jobs.py:Count")
    declared = declared_of(arguments)
    folder = Path(arguments.store).absolute() / campaigns.folder_of_name(arguments.campaign)
    kind = _found(arguments.kind)
    given = _values(arguments.words)
    fields = job_fields(kind)
    check_arguments(kind, given)
    spec, call = _spec(fields, folder), packed_call(kind, given)
    while True:
        name = _handed_over(folder, spec, call)
        if name is not None:
            say_submitted(name, as_json=arguments.json)
            return 0
        inventory = read_inventory(declared)
        refuse_impossible([spec], inventory, lambda _, message: UserError(message))
        from pilotfish.cli.submit_run import work_off

        with suppress(BusyError):  # somebody has begun meanwhile
            return work_off(folder, spec, call, declared, arguments=arguments, settings=settings)


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
        if Path(text).exists():
            raise NotYetSupportedError(f"`submit FILE` is not yet supported; `pilotfish run {text}` runs it now")
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
    except Exception as error:
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
    return found


def _spec(fields: Mapping[str, object], folder: Path) -> JobSpec:
    """The job that calls of a class belong to, in a campaign's folder."""
    here = str(Path.cwd())
    function = Function(
        values=str(folder / "values"),
        spill=str(folder / "spill"),
        limit=sys.maxsize,
        python=sys.version_info[:2],
        path=tuple(sys.path),
    )
    return JobSpec(**fields, command=(), function=function, directory=here, cwd=here, array=CallArray())  # type: ignore[arg-type]
