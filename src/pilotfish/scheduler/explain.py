"""Why a task is where it is, told by the code that decides, for people."""

from pilotfish.model.states import FINAL, TaskState
from pilotfish.scheduler.fit import fit
from pilotfish.scheduler.graph import Graph
from pilotfish.scheduler.limits import room
from pilotfish.scheduler.place import Placement
from pilotfish.scheduler.queue import Queue
from pilotfish.scheduler.tasks import JobTasks

__all__ = ["explain"]


def explain(tasks: JobTasks, position: int, *, graph: Graph, queue: Queue, placement: Placement, draining: bool) -> str:
    """One line without a full stop, in the present tense."""
    state = tasks.state(position)
    if state in FINAL:
        return f"has {state.name}" if state in (TaskState.succeeded, TaskState.failed) else f"was {state.name}"
    if state is TaskState.waiting:
        return "; ".join(graph.missing(tasks, position)) or "waits for its dependencies"
    if state is TaskState.ready:
        return _why_not_started(tasks, queue, placement, draining=draining)
    return _where(tasks, position, placement)


def _where(tasks: JobTasks, position: int, placement: Placement) -> str:
    job, number = tasks.job.id, tasks.numbers[position]
    for attempt, (node, lane) in placement.held.items():
        if (attempt.job, attempt.position, attempt.number) == (job, position, number):
            if node not in placement.nodes:
                return f"was given to node {node}, which is not connected: its agent is waited for"
            ahead = list(placement.lanes[node][lane].attempts).index(attempt)
            if ahead:
                return f"is next on node {node}, behind {ahead} short task{'s' * (ahead > 1)} in lane {lane}"
            told = "is told to end" if tasks.state(position) is TaskState.stopping else "runs"
            return f"{told} on node {node} in lane {lane}"
    return "runs"


def _why_not_started(tasks: JobTasks, queue: Queue, placement: Placement, *, draining: bool) -> str:
    request = tasks.job.spec.request
    if draining or not placement.nodes:
        why = "the manager is stopping and starts nothing" if draining else "no node has joined yet"
        return f"could start, but {why}"
    if not room(tasks):
        return f"max_parallel {tasks.job.spec.max_parallel} of job {tasks.job.spec.name} is used up"
    refusals = [fit(request, node) for node in placement.nodes.values()]
    if all(isinstance(refusal, str) for refusal in refusals):
        more = len(refusals) - 1
        return f"{refusals[0]}" + (f"; so it is on {more} other nodes" if more else "")
    first, kept = queue.first(request), placement.reservation
    if first is not None and first is not tasks:
        return f"fits, but tasks of {first.job.spec.name} come first"
    if kept is not None and kept.request != request:
        return f"fits, but {kept.node.name} keeps room for {kept.request}, which come first"
    return "is about to start"
