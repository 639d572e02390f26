"""Run as a process: commits pairs of settled attempts to the store in a folder, and prints each durable ticket."""

import sys
from pathlib import Path
from threading import Event

from pilotfish.store.sqlite import SqliteStore
from tests.contracts.builders import settle, submit


def main() -> None:
    woken = Event()
    store = SqliteStore(Path(sys.argv[1]), wake=woken.set)
    given = store.commit([submit(tasks=10**6)])
    told = 0
    while True:
        for _ in range(3):
            given = store.commit([settle(2 * given), settle(2 * given + 1)])
        while store.durable == told:
            woken.wait()
            woken.clear()
        told = store.durable
        sys.stdout.write(f"{told}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
