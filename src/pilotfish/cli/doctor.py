"""``pilotfish doctor``: what would go wrong, on this machine and on each node of the allocation, before it does.

What belongs here: asking the nodes, printing. What must not: what is looked at (`agent.checkup`), what it means
(`agent.findings`).
"""

import argparse
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from pilotfish.agent.checkup import Facts, Met, Venue, hold_meeting, read_facts
from pilotfish.agent.findings import (
    Finding,
    gathered,
    judge_allocation,
    judge_end,
    judge_node,
    judge_slurm,
    judge_together,
)
from pilotfish.agent.witness import reason_of
from pilotfish.batch.allocation import Allocation, ask
from pilotfish.batch.hostlist import expand_hosts
from pilotfish.batch.launch import SRUN_OPTIONS, launch_commands
from pilotfish.cli.allocated import found_allocation
from pilotfish.cli.output import paint, print_json
from pilotfish.errors import UserError
from pilotfish.settings import Settings
from pilotfish.ui.words import plural

__all__ = ["configure", "run"]

_PATIENCE = 60.0
"""Seconds for all nodes to answer: to start Python from a busy file system takes ten."""
_SEEN = 10.0
"""Seconds to wait for a file that another node has made."""
_NAMED = 4
"""Nodes that are named in a line; of further ones their number is told."""
_COLOURS = {"ok": "succeeded", "warning": "cancelled", "problem": "failed"}
"""What each level looks like."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--store", metavar="DIR", help="where campaigns lie, or will (default: .pilotfish here)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each finding; 1 where there is a problem."""
    store = Path(arguments.store or ".pilotfish").absolute()
    findings = gathered(_examine(store))
    if arguments.json:
        print_json(findings)
    else:
        _print(findings)
    return int(any(finding.level == "problem" for finding in findings))


def _examine(store: Path) -> list[Finding]:
    head = read_facts(store)
    try:
        allocation = found_allocation(os.environ)
    except UserError as error:
        return [Finding(level="problem", subject="allocation", text=str(error)), *judge_node(head)]
    if allocation is None:
        return judge_node(head)
    lent = expand_hosts(os.environ["SLURM_JOB_NODELIST"]) if allocation.system == "slurm" else allocation.nodes
    inside = judge_allocation(f"{allocation.system} {allocation.id}", allocation.nodes, lent)
    left = None if allocation.ends_at is None else allocation.ends_at - time.time()
    findings = [inside, judge_end(left), *(_ask_slurm() if allocation.system == "slurm" else [])]
    try:
        return findings + _ask_nodes(allocation, head, store)
    except OSError as error:  # there is no place to meet, or no launcher
        return [*findings, _unasked(allocation, error), *judge_node(head, several=len(allocation.nodes) > 1)]


def _ask_slurm() -> list[Finding]:
    version, config = ask(["srun", "--version"], os.environ), ask(["scontrol", "show", "config"], os.environ) or ""
    wait = re.search(r"^KillWait\s*=\s*(\d+)", config, re.MULTILINE)
    return judge_slurm(
        None if version is None else version.strip(),
        ask(["srun", "--help"], os.environ) or "",
        SRUN_OPTIONS,
        float(wait[1]) if wait else None,
        Settings.from_environment().grace,
    )


def _ask_nodes(allocation: Allocation, head: Facts, store: Path) -> list[Finding]:
    addresses = tuple(head.interfaces.values()) or ("127.0.0.1",)
    with hold_meeting(store, addresses) as venue, tempfile.TemporaryFile() as log:
        met, ahead = _gather(allocation, venue, store, log)
        torn = venue.torn_lines([name for name, one in met.items() if one.shared])
        log.seek(0)
        lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    several = len(allocation.nodes) > 1
    findings = [finding for one in met.values() for finding in judge_node(one.facts, several=several)]
    if head.host not in met:
        findings = [*judge_node(head), *findings]
    findings += [_absent(node, lines) for node in allocation.nodes if node.partition(".")[0] not in met]
    return findings + (judge_together(head, met, ahead=ahead, delays=venue.delays, torn=torn) if met else [])


def _unasked(allocation: Allocation, error: OSError) -> Finding:
    text, way_out = f"nodes cannot be asked: {reason_of(error)}", "mend what else is told here, and ask again"
    return Finding(level="problem", subject="launch", text=text, way_out=way_out, nodes=tuple(allocation.nodes))


def _absent(node: str, lines: Sequence[str]) -> Finding:
    told = [line for line in lines if node in line] or lines or ["nobody has told why"]
    way_out = "run without this node, or ask the site about it"
    return Finding(level="problem", subject="launch", text=f"no answer: {told[-1]}", way_out=way_out, nodes=(node,))


def _gather(
    allocation: Allocation, venue: Venue, store: Path, log: IO[bytes]
) -> tuple[dict[str, Met], dict[str, float]]:
    """What each node has found, and by how many seconds its clock is ahead of ours."""
    meeting = msgspec.json.encode(venue.meeting).decode()
    words = [sys.executable, "-m", "pilotfish.agent.checkup", str(store), meeting]
    launches = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        for command in launch_commands(allocation, words, os.environ)
    ]
    met: dict[str, Met] = {}
    ahead: dict[str, float] = {}
    try:
        for line in _lines([launch.stdout for launch in launches if launch.stdout]):
            now = time.time()
            try:
                found = msgspec.json.decode(line, type=Met)
            except msgspec.DecodeError:
                log.write(line + b"\n")
                continue
            met[found.facts.host], ahead[found.facts.host] = found, found.clock - now
            if found.shared:
                venue.await_file(found.facts.host, _SEEN)
    finally:
        for launch in launches:
            launch.kill()
            launch.communicate()
    places = {node.partition(".")[0]: place for place, node in enumerate(allocation.nodes)}
    return dict(sorted(met.items(), key=lambda one: places.get(one[0], len(places)))), ahead


def _lines(outputs: Sequence[IO[bytes]]) -> Iterator[bytes]:
    """Lines as they come, until all have ended or patience has."""
    deadline = time.monotonic() + _PATIENCE
    rests = {output.fileno(): b"" for output in outputs}
    with selectors.DefaultSelector() as selector:
        for descriptor in rests:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for descriptor in [key.fd for key, _ in selector.select(left)]:
                content = os.read(descriptor, 1 << 16)
                *lines, rests[descriptor] = (rests[descriptor] + content).split(b"\n")
                yield from lines
                if not content:
                    selector.unregister(descriptor)


def _print(findings: Sequence[Finding]) -> None:
    width = max(len(finding.subject) for finding in findings)
    alone = len({finding.nodes for finding in findings}) == 1
    for finding in findings:
        level = paint(finding.level.ljust(len("problem")), _COLOURS[finding.level])
        nodes = f" [{_some(finding.nodes)}]" if finding.nodes and not alone else ""
        sys.stdout.write(f"{level}  {finding.subject.ljust(width)}  {finding.text}{nodes}\n")
        if finding.way_out:
            sys.stdout.write(f"{'':{len('problem') + width + 4}}→ {finding.way_out}\n")
    bad = [plural(count, level) for level in ("problem", "warning") if (count := _count(findings, level))]
    sys.stderr.write(f"{' and '.join(bad) or 'all is well'}\n")


def _count(findings: Sequence[Finding], level: str) -> int:
    return sum(finding.level == level for finding in findings)


def _some(nodes: Sequence[str]) -> str:
    named = ", ".join(nodes[:_NAMED])
    return named if len(nodes) <= _NAMED else f"{named} and {len(nodes) - _NAMED} more"
