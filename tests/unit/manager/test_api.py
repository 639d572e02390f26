from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilotfish.errors import UserError
from pilotfish.manager.answers import Explained, Failed, JobRow, OutputPage, Shown, TaskPage
from pilotfish.manager.api import MOST_ROWS, QUESTIONS, answer
from pilotfish.manager.look import View
from pilotfish.manager.records import Records
from pilotfish.model.attempts import AttemptId, OutputRef, Report
from pilotfish.model.changes import Change, Finish, Forget, Grant, Hold, Kept, Settle, Submit
from pilotfish.model.events import NodeJoined, Submitted
from pilotfish.model.jobs import Array, Dependency, Job, JobSpec, RangeArray, Retries, Signal, Span, TableArray
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Inventory, Request, Slots
from pilotfish.model.states import Outcome, TaskState
from pilotfish.scheduler.engine import Scheduler
from pilotfish.settings import Settings
from pilotfish.store.memory import MemoryStore

S = TaskState
SHAPES = {
    "explain": Explained,
    "failures": list[Failed],
    "jobs": list[JobRow],
    "logs": OutputPage,
    "names": list[str],
    "show": Shown,
    "tasks": TaskPage,
}


def job(number: int, name: str, array: Array | None = None, **spec: Any) -> Job:
    words = {"command": "./run {index}", "directory": "/d", "cwd": "/d/{index}"} | spec
    return Job(number, JobSpec(name=name, array=array, **words), submitted_at=1e9)


def settle(job: int, position: int, code: int = 0, *, number: int = 1, state: TaskState | None = None) -> Settle:
    report = Report(
        attempt=AttemptId(job, position, number, 1),
        lane=0,
        outcome=Outcome.exited,
        code=code,
        started_at=1e9,
        ended_at=1e9 + 2.5,
        cpu_seconds=1.5,
        peak_rss=2**20,
        stdout=OutputRef("segment-n-0-0", 100 * position, 10 * number),
        stderr=OutputRef("/user/err", 0, 7) if code else None,
    )
    return Settle(report, "n", state or (S.failed if code else S.succeeded), charged=True)


def grant(job: int, lo: int, hi: int, *, lane: int = 3, number: int = 1) -> Grant:
    return Grant("n", lane, Slots((0,), ONE, None), job, lo, hi, number, 1)


class Campaign:
    """What a store without a manager answers."""

    def __init__(self, *changes: Change) -> None:
        store = MemoryStore()
        store.commit(changes)
        self.view = View(Records(store), store, Path("/c"), live=False, now=2e9)

    def ask(self, name: str, /, **arguments: object) -> Any:
        value = answer(name, arguments, self.view)
        assert (
            msgspec.to_builtins(msgspec.convert(msgspec.json.decode(msgspec.json.encode(value)), SHAPES[name])) == value
        )
        return value

    def names(self, **arguments: object) -> list[str]:
        return [task["name"] for task in self.ask("tasks", **arguments)["tasks"]]


def small(*changes: Change) -> Campaign:
    """One job `prepare`, done; one array `sim` of indices 10, 12, 14, 16."""
    sim = job(2, "sim", RangeArray(10, 4, 2), after=(Dependency("prepare"),))
    return Campaign(
        Submit(job(1, "prepare")),
        Submit(msgspec.structs.replace(sim, depends_on=(1,))),
        settle(1, 0),
        *changes,
    )


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        ("tsaks", {}, "there is no question `tsaks`; there are: explain, failures, jobs, logs, names, show, tasks"),
        ("show", {}, "question `show`: Object missing required field `id`"),
        ("show", {"id": 7}, "question `show`: Expected `str`, got `int` - at `$.id`"),
        ("jobs", {"all": True}, "question `jobs`: Object contains unknown field `all`"),
        ("tasks", {"states": ["done"]}, "there is no state 'done'; there are: waiting, ready, running, stopping, "),
        ("show", {"id": "sim:11"}, "`sim` has no task 11, but 10-16:2"),
        ("logs", {"id": "sim:10", "attempt": 2}, "sim:10 has had no attempt 2"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(name: str, arguments: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        answer(name, arguments, small().view)
    assert str(caught.value).startswith(complaint)


def test_every_question_has_a_shape() -> None:
    assert QUESTIONS.keys() == SHAPES.keys()


def test_jobs_are_told_with_the_states_of_their_tasks() -> None:
    unscheduled = {"schedule": None, "due": None}
    assert small(settle(2, 1, 3)).ask("jobs") == [
        {"id": 1, "name": "prepare", "tasks": 1, "counts": {"succeeded": 1}} | unscheduled,
        {"id": 2, "name": "sim", "tasks": 4, "counts": {"ready": 3, "failed": 1}} | unscheduled,
    ]


def test_a_row_tells_the_newest_attempt() -> None:
    campaign = small(settle(2, 1, 3, state=S.ready), settle(2, 1, 0, number=2))
    assert campaign.ask("tasks", id="sim:12")["tasks"] == [
        {
            "id": "2:12",
            "name": "sim:12",
            "job": 2,
            "index": 12,
            "value": None,
            "state": "succeeded",
            "attempt": 2,
            "outcome": "exited",
            "code": 0,
            "reason": "",
            "started_at": 1e9,
            "ended_at": 1e9 + 2.5,
            "cpu_seconds": 1.5,
            "peak_rss": 2**20,
            "node": "n",
            "kept_from": None,
            "held": None,
        }
    ]


def test_names_of_jobs_come_alone() -> None:
    assert small().ask("names") == ["prepare", "sim"]


def test_held_tasks_say_why_and_may_be_listed_alone() -> None:
    campaign = small(settle(2, 1, 3), Hold(2, 0, 2, reason="held by the user"), Hold(2, 3, 4))
    assert [row["held"] for row in campaign.ask("tasks", id="sim")["tasks"]] == ["held by the user", None, None, "held"]
    assert campaign.names(held=True) == ["sim:10", "sim:16"]
    assert campaign.names(held=True, states=["failed"]) == []
    assert campaign.ask("show", id="sim:10")["task"]["held"] == "held by the user"


def test_tasks_may_be_chosen_by_a_pattern_of_their_name_or_their_job_s() -> None:
    campaign = small()
    assert campaign.names(name="s?m") == ["sim:10", "sim:12", "sim:14", "sim:16"]
    assert campaign.names(name="sim:1[0-2]") == ["sim:10", "sim:12"]
    assert campaign.names(name="S*") == []


def test_tasks_are_listed_by_job_and_index_and_may_be_filtered() -> None:
    campaign = small(settle(2, 1, 3), settle(2, 2))
    assert campaign.names() == ["prepare", "sim:10", "sim:12", "sim:14", "sim:16"]
    assert campaign.names(states=["failed", "succeeded"]) == ["prepare", "sim:12", "sim:14"]
    assert campaign.names(id="2", states=["ready"]) == ["sim:10", "sim:16"]
    assert campaign.names(id="sim:12", states=["ready"]) == []


def test_pages_hang_together() -> None:
    campaign = small(settle(2, 1, 3))
    for arguments in ({}, {"states": ["ready", "failed"]}):
        found: list[str] = []
        start: Sequence[int] | None = (0, 0)
        while start is not None:
            page = campaign.ask("tasks", start=start, limit=2, **arguments)
            assert 0 < len(page["tasks"]) <= 2
            found += [task["name"] for task in page["tasks"]]
            start = page["next"]
        assert found == campaign.names(**arguments)


def test_one_answer_is_never_longer_than_a_loop_bears() -> None:
    campaign = Campaign(Submit(job(1, "many", RangeArray(0, MOST_ROWS + 1))))
    page = campaign.ask("tasks", limit=10 * MOST_ROWS)
    assert (len(page["tasks"]), tuple(page["next"])) == (MOST_ROWS, (1, MOST_ROWS))
    page = campaign.ask("logs", id="many", limit=10 * MOST_ROWS)
    assert (len(page["outputs"]), page["next"]) == (MOST_ROWS, MOST_ROWS)


def test_a_running_task_tells_its_node_and_not_how_an_earlier_attempt_ended() -> None:
    campaign = small(settle(2, 1, 3, state=S.ready), grant(2, 1, 2, number=2))
    (row,) = campaign.ask("tasks", states=["running"])["tasks"]
    assert (row["name"], row["attempt"], row["node"], row["outcome"]) == ("sim:12", 2, "n", None)


def test_an_end_without_an_attempt_tells_its_reason() -> None:
    campaign = small(settle(2, 0, 3, state=S.ready), Finish(2, 0, 2, S.cancelled, "cancelled by the user"))
    rows = campaign.ask("tasks", states=["cancelled"])["tasks"]
    assert [(row["attempt"], row["reason"]) for row in rows] == [
        (1, "cancelled by the user"),
        (None, "cancelled by the user"),
    ]


def test_a_row_of_a_list_has_its_value() -> None:
    campaign = Campaign(Submit(job(1, "list", TableArray(("value",), (("north", "south"),)))))
    assert [row["value"] for row in campaign.ask("tasks")["tasks"]] == ["north", "south"]


def test_what_was_kept_leads_to_the_attempts_of_the_run_that_did_it() -> None:
    campaign = Campaign(
        Submit(job(1, "sim", RangeArray(0, 2))),
        settle(1, 1),
        Submit(job(2, "sim", RangeArray(0, 3)), kept=(Kept(Span(1, 2), 1, 1),), replaces=1),
        Submit(job(3, "sim", RangeArray(1, 2)), kept=(Kept(Span(0, 1), 2, 1),), replaces=2),
    )
    (row,) = campaign.ask("tasks", states=["succeeded"])["tasks"]
    assert (row["id"], row["kept_from"], row["code"]) == ("3:1", "1:1", 0)
    assert [one["number"] for one in campaign.ask("show", id="sim:1")["task"]["attempts"]] == [1]
    assert campaign.ask("logs", id="sim:1")["outputs"][0]["stdout"]["offset"] == 100
    assert campaign.ask("explain", id="sim:1")["plights"][0]["kept_from"] == "1:1"


def test_failures_come_in_the_order_of_the_file() -> None:
    campaign = small(settle(2, 2, 3), settle(2, 0, 4), Finish(2, 3, 4, S.failed, "no node has 64 cores"))
    found = campaign.ask("failures", limit=2)
    assert [(one["name"], one["code"], one["last_line"]) for one in found] == [("sim:10", 4, ""), ("sim:14", 3, "")]
    assert campaign.ask("failures")[2]["reason"] == "no node has 64 cores"


def test_a_job_is_shown_as_submitted_with_its_counts() -> None:
    request = Request(cores=Amount(25_000), memory=2**30)
    campaign = Campaign(Submit(job(1, "a", RangeArray(0, 3), request=request, time=90.0, command=("x", "{index}"))))
    shown = campaign.ask("show", id="a")
    assert shown["task"] is None
    assert shown["counts"] == {"ready": 3}
    told = {key: shown["job"][key] for key in ("array", "time", "command", "current")}
    (asked,) = shown["job"]["requests"]
    assert (asked["cores"], asked["memory"], asked["words"]) == (2.5, 2**30, "2.5 cores, 1 GiB")
    assert told == {
        "array": "0-2",
        "time": 90.0,
        "command": ["x", "{index}"],
        "current": True,
    }


def test_a_job_is_shown_with_all_that_its_file_says() -> None:
    request, other = Request(gpus=Amount(5_000), labels=("fast",)), Request(cores=Amount(160_000), nodes=2)
    retries = Retries(2, delay=10.0, retry_on=(75, "timed_out"))
    spec: dict[str, Any] = {
        "request": request,
        "variants": (other,),
        "retries": retries,
        "uses": {"db": 1},
        "hold": True,
    }
    spec |= {"start_delay": 60.0, "signal": Signal(10, 90.0), "modules": ("gcc",)}
    told = Campaign(Submit(job(1, "a", **spec))).ask("show", id="a")["job"]
    assert [one["words"] for one in told["requests"]] == ["1 core, 0.5 GPU, label fast", "2 nodes, each with 16 cores"]
    assert (told["requests"][0]["gpus"], told["requests"][0]["labels"]) == (0.5, ("fast",))
    assert (told["retries"]["count"], told["retries"]["retry_on"]) == (2, (75, "timed_out"))
    assert (told["start_after"], told["signal"]) == (1e9 + 60, {"number": 10, "before": 90.0})
    assert (told["uses"], told["hold"], told["modules"], told["on_lost"]) == ({"db": 1}, True, ("gcc",), "rerun")


def test_a_task_is_shown_with_its_command_filled_in_and_every_attempt() -> None:
    campaign = small(settle(2, 1, 3, state=S.ready), settle(2, 1, 0, number=2))
    shown = campaign.ask("show", id="sim:12")
    assert shown["counts"] is None
    assert (shown["task"]["command"], shown["task"]["cwd"]) == ("./run 12", "/d/12")
    assert [(one["number"], one["code"], one["state"]) for one in shown["task"]["attempts"]] == [
        (1, 3, "ready"),
        (2, 0, "succeeded"),
    ]
    assert shown["task"]["attempts"][0]["stderr"] == {"path": "/user/err", "offset": 0, "length": 7}


def test_a_job_without_an_array_is_shown_with_its_one_task() -> None:
    shown = small().ask("show", id="prepare")
    assert shown["counts"] == {"succeeded": 1}
    assert shown["task"]["name"] == "prepare"


def test_replaced_and_forgotten_jobs_can_be_shown_by_their_number() -> None:
    campaign = Campaign(
        Submit(job(1, "old")), settle(1, 0), Submit(job(2, "old"), replaces=1), Submit(job(3, "gone")), Forget(3)
    )
    assert [(one["current"], one["replaced_by"]) for one in (campaign.ask("show", id=i)["job"] for i in "123")] == [
        (False, 2),
        (True, None),
        (False, None),
    ]
    assert campaign.ask("show", id="1")["task"]["state"] == "succeeded"
    assert campaign.names() == ["old"]


def test_an_explanation_has_one_entry_for_each_state_of_a_job() -> None:
    campaign = small(settle(2, 1, 3), grant(2, 0, 1))
    assert [
        (one["state"], one["tasks"], one["first"], one["reason"], one["code"])
        for one in campaign.ask("explain", id="sim")["plights"]
    ] == [
        ("ready", 2, "sim:14", "could start, but no manager is running", None),
        ("running", 1, "sim:10", "was running when its manager went away", None),
        ("failed", 1, "sim:12", "", 3),
    ]


def test_an_explanation_of_one_task_is_about_that_task() -> None:
    campaign = small(Finish(2, 2, 3, S.skipped, "prepare did not succeed"))
    explained = campaign.ask("explain", id="2:14")
    assert (explained["id"], explained["name"], explained["live"]) == ("2:14", "sim:14", False)
    assert [(one["state"], one["reason"]) for one in explained["plights"]] == [("skipped", "prepare did not succeed")]


def test_outputs_are_found_by_attempt() -> None:
    campaign = small(settle(2, 1, 3, state=S.ready), settle(2, 1, 0, number=2))
    newest, first = (campaign.ask("logs", id="sim:12", attempt=number)["outputs"][0] for number in (None, 1))
    assert newest["stdout"] == {"path": "/c/outputs/segment-n-0-0", "offset": 100, "length": 20}
    assert newest["stderr"] is None
    assert first["stdout"]["length"] == 10
    assert first["stderr"]["path"] == "/user/err"


def test_a_task_that_has_not_begun_has_no_outputs() -> None:
    (row,) = small().ask("logs", id="sim:12")["outputs"]
    assert (row["attempt"], row["running"], row["stdout"]) == (None, False, None)


def test_what_runs_tells_where_it_writes() -> None:
    running = job(1, "run", RangeArray(0, 2), stdout="/out/{index}", stderr="stdout")
    (first, _) = Campaign(Submit(running), grant(1, 0, 1)).ask("logs", id="run")["outputs"]
    assert (first["running"], first["node"], first["lane"]) == (True, "n", 3)
    assert first["stdout"] == {"path": "/out/0", "offset": 0, "length": None}
    assert first["stderr"] is None


def test_what_runs_is_told_with_the_cores_that_it_was_given() -> None:
    asks_for = Request(ONE, most_cores=Amount(8 * ONE))
    running = job(1, "run", command="./run -j {cores}", stdout="/out/{cores}", request=asks_for)
    given = msgspec.structs.replace(grant(1, 0, 1), slots=Slots((0, 1, 2), Amount(3 * ONE), None))
    campaign = Campaign(Submit(running), given)
    assert campaign.ask("logs", id="run")["outputs"][0]["stdout"]["path"] == "/out/3"
    assert campaign.ask("show", id="run")["task"]["command"] == "./run -j 3"
    assert Campaign(Submit(running)).ask("show", id="run")["task"]["command"] == "./run -j 1"


def test_a_living_scheduler_answers_the_same_questions() -> None:
    store, scheduler = MemoryStore(), Scheduler(Settings(), epoch=1)
    submits = [Submit(job(1, "sim", RangeArray(0, 3))), Submit(job(2, "after", after=(Dependency("sim"),)))]
    submits[1] = Submit(msgspec.structs.replace(submits[1].job, depends_on=(1,)))
    store.commit(submits)
    scheduler.handle(Submitted(tuple(submits)), 0.0)
    scheduler.handle(NodeJoined("n", Inventory(cores=(0,), memory=2**30)), 0.0)
    campaign = Campaign()
    campaign.view = View(scheduler, store, Path("/c"), live=True, now=1.0)
    assert campaign.ask("jobs")[0]["counts"] == {"running": 1, "ready": 2}
    assert campaign.names(states=["running"]) == ["sim:0"]
    assert campaign.ask("logs", id="sim:0")["outputs"][0]["lane"] == 0
    (plight,) = campaign.ask("explain", id="after")["plights"]
    assert plight["reason"] == "waits for sim to succeed (0 of 3 tasks have ended)"


def test_what_waits_behind_another_in_its_lane_has_written_nothing() -> None:
    campaign = Campaign(Submit(job(1, "sim", RangeArray(0, 2))), grant(1, 0, 2))
    rows = campaign.ask("logs", id="sim")["outputs"]
    assert [(row["running"], row["lane"]) for row in rows] == [(True, None), (True, None)]
