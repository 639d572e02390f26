"""Job files changed at random: no traceback, no hang, no more memory than a process may have."""

import random
from pathlib import Path

import pytest

from pilotfish.formats.native import load
from tests.fuzz.mutate import case_of, hunt, read, tried
from tests.fuzz.valid import VALID


@pytest.mark.parametrize("files", VALID, ids=[next(iter(files)) for files in VALID])
def test_what_is_changed_is_valid(files: dict[str, str], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    job_file = tmp_path / next(iter(files))
    assert load(job_file).jobs
    assert read(job_file)


def test_a_case_can_be_seen_again() -> None:
    assert case_of(7, 5) == case_of(7, 5) != case_of(7, 6)


@pytest.mark.parametrize("seed", [1, 2])
def test_some_changed_files_are_read_or_refused(seed: int) -> None:
    summary, found = tried(seed, cases=300)
    assert found == ""
    assert f"seed {seed}: 300 cases" in summary


@pytest.mark.soak
def test_changed_files_are_read_or_refused_for_an_hour() -> None:
    assert hunt(3_600, seed=random.randrange(10**6)) == 0
