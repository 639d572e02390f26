"""``pilotfish serve``: a manager that stays, for the submissions and sessions of one user.

What belongs here: arguments, what it says while it works. What must not: what clients ask (`manager.desk`).
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from pilotfish.agent.inventory import Declared
from pilotfish.agent.launch import AgentProcess
from pilotfish.cli.arguments import add_later
from pilotfish.cli.machine import add_machine, declared_of
from pilotfish.cli.output import print_line
from pilotfish.errors import UserError
from pilotfish.formats.values import read_limits
from pilotfish.manager import campaigns
from pilotfish.model.changes import Change, Finish, Settle, Submit
from pilotfish.model.jobs import Job
from pilotfish.model.states import FINAL
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.ui.words import plural

__all__ = ["configure", "run"]

_LEASE = 24 * 3600.0
"""Seconds that agents go on without a server: who restarts it may sleep over that."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--store", metavar="DIR", help="where its queue lies (default: one of the user, in ~/.local/state/pilotfish)"
    )
    parser.add_argument("--no-agent", action="store_true", help="run nothing on this machine")
    parser.add_argument(
        "--limit", metavar="NAME=N", action="append", default=[], help="a named limit of the queue; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line on stdout for all that happens")
    add_machine(parser)
    add_later(parser, "--http", "--tcp")


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    settings = Settings.from_environment()
    if "PILOTFISH_LEASE" not in os.environ:
        settings = msgspec.structs.replace(settings, lease=_LEASE)
    limits = _limits(arguments.limit)
    declared = declared_of(arguments)
    store = Path(arguments.store).absolute() if arguments.store else campaigns.user_store()
    folder = store / campaigns.SERVER
    if arguments.no_agent and declared != Declared():
        raise UserError("--no-agent runs nothing on this machine: say nothing of what it has")
    if arguments.no_agent:
        agent: AgentProcess | _Nobody = _Nobody()
    else:
        from pilotfish.cli.machine import Demand
        from pilotfish.cli.run import agent_config

        everything = Demand(at_least=1, at_most=None, gpus_at_least=0, gpus_at_most=None)
        agent = AgentProcess(agent_config(folder, declared, everything, settings))
    from pilotfish.cli.campaign_run import interruptible
    from pilotfish.manager.desk import Desk
    from pilotfish.manager.schedules import Schedules
    from pilotfish.manager.start import Campaign

    store.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(folder, settings)
    try:
        report = _Report(campaign.scheduler, f"unix:{store}", as_json=arguments.json)
        desk = Desk(
            campaign.scheduler,
            campaign.store,
            folder,
            limits=limits,
            schedules=Schedules(campaign.store, campaign.write),
            observer=report,
            lease=settings.lease,
        )
        interruptible(campaign, desk, agent, limits, desk=desk)
        report.note("ended; `pilotfish serve` goes on with what is left in the queue")
    finally:
        campaign.close()
    return 0


def _limits(words: Sequence[str]) -> dict[str, int]:
    """Named limits. Raises UserError."""
    found: dict[str, object] = {}
    for word in words:
        name, sign, amount = word.partition("=")
        if not sign or not amount.isascii() or not amount.isdecimal():
            raise UserError(f"--limit: expected NAME=N such as licence=4, got {word!r}")
        if name in found:
            raise UserError(f"--limit: {name} is given twice")
        found[name] = int(amount)
    try:
        return read_limits(found)
    except ValueError as error:
        raise UserError(f"--limit: {error}") from error


class _Nobody:
    """In the place of this machine's agent, where there is to be none."""

    expected = None
    """Any number may come."""

    def go(self, let_in: Callable[[], Path]) -> None:
        """Start nothing."""
        del let_in

    def supervise(self, connected: Collection[str], now: float) -> Iterable[str]:
        """Nothing is known."""
        del connected, now
        return ()

    def end(self, patience: float) -> None:
        """Nobody is to be waited for."""


class _Report:
    """An observer that says on stderr what happens, or with ``--json`` on stdout.

    What cannot be written is not said: a disk that is full, or a reader who has gone, ends no server.
    """

    def __init__(self, scheduler: Scheduler, address: str, *, as_json: bool) -> None:
        """Nothing is said yet."""
        self._scheduler, self._address, self._json = scheduler, address, as_json
        self._ready = False

    def recorded(self, changes: Sequence[Change]) -> None:
        """Tell of jobs that come, and of those of commands that end."""
        ended = set()
        for change in changes:
            if isinstance(change, Submit):
                self._say("submitted", change.job, _size(change.job))
            elif isinstance(change, Settle) and change.state in FINAL:
                ended.add(change.report.attempt.job)
            elif isinstance(change, Finish):
                ended.add(change.job)
        for number in sorted(ended):
            job, counts = self._scheduler.jobs[number], self._scheduler.counts(number)
            if job.spec.function is None and all(state in FINAL for state, count in counts.items() if count):
                self._say("ended", job, ", ".join(f"{count} {state.name}" for state, count in counts.items() if count))

    def _say(self, event: str, job: Job, words: str) -> None:
        if self._json:
            self._print(event, {"job": job.id, "name": job.spec.name, "text": words})
        else:
            self.note(f"{job.id} {job.spec.name}: {event}, {words}")

    def note(self, text: str) -> None:
        """Pass something on that a person should read."""
        if self._json:
            self._print("note", {"text": text})
        else:
            with suppress(OSError):
                sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
                sys.stderr.flush()

    def _print(self, event: str, fields: Mapping[str, object]) -> None:
        with suppress(OSError):
            print_line(event, fields)

    def tick(self, now: float) -> None:
        """Tell the address, once it can be reached."""
        del now
        if not self._ready:
            self._ready = True
            if self._scheduler.unfinished:
                self.note(f"going on with {plural(self._scheduler.unfinished, 'task')}")
            if self._json:
                self._print("ready", {"address": self._address})
            else:
                with suppress(OSError):
                    sys.stdout.write(f"{self._address}\n")
                    sys.stdout.flush()


def _size(job: Job) -> str:
    if job.spec.function is not None:
        return "calls of a function"
    return plural(job.spec.count, "task")
