"""What only the store on a disk can prove: that it survives, that it is owned, that it refuses in one line."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import msgspec
import pytest

from pilotfish.errors import BusyError, InternalError, StoreError, StoreVersionError
from pilotfish.model.attempts import OutputRef
from pilotfish.model.changes import Finish, Grant, TaskRecord
from pilotfish.model.jobs import RangeArray, Retries, TableArray
from pilotfish.model.quantities import Amount
from pilotfish.model.resources import Slots
from pilotfish.model.states import TaskState
from pilotfish.store import database
from pilotfish.store.database import on_network
from pilotfish.store.sql import migrations
from pilotfish.store.sqlite import SqliteStore
from tests.contracts.builders import cancel, grant, grow, hold, settle, submit, submit_calls

ROOT = Path(__file__).parents[2]


def child(script: str, *arguments: Path | str) -> list[str]:
    return ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", f"tests.contracts.{script}", *map(str, arguments)]


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    for generation in range(3):
        folder = tmp_path / str(generation)
        process = subprocess.Popen(child("committer", folder), stdout=subprocess.PIPE, text=True)
        assert process.stdout
        acknowledged = [int(process.stdout.readline()) for _ in range(20 * (generation + 1))]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().splitlines()]
        process.wait()
        process.stdout.close()
        with closing(SqliteStore(folder)) as store:
            found = {record.position for record in store.load().tasks}
            calls = store.calls(2)
            results = [settled.report.result for settled in store.results([(1, position) for position in found])]
            assert store.current()[1].job.spec.count == len(calls)
        # Ticket n holds positions 2(n-1) and 2(n-1)+1; the first holds the job alone.
        assert found >= set(range(2, 2 * acknowledged[-1]))
        assert found == set(range(2, len(found) + 2)), "half a commit was found, or one without its predecessor"
        assert len(found) % 2 == 0
        assert calls == {position - 2: b"%d" % position for position in found}
        assert results == [b"%d" % position for position in found]


def test_a_log_cut_at_any_byte_gives_whole_commits_in_their_order(tmp_path: Path) -> None:
    commits = 12
    store = SqliteStore(tmp_path / "whole")
    store.commit([submit()])
    store.flush()
    log = tmp_path / "whole" / "store.sqlite-wal"
    for number in range(1, commits):
        store.commit(
            [settle(0, TaskState.ready, number=number), grant(number, number + 1), Finish(1, 8, 9, *_end(number))]
        )
        store.flush()
    text, base = log.read_bytes(), (tmp_path / "whole" / "store.sqlite").read_bytes()
    store.close()
    header, frame = 32, 24 + 4096
    cuts = {edge + near for edge in range(header, len(text) + 1, frame) for near in (-1, 0, 1, 24, 2000)}
    seen = []
    for cut in sorted(cuts & set(range(len(text) + 1))):
        folder = tmp_path / "cut"
        folder.mkdir()
        (folder / "store.sqlite").write_bytes(base)
        (folder / "store.sqlite-wal").write_bytes(text[:cut])
        with closing(SqliteStore(folder)) as reopened:
            snapshot = reopened.load()
        shutil.rmtree(folder)
        number = snapshot.tasks[0].number if snapshot.tasks else 0
        assert [one.lo for one in snapshot.grants] == list(range(1, number + 1))
        assert snapshot.finishes == ((Finish(1, 8, 9, *_end(number)),) if number else ())
        seen.append(number)
    assert seen == sorted(seen)
    assert set(seen) == set(range(commits))


def _end(number: int) -> tuple[TaskState, str]:
    return TaskState.skipped, f"commit {number}"


@pytest.mark.needs("tmpfs")
def test_a_full_disk_is_told_and_waited_for(tmp_path: Path) -> None:
    command = ["unshare", "--mount", *child("full_disk", tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.stdout, ended.stderr) == ("ok\n", "")


@pytest.mark.needs("tmpfs")
def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys; from pilotfish.errors import StoreError; from pilotfish.store.sqlite import SqliteStore\n"
        "try: SqliteStore(pathlib.Path(sys.argv[1]) / 'campaign')\n"
        "except StoreError as error: print(error)\n"
    )
    shell = 'mount -t tmpfs -o ro none "$1" && exec "$0" -c "$2" "$1"'
    command = ["unshare", "--mount", "sh", "-c", shell, sys.executable, str(tmp_path), script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == f"{tmp_path / 'campaign'}: Read-only file system\n"


def test_a_second_owner_is_told_host_and_process(tmp_path: Path) -> None:
    for exclusive in (False, True):
        with closing(SqliteStore(tmp_path, exclusive=exclusive)) as store:
            for visitor in (False, True):
                with pytest.raises(BusyError, match=rf"process {os.getpid()} on host {socket.gethostname()}"):
                    SqliteStore(tmp_path, visitor=visitor)
            assert store.submits() == ()


def test_a_killed_owner_owns_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(child("committer", tmp_path), stdout=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    with pytest.raises(BusyError, match=f"process {process.pid}"):
        SqliteStore(tmp_path)
    process.kill()
    process.wait()
    process.stdout.close()
    with closing(SqliteStore(tmp_path)) as store:
        assert store.epoch == 2


def test_a_visitor_looks_and_leaves_no_epoch(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        store.commit([submit(), settle(0)])
    with closing(SqliteStore(tmp_path, create=False, visitor=True)) as visitor:
        assert visitor.epoch == 1
        assert len(visitor.load().tasks) == 1
        visitor.commit([settle(1)])
    with closing(SqliteStore(tmp_path)) as store:
        assert store.epoch == 2
        assert len(store.load().tasks) == 2


def test_an_owner_waits_for_a_visitor(tmp_path: Path) -> None:
    SqliteStore(tmp_path).close()
    visitor = SqliteStore(tmp_path, visitor=True)
    opened: list[SqliteStore] = []
    owner = Thread(target=lambda: opened.append(SqliteStore(tmp_path)))
    owner.start()
    visitor.close()
    owner.join(10)
    assert [store.epoch for store in opened] == [2]
    opened[0].close()


def test_visitors_do_not_mind_each_other(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        store.commit([submit(), settle(0)])
    visitors = [SqliteStore(tmp_path, create=False, visitor=True) for _ in range(3)]
    assert [len(visitor.load().tasks) for visitor in visitors] == [1, 1, 1]
    for visitor in visitors:
        visitor.close()


def test_a_visitor_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no folder"):
        SqliteStore(tmp_path / "nowhere", create=False, visitor=True)
    with pytest.raises(StoreError, match="holds no store"):
        SqliteStore(tmp_path, create=False, visitor=True)


def test_a_manager_whose_lock_was_removed_stops_when_another_takes_over(tmp_path: Path) -> None:
    woken = Event()
    first = SqliteStore(tmp_path, wake=woken.set)
    (tmp_path / "lock").unlink()
    with closing(SqliteStore(tmp_path)) as second:
        ticket = first.commit([submit()])
        assert woken.wait(10)
        assert first.durable < ticket
        with pytest.raises(StoreError, match="taken over by another manager"):
            first.raise_failure()
        with pytest.raises(StoreError, match="taken over by another manager"):
            first.load()
        assert second.submits() == ()
    with pytest.raises(StoreError, match="taken over by another manager"):
        first.close()


def test_what_cannot_be_recorded_is_a_failure_and_not_a_silence(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    good = submit()
    spec = msgspec.structs.replace(good.job.spec, name="\udcff")
    store.commit([msgspec.structs.replace(good, job=msgspec.structs.replace(good.job, spec=spec))])
    with pytest.raises(StoreError, match=r"store\.sqlite: UnicodeEncodeError"):
        store.flush()
    with pytest.raises(StoreError, match="UnicodeEncodeError"):
        store.close()
    with closing(SqliteStore(tmp_path)) as reopened:
        assert reopened.submits() == ()


def test_a_closed_store_takes_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.close()
    for use in (store.load, store.flush, lambda: store.commit([])):
        with pytest.raises(InternalError, match="closed"):
            use()


def test_a_store_is_readable_with_the_shell_of_sqlite(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        store.commit([submit(), settle(2, TaskState.failed)])
        store.flush()
        with closing(sqlite3.connect(tmp_path / "store.sqlite")) as shell:
            question = "SELECT name, position, attempts.state, outcome, code FROM attempts JOIN jobs ON id = job"
            assert shell.execute(question).fetchall() == [("sim", 2, "failed", "exited", 1)]


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")


def empty(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize("make", [garbage, foreign, empty])
def test_a_file_that_is_no_store_is_refused_in_one_line_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "store.sqlite"
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="move it away, or use another --store") as caught:
        SqliteStore(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_damage_inside_is_one_line(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        store.commit([submit()])
        store.commit([settle(position) for position in range(2000)])
    path = tmp_path / "store.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[: 8 * 4096] + b"\xff" * (len(whole) - 16 * 4096) + whole[-8 * 4096 :])
    with pytest.raises(StoreError, match=r"store\.sqlite: .*malformed"), closing(SqliteStore(tmp_path)) as store:
        store.load()


def test_a_store_of_a_newer_release_is_refused_with_both_versions(tmp_path: Path) -> None:
    SqliteStore(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
    newest = max(migrations(after=0))
    with pytest.raises(StoreVersionError, match=rf"version 99, this pilotfish knows up to {newest}: upgrade"):
        SqliteStore(tmp_path)


def test_an_older_store_is_lifted_to_the_newest_schema_with_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        store.commit([submit(), settle(0)])
    known = migrations(after=0)
    later = {len(known) + 1: "CREATE TABLE note (text)", len(known) + 2: "INSERT INTO note VALUES ('lifted');"}
    monkeypatch.setattr(
        database, "migrations", lambda after: {n: text for n, text in (known | later).items() if n > after}
    )
    for _ in range(2):
        with closing(SqliteStore(tmp_path)) as store:
            assert store.results([(1, 0), (1, 1)]) == (settle(0),)
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
        assert connection.execute("SELECT text FROM note").fetchall() == [("lifted",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (len(known) + 2,)


def test_calls_of_more_than_a_value_of_sqlite_can_hold_are_kept(tmp_path: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        most = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
    with closing(SqliteStore(tmp_path)) as store:
        store._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, most // 1000)  # noqa: SLF001 - a gigabyte takes too long
        calls = [b"x" * (most // 2_000_000)] * 2_000 * 2
        store.commit([submit_calls(), grow(0, *calls)])
        assert len(store.calls(1)) == len(calls)


def write_version_1(path: Path) -> None:
    """A store as the first release wrote it: an array that was a list, retries that were a number."""
    spec = {"name": "sim", "command": ["echo", "é\n"], "directory": "/d", "cwd": "/d", "time": 0.1}
    values = {"type": "list", "values": ["a", "b", "", "{d}"]}
    submits = {
        1: {
            "job": {"id": 1, "spec": {**spec, "array": values, "retries": 3}, "depends_on": [], "submitted_at": 1e9 / 3}
        },
        2: {"job": {"id": 2, "spec": {**spec, "array": {"type": "range", "start": 0, "count": 4}, "priority": 7}}},
    }
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(migrations(after=0)[1])
        connection.execute("UPDATE ownership SET epoch = 3")
        connection.executemany(
            "INSERT INTO jobs VALUES (?, 'sim', 1, ?)", [(job, json.dumps(text)) for job, text in submits.items()]
        )
        connection.execute("INSERT INTO grants VALUES (1, 1, 3, 1, 4, 'node', 3, '[[0, 1], 10000, 1073741824]')")
        connection.execute(
            "INSERT INTO attempts VALUES (1, 2, 1, 3, 'failed', 1, 0, 'node', 3, 'exited', 1, 5.0, 7.0, 0.5, 1024,"
            " 'node/0.out', 20, 10, NULL, NULL, NULL, 'why')"
        )
        connection.execute("INSERT INTO finishes VALUES (1, 0, 1, 'skipped', 'no')")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()


def test_a_store_of_the_first_release_is_opened_with_its_content(tmp_path: Path) -> None:
    write_version_1(tmp_path / "store.sqlite")
    for epoch in (4, 5):
        with closing(SqliteStore(tmp_path)) as store:
            assert store.epoch == epoch
            snapshot = store.load()
            first, second = (one.job for one in snapshot.submits)
            assert first.spec.array == TableArray(("value",), (("a", "b", "", "{d}"),))
            assert (first.spec.command, first.spec.time, first.submitted_at) == (("echo", "é\n"), 0.1, 1e9 / 3)
            assert (first.spec.retries, second.spec.retries) == (Retries(3), Retries())
            assert second.spec.array == RangeArray(0, 4)
            assert snapshot.tasks == (TaskRecord(1, 2, TaskState.failed, 1, 1, 0),)
            slots = Slots((0, 1), Amount(10_000), 2**30)
            assert snapshot.grants == tuple(Grant("node", 3, slots, 1, at, at + 1, 1, 3) for at in (1, 3))
            assert snapshot.finishes == (Finish(1, 0, 1, TaskState.skipped, "no"),)
            assert (snapshot.holds, snapshot.cancels) == ((), ())
            (settled,) = store.results([(1, 2)])
            assert settled.report.stdout == OutputRef("node/0.out", 20, 10)
    with closing(SqliteStore(tmp_path)) as store:
        changes = hold(0, 9), cancel(0, 9), grant(9, 10), settle(1, result=b"r"), submit(3, replaces=1)
        store.commit([*changes, submit_calls(4), grow(0, b"a", job=4)])
        assert store.load().submits[1:] == (changes[-1], submit_calls(4, calls=1))
        assert [one.report.result for one in store.results([(1, 1), (1, 2)])] == [b"r", b""]


def test_a_birth_that_was_cut_short_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite.new").write_bytes(b"half")
    with closing(SqliteStore(tmp_path)) as store:
        assert store.epoch == 1
    assert not (tmp_path / "store.sqlite.new").exists()


def test_folders_above_are_made(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "a" / "b" / "c").close()
    assert (tmp_path / "a" / "b" / "c" / "store.sqlite").exists()


@pytest.mark.parametrize(
    ("file_system", "shared"),
    [("ext4", False), ("tmpfs", False), ("nfs4", True), ("lustre", True), ("fuse.sshfs", True), ("fuseblk", False)],
)
def test_file_systems_that_machines_share_are_known(tmp_path: Path, file_system: str, shared: bool) -> None:  # noqa: FBT001 - a table
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    here = f"{os.major(device)}:{os.minor(device)}"
    mounts.write_text(
        f"21 1 0:99 / /elsewhere rw - cifs //server rw\n22 1 {here} / /a\\040b rw shared:1 - {file_system} dev rw\n"
    )
    assert on_network(tmp_path, mounts) is shared


def test_without_knowledge_of_mounts_a_folder_counts_as_shared(tmp_path: Path) -> None:
    assert on_network(tmp_path, tmp_path / "missing")
    (tmp_path / "mountinfo").write_text("21 1 0:99 / /elsewhere rw - nfs server rw\n")
    assert not on_network(tmp_path, tmp_path / "mountinfo")


def test_an_exclusive_store_needs_no_shared_memory(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path, exclusive=True)) as store:
        store.commit([submit()])
        store.flush()
        assert (tmp_path / "store.sqlite-wal").exists()
        assert not (tmp_path / "store.sqlite-shm").exists()
