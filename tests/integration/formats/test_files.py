"""Job files as files: how each suffix is read, and what cannot be read at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pilotfish.errors import JobFileError
from pilotfish.formats.native import load

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "jobs: [{command: run}]"),
        ("a.YML", "jobs:\r\n  - command: run\r\n"),
        ("a.json", '{"jobs": [{"command": "run"}]}'),
        ("a.toml", '[[jobs]]\ncommand = "run"\n'),
        ("a", "jobs: [{command: run}]"),
        ("a.txt", "# a job file all the same\njobs: [{command: run}]"),
        ("a.yaml", "\ufeffjobs: [{command: run}]"),
    ],
)
def test_file_is_read_by_its_suffix_or_its_looks(name: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(text.encode())
    found = load(file)
    assert (found.file, found.jobs[0].name, found.jobs[0].command) == (str(file), "a", "run")
    assert found.jobs[0].directory == found.jobs[0].cwd == str(tmp_path)


def test_any_other_file_is_a_list_of_commands(tmp_path: Path) -> None:
    file = tmp_path / "commands.sh"
    file.write_text("echo a\n\n# b\necho c\n")
    assert load(file).jobs[0].count == 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"\x7fELF\x02\xff\x00", "NUL byte"),
        (b"name: caf\xe9\n", "is not UTF-8: byte 0xe9"),
        (b"\xff\xfej\x00", "NUL byte"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "jobs.yaml"
    file.write_bytes(data)
    with pytest.raises(JobFileError, match=says) as raised:
        load(file)
    assert str(raised.value).startswith(f"{file}:1: ")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match="no such file"):
        load(tmp_path / "missing.yaml")
    with pytest.raises(JobFileError, match="is a folder: name a file in it"):
        load(tmp_path)
    with pytest.raises(JobFileError, match="cannot be read: File name too long"):
        load(tmp_path / ("x" * 300))
    with pytest.raises(JobFileError, match=r"cannot be read: .*null byte"):
        load(tmp_path / "a\0b")
    (tmp_path / "circle.yaml").symlink_to("circle.yaml")
    with pytest.raises(JobFileError, match="cannot be read: Too many levels of symbolic links"):
        load(tmp_path / "circle.yaml")


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "jobs.yaml").write_text("jobs: [{command: run}]")
    with pytest.raises(JobFileError, match="rename the folder"):
        load(folder / "jobs.yaml")


def test_the_primes_example_is_a_job_file() -> None:
    count, reduce = load(EXAMPLES / "primes" / "primes.yaml").jobs
    assert (count.count, reduce.after[0].on) == (50, "count")


def test_the_montage_example_becomes_a_job_file(tmp_path: Path) -> None:
    folder = EXAMPLES / "montage"
    command = [sys.executable, "convert.py", "montage-chameleon-2mass-005d-001.tsv.gz", "0.01"]
    written = subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout
    (tmp_path / "montage.json").write_bytes(written)
    found = load(tmp_path / "montage.json")
    assert (found.name, len(found.jobs)) == ("montage-chameleon-2mass-005d-001", 58)
    assert sum(len(spec.after) for spec in found.jobs) > 58
    assert found.jobs[0].command == ("sleep", "0.167")


def test_yaml_is_imported_for_yaml_only(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"jobs": [{"command": "run"}]}')
    program = (
        "import sys; from pathlib import Path; from pilotfish.formats.native import load;"
        "load(Path(sys.argv[1])); print(sorted({'yaml', 'tomllib', 'difflib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, file], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
