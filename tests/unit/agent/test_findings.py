import pytest

from pilotfish.agent.checkup import Facts, Folder, Met
from pilotfish.agent.findings import (
    Finding,
    gathered,
    judge_allocation,
    judge_end,
    judge_node,
    judge_slurm,
    judge_together,
)

GIB = 2**30


def folder(path: str, kind: str = "ext4", free: int = 100 * GIB, *, problem: str = "", locks: bool = True) -> Folder:
    return Folder(path=path, kind=kind, free=free, problem=problem, locks=locks)


def facts(host: str = "n1", /, **others: object) -> Facts:
    """Those of a node on which all is well, but for some."""
    well: dict[str, object] = {
        "host": host,
        "version": "1.0",
        "python": "3.12.4",
        "kernel": "5.14.0",
        "handles": True,
        "cores": 8,
        "open_files": 1024,
        "open_files_most": 4096,
        "processes": None,
        "memory_cgroup": False,
        "engine": True,
        "store": folder("/home/ada", "nfs4"),
        "temporary": folder("/tmp"),
        "shared_memory": folder("/dev/shm", "tmpfs"),
        "runtime": folder("/tmp/pilotfish-1000"),
        "interfaces": {"eth0": "10.0.0.1"},
    }
    return Facts(**{**well, **others})  # type: ignore[arg-type]


def met(host: str, **others: object) -> Met:
    """What a node on which all is well has found, but for some."""
    well: dict[str, object] = {
        "facts": facts(host),
        "clock": 0.0,
        "shared": True,
        "kept_out": True,
        "reached": ("10.0.0.1",),
    }
    return Met(**{**well, **others})  # type: ignore[arg-type]


def together(*nodes: Met, ahead: float = 0.0, delay: float = 0.0, torn: int = 0) -> dict[str, Finding]:
    hosts = {one.facts.host: one for one in nodes}
    found = judge_together(
        facts(), hosts, ahead=dict.fromkeys(hosts, ahead), delays=dict.fromkeys(hosts, delay), torn=torn
    )
    return {finding.subject: finding for finding in found}


def bad(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.subject, finding.level) for finding in findings if finding.level != "ok"]


def test_on_a_good_node_all_is_well() -> None:
    assert bad(judge_node(facts(), several=True)) == []


@pytest.mark.parametrize(
    ("wrong", "subject", "level"),
    [
        ({"handles": False}, "kernel", "problem"),
        ({"cores": 128}, "open files", "warning"),
        ({"processes": 100}, "processes", "warning"),
        ({"store": folder("/s", "lustre", locks=False)}, "store", "problem"),
        ({"store": folder("/s", problem="Permission denied")}, "store", "problem"),
        ({"store": folder("/s", free=GIB // 2)}, "store", "warning"),
        ({"temporary": folder("/none", problem="No such file or directory")}, "temporary files", "problem"),
        ({"shared_memory": folder("/dev/shm", "tmpfs", free=64 * 2**20)}, "shared memory", "warning"),
        ({"shared_memory": folder("/dev/shm", problem="No such file")}, "shared memory", "warning"),
        ({"runtime": folder("/home/ada/run", "nfs4")}, "runtime folder", "problem"),
        ({"runtime": folder("/" + "ü" * 39)}, "runtime folder", "problem"),
        ({"engine": False}, "engine", "problem"),
    ],
)
def test_what_is_wrong_with_a_node_is_told_with_a_way_out(wrong: dict[str, object], subject: str, level: str) -> None:
    findings = judge_node(facts(**wrong), several=True)
    assert bad(findings) == [(subject, level)]
    (finding,) = [finding for finding in findings if finding.level != "ok"]
    assert finding.way_out
    assert finding.nodes == ("n1",)


@pytest.mark.parametrize(
    ("size", "host", "level"), [(78, "n1", "ok"), (73, "node-12345", "ok"), (74, "node-12345", "warning")]
)
def test_sockets_of_agents_elsewhere_have_their_nodes_name_in_their_paths(size: int, host: str, level: str) -> None:
    findings = judge_node(facts(host, runtime=folder("/".ljust(size, "x"))))
    assert [finding.level for finding in findings if finding.subject == "runtime folder"] == [level]


def test_files_may_be_raised_by_the_user_or_by_the_site() -> None:
    (mine,) = [one for one in judge_node(facts(cores=128)) if one.level == "warning"]
    assert mine.way_out == "`ulimit -n 2112` before you start"
    (theirs,) = [one for one in judge_node(facts(cores=128, open_files_most=1024)) if one.level == "warning"]
    assert "ask the site" in theirs.way_out


def test_one_node_needs_no_engine() -> None:
    assert bad(judge_node(facts(engine=False))) == []


def test_good_nodes_are_well_together() -> None:
    found = together(met("n1"), met("n2"))
    assert {finding.level for finding in found.values()} == {"ok"}
    assert found["network"].text == "all nodes reach n1 at 10.0.0.1"


@pytest.mark.parametrize(
    ("wrong", "subject", "level"),
    [
        (met("n2", reached=()), "network", "problem"),
        (met("n2", shared=False, kept_out=False), "shared folder", "warning"),
        (met("n2", kept_out=False), "locks", "warning"),
        (met("n2", facts=facts("n2", version="2.0")), "versions", "problem"),
        (met("n2", facts=facts("n2", python="3.13.0")), "versions", "problem"),
    ],
)
def test_the_node_that_differs_is_named(wrong: Met, subject: str, level: str) -> None:
    found = together(met("n1"), wrong)
    assert bad(list(found.values())) == [(subject, level)]
    assert found[subject].nodes == ("n2",)
    assert found[subject].way_out


def test_a_patch_of_python_is_no_other_python() -> None:
    assert bad(list(together(met("n1"), met("n2", facts=facts("n2", python="3.12.9"))).values())) == []


def test_clocks_files_and_appends_are_held_against_bounds() -> None:
    found = together(met("n1"), ahead=-30.0, delay=3.0, torn=7)
    assert bad(list(found.values())) == [("clocks", "warning"), ("appends", "warning"), ("file delay", "warning")]
    assert found["clocks"].text.startswith("up to 30s away")
    assert found["appends"].text.startswith("7 lines were lost")


def test_where_no_folder_is_shared_nothing_is_said_of_its_locks() -> None:
    assert "locks" not in together(met("n1", shared=False), met("n2", shared=False))


OPTIONS = ("--overlap", "--mem")


def test_srun_must_know_our_options() -> None:
    well = judge_slurm("slurm 23.11.4", "--overlap  share\n--mem=MB\n", OPTIONS, 30.0, 10.0)
    assert bad(well) == []
    old = judge_slurm("slurm 19.05", "--mem=MB\n", OPTIONS, None, 10.0)
    assert [finding.text for finding in old] == ["slurm 19.05 has no --overlap: agents cannot be started"]
    assert bad(judge_slurm(None, "", OPTIONS, None, 10.0)) == [("srun", "problem")]
    assert bad(judge_slurm("slurm 23", "--overlap --mem", OPTIONS, 5.0, 10.0)) == [("KillWait", "warning")]


def test_an_allocation_may_have_lost_nodes() -> None:
    assert judge_allocation("slurm 14", ("n1", "n3"), ("n1", "n3")).level == "ok"
    lost = judge_allocation("slurm 14", ("n1", "n3"), ("n1", "n2", "n3"))
    assert (lost.level, lost.nodes) == ("warning", ("n2",))


def test_an_allocation_should_have_an_end() -> None:
    assert judge_end(600.0).text == "the allocation ends in 10m00s"
    assert judge_end(None).level == "warning"


def test_what_nodes_have_in_common_is_said_once() -> None:
    nodes = [*judge_node(facts("n1", cores=128)), *judge_node(facts("n2", cores=128)), *judge_node(facts("n3"))]
    found = {(one.subject, one.level): one.nodes for one in gathered(nodes)}
    assert found["kernel", "ok"] == ("n1", "n2", "n3")
    assert found["open files", "warning"] == ("n1", "n2")
    assert found["open files", "ok"] == ("n3",)
    fuller = [*judge_node(facts("n1")), *judge_node(facts("n2", temporary=folder("/tmp", free=50 * GIB)))]
    (temporary,) = [one for one in gathered(fuller) if one.subject == "temporary files"]
    assert temporary.text == "100 GiB free in /tmp (ext4) on n1, and enough on the others"
