"""Attempts on several nodes: whose report counts, and what ends when they have ended."""

import pytest

from pilotfish.errors import UserError
from pilotfish.manager.parts import Parts
from pilotfish.model.attempts import AttemptId, LaneState, Report
from pilotfish.model.changes import Grant, Part, Release, Settle
from pilotfish.model.events import Kill
from pilotfish.model.messages import Host
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Slots
from pilotfish.model.states import Outcome, TaskState

ATTEMPT = AttemptId(1, 0, 1, 1)
SLOTS = Slots((0,), ONE, None)


def parts() -> Parts:
    known = Parts()
    assert known.note(Grant("n1", 0, SLOTS, 1, 0, 1, 1, 1, (Part("n2", 4, SLOTS),))) == []
    return known


def report(code: int = 0, outcome: Outcome = Outcome.exited) -> Report:
    return Report(ATTEMPT, 0, outcome, code, 1.0, 2.0, 0.0, 0)


def test_reports_of_other_nodes_count_for_nothing() -> None:
    assert parts().own("n2", (report(),), lambda _: True) == ()
    assert parts().own("n1", (report(),), lambda _: True) == (report(),)


def test_what_fails_while_a_node_is_away_is_lost() -> None:
    (judged,) = parts().own("n1", (report(3),), lambda node: node == "n1")
    assert (judged.outcome, judged.reason) == (Outcome.lost, "node n2 was away when it ended with exit code 3")
    assert parts().own("n1", (report(),), lambda _: False) == (report(),)
    timed_out = report(0, Outcome.timed_out)
    assert parts().own("n1", (timed_out,), lambda _: False) == (timed_out,)


def test_lanes_that_are_parts_are_not_told_as_a_nodes_own() -> None:
    lane = LaneState(4, SLOTS, (ATTEMPT,), None)
    assert parts().own_lanes("n2", (lane,)) == ()
    assert parts().own_lanes("n1", (lane,)) == (lane,)


def test_an_end_ends_it_everywhere() -> None:
    known = parts()
    settle = Settle(report(), "n1", TaskState.succeeded, charged=True)
    assert known.note(settle) == [Kill("n2", 4, ATTEMPT, Outcome.cancelled, hard=True)]
    assert known.note(settle) == []


def test_a_launcher_may_use_the_nodes_of_its_attempt_and_no_others() -> None:
    wanted = {"attempt": ATTEMPT, "node": "n2", "command": "orted", "environment": (b"A=b",)}
    assert parts().wanted(wanted) == ("n2", Host(4, SLOTS, ATTEMPT, "orted", (b"A=b",)))
    with pytest.raises(UserError, match="n3 has no part"):
        parts().wanted(wanted | {"node": "n3"})
    with pytest.raises(UserError, match="question `host`"):
        parts().wanted({"node": "n2"})
    known = parts()
    known.note(Release(1, 0, 1, 1, 1))
    with pytest.raises(UserError, match="n2 has no part"):
        known.wanted(wanted)
