"""Copies of values: fetched once, bounded, removed when nobody needs them."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pilotfish.functions.cache import Cache, Tenancy, cache_name, sweep_caches
from pilotfish.functions.values import Arriving, content_name

MIB = 2**20


def value(number: int, size: int = MIB) -> bytes:
    return bytes([number]) * size


def bring(data: bytes, fetched: list[str] | None = None) -> Callable[[Arriving], None]:
    def fetch(arriving: Arriving) -> None:
        arriving.again()
        arriving.take(data[:1000])
        arriving.take(data[1000:])
        if fetched is not None:
            fetched.append(arriving.content)

    return fetch


def never(_arriving: Arriving) -> None:
    raise AssertionError("it is there")


def get(cache: Cache, data: bytes, fetch: Callable[[Arriving], None] | None = None) -> memoryview:
    return cache.get(content_name(data), fetch or bring(data))


@pytest.mark.parametrize("data", [b"", b"a", value(1)])
def test_what_was_fetched_is_found_by_others(tmp_path: Path, data: bytes) -> None:
    found = get(Cache([tmp_path / "a"]), data)
    assert bytes(found) == data
    assert found.readonly
    assert bytes(get(Cache([tmp_path / "a"]), data, never)) == data


def test_it_is_fetched_once_for_all_that_want_it(tmp_path: Path) -> None:
    fetched: list[str] = []
    caches = [Cache([tmp_path]) for _ in range(8)]
    threads = [threading.Thread(target=get, args=(caches[0], value(2), bring(value(2), fetched))) for _ in range(4)]
    script = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from tests.unit.functions.test_cache import Cache, bring, get, value
fetched = []
get(Cache([Path({str(tmp_path)!r})]), value(2), bring(value(2), fetched))
print(len(fetched))
"""
    others = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) + sum(int(other.communicate()[0]) for other in others) == 1


def test_what_cannot_be_fetched_leaves_nothing(tmp_path: Path) -> None:
    def fail(arriving: Arriving) -> None:
        arriving.take(b"half")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        get(Cache([tmp_path]), value(3), fail)
    assert {path.name for path in tmp_path.iterdir()} == {"lock"}
    assert bytes(get(Cache([tmp_path]), value(3))) == value(3)


def test_what_a_killed_one_has_left_is_no_copy(tmp_path: Path) -> None:
    (tmp_path / f"{content_name(value(4))}.part").write_bytes(b"half")
    assert bytes(get(Cache([tmp_path]), value(4))) == value(4)


def limited(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """A disk on which there would be so much room without the copies."""
    real = os.statvfs

    def statvfs(path: Path) -> os.statvfs_result:
        used = sum(one.stat().st_size for one in path.iterdir())
        found = list(real(path))
        found[1], found[4] = 1, room - used
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", statvfs)


def test_the_least_recently_used_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 6 * MIB)
    cache = Cache([tmp_path])
    kept = [get(cache, value(number)) for number in (1, 2, 3)]
    for age, number in enumerate((2, 1, 3)):
        os.utime(tmp_path / content_name(value(number)), (age, age))
    get(cache, value(2), never)
    get(cache, value(4))
    there = {path.name for path in tmp_path.iterdir()}
    assert content_name(value(1)) not in there
    assert there > {content_name(value(number)) for number in (2, 3, 4)}
    assert [bytes(one[:2]) for one in kept] == [b"\1\1", b"\2\2", b"\3\3"], "what is mapped stays"


def test_what_is_too_large_for_one_folder_goes_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 3 * MIB)
    fast, slow = tmp_path / "fast", tmp_path / "slow"
    get(Cache([fast]), value(1))
    monkeypatch.undo()
    limited(monkeypatch, 5 * MIB)
    large = value(5, 2 * MIB)
    assert bytes(get(Cache([fast, slow]), large)) == large
    monkeypatch.undo()
    limited(monkeypatch, 3 * MIB)
    with pytest.raises(OSError, match=r"no room for a copy of a value of 2097152 bytes in .*/fast nor .*/other"):
        get(Cache([fast, tmp_path / "other"]), value(6, 2 * MIB))


def test_copies_go_with_the_last_tenant(tmp_path: Path) -> None:
    folder = tmp_path / cache_name("session")
    one, other = Tenancy(folder), Tenancy(folder)
    get(Cache([folder]), value(1))
    sweep_caches(tmp_path)
    one.end()
    get(Cache([folder]), value(1), never)
    other.end()
    assert not folder.exists()


def test_tenants_come_and_go_while_others_sweep(tmp_path: Path) -> None:
    def come_and_go(name: str) -> int:
        for _ in range(1500):
            Tenancy(tmp_path / cache_name(name)).end()
        return 1500

    with ThreadPoolExecutor(4) as tenants:
        assert list(tenants.map(come_and_go, "abcd")) == [1500] * 4
    assert not list(tmp_path.iterdir())


def test_what_nobody_needs_is_swept(tmp_path: Path) -> None:
    left, own = tmp_path / cache_name("killed"), tmp_path / cache_name("own")
    (tmp_path / "s1-aaaaaa").mkdir()
    get(Cache([left]), value(1))
    tenancy = Tenancy(own)
    assert {path.name for path in tmp_path.iterdir()} == {own.name, "s1-aaaaaa"}
    tenancy.end()
