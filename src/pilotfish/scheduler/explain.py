"""Why a task is where it is, and when it will probably start: told by the code that decides, for people."""

import math

from pilotfish.model.changes import Hold
from pilotfish.model.events import Explanation
from pilotfish.model.jobs import task_name
from pilotfish.model.quantities import format_seconds
from pilotfish.model.states import FINAL, TaskState
from pilotfish.scheduler.book import Book
from pilotfish.scheduler.fit import fits, refusal
from pilotfish.scheduler.occupancy import SILENT
from pilotfish.scheduler.tasks import JobTasks, Pool

__all__ = ["explain"]


def explain(book: Book, tasks: JobTasks, position: int, now: float) -> Explanation:
    """One line without a full stop, in the present tense."""
    state = tasks.state(position)
    if state in FINAL:
        succeeded_or_failed = state in (TaskState.succeeded, TaskState.failed)
        return Explanation(f"has {state.name}" if succeeded_or_failed else f"was {state.name}")
    if state in (TaskState.running, TaskState.stopping):
        return _where(book, tasks, position)
    if tasks.is_held(position):
        why = book.reasons.get((tasks.job.id, Hold), "held by the user")
        return Explanation.of_hold(tasks.job.spec.name, why)
    if state is TaskState.waiting:
        return _what_it_waits_for(book, tasks, position, now)
    return _why_not_started(book, tasks, position, now)


def _where(book: Book, tasks: JobTasks, position: int) -> Explanation:
    placement, job, number = book.placement, tasks.job.id, tasks.numbers[position]
    for attempt, (node, place) in placement.held.items():
        if (attempt.job, attempt.position, attempt.number) == (job, position, number):
            if node not in placement.nodes:
                return Explanation(f"was given to node {node}, which is not connected: its agent is waited for")
            lane = placement.lanes[node][place]
            ahead = list(lane.attempts).index(attempt)
            if ahead:
                behind = f"behind {ahead} short task{'s' * (ahead > 1)} in lane {place}"
                return Explanation(f"is next on node {node}, {behind}")
            others = [part.node for part in placement.beside.get(attempt, ())]
            nodes = f"nodes {', '.join([node, *others])}" if others else f"node {node}"
            told = "is told to end" if tasks.state(position) is TaskState.stopping else "runs"
            silent = "; " + SILENT.format(node) if SILENT in placement.nodes[node].stops else ""
            return Explanation(f"{told} on {nodes} in lane {place}{silent}")
    return Explanation("runs")


def _what_it_waits_for(book: Book, tasks: JobTasks, position: int, now: float) -> Explanation:
    if position in tasks.delayed:
        again_at = tasks.delayed[position]
        left = format_seconds(max(0.0, again_at - now))
        why = book.deferred.get((tasks.job.id, position))
        if why is None:
            return Explanation(f"is tried again in {left}", again_at)
        return Explanation(f"has deferred itself, for another {left}" + f": {why}" * bool(why), again_at)
    missing = book.graph.missing(tasks, position)
    if not book.graph.is_gated(tasks):
        return Explanation("; ".join(missing) or "waits for its dependencies")
    starts_at = tasks.job.start_time
    missing.append(f"waits for its start time, in {format_seconds(max(0.0, starts_at - now))}")
    return Explanation("; ".join(missing), starts_at if len(missing) == 1 else None)


def _why_not_started(book: Book, tasks: JobTasks, position: int, now: float) -> Explanation:
    placement, spec, pool = book.placement, tasks.job.spec, tasks.pool_of(position)
    if book.draining is not None or not pool.cls.reached:
        return Explanation(_out_of_reach(book, pool, position))
    if not book.queue.room(pool):
        name = book.limits.lacking(spec.uses)
        if name is None:
            return Explanation(f"max_parallel {spec.max_parallel} of job {spec.name} is used up")
        free, most = book.limits.free(name), book.limits.most(name)
        return Explanation(f"needs {spec.uses[name]} of the limit {name}, of which {free} of {most} is free")
    kept = placement.reservation
    lack = _lack(book, pool)
    if lack and pool.cls.home is not None:
        lack += f", where {_followed(book, tasks, position)} ran"
    first = tasks.next_startable(pool, 0, tasks.count)
    if lack and first is not None and first != position:
        return Explanation(f"{lack}; {task_name(tasks.job, first)} comes first")
    if kept is not None and book.queue.head() is pool:
        kept.look()
        starts_at = max(now, kept.at) if kept.at < math.inf else None
        nodes = ", ".join(node.name for node in kept.nodes)
        return Explanation(f"{lack}; {nodes} is kept for it", starts_at)
    return Explanation(lack or _in_the_way(book, pool, now))


def _out_of_reach(book: Book, pool: Pool, position: int) -> str:
    """Why it could not start even if nothing ran, and what is waited for."""
    if book.draining is not None or not book.placement.nodes:
        why = "the manager is stopping and starts nothing" if book.draining is not None else "no node has joined yet"
        return f"could start, but {why}"
    if pool.cls.home is not None:
        return f"waits for node {pool.cls.home} to come back, because {_followed(book, pool.tasks, position)} ran there"
    lack, more = book.reach.lack(pool.cls), book.reach.to_come
    if not book.reach.still(pool.cls):
        return f"{lack}, and no more will come: it is left for a later run"
    if more == math.inf:
        return f"{lack}; others may come"
    return f"{lack}; {more} more {'is' if more == 1 else 'are'} expected"


def _followed(book: Book, tasks: JobTasks, position: int) -> str:
    """The task that it follows to a node."""
    return task_name(book.jobs[tasks.job.depends_on[tasks.job.spec.followed or 0]].job, position)


def _lack(book: Book, pool: Pool) -> str:
    """Why it fits nowhere; empty where it does."""
    nodes = [node for node in book.placement.nodes.values() if pool.cls.home in (None, node.name)]
    said = []
    for need in pool.cls.needs:
        refusals = [refusal(need, node) for node in nodes]
        if sum(not why for why in refusals) >= need.nodes:
            return ""
        why = next(filter(None, refusals))
        more = len(nodes) - 1
        if need.nodes > 1:
            there = sum(not one for one in refusals)
            why = f"needs room on {need.nodes} nodes at once, and {there} have it; {why}"
        elif more:
            why += f"; so it is on {more} other node{'s' * (more > 1)}"
        said.append(why)
    return "; or ".join(dict.fromkeys(said))


def _in_the_way(book: Book, pool: Pool, now: float) -> str:
    """Why one that fits has not started."""
    head, kept = book.queue.head(), book.placement.reservation
    name = "another task" if head is None else f"tasks of {head.tasks.job.spec.name}"
    for need in pool.cls.needs:
        for node in book.placement.nodes.values():
            end = node.inventory.ends_at
            if fits(need, node) and end is not None and _ends_too_late(book, pool, end - now):
                return (
                    f"fits on {node.name}, but may not end before its allocation does, in {format_seconds(end - now)}"
                )
    if head is pool or head is None:
        return "is about to start"
    if kept is not None:
        nodes = ", ".join(node.name for node in kept.nodes)
        kept.look()
        then = f" in {format_seconds(max(0.0, kept.at - now))}" if kept.at < math.inf else ""
        return f"fits, but {nodes} keeps room for {kept.need.request}{then}: {name} come first"
    return f"fits, but {name} come first"


def _ends_too_late(book: Book, pool: Pool, left: float) -> bool:
    seconds = pool.tasks.expected_seconds
    return (book.settings.drain if seconds == math.inf else seconds) > left
