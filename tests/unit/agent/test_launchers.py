"""Launchers of MPI programs: how many ranks where, and what is said to each."""

from pathlib import Path
from typing import Any

import pytest

from pilotfish.agent.commands import launched
from pilotfish.agent.launchers import Launching, Site, forwarded, hosting, shares
from pilotfish.formats.placeholders import Template
from pilotfish.model.attempts import AttemptId
from pilotfish.model.jobs import JobSpec, Launcher
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Slots

ATTEMPT = AttemptId(7, 3, 1, 2)
FOLDER = Path("/scratch/.pilotfish")


def slots(*cores: int, gpus: tuple[str, ...] = ()) -> Slots:
    return Slots(cores, Amount(len(cores) * ONE), None, gpus)


def spec(launcher: str, **fields: Any) -> JobSpec:
    return JobSpec(name="mpi", command="./sim", directory="/d", cwd="/d", launcher=Launcher(launcher), **fields)


def site(**fields: Any) -> Site:
    known: dict[str, Any] = {
        "node": "n1",
        "host": "n1",
        "address": Path("/c/access"),
        "ends": Path("/c/ends"),
        "pinned": True,
        "shared": True,
    }
    return Site(**known | {"shared": True} | fields)


def launching(launcher: str, *beside: tuple[str, Slots], here: Slots | None = None, **fields: Any) -> Launching:
    held = slots(4, 5) if here is None else here
    of_site = {name: fields.pop(name) for name in ("node", "pinned", "root", "shared", "slurm") if name in fields}
    return Launching(spec(launcher, **fields), held, beside, site(**of_site), FOLDER)


@pytest.mark.parametrize(
    ("fields", "held", "expected"),
    [
        ({}, (4, 4), (4, 4)),
        ({"threads": 2}, (4, 6), (2, 3)),
        ({"ranks": 5}, (4, 4), (3, 2)),
        ({"ranks": 2, "threads": 4}, (4, 4), (1, 1)),
        ({"ranks": 3}, (8,), (3,)),
    ],
)
def test_ranks_are_dealt_out(fields: dict[str, int], held: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert shares(spec("openmpi", **fields), [slots(*range(count)) for count in held]) == expected


def test_a_host_file_is_written_as_its_launcher_reads_it() -> None:
    beside = ("n2", slots(0, 1, 2))
    assert launching("openmpi", beside).files(ATTEMPT)["hosts"] == "n1 slots=2\nn2 slots=3\n"
    assert launching("intelmpi", beside).files(ATTEMPT)["hosts"] == "n1:2\nn2:3\n"
    assert launching("srun", beside).files(ATTEMPT)["hosts"] == "n1\nn1\nn2\nn2\nn2\n"


def test_one_node_needs_no_name() -> None:
    assert launching("openmpi").files(ATTEMPT)["hosts"] == "localhost slots=2\n"
    assert launching("srun").files(ATTEMPT)["hosts"] == "n1\nn1\n"


def test_the_remote_shell_knows_the_attempt_and_its_manager() -> None:
    assert '-m pilotfish.agent.remote /c/access n1 7 3 1 2 "$@"' in launching("openmpi").files(ATTEMPT)["rsh"]


def test_a_launcher_does_not_see_the_step_that_it_runs_in() -> None:
    base = {b"PATH": b"/bin", b"SLURM_JOB_ID": b"9", b"SLURM_NTASKS": b"4", b"PMI_RANK": b"0", b"PBS_NODEFILE": b"/x"}
    seen = launching("openmpi").environment(base)
    assert seen[b"PATH"] == b"/bin"
    assert not seen.keys() & {b"SLURM_JOB_ID", b"SLURM_NTASKS", b"PMI_RANK", b"PBS_NODEFILE"}
    assert seen[b"OMPI_MCA_plm_rsh_agent"] == seen[b"PRTE_MCA_plm_ssh_agent"] == b"/bin/sh /scratch/.pilotfish/rsh"
    of_srun = launching("srun").environment(base)
    assert of_srun[b"SLURM_JOB_ID"] == b"9"
    assert b"SLURM_NTASKS" not in of_srun


def test_threads_are_told_whatever_the_environment_says() -> None:
    seen = launching("openmpi", here=slots(0, 1, 2, 3), ranks=2).environment({b"OMP_NUM_THREADS": b"64"})
    assert (seen[b"OMP_NUM_THREADS"], seen[b"PILOTFISH_RANKS"]) == (b"2", b"2")
    seen = launching("openmpi", here=slots(0, 1, 2, 3), ranks=2, threads=1).environment({})
    assert seen[b"OMP_NUM_THREADS"] == b"1"


def test_only_the_superuser_says_that_it_is_meant() -> None:
    assert b"OMPI_ALLOW_RUN_AS_ROOT" not in launching("openmpi").environment({})
    assert launching("openmpi", root=True).environment({})[b"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] == b"1"


def test_each_rank_is_bound_by_a_few_words() -> None:
    argv = launching("intelmpi", here=slots(0, 1, 2, 3), ranks=2).rank(["./sim", "a b"], ATTEMPT)
    assert argv[3:] == ["sh", "./sim", "a b"]
    assert "i=$MPI_LOCALRANKID w=2\n" in argv[2]
    assert argv[2].endswith('exec taskset -c "$c" "$@"')


def test_nothing_is_bound_where_cores_are_but_names() -> None:
    assert launching("openmpi", pinned=False).rank(["./sim"], ATTEMPT) == ["./sim"]


def test_ranks_of_srun_tell_of_their_success_and_know_their_node() -> None:
    ours = launching("srun", ("n2", slots(1, gpus=("3",))), here=slots(0, gpus=("0",)))
    argv = ours.rank(["./sim"], ATTEMPT)
    assert ours.ends(ATTEMPT) == Path("/c/ends/7.3.1.2")
    assert argv[3] == "/c/ends/7.3.1.2"
    assert "\nn2) export PILOTFISH_NODE=n2 PILOTFISH_CORES=1 PILOTFISH_CORE_IDS=1 PILOTFISH_GPUS=3 CUDA_" in argv[2]
    assert argv[2].endswith(': >"$0/$SLURM_PROCID"')
    assert launching("openmpi").ends(ATTEMPT) is None


def test_srun_knows_nodes_by_the_names_that_slurm_has_for_them() -> None:
    beside = ("n2-17", slots(1))
    ours = launching("srun", beside, node="n1-17", slurm="n1")
    assert ours.files(ATTEMPT)["hosts"] == "n1\nn1\nn2\n"
    told = "\n".join(ours.rank(["./sim"], ATTEMPT))
    assert "n2) export PILOTFISH_NODE=n2-17 " in told
    assert launching("srun", ("n-17", slots(1)), node="n1", slurm="n1").files(ATTEMPT)["hosts"] == "n1\nn1\nn-17\n"


@pytest.mark.parametrize(
    ("launcher", "expected"), [("openmpi", "n1 slots=2\nn2-17 slots=1\n"), ("intelmpi", "n1:2\nn2-17:1\n")]
)
def test_other_launchers_know_their_own_machine(launcher: str, expected: str) -> None:
    assert launching(launcher, ("n2-17", slots(1)), node="n1-17").files(ATTEMPT)["hosts"] == expected


def test_srun_does_not_reach_nodes_of_another_allocation() -> None:
    with pytest.raises(ValueError, match="n2-18 is not of that of n1-17: use launcher openmpi"):
        launching("srun", ("n2-18", slots(1)), node="n1-17", slurm="n1").files(ATTEMPT)


def test_srun_on_several_nodes_needs_a_shared_folder() -> None:
    with pytest.raises(ValueError, match="folder that they share"):
        launching("srun", ("n2", slots(1)), shared=False).ends(ATTEMPT)
    assert launching("srun", shared=False).ends(ATTEMPT) is not None


def test_a_daemon_has_the_environment_of_its_launcher_but_for_what_is_its_nodes_own() -> None:
    launcher = {b"MADE": b"a=b\xff", b"TMPDIR": b"/x", b"PILOTFISH_NODE": b"n1", b"PMIX_RANK": b"0"}
    assert forwarded(launcher) == (b"MADE=a=b\xff",)
    daemon = hosting("orted -x {brace}", forwarded(launcher))
    assert daemon.env == {"MADE": "a=b\udcff"}
    assert [Template.compile(word, quoted=False).render({}) for word in daemon.command][-1] == "orted -x {brace}"


def test_setup_comes_once_before_the_launcher() -> None:
    argv = launched(spec("openmpi", setup=("module load x",)))({}, "exec mpiexec", lambda command: ["rank", *command])
    assert argv[:2] == ["/bin/sh", "-c"]
    assert argv[2] == "set -e\nmodule load x\nset +e\nexec mpiexec"
    assert argv[3:] == ["sh", "rank", "/bin/sh", "-c", "./sim"]
