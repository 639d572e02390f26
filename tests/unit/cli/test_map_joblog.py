import pytest

from pilotfish.cli.map_joblog import log_line
from pilotfish.model.attempts import AttemptId, OutputRef, Report
from pilotfish.model.states import Outcome


def report(outcome: Outcome, code: int = 0, *, started_at: float = 100.25) -> Report:
    return Report(
        attempt=AttemptId(1, 6, 2, 1),
        lane=0,
        outcome=outcome,
        code=code,
        started_at=started_at,
        ended_at=101.5,
        cpu_seconds=0.0,
        peak_rss=0,
        stdout=OutputRef("segment", 10, 42),
    )


def test_a_line_has_the_fields_of_gnu_parallel() -> None:
    assert log_line(report(Outcome.exited, 3), "exit 3") == "7\t:\t100.250\t     1.250\t0\t42\t3\t0\texit 3\n"


@pytest.mark.parametrize(
    ("outcome", "code", "fields"),
    [
        (Outcome.exited, 0, ["0", "0"]),
        (Outcome.signalled, 9, ["0", "9"]),
        (Outcome.timed_out, 0, ["-1", "15"]),
        (Outcome.out_of_memory, 0, ["-1", "9"]),
        (Outcome.start_failed, 0, ["127", "0"]),
    ],
)
def test_each_outcome_has_a_code_and_a_signal(outcome: Outcome, code: int, fields: list[str]) -> None:
    assert log_line(report(outcome, code), "x").split("\t")[6:8] == fields


def test_what_never_started_took_no_time() -> None:
    assert log_line(report(Outcome.start_failed, started_at=0.0), "x").split("\t")[2:4] == ["0.000", "     0.000"]
