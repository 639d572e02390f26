"""Ready tasks in their order: by request class, and in each class by priority, rank and age of their jobs.

A job stands in its class's queue as one entry however many of its tasks are ready, so that a pass works
on classes and counts. What must not stand here: whether anything fits.
"""

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping

from pilotfish.model.resources import Request
from pilotfish.scheduler.limits import room
from pilotfish.scheduler.tasks import JobTasks

__all__ = ["Queue"]

_Key = tuple[int, int, int]
"""Minus priority, minus rank, job id: the smaller comes first."""


class Queue:
    """Jobs with ready tasks.

    Args:
        jobs: by id.
        ranks: by job id, the longest path that remains.

    """

    def __init__(self, jobs: Mapping[int, JobTasks], ranks: Mapping[int, int]) -> None:
        """Begin empty."""
        self._jobs, self._ranks = jobs, ranks
        self._heaps: dict[Request, list[_Key]] = {}
        self._queued: dict[int, _Key] = {}
        """By id of each queued job, where it stands; other entries of its in the heap are out of date."""
        self._order: list[tuple[_Key, Request]] = []
        """Ascending: the first entry of each class. Kept, because most events change the first of one class only."""
        self._heads: dict[Request, _Key] = {}
        """The same by class."""
        self._fresh: dict[Request, None] = {}
        self.lowest_priority = math.inf
        """Of all jobs that there ever were: nothing that a lane holds can be less urgent."""

    def key(self, tasks: JobTasks) -> _Key:
        """Where the job stands among others."""
        return (-tasks.job.spec.priority, -self._ranks.get(tasks.job.id, 1), tasks.job.id)

    def push(self, tasks: JobTasks) -> None:
        """Queue a job where it has tasks that may start and is not queued yet."""
        if tasks.job.id not in self._queued and room(tasks):
            self._fresh[tasks.job.spec.request] = None
            self._insert(tasks)

    def rank_changed(self, tasks: JobTasks) -> None:
        """Let a job, where it is queued, stand where its rank now puts it."""
        if tasks.job.id in self._queued:
            self._insert(tasks)

    def _insert(self, tasks: JobTasks) -> None:
        key = self._queued[tasks.job.id] = self.key(tasks)
        heapq.heappush(self._heaps.setdefault(tasks.job.spec.request, []), key)
        self._reorder(tasks.job.spec.request)

    def first(self, request: Request) -> JobTasks | None:
        """The first job of a class that may start a task; those that may not leave the queue until pushed again.

        To be called whenever tasks of the class have ceased to be ready, so that the order of classes is true.
        """
        heap = self._heaps.get(request)
        while heap:
            key = heap[0]
            up_to_date = self._queued.get(key[2]) == key
            if up_to_date and room(self._jobs[key[2]]):
                return self._jobs[key[2]]
            if up_to_date:
                del self._queued[key[2]]
            heapq.heappop(heap)
            self._reorder(request)
        self._heaps.pop(request, None)
        return None

    def _reorder(self, request: Request) -> None:
        before, heap = self._heads.get(request), self._heaps[request]
        if before is not None and heap and heap[0] == before:
            return
        if before is not None:
            del self._order[bisect_left(self._order, (before,))], self._heads[request]
        if heap:
            self._heads[request] = heap[0]
            insort(self._order, (heap[0], request))

    def in_order(self) -> Iterator[Request]:
        """Classes with queued jobs, in the order of their first ones."""
        return (request for _, request in self._order)

    def is_fresh(self, request: Request) -> bool:
        """Whether a job of the class was queued since :meth:`take_fresh`."""
        return request in self._fresh

    def take_fresh(self) -> Iterable[Request]:
        """Classes of which a job was queued since this was asked last."""
        fresh, self._fresh = self._fresh, {}
        return fresh
