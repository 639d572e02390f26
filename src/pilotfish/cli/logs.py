"""``pilotfish logs``: what attempts wrote, byte by byte.

What belongs here: copying outputs to our own streams, also while they grow. What must not: knowing how agents keep
them (:mod:`pilotfish.agent.outputs`).
"""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from pilotfish.agent.outputs import StreamName, live_output
from pilotfish.cli.arguments import add_place, refuse_contrary
from pilotfish.cli.inquiry import Inquiry
from pilotfish.cli.output import note_unattended, print_json
from pilotfish.errors import PilotfishError
from pilotfish.manager.answers import OutputPage, OutputRow, Place
from pilotfish.manager.api import Logs
from pilotfish.model.states import FINAL

__all__ = ["configure", "run"]

_FINAL = frozenset(state.name for state in FINAL)
_CHUNK = 4 * 2**20
"""Bytes that are read at once."""
_PERIOD = 0.2
"""Seconds between two looks at an output that is followed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = (
        "stdout goes to stdout and stderr to stderr, untouched. Of a job all tasks are printed in their order, "
        "each under a line on stderr with its name."
    )
    parser.add_argument("id", metavar="ID", help="a job or a task: 17, 17:3, sim, sim:3")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--stdout", action="store_true", help="only what was written to stdout")
    which.add_argument("--stderr", action="store_true", help="only what was written to stderr, on stdout")
    parser.add_argument("--attempt", type=int, metavar="N", help="of this attempt (default: the newest)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on while a task writes, until it has ended")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print outputs; with ``--json`` only where they lie."""
    refuse_contrary(arguments, ("follow", "json"))
    targets: dict[StreamName, BinaryIO] = {"out": sys.stdout.buffer, "err": sys.stderr.buffer}
    if arguments.stdout or arguments.stderr:
        targets = {"err" if arguments.stderr else "out": sys.stdout.buffer}
    rows: list[OutputRow] = []
    following: int | None = 0
    with Inquiry.about(arguments) as inquiry:
        while following is not None:
            page = inquiry.ask(Logs(arguments.id, arguments.attempt, following), OutputPage)
            several = following > 0 or page.next is not None or len(page.outputs) > 1
            following = page.next
            rows += page.outputs if arguments.json else []
            for row in () if arguments.json else page.outputs:
                if not several and row.attempt is None and not arguments.follow:
                    raise PilotfishError(f"{row.name} has written nothing yet: it is {row.state}")
                if several and (row.attempt is not None or arguments.follow):
                    sys.stderr.write(f"==> {row.name} <==\n")
                    sys.stderr.flush()
                _print(inquiry, row, arguments, targets)
    if arguments.json:
        print_json(rows)
    return 0


def _print(
    inquiry: Inquiry, row: OutputRow, arguments: argparse.Namespace, targets: Mapping[StreamName, BinaryIO]
) -> None:
    """Print one task's output: what there is now, or what comes until its end."""
    copier = _Copier(inquiry.folder / "outputs", targets, follow=arguments.follow)
    pinned = arguments.attempt if arguments.follow else row.attempt
    while not copier.copy(row):
        if arguments.follow and not inquiry.live:
            note_unattended({row.state}, live=False, way_on=inquiry.way_on)
            return
        if arguments.follow:
            time.sleep(_PERIOD)
        row = inquiry.ask(Logs(row.id, pinned), OutputPage).outputs[0]


class _Copier:
    """Copies the outputs of one task and remembers how far it is.

    The file of a running attempt is used again by the next one in its lane. So what was read from it is
    held back until a later answer says that the attempt was still running; if it was not, the output is
    found again where it was put.
    """

    def __init__(self, outputs: Path, targets: Mapping[StreamName, BinaryIO], *, follow: bool) -> None:
        self._outputs, self._targets, self._follow = outputs, targets, follow
        self._begin(None)

    def _begin(self, attempt: int | None) -> None:
        self._attempt = attempt
        self._sent = dict.fromkeys(self._targets, 0)
        self._fresh = dict.fromkeys(self._targets, b"")
        self._until: dict[StreamName, int] = {}

    def copy(self, row: OutputRow) -> bool:
        """Copy what is known to be the attempt's; True when all is copied that was asked for."""
        if row.attempt != self._attempt:
            self._begin(row.attempt)
        if row.running:
            return self._copy_growing(row)
        for stream in self._targets:
            place = self._place(row, stream)
            if place is not None and place.length and not Path(place.path).exists():
                raise PilotfishError(f"the output of {row.name} is gone: it was in {place.path}")
            while piece := _read(place, self._sent[stream]):
                self._write(stream, piece)
        return not self._follow or row.state in _FINAL

    def _copy_growing(self, row: OutputRow) -> bool:
        places = {stream: self._place(row, stream) for stream in self._targets}
        if not self._until:
            # Without `follow` the end is where it was when we came: some programs never stop writing.
            self._until = {stream: sys.maxsize if self._follow else _size(place) for stream, place in places.items()}
        for stream, place in places.items():
            self._write(stream, self._fresh[stream])
            self._fresh[stream] = _read(place, self._sent[stream])[: self._until[stream] - self._sent[stream]]
        return all(self._sent[stream] >= until for stream, until in self._until.items())

    def _write(self, stream: StreamName, piece: bytes) -> None:
        self._targets[stream].write(piece)
        self._targets[stream].flush()
        self._sent[stream] += len(piece)

    def _place(self, row: OutputRow, stream: StreamName) -> Place | None:
        named = row.stdout if stream == "out" else row.stderr
        if named is None and row.running and row.node is not None and row.lane is not None:
            return Place(str(live_output(self._outputs, row.node, row.lane, stream)), 0, None)
        return named


def _read(place: Place | None, skip: int) -> bytes:
    """What follows behind the first `skip` bytes, at most a chunk; nothing where there is no file (yet)."""
    length = _size(place) - skip
    if place is None or length <= 0:
        return b""
    with Path(place.path).open("rb") as file:
        file.seek(place.offset + skip)
        return file.read(min(_CHUNK, length))


def _size(place: Place | None) -> int:
    """Bytes that there are now; a pipe or a device that the user named keeps none."""
    if place is None or not Path(place.path).is_file():
        return 0
    there = max(0, Path(place.path).stat().st_size - place.offset)
    return there if place.length is None else min(there, place.length)
