"""Tasks that may start, in their order: by request class, and in each class by priority, rank and age of their jobs.

A pool stands in its class's queue as one entry however many tasks are in it, so that a pass works on classes and
counts. What must not stand here: whether anything fits.
"""

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from pilotfish.scheduler.classes import RequestClass
from pilotfish.scheduler.limits import Limits
from pilotfish.scheduler.tasks import Entry, JobTasks, Pool

__all__ = ["Queue"]

_Group: TypeAlias = tuple[RequestClass, tuple[tuple[str, int], ...]]


class Queue:
    """Pools with tasks that may start.

    Args:
        limits: the named limits; a pool that one of them stops is set aside until something is given back.

    """

    def __init__(self, limits: Limits) -> None:
        """Begin empty."""
        self._limits = limits
        self._heaps: dict[RequestClass, list[Entry]] = {}
        """Entries that are no more those of their pools are out of date."""
        self._stopped: dict[_Group, list[Entry]] = {}
        """Heaps of pools that some named limit stops, with those that ask for the same and use the same together."""
        self._groups: dict[str, dict[_Group, None]] = {}
        """By named limit: those of the groups that use it."""
        self._aside: dict[Pool, Entry] = {}
        """The pools in them; entries that are not these are out of date."""
        self._parked: dict[RequestClass, dict[Pool, None]] = {}
        """Pools of classes that no nodes which are here could hold."""
        self.order: list[Entry] = []
        """Ascending: the first entry of each class. Kept, because most events change the first of one class only."""
        self._heads: dict[RequestClass, Entry] = {}
        """The same by class."""
        self.fresh: dict[RequestClass, None] = {}
        """Classes of which something was queued since the last pass."""
        self.least_cores, self.shortest = math.inf, math.inf
        """Least of all that were ever queued: whole cores of a task, and seconds that one is expected to take."""
        self.lowest_priority = math.inf
        """Of all jobs that there ever were: nothing that a lane holds can be less urgent."""

    def entry(self, pool: Pool) -> Entry:
        """Where the pool stands among others."""
        tasks, job = pool.tasks, pool.tasks.job
        return (-job.spec.priority, -tasks.rank, job.id, pool.number, pool)

    def room(self, pool: Pool) -> int:
        """How many tasks of the pool may be granted now, whatever is free."""
        rooms = pool.size
        if pool.unlimited or not rooms:
            return rooms
        tasks, spec = pool.tasks, pool.tasks.job.spec
        if spec.max_parallel is not None:
            rooms = max(0, min(rooms, spec.max_parallel - tasks.granted))
        if spec.uses and (room := self._limits.room(spec.uses)) is not None:
            rooms = min(rooms, room)
        return rooms

    def push(self, pool: Pool) -> None:
        """Queue a pool where it has tasks that may start and is not queued yet."""
        if pool.size and pool.entry is None:
            if pool.unlimited or self.room(pool):
                self._insert(pool)
            else:
                self._set_aside(pool)

    def push_all(self, tasks: JobTasks) -> None:
        """Queue what a job has to queue."""
        if tasks.pool.unlimited:  # it has left the queue only where it was empty
            while tasks.entered:
                self.push(tasks.entered.popitem()[0])
        else:
            for pool in tasks.pools():
                self.push(pool)

    def rank_changed(self, tasks: JobTasks) -> None:
        """Let a job, where it is queued or set aside, stand where its rank now puts it."""
        for pool in tasks.pools():
            if pool.entry is not None:
                self._insert(pool)
            if pool in self._aside:
                self._stop(pool)

    def given_back(self, uses: Mapping[str, int]) -> None:
        """Something of these limits is free again: queue as many of those that they stop as that lets start."""
        for name in uses:
            for group in list(self._groups.get(name, ())):
                stopped = self._stopped[group]
                room = self._limits.room(dict(group[1]))
                room = len(stopped) if room is None else room
                while stopped and room > 0:
                    entry = heapq.heappop(stopped)
                    pool = entry[-1]
                    if self._aside.get(pool) is not entry:
                        continue
                    del self._aside[pool]
                    if pool.entry is None and self.room(pool):  # else it is pushed again when its own limit lets it
                        self._insert(pool)
                        room -= 1
                if not stopped:
                    del self._stopped[group]
                    for used, _ in group[1]:
                        del self._groups[used][group]

    def limits_changed(self) -> None:
        """There are other limits now."""
        self.given_back(dict.fromkeys(list(self._groups), 1))

    def reach(self, cls: RequestClass, *, reached: bool) -> None:
        """Nodes that could hold tasks of the class are here now, or are no more: queue its pools, or park them."""
        if cls.reached == reached:
            return
        cls.reached = reached
        if reached:
            for pool in self._parked.pop(cls, ()):
                self.push(pool)
        else:
            for *_, pool in self._heaps.get(cls, ()):
                pool.entry = None
                self._parked.setdefault(cls, {})[pool] = None
            self.first(cls)
            self.fresh.pop(cls, None)

    def _insert(self, pool: Pool) -> None:
        cls = pool.cls
        if not cls.reached:
            self._parked.setdefault(cls, {})[pool] = None
            return
        entry = pool.entry = self.entry(pool)
        self.fresh[cls] = None
        cls.refused_window = -1.0
        if pool.tasks.expected_seconds < cls.shortest:
            cls.shortest = pool.tasks.expected_seconds
            self.shortest = min(self.shortest, cls.shortest)
        heap = self._heaps.get(cls)
        if heap is None:
            heap = self._heaps[cls] = []
            self.least_cores = min(self.least_cores, cls.least_cores)
        heapq.heappush(heap, entry)
        if heap[0] is entry:
            self._reorder(cls)

    def _set_aside(self, pool: Pool) -> None:
        """Remember a pool that a named limit stops. One that its own limit stops is pushed again when a task ends."""
        uses = pool.tasks.job.spec.uses
        if uses and pool not in self._aside and self._limits.lacking(uses) is not None:
            self._stop(pool)

    def _stop(self, pool: Pool) -> None:
        uses = pool.tasks.job.spec.uses
        group = (pool.cls, tuple(uses.items()))
        entry = self._aside[pool] = self.entry(pool)
        heapq.heappush(self._stopped.setdefault(group, []), entry)
        for name in uses:
            self._groups.setdefault(name, {})[group] = None

    def first(self, cls: RequestClass) -> Pool | None:
        """The first pool of a class that may start a task; those that may not leave the queue until pushed again.

        To be called whenever tasks of the class have ceased to be ready, so that the order of classes is true.
        """
        heap = self._heaps.get(cls)
        while heap:
            entry = heap[0]
            pool = entry[4]
            up_to_date = pool.entry is entry
            if up_to_date and pool.size and (pool.unlimited or self.room(pool)):
                return pool
            heapq.heappop(heap)
            self._reorder(cls)
            if up_to_date:
                pool.entry = None
                if pool.size:
                    self._set_aside(pool)
        self._heaps.pop(cls, None)
        return None

    def head(self) -> Pool | None:
        """The first of all pools that may start a task."""
        while self.order:
            entry = self.order[0]
            pool = entry[4]
            if pool.unlimited and pool.size and pool.entry is entry:
                return pool  # as `first` would say
            if self.first(pool.cls) is pool:
                return pool
        return None

    def following(self, cls: RequestClass) -> Iterator[Entry]:
        """The entries of a class in their order. The class must not change meanwhile."""
        heap = self._heaps.get(cls, [])
        frontier = [(heap[0], 0)] if heap else []
        while frontier:
            entry, at = heapq.heappop(frontier)
            for child in (2 * at + 1, 2 * at + 2):
                if child < len(heap):
                    heapq.heappush(frontier, (heap[child], child))
            if entry[-1].entry is entry and self.room(entry[-1]):
                yield entry

    def _reorder(self, cls: RequestClass) -> None:
        before, heap = self._heads.get(cls), self._heaps[cls]
        if before is not None and heap and heap[0] is before:
            return
        if before is not None:
            first = self.order[0] is before  # as it mostly is
            del self.order[0 if first else bisect_left(self.order, before)], self._heads[cls]
        if heap:
            self._heads[cls] = heap[0]
            insort(self.order, heap[0])
