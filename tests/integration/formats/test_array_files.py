"""Arrays whose rows lie in files beside the job file."""

import json
from pathlib import Path

import pytest

from pilotfish.errors import JobFileError
from pilotfish.formats.native import load
from pilotfish.model.jobs import TableArray


def read(folder: Path, array: str, **files: str | bytes) -> TableArray:
    """The array of the only job of a file, with `files` beside it by their name (`_` for the point)."""
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name.replace("_", ".")).write_bytes(data)
    job_file = folder / "jobs.yaml"
    job_file.write_text(f"jobs:\n  - command: run\n    array: {array}\n")
    (spec,) = load(job_file).jobs
    assert isinstance(spec.array, TableArray)
    return spec.array


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ("x,y\n1,2\n3,4\n", ("x", "y"), [("1", "2"), ("3", "4")]),
        ("x,y\r\n1,2\r\n\r\n3,4", ("x", "y"), [("1", "2"), ("3", "4")]),
        ('name_,note\n"a, b","say ""hi""\nthere"\n', ("name_", "note"), [("a, b", 'say "hi"\nthere')]),
        ("\ufeffx\n007\n 1.50 \n", ("x",), [("007",), (" 1.50 ",)]),
        ("x,y\n,\n", ("x", "y"), [("", "")]),
        ('x\n""\n', ("x",), [("",)]),
    ],
)
def test_csv(text: str, names: tuple[str, ...], rows: list[tuple[str, ...]], tmp_path: Path) -> None:
    array = read(tmp_path, "{csv: rows.csv}", rows_csv=text)
    assert (array.names, [array.row(place) for place in range(array.count)]) == (names, rows)


@pytest.mark.parametrize(
    ("value", "names", "rows"),
    [
        ([{"x": 1, "y": "a"}, {"y": "b", "x": 2}], ("x", "y"), [("1", "a"), ("2", "b")]),
        (["a", 1, 2.5], ("value",), [("a",), ("1",), ("2.5",)]),
    ],
)
def test_json(value: object, names: tuple[str, ...], rows: list[tuple[str, ...]], tmp_path: Path) -> None:
    array = read(tmp_path, "{json: rows.json}", rows_json=json.dumps(value))
    assert (array.names, [array.row(place) for place in range(array.count)]) == (names, rows)


def test_numbers_of_json_stay_as_written(tmp_path: Path) -> None:
    assert read(tmp_path, "{json: a.json}", a_json="[1.50, 1e3]").columns == (("1.50", "1e3"),)


def test_lines(tmp_path: Path) -> None:
    array = read(tmp_path, "{lines: a.txt}", a_txt=" a b \r\n\n# c\nd")
    assert array == TableArray(("line",), ((" a b ", "# c", "d"),))


def test_paths_are_relative_to_the_job_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("x\n")
    monkeypatch.chdir("/")
    assert read(tmp_path, "{lines: data/a.txt}").count == 1
    assert read(tmp_path, f"{{lines: {tmp_path}/data/../data/a.txt}}").count == 1
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read(tmp_path, "{lines: ~/data/a.txt}").count == 1


def test_a_folder_with_braces_is_only_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "{index}"
    folder.mkdir()
    assert read(folder, "{lines: a.txt}", a_txt="x\n").count == 1


CONTENT = {
    "a short row": ("csv", "x,y\n1,2\n3\n", 3, "1 value, and the first row names 2 columns"),
    "a long row": ("csv", 'x,y\n"1\n",2\n3,4,5\n', 4, "3 values"),
    "a quote that does not end": ("csv", 'x,y\n1,2\n"3,4\n', 3, "not valid CSV: unexpected end of data"),
    "a quote within": ("csv", 'x\n"a"b\n', 2, "not valid CSV"),
    "a column twice": ("csv", "x,y,x\n1,2,3\n", 1, "the column 'x' stands here twice"),
    "a column with a space": ("csv", "x, y\n1,2\n", 1, "' y' cannot name a column"),
    "a column of nothing": ("csv", "x,\n1,2\n", 1, "cannot name a column"),
    "a column of digits": ("csv", "1,2\n3,4\n", 1, "for example _1"),
    "a column of ours": ("csv", "name\na\n", 1, "every job has a placeholder {name}; for example name_"),
    "a long field": ("csv", f"x\n{'y' * 200_000}\n", 2, "field larger than field limit"),
    "not UTF-8": ("csv", b"x\n\xe9\n", 2, "is not UTF-8: byte 0xe9"),
    "no text": ("lines", b"a\nb\0\n", 2, "holds a NUL byte"),
    "a long line": ("lines", f"a\n{'y' * 131_072}\n", 2, "131071 characters"),
    "no JSON": ("json", "[1,\n2,]", 2, "not valid JSON"),
    "no list": ("json", '{"x": 1}', 1, "expected a list of mappings"),
    "a key twice": ("json", '[\n{"x": 1,\n"x": 2}]', 3, "'x' stands twice"),
    "a flag": ("json", "[1,\n2,\n true]", 3, "[2]: expected text, got true"),
    "a list of lists": ("json", "[[1]]", 1, "[0]: expected text or a number"),
    "mixed": ("json", '[{"x": 1},\n2]', 2, "[1]: expected a mapping as the first entry is; got 2"),
    "mixed the other way": ("json", '[2,\n{"x": 1}]', 2, "[1]: expected text or a number"),
    "a key less": ("json", '[{"x": 1, "y": 2},\n{"x": 1}]', 2, "[1]: the key 'y' is missing"),
    "a key more": ("json", '[{"x": 1},\n{"x": 1, "z": 2}]', 2, "[1]: the key 'z' is not in the first entry"),
    "another key": ("json", '[{"x": 1},\n{"z": 2}]', 2, "[1]: the key 'x' is missing"),
    "no keys": ("json", "[{}]", 1, "[0]: is empty"),
    "a value within": ("json", '[{"x": 1},\n{"x":\nnull}]', 2, "[1].x: expected text, got nothing"),
    "a wrong column": ("json", '[\n{"a b": 1}]', 2, "[0]: 'a b' cannot name a column"),
}


@pytest.mark.parametrize(("kind", "content", "line", "says"), CONTENT.values(), ids=CONTENT.keys())
def test_wrong_content_is_refused_in_its_own_file(
    kind: str, content: str | bytes, line: int, says: str, tmp_path: Path
) -> None:
    with pytest.raises(JobFileError) as raised:
        read(tmp_path, f"{{{kind}: rows.txt}}", rows_txt=content)
    assert str(raised.value).startswith(f"{tmp_path}/rows.txt:{line}: "), str(raised.value)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "content", "says"),
    [
        ("csv", None, "no such file"),
        ("csv", "", "holds no row"),
        ("csv", "x,y\n", "holds no row"),
        ("json", "[]", "holds no row"),
        ("lines", "\n \n", "holds no row"),
        ("lines", ("y" * 99_999 + "\n") * 151, "at most 15000000 characters"),
    ],
)
def test_a_file_without_rows_is_refused_in_the_job_file(
    kind: str, content: str | None, says: str, tmp_path: Path
) -> None:
    with pytest.raises(JobFileError) as raised:
        read(tmp_path, f"{{{kind}: rows.txt}}", **{} if content is None else {"rows_txt": content})
    assert str(raised.value).startswith(f"{tmp_path}/jobs.yaml:3: jobs[0].array.{kind}: "), str(raised.value)
    assert says in str(raised.value)


def test_a_folder_or_an_endless_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match="is a folder"):
        read(tmp_path, "{csv: .}")
    with pytest.raises(JobFileError, match="is larger than 64 MB"):
        read(tmp_path, "{csv: /dev/zero}")
