"""What of this machine a run may use: the options that say it, and whether its jobs fit.

What belongs here: these options, and jobs against an inventory. What must not: reading the machine.
"""

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from pilotfish.agent.inventory import Declared
from pilotfish.errors import UserError
from pilotfish.model.jobs import JobSpec
from pilotfish.model.quantities import ONE, Amount, format_amount, parse_amount, parse_bytes
from pilotfish.model.resources import Inventory, Quantities, Request

__all__ = [
    "MOST_UNITS",
    "Demand",
    "add_machine",
    "declared_of",
    "demand_of",
    "machine_words",
    "parsed",
    "parsed_limit",
    "refuse_impossible",
]

MOST_UNITS = 100_000
"""Cores, and GPUs, that a machine may be said to have: each of them has a name."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
_N = TypeVar("_N", int, float)
_T = TypeVar("_T")


def add_machine(parser: argparse.ArgumentParser) -> None:
    """The options that declare what this machine has."""
    parser.add_argument("--cores", metavar="N", help="cores of this machine to use (default: all that we may use)")
    parser.add_argument("--memory", metavar="SIZE", help="memory of this machine to use, such as 16GiB")
    parser.add_argument("--gpus", metavar="N", help="GPUs of this machine to use (default: all that we may use)")
    again = "; may be repeated"
    parser.add_argument(
        "--resource", metavar="NAME=AMOUNT", action="append", default=[], help=f"what else it has{again}"
    )
    parser.add_argument("--label", metavar="NAME", action="append", default=[], help=f"a label that it carries{again}")


def declared_of(arguments: argparse.Namespace) -> Declared:
    """What these options say. Raises UserError naming the option."""
    return Declared(
        cores=parsed("--cores", arguments.cores, partial(_units, least=1)),
        memory=parsed_limit("--memory", arguments.memory, parse_bytes),
        gpus=parsed("--gpus", arguments.gpus, partial(_units, least=0)),
        resources=_resources(arguments.resource),
        labels=tuple(sorted({parsed("--label", name, _name) or "" for name in arguments.label})),
    )


def machine_words(arguments: argparse.Namespace) -> list[str]:
    """These options as they were given, for the command line of another agent."""
    one = {"--cores": arguments.cores, "--memory": arguments.memory, "--gpus": arguments.gpus}
    many = {"--resource": arguments.resource, "--label": arguments.label}
    words = [f"{option}={text}" for option, text in one.items() if text is not None]
    return words + [f"{option}={text}" for option, texts in many.items() for text in texts]


def _resources(words: Iterable[str]) -> Quantities:
    found: dict[str, Amount] = {}
    for name, amount in (parsed("--resource", word, _resource) or ("", Amount(0)) for word in words):
        if name in found:
            raise UserError(f"--resource: {name} is declared twice")
        found[name] = amount
    return tuple(sorted((name, amount) for name, amount in found.items() if amount))


def _resource(word: str) -> tuple[str, Amount]:
    name, sign, amount = word.partition("=")
    if not sign:
        raise ValueError(f"expected NAME=AMOUNT such as fpga=2, got {word!r}")
    if name in ("cores", "memory", "gpus"):
        raise ValueError(f"{name} has an option of its own: --{name} {amount}")
    return _name(name), parse_amount(amount)


def _name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise ValueError(f"expected a name of letters, digits, _, . and -, a letter or _ first; got {text!r}")
    return text


def _units(text: str, least: int) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= MOST_UNITS:
        raise ValueError(f"expected a whole number from {least} to {MOST_UNITS}, got {text!r}")
    return int(text)


def parsed(option: str, text: str | None, parse: Callable[[str], _T]) -> _T | None:
    """The value of an option, None where it is not given. Raises UserError for what `parse` refuses."""
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from error


def parsed_limit(option: str, text: str | None, parse: Callable[[str], _N]) -> _N | None:
    """Likewise, of what would leave no room where it is 0."""
    value = parsed(option, text, parse)
    if value == 0:
        raise UserError(f"{option}: must be more than 0")
    return value


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What of cores and GPUs a run needs, as an agent is told it."""

    at_least: int
    """Cores with which each task could run."""
    at_most: int | None
    """Cores that all tasks could use at the same time; None: all that there are."""
    gpus_at_least: int
    gpus_at_most: int | None


def demand_of(specs: Iterable[JobSpec], inventory: Inventory) -> Demand:
    """What the jobs need of the inventory, which each of them fits."""
    least, most = [0, 0], [0, 0]
    whole_node = False
    for spec in specs:
        first = next(request for request in spec.requests if _problem(request, inventory) is None)
        least = list(map(max, least, _whole_units(first)))
        tasks = min(spec.count, spec.max_parallel or spec.count)
        each = [max(units) for units in zip(*map(_most_units, spec.requests), strict=True)]
        most = [total + tasks * units for total, units in zip(most, each, strict=True)]
        whole_node |= any(request.exclusive for request in spec.requests)
    if whole_node:
        cores, gpus = len(inventory.cores), len(inventory.gpus)
        return Demand(at_least=cores, at_most=None, gpus_at_least=gpus, gpus_at_most=None)
    return Demand(at_least=least[0], at_most=most[0], gpus_at_least=least[1], gpus_at_most=most[1])


def _whole_units(request: Request) -> tuple[int, int]:
    """Cores and GPUs that it lies on at least."""
    return -(-request.cores // ONE), -(-request.gpus // ONE)


def _most_units(request: Request) -> tuple[int, int]:
    cores, gpus = _whole_units(request)
    return cores if request.most_cores is None else request.most_cores // ONE, gpus


def refuse_impossible(specs: Sequence[JobSpec], inventory: Inventory, refusal: Callable[[int, str], UserError]) -> None:
    """Refuse, before anything runs, a job that could never run.

    Args:
        specs: the jobs.
        inventory: of this machine.
        refusal: makes an error of a job's place among them and a message.

    """
    for place, spec in enumerate(specs):
        problems = [_problem(request, inventory) for request in spec.requests]
        if None not in problems:
            also = "" if len(problems) == 1 else ", and none of its variants fits either"
            more = " ".join(_declarations(spec.request, inventory))
            declare = f", or declare more: {more}" if more else ""
            problem = f"which asks for {problems[0]}{also}; ask for less{declare}"
            raise refusal(place, f"this machine can never run job {spec.name}, {problem}")


def _problem(request: Request, inventory: Inventory) -> str | None:
    if request.nodes > 1:
        return f"{request.nodes} nodes, and it is one"
    return inventory.lacks(request)


def _declarations(request: Request, inventory: Inventory) -> Iterator[str]:
    """The options with which this machine would have what the request, of one node, asks for."""
    if request.nodes > 1:
        return
    cores, gpus = _whole_units(request)
    if cores > len(inventory.cores):
        yield f"--cores {cores}"
    if (request.memory or 0) > inventory.memory:
        yield "--memory SIZE"
    if gpus > len(inventory.gpus):
        yield f"--gpus {gpus}"
    declared = dict(inventory.resources)
    for name, amount in request.resources:
        if amount > declared.get(name, 0):
            yield f"--resource {name}={format_amount(amount)}"
    yield from (f"--label {label}" for label in request.labels if label not in inventory.labels)
