"""Run as a process: commits pairs of settled attempts, of calls that are added with them, to the store in a folder,
and prints each durable ticket.
"""

import sys
from pathlib import Path
from threading import Event

from pilotfish.store.sqlite import SqliteStore
from tests.contracts.builders import grow, settle, submit, submit_calls


def main() -> None:
    woken = Event()
    store = SqliteStore(Path(sys.argv[1]), wake=woken.set)
    given = store.commit([submit(tasks=10**6), submit_calls(2)])
    told = 0
    while True:
        for _ in range(3):
            lo = 2 * given
            calls = [b"%d" % position for position in (lo, lo + 1)]
            ends = [settle(position, result=b"%d" % position) for position in (lo, lo + 1)]
            given = store.commit([grow(lo - 2, *calls, job=2), *ends])
        while store.durable == told:
            woken.wait()
            woken.clear()
        told = store.durable
        sys.stdout.write(f"{told}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
