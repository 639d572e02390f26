"""Run as a process in a mount namespace of its own: fills a small disk under a store, and makes room again."""

import contextlib
import subprocess
import sys
from pathlib import Path
from threading import Event

from pilotfish.errors import StoreFullError
from pilotfish.store.sqlite import SqliteStore
from tests.contracts.builders import settle, submit

PATIENCE = 30.0
"""Seconds."""


def main() -> None:
    disk = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], check=True)
    woken = Event()
    store = SqliteStore(disk, wake=woken.set)
    store.commit([submit(tasks=10**6)])
    store.flush()
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    given = 1
    while store.trouble is None:
        woken.clear()
        given = store.commit([settle(10 * given + i) for i in range(10)])
        assert woken.wait(PATIENCE), "neither durable nor in trouble"
    assert "store.sqlite: database or disk is full" in store.trouble, store.trouble
    try:
        store.flush()
    except StoreFullError:
        pass
    else:
        raise AssertionError("flush must not wait for room")
    assert store.durable < given
    ballast.unlink()
    while store.trouble is not None:
        woken.clear()
        assert woken.wait(PATIENCE), "still in trouble"
    store.flush()
    assert store.durable == given
    store.close()
    with_all = SqliteStore(disk)
    assert len(with_all.load().tasks) == 10 * (given - 1), "something is missing"
    with_all.close()
    sys.stdout.write("ok\n")


if __name__ == "__main__":
    main()
