"""``pilotfish alloc``: allocations whose agents join a manager that lives.

What belongs here: asking for one, listing, cancelling. What must not: when one is wanted (`alloc_auto`).
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pilotfish.agent.pilots import with_agents
from pilotfish.batch.allocations import Pilot
from pilotfish.batch.broker import Broker, read_book
from pilotfish.batch.commands import Running
from pilotfish.batch.dialect import AllocationRequest, Away, Dialect, Errand, Output, Refused, Seen, State, Taken, said
from pilotfish.cli.arguments import add_place
from pilotfish.cli.batch import SYSTEMS, broker_for, dialect_of, wanted_of
from pilotfish.cli.elsewhere import add_wanted
from pilotfish.cli.inquiry import Inquiry
from pilotfish.cli.machine import add_machine
from pilotfish.cli.output import print_json, table
from pilotfish.errors import BusyError, PilotfishError, UnavailableError, UserError
from pilotfish.manager.start import LET_IN
from pilotfish.model.quantities import format_seconds

__all__ = ["configure", "run"]

_OTHERS = 60.0
"""Seconds in which others who ask for an allocation at the same time must have been answered."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    submit = actions.add_parser("submit", help="ask for one allocation; prints its id")
    auto = actions.add_parser("auto", help="ask for allocations as the queue needs them, until interrupted")
    for one in (submit, auto):
        one.add_argument("system", metavar="SYSTEM", help=", ".join(SYSTEMS))
        add_wanted(one)
        add_machine(one)
        add_place(one)
    submit.add_argument("--dry-run", action="store_true", help="ask only whether and when it would start")
    from pilotfish.cli.alloc_auto import add_limits

    add_limits(auto)
    listing = actions.add_parser("list", help="list those that were asked for")
    listing.add_argument("--all", action="store_true", help="also those that are over")
    add_place(listing)
    cancel = actions.add_parser("cancel", help="give allocations back, or take them out of the queue")
    cancel.add_argument("ids", nargs="*", metavar="ID", help="as `pilotfish alloc list` tells them")
    cancel.add_argument("--all", action="store_true", help="all that are not over")
    add_place(cancel)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    with Inquiry.about(arguments) as inquiry:
        match arguments.action:
            case "submit":
                return _submit(inquiry, arguments)
            case "auto":
                from pilotfish.cli.alloc_auto import serve_queue

                return serve_queue(inquiry, arguments)
            case "list":
                return _list(inquiry.folder, arguments)
            case _:
                return _cancel(inquiry.folder, arguments)


def _submit(inquiry: Inquiry, arguments: argparse.Namespace) -> int:
    wanted = wanted_of(arguments, arguments.system, inquiry.folder)
    if arguments.dry_run:
        return _rehearse(arguments, wanted)
    join = inquiry.ask_living(LET_IN, {}, str)
    if join is None:
        raise UnavailableError(f"no manager runs in {inquiry.folder}, whom agents could join: `pilotfish serve`")
    inquiry.pause()
    broker = _broker(arguments.system, inquiry.folder)
    try:
        key = broker.ask(with_agents(wanted, Path(join)), time.time())
        notes = list(broker.settle(time.time))
        pilot = broker.book[key]
    finally:
        broker.close()
    for note in notes:
        if note != pilot.failure:
            sys.stderr.write(f"pilotfish: {note}\n")
    if pilot.state is State.REFUSED:
        raise PilotfishError(pilot.failure)
    if not pilot.id:
        lost = f"{arguments.system} has not said whether it has taken allocation {pilot.wanted.name}"
        raise UnavailableError(f"{lost} ({pilot.reason}): look for that name there before you ask again")
    if arguments.json:
        print_json({"id": pilot.id, "system": arguments.system, "state": str(pilot.state)})
    else:
        sys.stdout.write(f"{pilot.id}\n")
    return 0


def _broker(system: str, folder: Path) -> Broker:
    """Who asks for one; waits for others who ask for one just now."""
    until = time.monotonic() + _OTHERS
    while True:
        try:
            return broker_for(system, folder, "submit")
        except BusyError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.05)


def _rehearse(arguments: argparse.Namespace, wanted: AllocationRequest) -> int:
    dialect = dialect_of(arguments.system)
    call = dialect.rehearse(with_agents(wanted, Path("join")))
    if call is None:
        raise UserError(f"{arguments.system} cannot tell whether an allocation would start")
    told = dialect.rehearsed(_run(call))
    if isinstance(told, Refused | Away):
        raise PilotfishError(f"{arguments.system}: {told.why}")
    sys.stdout.write(f"{told}\n")
    return 0


def _books(folder: Path) -> Iterator[tuple[str, Pilot]]:
    """All that any process has asked for, with their systems."""
    for path in sorted((folder / "allocations").glob("*.json")):
        system, pilots = read_book(path)
        yield from ((system, pilot) for pilot in pilots)


def _seen(folder: Path) -> list[tuple[str, Pilot]]:
    """Likewise, as their systems see them now; one question to each."""
    found = list(_books(folder))
    for system in dict.fromkeys(system for system, pilot in found if not pilot.state.final):
        dialect = dialect_of(system)
        ours = [at for at, (name, pilot) in enumerate(found) if name == system and not pilot.state.final]
        for at in ours:
            found[at] = (system, _identified(dialect, found[at][1]))
        ids = [found[at][1].id for at in ours if found[at][1].id]
        if not ids:
            continue
        seen = dialect.seen(ids, _run(dialect.look(ids)))
        if isinstance(seen, Away):
            sys.stderr.write(f"pilotfish: {system} is away: {seen.why}\n")
            continue
        for at in ours:
            if found[at][1].id in seen:
                found[at] = (system, _updated(found[at][1], seen[found[at][1].id]))
    return found


def _identified(dialect: Dialect, pilot: Pilot) -> Pilot:
    """With its id, where whoever has asked for it ended before that was told."""
    if pilot.id:
        return pilot
    told = dialect.found(pilot.wanted.name, _run(dialect.find(pilot.wanted.name)))
    return msgspec.structs.replace(pilot, id=told.id) if isinstance(told, Taken) else pilot


def _updated(pilot: Pilot, seen: Seen) -> Pilot:
    return msgspec.structs.replace(
        pilot,
        state=seen.state,
        reason=seen.reason,
        nodes=seen.nodes or pilot.nodes,
        starts_at=seen.starts_at,
        ends_at=seen.ends_at or pilot.ends_at,
    )


def _run(errand: Errand) -> Output:
    with Running(errand, os.environ) as running:
        return running.wait()


def _list(folder: Path, arguments: argparse.Namespace) -> int:
    found = [(system, pilot) for system, pilot in _seen(folder) if arguments.all or not pilot.state.final]
    if arguments.json:
        print_json([_told(system, pilot) for system, pilot in found])
    elif not found:
        sys.stderr.write("pilotfish: no allocation; `pilotfish alloc submit slurm -N 4 -t 2h` asks for one\n")
    else:
        titles = ("ID", "SYSTEM", "STATE", "NODES", "WHERE", "LEFT", "REASON")
        now = time.time()
        sys.stdout.write(table(titles, [_row(system, pilot, now) for system, pilot in found], right={"NODES", "LEFT"}))
    return 0


def _told(system: str, pilot: Pilot) -> dict[str, object]:
    return {
        "id": pilot.id or None,
        "system": system,
        "name": pilot.wanted.name,
        "state": str(pilot.state),
        "nodes": pilot.wanted.nodes,
        "where": pilot.nodes or None,
        "starts_at": pilot.starts_at,
        "ends_at": pilot.ends_at,
        "reason": pilot.failure or pilot.reason or None,
        "log": pilot.wanted.log,
    }


def _row(system: str, pilot: Pilot, now: float) -> tuple[str, ...]:
    left = "-"
    if pilot.ends_at is not None and pilot.state is State.RUNNING:
        left = format_seconds(max(0, round(pilot.ends_at - now)))
    where, reason = pilot.nodes or "-", pilot.failure or pilot.reason
    return (pilot.id or "-", system, str(pilot.state), str(pilot.wanted.nodes), where, left, reason)


def _cancel(folder: Path, arguments: argparse.Namespace) -> int:
    if bool(arguments.ids) == arguments.all:
        raise UserError("say which to cancel: one or more IDs, or --all")
    living = {pilot.id: system for system, pilot in _seen(folder) if pilot.id and not pilot.state.final}
    ids = list(living) if arguments.all else arguments.ids
    for one in ids:
        if one not in living:
            raise UserError(
                f"there is no allocation {one} to cancel; `pilotfish alloc list` tells those that there are"
            )
    for system in dict.fromkeys(living[one] for one in ids):
        ours = [one for one in ids if living[one] == system]
        dialect = dialect_of(system)
        output = _run(dialect.cancel(ours))
        if away := dialect.cancelled(output):
            raise UnavailableError(f"{system} is away: {away.why}")
        if output.code:
            raise PilotfishError(f"{system}: {said(output)}")
    sys.stderr.write(f"pilotfish: {len(ids)} allocation{'s' * (len(ids) != 1)} cancelled\n")
    return 0
