"""A run that gets its own allocation of Slurm, as a user sees it: asked for, used, given back, asked for again."""

import json
import re
import signal
import subprocess
from collections import Counter

import pytest

from tests.acceptance.box import PILOTFISH, Box
from tests.clusters import SLURM, SlurmCluster

pytestmark = [*SLURM]

CAMPAIGN = """name: c
jobs:
  - name: a
    command: sh -c 'echo {index} $PILOTFISH_NODE >> began; echo said {index}; until [ -e go ]; do sleep 0.1; done;
      echo {index} >> ended'
    array: 8
"""
RANKS = """name: c
jobs:
  - {name: a, launcher: LAUNCHER, ranks: 4, nodes: 2, command: echo $(hostname) $PILOTFISH_NODE}
  - {name: b, launcher: LAUNCHER, ranks: 2, command: hostname}
"""
RUN = ("run", "c.yaml", "--on", "slurm", "-t", "10m")


@pytest.fixture
def away(slurm: SlurmCluster, box: Box) -> Box:  # noqa: ARG001 - it must be up before the environment is copied
    """A box in which Slurm is known, beside a campaign whose tasks wait for a file."""
    box.env["PILOTFISH_LEASE"] = "30"
    box.write("c.yaml", CAMPAIGN)
    return box


def jobs(slurm: SlurmCluster) -> list[str]:
    """Ids of all jobs that wait or run."""
    return slurm.run("squeue", "--noheader", "--all", "--format=%A", "--states=PD,R,CF").split()


def is_idle(slurm: SlurmCluster) -> bool:
    return not slurm.run("squeue", "--noheader", "--all").strip()


def interrupted(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    return said


def test_it_runs_on_all_nodes_and_gives_them_back(slurm: SlurmCluster, away: Box) -> None:
    away.write("c.yaml", f"{CAMPAIGN}    labels: [fast]\n")
    first = away.start(*RUN, "-N", "2", "--label", "fast")
    away.wait_for(lambda: len(away.lines("began")) == 8, 60)
    away.write("go", "")
    _, said = first.communicate(timeout=60)
    assert first.returncode == 0, said
    assert re.search(r"pilotfish: allocation (\d+) is in the queue\n(.*\n)*pilotfish: allocation \1 runs", said)
    assert sorted(away.lines("ended")) == list("01234567")
    assert {re.sub("-.*", "", line.split()[1]) for line in away.lines("began")} == {"n1", "n2"}
    assert away.run("logs", "a:3").stdout == "said 3\n"
    slurm.wait_for(lambda: is_idle(slurm))
    again = away.run(*RUN)
    assert (again.returncode, again.stderr.splitlines()[0]) == (0, "8 tasks: 8 kept")
    assert is_idle(slurm)


def test_an_interrupt_gives_the_allocation_back_and_the_next_run_goes_on(slurm: SlurmCluster, away: Box) -> None:
    first = away.start(*RUN)
    away.wait_for(lambda: len(away.lines("began")) == 4, 60)
    assert "8 ready" in interrupted(first)
    slurm.wait_for(lambda: is_idle(slurm))
    away.write("go", "")
    done = away.run(*RUN)
    assert done.returncode == 0, done.stderr
    assert sorted(away.lines("ended")) == list("01234567")
    assert "is over" not in done.stderr, "that of the run before is no news"


def test_an_allocation_that_ends_early_ends_the_run_and_the_next_one_repeats_nothing(
    slurm: SlurmCluster, away: Box
) -> None:
    away.write("c.yaml", CAMPAIGN.replace("until [ -e go ]", "until [ -e go{index} -o -e go ]"))
    for index in range(3):
        away.write(f"go{index}", "")
    first = away.start(*RUN)
    away.wait_for(lambda: len(away.lines("ended")) == 3 and len(away.lines("began")) == 7, 60)
    slurm.run("scancel", *jobs(slurm))
    _, said = first.communicate(timeout=60)
    assert first.returncode == 1, said
    assert re.search(r"allocation \d+ is over \(CANCELLED\)", said)
    assert "3 succeeded" in said
    assert "next: pilotfish run c.yaml" in said
    away.write("go", "")
    done = away.run(*RUN)
    assert done.returncode == 0, done.stderr
    assert Counter(away.lines("ended")) == Counter("01234567")


def test_one_that_is_killed_is_followed_by_one_that_takes_its_allocation(slurm: SlurmCluster, away: Box) -> None:
    first = away.start(*RUN)
    away.wait_for(lambda: len(away.lines("began")) == 4, 60)
    (number,) = jobs(slurm)
    first.kill()
    first.wait()
    second = away.start(*RUN, "-A", "root")
    away.wait_for((away.folder / ".pilotfish/c/access").exists)
    away.write("go", "")
    _, said = second.communicate(timeout=60)
    assert second.returncode == 0, said
    assert f"allocation {number} runs" in said
    assert "is in the queue" not in said, "no second one was asked for"
    assert said.count(f"allocation {number} is what the run before asked for, with other options") == 1
    assert Counter(away.lines("began")[n].split()[0] for n in range(8)) == Counter("01234567"), "all went on"
    slurm.wait_for(lambda: is_idle(slurm))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-p", "nope"), r"was refused: invalid partition specified: nope"),
        (("--batch=--bogus",), r"was refused: unrecognized option '--bogus'"),
    ],
)
def test_a_refusal_ends_the_run_and_leaves_nothing_in_the_queue(
    slurm: SlurmCluster, away: Box, words: tuple[str, ...], says: str
) -> None:
    done = away.run(*RUN, *words)
    assert done.returncode == 1
    assert len(re.findall(says, done.stderr)) == 1, done.stderr
    assert "8 ready" in done.stderr
    assert is_idle(slurm)


@pytest.mark.soak
def test_one_that_can_never_start_is_given_up_and_one_that_waits_says_why(slurm: SlurmCluster, away: Box) -> None:
    """Both are known only when Slurm is asked what has become of them."""
    waits = away.start(*RUN, "-p", "closed", "--json")
    never = away.start(*RUN, "-N", "400", "--store", "other")
    _, said = never.communicate(timeout=60)
    assert never.returncode == 1
    assert len(re.findall(r"allocation \d+ can never start as it was asked for: Partition", said)) == 1, said
    assert "8 ready" in said
    assert waits.stdout is not None
    for line in waits.stdout:
        if "PartitionDown" in line:
            break
    interrupted(waits)
    assert is_idle(slurm)


@pytest.mark.parametrize("launcher", ["srun", pytest.param("openmpi", marks=pytest.mark.needs("mpi"))])
def test_ranks_are_started_there(slurm: SlurmCluster, away: Box, launcher: str) -> None:
    away.env["PILOTFISH_RUNTIME"] = f"{slurm.folder}/local/run"  # each node has its own
    away.write("c.yaml", RANKS.replace("LAUNCHER", launcher))
    done = away.run(*RUN, "-N", "2")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in away.run("logs", "a").stdout.splitlines() if line.startswith("n")]
    assert Counter(host for host, _ in lines) == {"n1": 2, "n2": 2}
    assert all(re.fullmatch(rf"{host}-\d+", node) for host, node in lines), lines
    slurm.wait_for(lambda: is_idle(slurm))


def test_a_command_runs_there_as_here(slurm: SlurmCluster, away: Box) -> None:
    done = away.run("run", "--on", "slurm", "-t", "5m", "--", "sh", "-c", "echo $SLURM_JOB_ID; exit 7")
    assert done.returncode == 7
    assert done.stdout.strip().isdigit()
    slurm.wait_for(lambda: is_idle(slurm))


def test_another_server_gets_nodes_when_they_are_asked_for(slurm: SlurmCluster, away: Box) -> None:
    server = away.start("serve", "--no-agent", "--store", "s")
    away.wait_for((away.folder / "s/server/access").exists)
    place = ("--store", "s")
    both = [away.start("alloc", "submit", "slurm", "-N", nodes, "-t", "10m", *place) for nodes in ("2", "1")]
    number, other = (process.communicate(timeout=60)[0].strip() for process in both)
    assert sorted(jobs(slurm)) == sorted([number, other]), "one of two that were asked for at once"
    assert away.run("alloc", "cancel", other, *place).returncode == 0
    slurm.wait_for(lambda: jobs(slurm) == [number])
    away.run("submit", "c.yaml", "--server", "s")
    away.wait_for(lambda: len(away.lines("began")) == 8, 60)
    listed = away.run("alloc", "list", *place).stdout
    assert re.search(rf"^{number} +slurm +running +2 +n\[1-2\] +(9m|10m)", listed, re.MULTILINE), listed
    (told,) = json.loads(away.run("alloc", "list", "--json", *place).stdout)
    assert (told["id"], told["state"], told["nodes"], told["where"]) == (number, "running", 2, "n[1-2]")
    away.write("go", "")
    away.wait_for(lambda: len(away.lines("ended")) == 8)
    cancelled = away.run("alloc", "cancel", number, *place)
    assert (cancelled.returncode, cancelled.stderr) == (0, "pilotfish: 1 allocation cancelled\n")
    slurm.wait_for(lambda: is_idle(slurm))
    assert number not in away.run("alloc", "list", *place).stdout
    assert re.search(rf"^{number} +slurm +ended", away.run("alloc", "list", "--all", *place).stdout, re.MULTILINE)
    over = away.run("alloc", "cancel", number, *place)
    assert (over.returncode, f"there is no allocation {number} to cancel" in over.stderr) == (2, True)
    rehearsed = away.run("alloc", "submit", "slurm", "-N", "2", "-t", "10m", "--dry-run", *place)
    assert "on nodes n[1-2]" in rehearsed.stdout
    assert is_idle(slurm)
    refused = away.run("alloc", "submit", "slurm", "-p", "nope", "-t", "10m", *place)
    assert refused.returncode == 1
    assert re.fullmatch("pilotfish: error: allocation pf-[0-9a-f]+ was refused: .*nope.*\n", refused.stderr)
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=30)


def test_a_run_gets_further_nodes_when_they_are_asked_for(slurm: SlurmCluster, away: Box) -> None:
    first = away.start("run", "c.yaml", "--cores", "2")
    away.wait_for(lambda: len(away.lines("began")) == 2)
    asked = away.run("alloc", "submit", "slurm", "-t", "10m", "--campaign", "c")
    assert asked.returncode == 0, asked.stderr
    away.wait_for(lambda: len(away.lines("began")) == 6, 60)
    away.write("go", "")
    _, said = first.communicate(timeout=60)
    assert first.returncode == 0, said
    assert Counter(line.split()[1].partition("-")[0] == "n1" for line in away.lines("began"))[True] >= 4
    slurm.wait_for(lambda: is_idle(slurm))


def test_from_outside_the_one_node_of_salloc_it_works_there(slurm: SlurmCluster, away: Box) -> None:
    words = ("salloc", "--nodes=1", "--time=10", str(PILOTFISH), "run", "--", "sh", "-c", "echo $SLURMD_NODENAME")
    done = subprocess.run(words, env=away.env, cwd=away.folder, text=True, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "n1\n"), done.stderr
    slurm.wait_for(lambda: is_idle(slurm))


@pytest.mark.parametrize("nodes", [1, 2])
def test_inside_a_job_it_uses_the_nodes_of_that_job(slurm: SlurmCluster, away: Box, nodes: int) -> None:
    away.write("go", "")
    away.write("c.yaml", f"{CAMPAIGN}    labels: [fast]\n")
    words = [f"--nodes={nodes}", "--exclusive", "--time=10", f"--chdir={away.folder}", "--output=out"]
    script = f"#!/bin/sh\n{PILOTFISH} run c.yaml --label fast 2> said; echo $? > code\n"
    subprocess.run(["sbatch", *words], input=script, env=away.env, text=True, capture_output=True, check=True)
    away.wait_for(lambda: away.lines("code"), 60)
    assert away.lines("code") == ["0"], away.lines("said")
    assert sorted(away.lines("ended")) == list("01234567")
    slurm.wait_for(lambda: is_idle(slurm))
