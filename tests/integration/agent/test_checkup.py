"""Nodes meet: here they are processes of one machine, each of which believes that it is another node."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pilotfish.agent.checkup import Meeting, Met, hold_meeting, read_facts


def go(meeting: Meeting, store: Path, host: str) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-m", "pilotfish.agent.checkup", str(store), msgspec.json.encode(meeting).decode()]
    return subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "SLURMD_NODENAME": host})


def told(node: "subprocess.Popen[bytes]") -> Met:
    output, _ = node.communicate(timeout=60)
    return msgspec.json.decode(output, type=Met)


def test_nodes_meet_in_a_folder_and_at_a_door(tmp_path: Path) -> None:
    with hold_meeting(tmp_path / "store", ["127.0.0.1"]) as place:
        nodes = [go(place.meeting, tmp_path, f"n{number}") for number in range(4)]
        met = [told(node) for node in nodes]
        for one in met:
            place.await_file(one.facts.host, 10.0)
        assert place.torn_lines([one.facts.host for one in met]) == 0
        assert place.torn_lines(["n9"]) > 0
    assert [one.facts.host for one in met] == ["n0", "n1", "n2", "n3"]
    assert all(one.shared and one.kept_out and one.reached == ("127.0.0.1",) for one in met)
    assert set(place.delays) == {"n0", "n1", "n2", "n3"}
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_sees_another_folder_of_that_name_is_no_guest(tmp_path: Path) -> None:
    with hold_meeting(tmp_path, []) as place:
        met = told(go(msgspec.structs.replace(place.meeting, token="another"), tmp_path, "n1"))
    assert (met.shared, met.reached) == (False, ())


def test_facts_are_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    facts = read_facts(tmp_path / "store")
    assert facts.cores == len(os.sched_getaffinity(0))
    assert facts.handles
    assert facts.store.path == str(tmp_path)
    assert facts.store.free > 0
    assert facts.store.locks
    assert facts.shared_memory.kind == "tmpfs"
    assert facts.temporary.problem == "No such file or directory"
