"""Job classes with a schedule: a server enqueues them, each time once, until they are taken back."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilotfish.manager.schedules import SCHEDULE, Schedule
from pilotfish.model.changes import Put
from pilotfish.store.sqlite import SqliteStore
from tests.acceptance.test_serve import Served

HOUR = 3600.0
MINUTE = (time.localtime().tm_min + 30) % 60  # never while a test runs
CLASSES = f"""
import pathlib
import time
import pilotfish as pf


class Hourly(pf.JobClass):
    schedule = "{MINUTE} * * * *"

    def execute(self, value="none", until=None):
        with open("log", "a") as log:
            log.write(str(value) + "\\n")
        while until and not pathlib.Path(until).exists():
            time.sleep(0.02)


class Heir(Hourly):
    pass


class Parent(pf.JobClass):
    schedule = "{MINUTE} * * * *"

    def execute(self, child=False):
        with open("log", "a") as log:
            log.write("child\\n" if child else "parent\\n")
        if not child:
            self.enqueue(child=True)


class Wrong(Hourly):
    schedule = "60 * * * *"
"""


class Scheduled(Served):
    """A folder whose server keeps schedules, and can be made to believe that time has gone by."""

    def rows(self) -> dict[str, dict[str, Any]]:
        return {job["name"]: job for job in json.loads(self.run("jobs", "--json").stdout)}

    def end(self, number: int = signal.SIGTERM) -> None:
        self.server.send_signal(number)
        self.server.communicate(timeout=30)

    def hours_later(self, **env: str) -> None:
        """Serve again as if times had been seen to three hours earlier."""
        if self.server.poll() is None:
            self.end()
        store = SqliteStore(self.folder / ".pilotfish" / "server", create=False)
        for put in store.values(SCHEDULE):
            assert isinstance(put.value, bytes)
            found = msgspec.msgpack.decode(put.value, type=Schedule)
            earlier = msgspec.structs.replace(found, seen=found.seen - 3 * HOUR)
            store.commit([Put(put.key, msgspec.msgpack.encode(earlier), put.version)])
        store.close()
        self.serve(**env)

    def runs(self, name: str) -> int:
        """How often it has been enqueued; all of it has ended."""
        assert self.run("wait", name).returncode == 0
        return int(self.rows()[name]["tasks"])


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Scheduled]:
    box = Scheduled(tmp_path)
    box.write("classes.py", CLASSES)
    box.serve()
    yield box
    if box.server.poll() is not None:
        box.serve()  # so that its agent is told to end
    box.end(signal.SIGINT)
    for process in box.started:
        process.communicate(timeout=30)


def test_it_is_told_when_it_is_due_next(box: Scheduled) -> None:
    done = box.run("submit", "classes:Hourly", "value=one")
    assert (done.returncode, done.stdout) == (0, "Hourly\n")
    assert done.stderr.startswith(f"Hourly: {MINUTE} * * * *, next at 20")
    row = box.rows()["Hourly"]
    assert (row["schedule"], row["tasks"]) == (f"{MINUTE} * * * *", 0)
    assert time.localtime(row["due"])[4:6] == (MINUTE, 0)
    assert f"{MINUTE} * * * *, next at 20" in box.run("show", "Hourly").stdout
    box.end()
    assert box.rows()["Hourly"]["due"] is None, "nobody sees to it"
    assert f"{MINUTE} * * * *" in box.run("jobs").stdout


def test_times_that_were_missed_are_made_up_for_once(box: Scheduled) -> None:
    assert box.submit("classes:Hourly", "value=one") == ["Hourly"]
    assert box.submit("classes:Hourly", "value=two") == ["Hourly-2"]
    assert box.submit("classes:Hourly", "value=one") == ["Hourly"], "which is there already"
    box.hours_later()
    box.wait_for(lambda: len(box.lines("log")) == 2)
    assert (box.runs("Hourly"), box.runs("Hourly-2")) == (1, 1)
    box.end()
    box.serve()
    box.hours_later()
    box.wait_for(lambda: len(box.lines("log")) == 4)
    assert (box.runs("Hourly"), box.runs("Hourly-2")) == (2, 2)
    assert sorted(box.lines("log")) == ["one", "one", "two", "two"]


@pytest.mark.parametrize("step", ["manager.deciding", "store.committing", "store.committed", "manager.committed"])
def test_killed_where_it_is_enqueued_it_is_enqueued_once(box: Scheduled, step: str) -> None:
    box.submit("classes:Hourly", "value=one")
    box.hours_later(PILOTFISH_STOP_AT=step)  # it is the first thing that such a server decides
    box.server.wait(30)
    assert box.server.returncode == -signal.SIGKILL
    box.serve()
    box.wait_for(lambda: box.lines("log"))
    assert box.runs("Hourly") == 1
    assert box.lines("log") == ["one"]


@pytest.mark.parametrize("step", ["manager.deciding", "store.committed"])
def test_killed_where_it_is_submitted_it_can_be_submitted_again(box: Scheduled, step: str) -> None:
    box.end()
    box.serve(PILOTFISH_STOP_AT=step)
    submit = box.start("submit", "classes:Hourly", "value=one")
    box.server.wait(30)
    box.serve()
    out, said = submit.communicate(timeout=30)
    assert (submit.returncode, out) == (0, "Hourly\n"), said
    assert box.rows().keys() == {"Hourly"}


def test_nothing_is_enqueued_while_the_last_has_not_ended(box: Scheduled) -> None:
    box.submit("classes:Hourly", "until=go")
    box.hours_later()
    box.wait_for(lambda: box.lines("log"))
    box.end(signal.SIGKILL)
    box.hours_later()
    assert box.rows()["Hourly"]["tasks"] == 1
    box.write("go", "")
    assert box.runs("Hourly") == 1
    box.hours_later()
    box.wait_for(lambda: len(box.lines("log")) == 2)
    assert box.runs("Hourly") == 2


def test_it_is_taken_back_by_cancelling_its_job(box: Scheduled) -> None:
    box.submit("classes:Hourly", "until=never")
    box.submit("classes:Hourly", "value=one")
    box.hours_later()
    box.wait_for(lambda: len(box.lines("log")) == 2)
    assert box.run("cancel", "Hourly:0").stderr == "1 task is being ended\n", "one of its jobs only"
    assert box.rows()["Hourly"]["schedule"] is not None
    assert box.run("cancel", "Hourly").stderr == "1 schedule taken back\n"
    box.end()
    assert box.run("cancel", "Hourly-2").stderr.startswith("1 schedule taken back; no manager is running")
    box.serve()
    assert [row["schedule"] for row in box.rows().values()] == [None, None]
    assert "nothing to cancel" in box.run("cancel", "Hourly-2").stderr
    assert box.submit("classes:Hourly", "value=one") == ["Hourly-2"], "it can come again"


def test_a_schedule_is_no_property_of_heirs_nor_of_children(box: Scheduled) -> None:
    assert box.submit("classes:Heir", "value=heir") == ["Heir:0"]
    assert box.run("wait", "Heir").returncode == 0
    assert box.lines("log") == ["heir"]
    assert box.submit("classes:Parent") == ["Parent"]
    box.hours_later()
    box.wait_for(lambda: box.run("wait", "Parent", "Parent-2").returncode == 0)
    assert {name: row["tasks"] for name, row in box.rows().items()} == {"Heir": 1, "Parent": 1, "Parent-2": 1}
    assert box.lines("log") == ["heir", "parent", "child"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("classes:Wrong",), 2, "schedule: expected cron's five fields (minute, hour, day, month, weekday)"),
        (("classes:Hourly", "x=1"), 2, "Hourly.execute(self, value='none', until=None): "),
        (("--wait", "classes:Hourly"), 2, "--wait: Hourly has a schedule, which does not end"),
        (("--store", "own", "classes:Hourly"), 75, "Hourly has a schedule, and no server is running that keeps it"),
    ],
)
def test_what_is_wrong_is_one_line(box: Scheduled, words: tuple[str, ...], code: int, message: str) -> None:
    done = box.run("submit", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"pilotfish: error: {message}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert box.rows() == {}
