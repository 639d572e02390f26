"""Attempts on several nodes: what their failures are called, and what their launchers may have started where."""

import pytest

from pilotfish.errors import UserError
from pilotfish.manager.parts import Parts
from pilotfish.model.attempts import AttemptId, Report
from pilotfish.model.changes import Grant, Part, Release, Settle
from pilotfish.model.events import Hosted
from pilotfish.model.messages import Host
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Slots
from pilotfish.model.states import Outcome, TaskState

ATTEMPT = AttemptId(1, 0, 1, 1)
SLOTS = Slots((0,), ONE, None)


def parts() -> Parts:
    known = Parts()
    known.note(Grant("n1", 0, SLOTS, 1, 0, 1, 1, 1, (Part("n2", 4, SLOTS),)))
    return known


def report(code: int = 0, outcome: Outcome = Outcome.exited) -> Report:
    return Report(ATTEMPT, 0, outcome, code, 1.0, 2.0, 0.0, 0)


def test_what_fails_while_a_node_is_away_is_lost() -> None:
    assert parts().judged((report(3),), lambda _: True) == (report(3),)
    (judged,) = parts().judged((report(3),), lambda node: node == "n1")
    assert (judged.outcome, judged.reason) == (Outcome.lost, "node n2 was away when it ended with exit code 3")
    assert parts().judged((report(),), lambda _: False) == (report(),)
    timed_out = report(0, Outcome.timed_out)
    assert parts().judged((timed_out,), lambda _: False) == (timed_out,)


def test_a_launcher_may_use_the_nodes_of_its_attempt_and_no_others() -> None:
    wanted = {"attempt": ATTEMPT, "node": "n2", "command": "orted", "environment": (b"A=b",)}
    assert parts().wanted(wanted) == (
        Hosted(ATTEMPT, "n2"),
        Host(4, SLOTS, ATTEMPT, "orted", (b"A=b",)),
    )
    with pytest.raises(UserError, match="n3 has no part"):
        parts().wanted(wanted | {"node": "n3"})
    with pytest.raises(UserError, match="question `host`"):
        parts().wanted({"node": "n2"})


@pytest.mark.parametrize("end", [Release(1, 0, 1, 1, 1), Settle(report(), "n1", TaskState.succeeded, charged=True)])
def test_when_the_attempt_has_ended_a_launcher_may_use_none(end: Release | Settle) -> None:
    known = parts()
    known.note(end)
    with pytest.raises(UserError, match="n2 has no part"):
        known.wanted({"attempt": ATTEMPT, "node": "n2", "command": "orted", "environment": ()})
