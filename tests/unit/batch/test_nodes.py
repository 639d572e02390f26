import pytest

from pilotfish.batch.nodes import dead_nodes, node_query


def test_all_nodes_are_asked_about_at_once() -> None:
    assert node_query("slurm", ["n1", "n2"]) == [
        *("sinfo", "--noheader", "--all", "--Node", "--nodes=n1,n2", "--format=%N %T")
    ]


@pytest.mark.parametrize("system", ["pbs", "torque", "sge", "htcondor", "dask"])
def test_other_systems_are_not_asked(system: str) -> None:
    assert node_query(system, ["n1"]) is None
    assert dead_nodes(system, "n1 down\n") == {}


@pytest.mark.parametrize("state", ["down", "down*", "down~", "DOWN", "powered_down"])
def test_what_is_down_is_dead(state: str) -> None:
    assert dead_nodes("slurm", f"n1 {state}\n") == {"n1": state}


@pytest.mark.parametrize(
    "state",
    ["idle", "idle*", "allocated*", "mixed", "completing*", "drained", "draining*", "fail", "failing", "reboot",
     "maint", "powering_down", "unknown*", "no_respond"],
)  # fmt: skip
def test_nothing_else_proves_a_death(state: str) -> None:
    assert dead_nodes("slurm", f"n1 {state}\n") == {}


@pytest.mark.parametrize("answer", ["", "\n", "n1\n", "slurm_load_node: Socket timed out\n", "n1 down for reasons x\n"])
def test_what_cannot_be_read_proves_nothing_of_others(answer: str) -> None:
    assert set(dead_nodes("slurm", answer)) <= {"n1"}


def test_of_a_node_in_several_partitions_one_line_is_enough() -> None:
    assert dead_nodes("slurm", "n1 down\nn1 down\nn2 idle\n") == {"n1": "down"}
