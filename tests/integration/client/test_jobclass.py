import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pilotfish as pf
from pilotfish.errors import TaskError, UserError


class Square(pf.JobClass):
    """A leaf that fails where it is told to."""

    attempts = 2
    error_time = 0.01

    def execute(self, i: int, *, fails: bool = False) -> tuple[int, int]:
        if fails:
            raise ValueError(f"no {i}")
        return i * i, self.trial


class Parent(pf.JobClass):
    defer_time = 0.01

    def execute(self, count: int, bad: int = -1, *, partial: bool = False) -> dict[str, Any]:
        if self.trial == 1:
            for i in range(count):
                self.enqueue(Square, i=i, fails=i == bad)
            self.defer("launched")
        children = self.children
        if children.unfinished:
            self.defer("waiting", time=0.02)
        return {
            "total": len(children),
            "succeeded": children.succeeded,
            "failed": children.failed,
            "done": children.done_fraction,
            "results": children.results(partial=partial),
        }


class Flaky(pf.JobClass):
    attempts = 3
    error_time = 0.01

    def execute(self) -> tuple[int, int]:
        if self.trial < 3:
            raise ValueError(self.trial)
        return self.trial, self.attempt


class Sower(pf.JobClass):
    """Enqueues in every trial, and fails in the first."""

    attempts = 2
    error_time = 0.01
    defer_time = 0.01

    def execute(self) -> int:
        children = self.children
        if children:
            if children.unfinished:
                self.defer()
            return len(children)
        self.enqueue(Square, i=self.trial)
        self.enqueue(Square, i=self.trial)
        if self.trial == 1:
            raise ValueError("after enqueueing")
        self.defer()
        raise AssertionError


class Impatient(pf.JobClass):
    defer_time = 0.01
    defer_max = 0.1

    def execute(self) -> None:
        self.defer("nothing comes")


class Counter(pf.JobClass):
    def execute(self, value: int) -> list[Any]:
        cookie = self.cookie
        before = cookie.get("last_runtime")
        cookie.inc("count")
        cookie.inc("sum", value)
        cookie.dec("sum", 1)
        cookie.max("most", value)
        cookie.min("least", value)
        cookie.set("newest", value)
        names = ("count", "sum", "most", "least", "newest")
        found = [before, *map(cookie.get, names), cookie.has_key("newest"), cookie.has_key("new")]
        cookie.delete("newest")
        return [*found, cookie.get("newest", "gone")]


class Looker(pf.JobClass):
    cores = 2
    memory = "64MiB"

    async def execute(self) -> tuple[int, int | None]:
        self.progress(0.5, "half")
        self.logger.warning("looking")
        return len(self.slots.cores), self.slots.memory


class Killed(pf.JobClass):
    """Its worker dies in the first start, after all children have been enqueued."""

    defer_time = 0.01

    def execute(self) -> tuple[int, int]:
        if self.trial == 1:
            for i in range(3):
                self.enqueue(Square, i=i)
            if self.attempt == 1:
                pid = os.getppid()
                os.kill(pid, signal.SIGKILL)
                time.sleep(60)
            self.defer()
        if self.children.unfinished:
            self.defer()
        return self.attempt - self.trial, len(self.children)


class Wrong(pf.JobClass):
    attempts = -1

    def execute(self) -> None: ...


class Enqueuer(pf.JobClass):
    def execute(self, what: str) -> None:
        if what == "class":
            self.enqueue(Wrong)
        else:
            self.enqueue(Square, j=1)


@pytest.fixture
def session() -> Iterator[pf.Session]:
    with pf.Session(cores=2) as session:
        yield session


def test_a_job_waits_for_its_children_and_gets_their_results_in_order(session: pf.Session) -> None:
    found = session.enqueue(Parent, count=5).result(60)
    assert found["results"] == [(i * i, 1) for i in range(5)]
    assert (found["total"], found["succeeded"], found["failed"], found["done"]) == (5, 5, 0, 1.0)


def test_children_that_fail_have_ended(session: pf.Session) -> None:
    found = session.enqueue(Parent, count=4, bad=2, partial=True).result(60)
    assert (found["succeeded"], found["failed"], found["results"]) == (3, 1, [(0, 1), (1, 1), (9, 1)])


def test_who_wants_the_results_of_all_is_told_of_the_first_failure(session: pf.Session) -> None:
    with pytest.raises(TaskError, match=r"1 of 3 children have not succeeded; .*Square:\d+, failed: ValueError: no 1"):
        session.enqueue(Parent, count=3, bad=1).result(60)


def test_a_failure_is_tried_again_and_the_next_trial_has_the_next_number(session: pf.Session) -> None:
    assert session.enqueue(Flaky).result(60) == (3, 3)


def test_nothing_of_what_a_failed_trial_has_enqueued_enters(session: pf.Session) -> None:
    assert session.enqueue(Sower).result(60) == 2


def test_a_trial_that_nobody_witnessed_is_made_again_under_its_number(session: pf.Session) -> None:
    assert session.enqueue(Killed).result(60) == (1, 3)


def test_who_defers_for_too_long_fails_with_the_reason(session: pf.Session) -> None:
    with pytest.raises(UserError, match=r"longer than its defer_max of 0\.1 s \(nothing comes\)"):
        session.enqueue(Impatient).result(60)


def test_jobs_of_a_class_share_a_cookie(session: pf.Session) -> None:
    assert session.enqueue(Counter, value=5).result(60) == [None, 1, 4, 5, 5, 5, True, False, "gone"]
    last, *found = session.enqueue(Counter, value=3).result(60)
    assert last > 0
    assert found == [2, 6, 5, 3, 3, True, False, "gone"]


def test_a_coroutine_runs_on_what_its_class_asks_for(session: pf.Session) -> None:
    assert session.enqueue(Looker).result(60) == (2, 64 * 2**20)


@pytest.mark.parametrize(("what", "message"), [("class", r"Wrong\.attempts"), ("arguments", r"Square\.execute")])
def test_what_is_wrong_with_a_child_is_an_error_where_it_is_enqueued(
    session: pf.Session, what: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        session.enqueue(Enqueuer, what=what).result(60)


def test_a_wrong_class_or_argument_is_an_error_before_anything_runs(session: pf.Session) -> None:
    with pytest.raises(UserError, match=r"Wrong\.attempts: expected a whole number"):
        session.enqueue(Wrong)
    with pytest.raises(UserError, match="missing a required argument: 'i'"):
        session.enqueue(Square)


def test_classes_of_a_script_travel_with_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import pilotfish as pf\n"
        "class Sum(pf.JobClass):\n"
        "    defer_time = 0.01\n"
        "    def execute(self, n):\n"
        "        if n == 0:\n"
        "            return 0\n"
        "        if not self.children:\n"
        "            self.enqueue(n=n - 1)\n"
        "            self.defer()\n"
        "        if self.children.unfinished:\n"
        "            self.defer()\n"
        "        return n + self.children.results()[0]\n"
        "if __name__ == '__main__':\n"
        "    with pf.Session(cores=2) as session:\n"
        "        print(session.enqueue(Sum, n=4).result())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "10\n", done.stderr
