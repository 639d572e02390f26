"""``pilotfish clean``: deletes campaigns with all that is known of them, after asking.

What belongs here: which ones, how much that is, the question. What must not: how campaigns lie (`campaigns`).
"""

import argparse
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from pilotfish.cli.inquiry import store_of
from pilotfish.cli.machine import parsed
from pilotfish.cli.output import print_json, table
from pilotfish.errors import BusyError, UserError
from pilotfish.manager import campaigns
from pilotfish.model.quantities import format_bytes, parse_seconds
from pilotfish.runtime import runtime_folder
from pilotfish.store.ownership import Ownership
from pilotfish.ui.words import moment, plural

__all__ = ["configure", "run"]


class _Doomed(msgspec.Struct):
    """What is to be deleted."""

    name: str
    folder: Path
    bytes: int
    last_run: float
    """Seconds since 1970."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = "What is running is never deleted. To keep the record and start anew: `pilotfish run --fresh`."
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--campaign", metavar="NAME", help="this campaign")
    which.add_argument("--all", action="store_true", help="all campaigns of the store")
    parser.add_argument("--archived", action="store_true", help="also, or only, what `run --fresh` has put away")
    parser.add_argument("--older-than", metavar="TIME", help="only what has not run for so long, such as 30d")
    parser.add_argument("--dry-run", action="store_true", help="say what would be deleted, and stop")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--store", metavar="DIR", help="where campaigns lie (default: the nearest .pilotfish upward)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Say what there is to delete, ask, delete it; 75 where something that was meant is running."""
    doomed, busy = _split(_chosen(arguments))
    if busy and arguments.campaign:
        raise busy[0]
    for error in busy:
        sys.stderr.write(f"pilotfish: left alone: {error}\n")
    if arguments.json:
        print_json([msgspec.structs.replace(one, folder=str(one.folder)) for one in doomed])
    elif doomed:
        rows = [(one.name, format_bytes(one.bytes), moment(one.last_run), str(one.folder)) for one in doomed]
        sys.stdout.write(table(("name", "size", "last run", "folder"), rows, right=("size",)))
        sys.stdout.flush()
    amount = f"{plural(len(doomed), 'campaign')}, {format_bytes(sum(one.bytes for one in doomed))}"
    if not doomed:
        sys.stderr.write("nothing to delete\n")
    elif arguments.dry_run:
        sys.stderr.write(f"would delete {amount}\n")
    elif arguments.yes or _agreed(amount):
        for one in doomed:
            _delete(one.folder)
        sys.stderr.write(f"deleted {amount}\n")
    return BusyError.exit_code if busy else 0


def _chosen(arguments: argparse.Namespace) -> list[Path]:
    """The folders that the arguments mean."""
    if not (arguments.campaign or arguments.all or arguments.archived):
        raise UserError("say what to delete: --campaign NAME, --all or --archived")
    age = parsed("--older-than", arguments.older_than, parse_seconds) or 0.0
    store = store_of(arguments)
    found = campaigns.campaigns(store) if arguments.all else []
    put_away = campaigns.archived(store) if arguments.archived else []
    if arguments.campaign:
        name = campaigns.folder_of_name(arguments.campaign)
        put_away = [
            folder for folder in put_away if re.fullmatch(rf"{re.escape(name)}-\d{{8}}-\d{{6}}(-\d+)?", folder.name)
        ]
        # Of a campaign that is gone only what was put away may be left.
        found = [] if put_away and not (store / name).exists() else [campaigns.choose(store, arguments.campaign)]
    before = time.time() - age
    return [folder for folder in (*found, *put_away) if _last_run(folder) <= before]


def _split(folders: Sequence[Path]) -> tuple[list[_Doomed], list[BusyError]]:
    """What can be deleted, and why the rest cannot."""
    doomed, busy = [], []
    for folder in folders:
        try:
            with _claimed(folder):
                doomed.append(_Doomed(folder.name, folder, sum(_sizes(folder)), _last_run(folder)))
        except BusyError as error:
            busy.append(error)
    return doomed, busy


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold a campaign so that no manager can begin. Raises BusyError where one, or an agent of it, lives."""
    with ExitStack() as claims:
        if folder.parent.name != campaigns.ARCHIVE:
            claims.callback(Ownership(folder, visitor=False).release)
            runtime = _runtime(folder)
            try:
                if (runtime / "lock").exists():
                    claims.callback(Ownership(runtime, visitor=True).release)
            except BusyError as error:
                problem = f"tasks of {folder} still run: `pilotfish run` takes them over, else they end soon"
                raise BusyError(problem) from error
        yield


def _delete(folder: Path) -> None:
    with _claimed(folder):
        shutil.rmtree(_runtime(folder), ignore_errors=True)
        campaigns.delete(folder)


def _runtime(folder: Path) -> Path:
    """Where an agent of the campaign keeps what belongs to this machine; made by it."""
    return runtime_folder() / campaigns.key(folder)


def _agreed(amount: str) -> bool:
    if not sys.stdin.isatty():
        raise UserError(f"this would delete {amount}: say --yes")
    sys.stderr.write(f"delete {amount}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _last_run(folder: Path) -> float:
    touched = campaigns.last_run(folder)
    return folder.stat().st_mtime if touched is None else touched / 1e9


def _sizes(folder: Path) -> Iterator[int]:
    for root, _, names in os.walk(folder):
        for name in names:
            yield (Path(root) / name).lstat().st_size
