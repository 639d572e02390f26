import io

from pilotfish.model.states import TaskState
from pilotfish.ui.progress import Progress, progress_line, summary


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError


def totals(**counts: int) -> dict[TaskState, int]:
    return {TaskState[name]: count for name, count in counts.items()}


def test_the_line_tells_done_running_failed_rate_and_what_is_left() -> None:
    line = progress_line(totals(succeeded=411, failed=1, running=2, ready=586), rate=210)
    assert line == "412/1,000 tasks · 2 running · 1 failed · 210/s · about 3s left"


def test_without_a_rate_nothing_is_promised() -> None:
    assert progress_line(totals(ready=1), rate=0) == "0/1 task · 0 running"


def test_slow_tasks_are_counted_by_the_minute() -> None:
    assert "1.5/min · about 40m00s left" in progress_line(totals(succeeded=1, ready=60), rate=0.025)


def test_when_all_has_ended_no_time_is_left_to_tell() -> None:
    assert progress_line(totals(succeeded=5), rate=3) == "5/5 tasks · 0 running"


def test_a_terminal_gets_one_line_written_over_at_most_four_times_a_second() -> None:
    stream = Terminal()
    progress = Progress(stream, totals(ready=100), now=0.0)
    for tenth in range(1, 21):
        progress.update(totals(ready=100 - tenth, succeeded=tenth), now=tenth / 10)
    written = stream.getvalue()
    assert "\n" not in written
    assert 6 <= written.count("\r") <= 8


def test_a_file_gets_whole_lines_seldom_and_only_when_something_changed() -> None:
    stream = io.StringIO()
    progress = Progress(stream, totals(ready=2), now=0.0)
    for second in range(1, 60):
        progress.update(totals(ready=1, succeeded=1) if second > 20 else totals(ready=2), now=float(second))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "0/2 tasks · 0 running"
    assert all(line.startswith("1/2 tasks") for line in lines[1:])
    assert "\r" not in stream.getvalue()


def test_it_is_not_due_before_its_time() -> None:
    progress = Progress(io.StringIO(), totals(ready=1), now=100.0)
    assert not progress.due(104.9)
    assert progress.due(105.0)


def test_the_rate_is_that_of_late_and_leaves_out_what_had_ended_before() -> None:
    stream = io.StringIO()
    progress = Progress(stream, totals(succeeded=900, ready=1100), now=0.0)
    for second in range(5, 300, 5):
        done = min(second, 100) + max(0, second - 100) * 2
        progress.update(totals(succeeded=900 + done, ready=1100 - done), now=float(second))
    lines = stream.getvalue().splitlines()
    assert "1.0/s" in lines[10]
    assert "2.0/s" in lines[-1]


def test_a_note_takes_the_progress_line_away_first() -> None:
    stream = Terminal()
    progress = Progress(stream, totals(ready=2), now=0.0)
    progress.update(totals(ready=2), now=1.0)
    progress.note("the disk is full")
    assert stream.getvalue().endswith("\r\x1b[Kthe disk is full\n")
    progress.update(totals(ready=2), now=1.01)
    assert stream.getvalue().endswith("0/2 tasks · 0 running\x1b[K")


FAILURE = {
    "id": "2:3",
    "name": "sim:3",
    "value": None,
    "outcome": "exited",
    "code": 3,
    "reason": "",
    "last_line": "no such file",
}


def test_the_summary_names_failures_and_what_to_type() -> None:
    text = summary(
        totals(succeeded=986, failed=12, skipped=2), [FAILURE] * 10, seconds=12.0, again="pilotfish run c.yaml"
    )
    first, *rest = text.splitlines()
    assert first == "1,000 tasks in 12s: 986 succeeded, 12 failed, 2 skipped"
    assert rest[0] == "  sim:3  exit code 3: no such file"
    assert rest[10] == "  … and 2 more"
    assert rest[11:] == [
        "next: pilotfish logs sim:3",
        "next: pilotfish tasks --failed",
        "next: pilotfish run c.yaml",
    ]


def test_a_failure_without_an_attempt_tells_its_reason() -> None:
    failure = {**FAILURE, "outcome": None, "code": None, "reason": "no node has 64 cores", "last_line": ""}
    text = summary(totals(failed=1), [failure], seconds=0.1, again="x")
    assert text.splitlines()[1] == "  sim:3  no node has 64 cores"


def test_a_failure_tells_its_row_and_its_reason() -> None:
    failure = {**FAILURE, "value": "north\n  pole", "outcome": "timed_out", "code": 0, "reason": "after 30 s"}
    text = summary(totals(failed=1), [failure], seconds=0.1, again="x")
    assert text.splitlines()[1] == "  sim:3 (north pole)  timed out (after 30 s): no such file"


def test_the_summary_of_an_interrupted_run_says_how_it_goes_on() -> None:
    text = summary(totals(succeeded=1, ready=9), [], seconds=1.0, again="pilotfish run c.yaml")
    assert text.splitlines() == ["10 tasks in 1s: 1 succeeded, 9 ready", "next: pilotfish run c.yaml"]


def test_hints_lead_to_the_same_store() -> None:
    text = summary(totals(succeeded=1), [], seconds=1.0, again="x", place=" --store s")
    assert text.splitlines()[1:] == ["next: pilotfish tasks --store s"]
