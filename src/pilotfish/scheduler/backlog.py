"""What is still to be done, in words of which room it needs: for whoever could bring more nodes.

What belongs here: this reading of the book. What must not: decisions.
"""

import math
from collections.abc import Iterator

from pilotfish.model.events import Backlog, Unstarted
from pilotfish.model.states import TaskState
from pilotfish.scheduler.book import Book
from pilotfish.scheduler.tasks import JobTasks

__all__ = ["backlog"]


def backlog(book: Book) -> Backlog:
    """What all jobs of the book still need, and what each node has of it."""
    placement = book.placement
    busy = dict.fromkeys(placement.nodes, 0)
    for attempt, (node, _) in placement.held.items():
        for name in (node, *(part.node for part in placement.beside.get(attempt, ()))):
            busy[name] = busy.get(name, 0) + 1
    return Backlog(tuple(work for tasks in book.jobs.values() if tasks.unstarted for work in _work(book, tasks)), busy)


def _work(book: Book, tasks: JobTasks) -> Iterator[Unstarted]:
    """Of a job, by what its tasks ask for: what is held back needs no room, nor what limits keep from running."""
    seconds = None if math.isinf(tasks.expected_seconds) else tasks.expected_seconds
    path = tasks.rank if seconds is not None and tasks.rank > seconds else seconds
    for pool in tasks.pools():
        # A node to which tasks follow others is there; no other one would help them.
        ready = book.queue.room(pool) if pool.size and pool.cls.home is None else 0
        later = pool.size - ready + (_waiting(tasks) if pool is tasks.pool else 0)
        if ready or later:
            yield Unstarted(tuple(need.request for need in pool.cls.needs), ready, later, seconds, path)


def _waiting(tasks: JobTasks) -> int:
    """Tasks that will be ready, and that nobody holds back."""
    count = tasks.counts[TaskState.waiting]
    if count and tasks.has_exceptions:
        count = sum(tasks.states[at] == TaskState.waiting and not tasks.is_held(at) for at in range(tasks.count))
    return count
