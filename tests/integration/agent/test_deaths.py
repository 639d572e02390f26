"""Whoever dies, and wherever: what was witnessed is told, what was not is lost or never began, nothing runs on."""

import os
import signal
import time
from pathlib import Path

import msgspec
import pytest

from pilotfish.model.attempts import AttemptId
from pilotfish.model.jobs import JobSpec, RangeArray
from pilotfish.model.messages import End, Left, Refusal, Reports, Started, Stop, TakenBack
from pilotfish.model.states import Outcome
from tests.integration.agent.agent_node import Node

KEEPER_STEPS = ["keeper.intent", "keeper.started", "keeper.ended", "keeper.journaled", "keeper.reported"]
AGENT_STEPS = ["agent.start", "agent.forked", "agent.heard", "agent.recorded"]


def counted(node: Node, tasks: int) -> JobSpec:
    """Tasks that leave a line each when they begin."""
    return node.command("echo {index} >> began; echo {index}", array=RangeArray(0, tasks))


def began(node: Node) -> list[int]:
    path = node.folder / "began"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def given_back(node: Node) -> set[AttemptId]:
    return {attempt for message in node.heard(TakenBack) for attempt in message.attempts}


def paused(node: Node) -> Path:
    return node.folder / "paused"


def wait_paused(node: Node) -> int:
    marker = paused(node)
    node.wait(lambda: marker.exists() and marker.read_text().endswith("\n"))
    return int(marker.read_text())


def listening(node: Node, command: str) -> tuple[AttemptId, int]:
    """A task that listens by now, and the process id of its shell."""
    (attempt,) = node.run(node.command(command.replace("WAIT", "echo $$ > began; sleep 1008 & wait")))
    node.wait(lambda: began(node))
    return attempt, began(node)[0]


def restart(node: Node) -> None:
    """A new agent after the death of the first."""
    count = len(node.hellos)
    node.start_agent()
    node.wait_hello(count + 1)


def test_a_keeper_that_dies_takes_its_task_with_it(node: Node) -> None:
    node.up()
    leftovers = "setsid sleep 1001 & env -i setsid sleep 1001 & trap '' TERM; sleep 1001"
    running, *waiting = node.run(node.command(leftovers, array=RangeArray(0, 3)), hi=3)
    node.wait(lambda: node.heard(Started))
    os.kill(node.keeper(), signal.SIGKILL)
    report = node.result(running)
    assert (report.outcome, report.reason) == (Outcome.lost, "its keeper died")
    assert not node.processes("sleep 1001")
    node.wait(lambda: given_back(node))
    assert given_back(node) == set(waiting)
    assert node.finish(node.command("true")).succeeded
    assert set(node.reports) == {running, AttemptId(2, 0, 1, 1)}


def test_an_ending_that_was_asked_for_is_told_though_the_keeper_died(node: Node) -> None:
    node.up()
    running, waiting = node.run(node.command("trap '' TERM; sleep 1000 & wait; wait", array=RangeArray(0, 2)), hi=2)
    node.wait(lambda: node.heard(Started))
    keeper = node.keeper()
    os.kill(keeper, signal.SIGSTOP)
    node.send(*(End(0, attempt, Outcome.cancelled, hard=False) for attempt in (running, waiting)))
    node.pump(0.1)
    os.kill(keeper, signal.SIGKILL)
    assert [node.result(attempt).outcome for attempt in (running, waiting)] == [Outcome.cancelled] * 2


@pytest.mark.parametrize("step", KEEPER_STEPS)
def test_a_keeper_may_die_at_any_step(node: Node, step: str) -> None:
    node.up(PILOTFISH_STOP_AT=f"{step}:3:{paused(node)}")
    attempts = set(node.run(counted(node, 100), hi=100))
    os.kill(wait_paused(node), signal.SIGKILL)
    node.wait(lambda: attempts == set(node.reports) | given_back(node))
    assert not set(node.reports) & given_back(node)
    assert all(len(reports) == 1 for reports in node.reports.values())
    lost = [reports[0] for reports in node.reports.values() if reports[0].outcome is Outcome.lost]
    assert len(lost) <= 1
    assert lost or step in {"keeper.journaled", "keeper.reported"}
    assert len(began(node)) == len(set(began(node)))
    witnessed = {a.position for a, (report,) in node.reports.items() if report.succeeded}
    assert witnessed <= set(began(node)) <= {a.position for a in node.reports}
    assert all(node.output(report) == b"%d\n" % a.position for a, (report,) in node.reports.items() if report.succeeded)


@pytest.mark.parametrize("step", AGENT_STEPS)
def test_an_agent_may_die_at_any_step(node: Node, step: str) -> None:
    node.up(PILOTFISH_STOP_AT=f"{step}:2:{paused(node)}")
    spec = counted(node, 40)
    attempts = {
        attempt for lane in (0, 1, 2, 3) for attempt in node.run(spec, lane=lane, lo=10 * lane, hi=10 * lane + 10)
    }
    assert wait_paused(node) == node.agent.pid
    node.kill_agent()
    restart(node)
    held = {attempt for state in node.hellos[-1].lanes for attempt in state.attempts}
    ended = set(node.reports)
    never = {a.position for a in attempts - held - ended}
    assert not never & set(began(node))
    node.wait(lambda: held | ended <= set(node.reports))
    assert all(reports[0].succeeded for reports in node.reports.values())
    assert sorted(began(node)) == sorted(a.position for a in node.reports)


def test_keepers_go_on_without_an_agent(node: Node) -> None:
    node.up()
    first, second = node.run(node.command(node.waiting("{index}"), array=RangeArray(0, 2)), hi=2)
    node.wait(lambda: node.heard(Started))
    node.kill_agent()
    began_at = node.heard(Started)[0].started_at
    restart(node)
    (state,) = node.hellos[-1].lanes
    assert state.attempts == (first, second)
    assert state.started_at == began_at
    node.go()
    assert [node.output(node.result(attempt)) for attempt in (first, second)] == [b"0\n", b"1\n"]
    assert node.result(first).started_at == began_at


def test_what_ended_without_an_agent_is_told_to_the_next(node: Node) -> None:
    node.up()
    attempts = node.run(counted(node, 5), hi=5)
    node.recording = False
    (last,) = node.run(node.command(node.waiting("x")), lane=1)
    node.wait(lambda: node.heard(Started))
    node.wait(lambda: len(node.reports) == 5)
    node.kill_agent()
    node.reports.clear()
    node.recording = True
    restart(node)
    assert [report.attempt for report in node.hellos[-1].reports] == attempts
    node.go()
    assert node.result(last).succeeded
    assert sorted(began(node)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("step", KEEPER_STEPS)
def test_agent_and_keeper_may_die_together(node: Node, step: str) -> None:
    node.up(PILOTFISH_STOP_AT=f"{step}:3:{paused(node)}")
    spec = node.command("setsid sleep 1002 & echo {index} >> began", array=RangeArray(0, 100))
    attempts = node.run(spec, hi=100)
    keeper = wait_paused(node)
    node.kill_agent()
    os.kill(keeper, signal.SIGKILL)
    node.reports.clear()
    restart(node)
    assert not node.processes("sleep 1002")
    assert not node.hellos[-1].lanes
    told = [report.attempt for report in node.hellos[-1].reports]
    assert told == attempts[: len(told)]
    assert {attempt.position for attempt in told} >= set(began(node))
    node.wait(lambda: not node.journals())


def test_a_keeper_that_does_not_speak_is_ended(node: Node) -> None:
    node.up()
    (attempt,) = node.run(node.command("sleep 1003"))
    node.wait(lambda: node.heard(Started))
    os.kill(node.keeper(), signal.SIGSTOP)
    node.kill_agent()
    restart(node)
    assert [(r.attempt, r.outcome) for r in node.hellos[-1].reports] == [(attempt, Outcome.lost)]
    assert not node.processes("sleep 1003")


def test_a_stopped_agent_goes_on_where_it_was(node: Node) -> None:
    node.up()
    attempts = node.run(counted(node, 200), hi=200)
    os.kill(node.agent.pid, signal.SIGSTOP)
    node.pump(2.0)
    os.kill(node.agent.pid, signal.SIGCONT)
    assert all(node.result(attempt).succeeded for attempt in attempts)
    assert sorted(began(node)) == list(range(200))
    assert len(node.hellos) == 1


def test_a_manager_that_comes_back_is_told_everything(node: Node) -> None:
    node.up()
    node.recording = False
    done = node.run(counted(node, 3), hi=3)
    running = node.run(node.command(node.waiting("x"), array=RangeArray(0, 2)), lane=1, hi=2)
    node.wait(lambda: node.heard(Started) and len(node.reports) == 3)
    node.vanish()
    time.sleep(0.3)
    node.recording = True
    node.listen()
    hello = node.wait_hello(2)
    assert [report.attempt for report in hello.reports] == done
    assert [state.attempts for state in hello.lanes] == [tuple(running)]
    node.go()
    assert all(node.result(attempt).succeeded for attempt in running)
    assert sorted(began(node)) == [0, 1, 2]


def test_without_a_manager_all_ends_after_the_lease(node: Node) -> None:
    node.settings = msgspec.structs.replace(node.settings, lease=0.5)
    node.up()
    running, waiting = node.run(node.command("trap '' TERM; sleep 1004 & wait; wait", array=RangeArray(0, 2)), hi=2)
    node.wait(lambda: node.heard(Started))
    node.vanish()
    node.wait_ended()
    assert not node.processes("sleep 1004")
    node.hellos.clear()
    node.up()
    assert [(r.attempt, r.outcome) for r in node.hellos[-1].reports] == [(running, Outcome.interrupted)]
    assert "no manager" in node.hellos[-1].reports[0].reason
    assert waiting not in node.reports


def test_without_anybody_keepers_end_after_the_lease(node: Node) -> None:
    node.settings = msgspec.structs.replace(node.settings, lease=1.0)
    node.up()
    (running,) = node.run(node.command("sleep 1005"))
    (ended,) = node.run(counted(node, 1), lane=1)
    node.recording = False
    node.wait(lambda: node.heard(Started) and ended in node.reports)
    node.vanish()
    node.kill_agent()
    node.wait(lambda: not node.processes("sleep 1005"))
    node.recording = True
    node.reports.clear()
    node.hellos.clear()
    node.up()
    outcomes = {report.attempt: report.outcome for report in node.hellos[-1].reports}
    assert outcomes == {running: Outcome.interrupted, ended: Outcome.exited}
    node.wait(lambda: not node.journals())


def test_an_agent_that_holds_nothing_does_not_wait_for_the_lease(node: Node) -> None:
    node.settings = msgspec.structs.replace(node.settings, lease=60.0)
    node.up()
    node.finish(node.command("true"))
    node.settle()
    node.vanish()
    assert node.wait_ended() == 0
    assert not node.runtime.exists()


def test_an_idle_keeper_does_not_outlive_its_agent(node: Node) -> None:
    node.up()
    node.finish(node.command("true"))
    keeper = node.keeper()
    node.settle()
    node.kill_agent()
    node.wait(lambda: not Path(f"/proc/{keeper}").exists())
    assert not node.journals()


def test_a_terminated_agent_reports_what_it_ended(node: Node) -> None:
    node.up()
    running, waiting = node.run(node.command("sleep 1006", array=RangeArray(0, 2)), hi=2)
    node.wait(lambda: node.heard(Started))
    node.agent.terminate()
    assert node.result(running).outcome is Outcome.interrupted
    assert node.wait_ended() == 0
    assert waiting not in node.reports
    assert not given_back(node)


# TERM from outside


@pytest.mark.parametrize("first", ["task", "keeper"])
@pytest.mark.parametrize("command", ["WAIT", "trap 'exit 143' TERM; WAIT", "trap 'exit 3' TERM; WAIT"])
def test_who_ends_of_a_term_to_everybody_has_not_failed(node: Node, command: str, first: str) -> None:
    node.up()
    attempt, task = listening(node, command)
    os.kill(node.agent.pid, signal.SIGSTOP)  # the last one that hears of it
    everybody = {"task": task, "keeper": node.keeper(), "agent": node.agent.pid}
    for pid in (everybody.pop(first), *everybody.values()):
        os.kill(pid, signal.SIGTERM)
    node.wait(lambda: not Path(f"/proc/{task}").exists())
    os.kill(node.agent.pid, signal.SIGCONT)
    assert node.wait_ended() == 0
    (report,) = node.reports[attempt]
    assert (report.outcome, report.reason) == (Outcome.interrupted, "TERM was sent to all that ran on its node")
    assert [type(message) for message in node.messages if isinstance(message, Reports | Left)] == [Reports, Left]


def test_who_succeeds_upon_a_term_to_everybody_has_succeeded(node: Node) -> None:
    node.up()
    attempt, task = listening(node, "trap 'exit 0' TERM; WAIT")
    for pid in (node.keeper(), task):
        os.kill(pid, signal.SIGTERM)
    assert node.result(attempt).succeeded


@pytest.mark.parametrize(
    ("command", "outcome", "code"),
    [("WAIT", Outcome.signalled, 15), ("trap 'exit 143' TERM; WAIT", Outcome.exited, 143)],
)
def test_who_alone_is_sent_term_has_failed(node: Node, command: str, outcome: Outcome, code: int) -> None:
    node.up()
    attempt, task = listening(node, command)
    os.kill(task, signal.SIGTERM)
    report = node.result(attempt)
    assert (report.outcome, report.code) == (outcome, code)


def test_a_term_excuses_nothing_that_begins_later(node: Node) -> None:
    node.up()
    (first,) = node.run(node.command(node.waiting("x")))
    (later,) = node.run(node.command("exit 3"))
    node.wait(lambda: node.heard(Started))
    os.kill(node.keeper(), signal.SIGTERM)
    until = time.time() + 0.3
    node.wait(lambda: time.time() > until)
    node.go()
    assert node.result(first).succeeded
    report = node.result(later)
    assert (report.outcome, report.code) == (Outcome.exited, 3)


def test_nothing_is_left_when_there_is_no_more_work(node: Node) -> None:
    node.up()
    for lane in range(3):
        node.result(node.run(node.command("true", array=RangeArray(0, 3)), lane=lane, lo=lane, hi=lane + 1)[0])
    node.send(Stop())
    assert node.wait_ended() == 0
    assert not node.runtime.exists()
    assert not list((node.campaign / "outputs").iterdir())


def test_a_refused_agent_says_why_in_its_log(node: Node) -> None:
    node.up()
    node.send(Refusal("this manager is older"))
    node.wait_ended()
    assert "this manager is older" in node.log()


def test_a_node_has_one_agent(node: Node) -> None:
    node.up()
    first = node.agent
    node.start_agent()
    assert node.wait_ended() == 75
    assert "another agent" in node.log()
    node.agent = first
    assert node.finish(node.command("true")).succeeded


def test_few_descriptors_are_enough(node: Node) -> None:
    node.wrapper = ["sh", "-c", 'ulimit -n 256; exec "$@"', "-"]
    node.up()
    spec = node.command("ulimit -n; sleep 0.5", array=RangeArray(0, 40))
    attempts = [node.run(spec, lane=lane, lo=lane, hi=lane + 1)[0] for lane in range(40)]
    assert {node.output(node.result(attempt)) for attempt in attempts} == {b"256\n"}
