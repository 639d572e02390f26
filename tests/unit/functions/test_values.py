"""Values are bytes under names: written once, there as long as somebody needs them, shared by processes and threads."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule

from pilotfish.functions import values as under_test
from pilotfish.functions.values import LARGE, Values, content_name, is_value_name

DATA = b"x" * LARGE
ROOM = 3 * LARGE


@pytest.fixture
def values(tmp_path: Path) -> Values:
    return Values(tmp_path / "values", spill=tmp_path / "spill")


def files(folder: Path) -> set[int]:
    """The files of a folder that hold a value, however many names each has."""
    return {path.stat().st_ino for path in folder.iterdir() if path.name != "used"}


@pytest.mark.parametrize("data", [b"", b"a", DATA, bytearray(b"abc"), memoryview(b"abcdef")[2:4], memoryview(b"")])
def test_what_was_put_is_got_read_only(values: Values, data: bytes) -> None:
    name = values.put(data)
    view = values.get(name)
    assert bytes(view) == bytes(data)
    assert view.readonly
    assert name in values
    assert name.startswith(content_name(data) + ".")


def test_another_values_of_the_same_folder_finds_it(values: Values, tmp_path: Path) -> None:
    assert bytes(Values(tmp_path / "values").get(values.put(DATA))) == DATA


def test_memory_that_is_not_contiguous_is_refused(values: Values) -> None:
    with pytest.raises(BufferError):
        values.put(memoryview(b"abcdef")[::2])


def test_equal_content_is_written_once(values: Values, tmp_path: Path) -> None:
    names = [values.put(DATA) for _ in range(3)]
    assert len(set(names)) == 3
    assert len(files(tmp_path / "values")) == 1
    assert (tmp_path / "values" / "used").stat().st_size == LARGE


def test_a_name_that_is_dropped_takes_none_of_the_others_with_it(values: Values, tmp_path: Path) -> None:
    first, second = values.put(DATA), values.put(DATA)
    values.drop(first)
    values.drop(first)
    assert first not in values
    assert bytes(values.get(second)) == DATA
    values.drop(second)
    assert files(tmp_path / "values") == set()
    assert (tmp_path / "values" / "used").stat().st_size == 0


def test_what_is_gone_is_told(values: Values) -> None:
    name = values.put(DATA)
    values.drop(name)
    with pytest.raises(FileNotFoundError, match=f"this value was dropped, or its session has ended: '{name}'"):
        values.get(name)


def test_what_is_mapped_outlives_its_name_and_its_folder(values: Values, tmp_path: Path) -> None:
    name = values.put(DATA)
    view = values.get(name)
    values.drop(name)
    assert bytes(view) == DATA
    values.close()
    values.close()
    assert bytes(view) == DATA
    assert not (tmp_path / "values").exists()
    assert not (tmp_path / "spill").exists()


def test_what_is_let_go_after_the_end_is_no_error(values: Values) -> None:
    name = values.put(DATA, hold=True)
    values.close()
    values.release(name)


def test_a_value_goes_with_its_last_holder(values: Values) -> None:
    name = values.put(DATA)
    values.hold(name)
    values.hold(name)
    values.release(name)
    assert name in values
    values.release(name)
    assert name not in values


def test_content_that_is_held_keeps_its_name(values: Values) -> None:
    name = values.put(DATA, hold=True)
    assert values.put(DATA, hold=True) == name
    assert values.put(DATA) != name
    values.release(name)
    assert name in values
    values.release(name)
    assert name not in values
    assert values.put(DATA, hold=True) != name


def test_past_its_limit_a_folder_spills(tmp_path: Path) -> None:
    values = Values(tmp_path / "values", spill=tmp_path / "spill", limit=ROOM)
    other = Values(tmp_path / "values", spill=tmp_path / "spill", limit=ROOM)
    names = [maker.put(bytes([number]) * LARGE) for number, maker in enumerate((values, other) * 3)]
    assert len(files(tmp_path / "values")) == 3
    assert len(files(tmp_path / "spill")) == 3
    assert [bytes(other.get(name))[:1] for name in names] == [bytes([number]) for number in range(6)]
    values.drop(names[0])
    values.drop(names[5])
    values.put(b"new" * (LARGE // 3))
    assert len(files(tmp_path / "values")) == 3
    assert len(files(tmp_path / "spill")) == 2


def test_without_a_disk_a_limit_is_the_end(tmp_path: Path) -> None:
    values = Values(tmp_path / "values", limit=LARGE)
    values.put(DATA)
    values.put(DATA)
    with pytest.raises(OSError, match=r"no room for a value of 1 B in .*values: free some, or name a disk") as caught:
        values.put(b"y")
    assert caught.value.errno == errno.ENOSPC


FULL = """
import sys
from pathlib import Path
from pilotfish.functions.values import LARGE, Values

small, large = Path(sys.argv[1]), Path(sys.argv[2])
values = Values(small / "v", spill=large / "v")
names = [values.put(bytes([n]) * LARGE) for n in range(20)]
assert all(bytes(values.get(name)) == bytes([n]) * LARGE for n, name in enumerate(names))
print(*(len({p.stat().st_ino for p in (home / "v").iterdir()} ) for home in (small, large)))
used = (small / "v" / "used").stat().st_size
try:
    values.put(bytes(4 << 20))
except OSError as error:
    print(error.strerror)
assert (small / "v" / "used").stat().st_size == used
assert not list(small.glob("v/*-4194304*")) + list(large.glob("v/*-4194304*"))
"""


@pytest.mark.needs("tmpfs")
def test_a_full_memory_spills_and_a_full_disk_is_told(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    large.mkdir()
    mounts = f"mount -t tmpfs -o size=1m none {small} && mount -t tmpfs -o size=2m none {large}"
    script = [sys.executable, "-c", FULL, str(small), str(large)]
    command = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "-", *script]
    counts, told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert counts == "17 4"  # 16 and `used`; four
    assert told.startswith(f"no room for a value of 4 MiB in {small}/v nor {large}/v: ")


def test_a_write_that_fails_leaves_nothing(values: Values, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, raw: memoryview) -> None:
        path.write_bytes(raw[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(under_test, "_write_file", fail)
    with pytest.raises(KeyboardInterrupt):
        values.put(DATA)
    assert files(tmp_path / "values") == set()
    assert (tmp_path / "values" / "used").stat().st_size == 0


def test_a_process_with_many_open_files_reads_instead(values: Values) -> None:
    name = values.put(DATA)
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(300)]
    try:
        view = values.get(name)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    assert bytes(view) == DATA
    assert view.readonly


RIVAL = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pilotfish.functions.values import Values

hold = sys.argv[2] == "hold"
values = Values(Path(sys.argv[1]))

def one(number):
    data = bytes([number % 3]) * 5000
    name = values.put(data, hold=hold)
    right = bytes(values.get(name)) == data
    (values.release if hold else values.drop)(name)
    return right

with ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(one, range(500))))
"""


@pytest.mark.parametrize("way", ["hold", "drop"])
def test_nobody_drops_what_another_thread_or_process_needs(tmp_path: Path, way: str) -> None:
    folder = tmp_path / "values"
    command = [sys.executable, "-c", RIVAL, str(folder), way]
    rivals = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [rival.communicate(timeout=60)[0] for rival in rivals] == ["500\n", "500\n"]
    assert files(folder) == set()
    assert (folder / "used").stat().st_size == 0


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_names_tell_contents_apart(one: bytes, other: bytes) -> None:
    assert (content_name(one) == content_name(other)) == (one == other)
    assert content_name(one).endswith(f"-{len(one)}")


class Holding(RuleBasedStateMachine):
    """Two processes' `Values` of one folder, against a model: a name is there until it is dropped, and as put."""

    names = Bundle[tuple[str, bytes]]("names")

    def __init__(self) -> None:
        super().__init__()
        self.root = tempfile.TemporaryDirectory()
        folder = Path(self.root.name) / "v"
        self.folder = folder
        self.both = [Values(folder, spill=folder.with_name("s"), limit=40) for _ in range(2)]
        self.there: dict[str, bytes] = {}

    @rule(target=names, who=st.integers(0, 1), data=st.binary(min_size=8, max_size=12).map(lambda b: b[:1] * len(b)))
    def put(self, who: int, data: bytes) -> tuple[str, bytes]:
        name = self.both[who].put(data)
        self.there[name] = data
        return name, data

    @rule(who=st.integers(0, 1), put=consumes(names))
    def drop(self, who: int, put: tuple[str, bytes]) -> None:
        self.both[who].drop(put[0])
        del self.there[put[0]]

    @rule(who=st.integers(0, 1))
    def all_are_there(self, who: int) -> None:
        assert {name: bytes(self.both[who].get(name)) for name in self.there} == self.there
        inside = {path.stat().st_ino: path.stat().st_size for path in self.folder.glob("*.*")}
        used = self.folder / "used"
        assert (used.stat().st_size if used.exists() else 0) == sum(inside.values()) <= 40

    def teardown(self) -> None:
        self.all_are_there(0)
        self.root.cleanup()


TestHolding = Holding.TestCase


# What arrives piece by piece


def test_what_has_arrived_is_as_good_as_what_was_put(values: Values, tmp_path: Path) -> None:
    arriving = values.arrive(content_name(DATA))
    arriving.take(DATA[:10])
    arriving.again()
    arriving.take(DATA[:10])
    assert not arriving.complete
    arriving.take(DATA[10:])
    assert arriving.complete
    name = values.keep(arriving)
    assert bytes(values.get(name)) == DATA
    assert values.share(content_name(DATA)) not in {None, name}
    put = values.put(DATA)
    assert len(files(tmp_path / "values")) == 1
    assert put != name


def test_what_is_refused_leaves_nothing(values: Values, tmp_path: Path) -> None:
    arriving = values.arrive(content_name(DATA))
    arriving.take(bytes(len(DATA)))
    assert not arriving.complete
    with pytest.raises(ValueError, match=f"more than {len(DATA)} bytes"):
        arriving.take(b"a")
    values.refuse(arriving)
    assert [path.name for path in (tmp_path / "values").iterdir()] == ["used"]
    assert (tmp_path / "values" / "used").stat().st_size == 0
    assert values.share(content_name(DATA)) is None


def test_what_arrives_keeps_to_the_limit(tmp_path: Path) -> None:
    values = Values(tmp_path / "values", spill=tmp_path / "spill", limit=1)
    arriving = values.arrive(content_name(DATA))
    assert arriving.path.parent == tmp_path / "spill"
    values.refuse(arriving)
    with pytest.raises(OSError, match="no room"):
        Values(tmp_path / "values", limit=1).arrive(content_name(DATA))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "used",
        "../../etc/passwd",
        f"{'a' * 32}-1/..",
        f"{'a' * 32}-1.{'b' * 11}/",
        f"{'A' * 32}-1",
        f"{'a' * 32}--1",
    ],
)
def test_no_path_is_the_name_of_a_value(text: str) -> None:
    assert not is_value_name(text)
    assert not is_value_name(f"{content_name(DATA)}.{'0' * 12}{text or ' '}")
    assert is_value_name(content_name(DATA))
    assert is_value_name(f"{content_name(b'')}.{'0' * 12}")
