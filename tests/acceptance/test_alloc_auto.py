"""``pilotfish alloc auto``: a server whose nodes come from Slurm as its queue needs them."""

import json
import re
import signal
import subprocess
import threading
from typing import Any

import pytest

from tests.acceptance.box import Box
from tests.clusters import SLURM, SlurmCluster

pytestmark = [*SLURM]

CAMPAIGN = """name: c
jobs:
  - name: a
    command: sh -c 'echo {index} >> began; until [ -e go ]; do sleep 0.1; done; echo {index} >> ended'
    array: %s
"""
AUTO = ("alloc", "auto", "slurm", "-t", "10m", "--cores", "4", "--store", "s")


class Service:
    """A server without nodes in a box, and what is typed at it."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.said: dict[int, list[str]] = {}
        box.env["PILOTFISH_LEASE"] = "30"
        self.server = self.serve()

    def serve(self) -> subprocess.Popen[str]:
        server = self.box.start("serve", "--no-agent", "--store", "s")
        access = self.box.folder / "s/server/access"
        self.box.wait_for(lambda: access.exists() and f"{server.pid}" in access.read_text())
        return server

    def submit(self, array: object, more: str = "") -> None:
        self.box.write("c.yaml", CAMPAIGN % array + more)
        done = self.box.run("submit", "c.yaml", "--server", "s")
        assert done.returncode == 0, done.stderr

    def auto(self, *words: str) -> subprocess.Popen[str]:
        process = self.box.start(*AUTO, *words)
        heard = self.said[process.pid] = []

        def hear() -> None:
            assert process.stderr is not None
            for line in iter(process.stderr.readline, ""):
                heard.append(line.rstrip())  # noqa: PERF401 - others read it meanwhile

        threading.Thread(target=hear, daemon=True).start()
        return process

    def would(self, *words: str) -> str:
        done = self.box.run(*AUTO, "--dry-run", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listed(self, *words: str) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = json.loads(self.box.run("alloc", "list", "--json", *words, "--store", "s").stdout)
        return told

    def wait_until_said(self, process: subprocess.Popen[str], text: str) -> None:
        heard = self.said[process.pid]
        self.box.wait_for(lambda: any(text in line for line in heard) or process.poll() is not None, 60)
        assert any(text in line for line in heard), heard

    def end(self, *processes: subprocess.Popen[str]) -> None:
        for process in processes:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) in {0, 130}


@pytest.fixture
def service(slurm: SlurmCluster, box: Box) -> Service:  # noqa: ARG001 - it must be up before the environment is copied
    return Service(box)


def jobs(slurm: SlurmCluster) -> list[str]:
    return slurm.run("squeue", "--noheader", "--all", "--format=%D %r", "--sort=i").splitlines()


def test_it_asks_for_what_waits_knows_it_after_a_kill_and_gives_it_back(slurm: SlurmCluster, service: Service) -> None:
    box = service.box
    first = service.auto("-N", "3", "--idle", "1s")
    service.wait_until_said(first, "nothing waits")
    assert jobs(slurm) == []
    service.submit(8)
    service.wait_until_said(first, "asking for 2 nodes for 10 minutes: 8 tasks could run there")
    box.wait_for(lambda: len(box.lines("began")) == 8, 60)
    first.kill()
    first.wait()
    second = service.auto("-N", "3", "--idle", "1s")
    service.wait_until_said(second, "nothing waits")
    box.write("go", "")
    service.wait_until_said(second, "it has had no task for")
    slurm.wait_for(lambda: not jobs(slurm))
    assert len(service.listed("--all")) == 1, "no second one was asked for"
    box.run("alloc", "cancel", "--all", "--store", "s")
    service.end(second, service.server)
    assert "its allocations stay" in service.said[second.pid][-1]


def test_what_waits_in_the_queue_outlives_the_manager_but_not_its_work(slurm: SlurmCluster, service: Service) -> None:
    service.submit(2)
    auto = service.auto("-p", "closed")
    service.wait_until_said(auto, "1 allocation in the queue")
    service.server.kill()
    service.server.wait()
    service.wait_until_said(auto, "no manager runs in")
    again = service.serve()
    heard = service.said[auto.pid]
    service.box.wait_for(lambda: sum("1 allocation in the queue" in line for line in heard) == 2)
    assert len(jobs(slurm)) == 1
    service.box.run("cancel", "a", "--store", "s")
    service.wait_until_said(auto, "nothing is left for it to do")
    slurm.wait_for(lambda: not jobs(slurm))
    service.end(auto, again)


def test_the_next_one_is_queued_behind_the_one_that_runs(slurm: SlurmCluster, service: Service) -> None:
    service.submit(40, "    estimate: 300\n")
    auto = service.auto("-N", "1")
    service.box.wait_for(lambda: len(jobs(slurm)) == 2, 60)
    service.box.wait_for(lambda: len(service.box.lines("began")) == 4, 60)
    assert jobs(slurm) == ["1 None", "1 Dependency"]
    service.end(auto)
    assert len(jobs(slurm)) == 2, "they stay"
    done = service.box.run("alloc", "cancel", "--all", "--store", "s")
    assert (done.returncode, done.stderr) == (0, "pilotfish: 2 allocations cancelled\n")
    service.end(service.server)


def test_it_says_what_it_would_ask_for_within_its_limits(slurm: SlurmCluster, service: Service) -> None:
    assert service.would() == "would ask for nothing: nothing waits\n"
    service.submit(100)
    asked = service.would("-N", "3")
    assert asked.startswith("would ask for 3 nodes for 10 minutes: 100 tasks could run there\nslurm: Job ")
    assert service.would("-N", "3", "--max-nodes", "2").startswith("would ask for 2 nodes for 10 minutes")
    assert service.would("-N", "3", "--node-hours", "0.4").startswith("would ask for 2 nodes for 10 minutes")
    assert "what is left of the node-hours, 0.1, is too little" in service.would("--node-hours", "0.1")
    assert "slurm: invalid partition specified: nope" in service.would("-p", "nope")
    assert jobs(slurm) == []
    service.end(service.server)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ("cores: 9", "a task needs 9 cores, and it has 4"),
        ("gpus: 1", "a task needs 1 GPU, and it has none"),
        ("nodes: 2", "a task needs 2 nodes, and it has 1"),
        ("labels: [big]", "a task needs the label big, which it does not carry"),
        ("time: 30m", "a task takes 30m00s, and it lasts 10m00s with its start and end"),
    ],
)
def test_for_what_could_never_run_there_nothing_is_asked(
    slurm: SlurmCluster, service: Service, keys: str, why: str
) -> None:
    service.submit(1, f"    {keys}\n")
    assert service.would() == f"would ask for nothing: nothing that waits could run in such an allocation: {why}\n"
    assert jobs(slurm) == []
    service.end(service.server)


def test_where_what_waits_cannot_start_it_does_not_get_one_allocation_after_the_other(
    slurm: SlurmCluster, service: Service
) -> None:
    """Nobody has said how much memory nodes have."""
    service.submit(1, "    memory: 1TB\n")
    auto = service.auto("--idle", "1s")
    service.wait_until_said(auto, "none of what waits started in it")
    service.wait_until_said(auto, "trying again later")
    slurm.wait_for(lambda: not jobs(slurm))
    service.end(auto, service.server)


def test_after_a_refusal_it_waits_and_says_so(slurm: SlurmCluster, service: Service) -> None:
    service.submit(1)
    auto = service.auto("-p", "nope")
    service.wait_until_said(auto, "trying again later: allocation")
    told = [line for line in service.said[auto.pid] if "invalid partition specified: nope" in line]
    assert re.match("pilotfish: allocation pf-[0-9a-f]{8} was refused: ", told[0])
    assert jobs(slurm) == []
    service.end(auto, service.server)


def test_two_of_them_are_refused(service: Service) -> None:
    auto = service.auto()
    service.wait_until_said(auto, "nothing waits")
    done = service.box.run(*AUTO)
    assert (done.returncode, "another process asks for the allocations of" in done.stderr) == (75, True)
    service.end(auto, service.server)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--max-nodes 0", "--max-nodes: expected a whole number from 1 to 100000, got '0'"),
        ("--backlog x", "--backlog: expected a whole number from 1 to 100000, got 'x'"),
        ("--node-hours nan", "--node-hours: expected a number of hours such as 100, got 'nan'"),
        ("--idle long", "--idle: expected a time such as"),
        ("--least 2h", "--least 2h: is more than the longest allocation, -t 10m"),
    ],
)
@pytest.mark.usefixtures("slurm")
def test_what_is_wrong_is_named_before_anybody_is_asked(box: Box, words: str, says: str) -> None:
    box.write("c.yaml", "name: server\njobs: [{command: 'true'}]\n")
    box.run("run", "c.yaml", "--store", "s")
    done = box.run(*AUTO, *words.split())
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr
    assert not (box.folder / "s/server/allocations").exists()


@pytest.mark.parametrize("words", ["submit slurm -t 1h", "auto slurm -t 1h --cores 4"])
@pytest.mark.usefixtures("slurm")
def test_there_must_be_a_manager_whom_agents_can_join(box: Box, words: str) -> None:
    box.write("c.yaml", "name: c\njobs: [{command: 'true'}]\n")
    box.run("run", "c.yaml")
    done = box.run("alloc", *words.split())
    assert (done.returncode, done.stderr.count("\n")) == (75, 1)
    assert "no manager runs in" in done.stderr
    assert "`pilotfish serve`" in done.stderr


@pytest.mark.soak
def test_it_goes_on_when_slurmctld_is_back(slurm: SlurmCluster, service: Service) -> None:
    service.submit(4)
    slurm.control("stop-ctld")
    auto = service.auto()
    try:
        service.wait_until_said(auto, "slurm is away: ")
    finally:
        slurm.control("start-ctld")
    service.box.wait_for(lambda: len(service.box.lines("began")) == 4, 180)
    service.box.write("go", "")
    service.box.wait_for(lambda: len(service.box.lines("ended")) == 4)
    service.end(auto, service.server)
    slurm.clear()
