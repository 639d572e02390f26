"""Of what launchers say, the line that tells why a node did not come."""

from pilotfish.agent.fleet import word_about

LINES = [
    "srun: cluster configuration lacks support for cpu binding",
    "pilotfish: error: node n2: /local/of-somebody: Permission denied",
    "pilotfish: error: node n21: the manager is pilotfish 1.1, here is 1.0: install the same",
    "srun: error: n2: task 1: Exited with exit code 1",
    "srun: error: n3: task 2: Killed",
    "srun: error: Timed out waiting for job step to complete",
]


def test_what_an_agent_says_of_itself_comes_first() -> None:
    assert word_about("n2", LINES) == LINES[1]


def test_then_what_its_launcher_says_of_it() -> None:
    assert word_about("n3", LINES) == LINES[4]


def test_else_what_was_said_last() -> None:
    assert word_about("n4", LINES) == LINES[5]
    assert word_about("n4", []) == ""
