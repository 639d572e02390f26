"""Schedules: which jobs a server enqueues by itself, and when.

Each is one value among those that tasks share, under ``schedule/…``: it is there until it is taken back. It tells up to
when its times have been seen to. That enters in one transaction with the call that is enqueued: so no time is seen to
twice, whatever is killed, and whenever.

What belongs here: schedules, and which are due. What must not: clocks, the times that a text names (`cron`), enqueuing
(`desk`).
"""

import math
from collections.abc import Callable, Collection, Sequence

import msgspec

from pilotfish.store.base import Store

__all__ = ["SCHEDULE", "Schedule", "Schedules"]

SCHEDULE = "schedule/"
"""What the keys of schedules begin with. What follows is the same where the same is scheduled again."""


class Schedule(msgspec.Struct, frozen=True, array_like=True):
    """What is enqueued again and again."""

    job: int
    """That gets the calls."""
    text: str
    """In the manner of cron."""
    call: bytes
    """Packed by `wire.join_call`."""
    seen: float
    """Times up to this one have been seen to; seconds since 1970."""


class Schedules:
    """All schedules of one campaign.

    Args:
        store: that remembers them.
        write: sets the value of a key durably, or with None removes it.

    """

    def __init__(self, store: Store, write: Callable[[str, bytes | None], None]) -> None:
        """Read them. When they are due is found out where somebody asks for that first."""
        self._write = write
        self._known = {
            put.key: msgspec.msgpack.decode(put.value, type=Schedule)
            for put in store.values(SCHEDULE)
            if isinstance(put.value, bytes)
        }
        self._next: dict[str, float] = {}
        self._soonest = -math.inf

    def of(self, job: int) -> tuple[str, float | None] | None:
        """The text of the schedule that a job has, and its next time where they are seen to; None: it has none."""
        found = next(((key, one.text) for key, one in self._known.items() if one.job == job), None)
        return None if found is None else (found[1], self._next.get(found[0]))

    def keep(self, key: str, job: int, text: str, call: bytes, now: float) -> float:
        """Have a call enqueued at each time that the text names from now on; the first of them.

        What had the key is replaced. With the same text, no time is seen to anew, or left out. Raises UserError where
        the text names no times.
        """
        old = self._known.get(key)
        seen = old.seen if old is not None and old.text == text else now
        due = _next_time(text, seen)
        new = Schedule(job, text, call, seen)
        if new != old:
            self._put(key, new)
        self._next[key] = due
        self._soonest = min(self._soonest, due)
        return due

    def take_back(self, jobs: Collection[int]) -> int:
        """Let these jobs have no schedule any more; how many had one."""
        gone = [key for key, one in self._known.items() if one.job in jobs]
        for key in gone:
            self._write(key, None)
            del self._known[key]
            self._next.pop(key, None)
        return len(gone)

    def due(self, now: float) -> Sequence[tuple[str, Schedule]]:
        """Those of which a time has come since they were seen to last, once however many; seen to from now on."""
        if now < self._soonest:
            return ()
        for key in self._known.keys() - self._next.keys():
            self._next[key] = _next_time(self._known[key].text, self._known[key].seen)
        found = [(key, one) for key, one in self._known.items() if self._next[key] <= now]
        for key, one in found:
            self._put(key, msgspec.structs.replace(one, seen=now))
            self._next[key] = _next_time(one.text, now)
        self._soonest = min(self._next.values(), default=math.inf)
        return found

    def _put(self, key: str, schedule: Schedule) -> None:
        self._write(key, msgspec.msgpack.encode(schedule))
        self._known[key] = schedule


def _next_time(text: str, after: float) -> float:
    from pilotfish.manager.cron import next_time  # a server without schedules, and who only looks, need no calendar

    return next_time(text, after)
