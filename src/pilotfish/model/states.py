"""THE table of task states: what may follow what. No state is set anywhere but through :func:`follow`.

A task is in one state; an attempt ends with one outcome. `held` is a flag beside the state.
A granted task counts as running: its start is recorded before anyone is told to start it.
"""

from enum import IntEnum, StrEnum

from pilotfish.errors import InternalError

__all__ = ["FINAL", "TRANSITIONS", "Outcome", "TaskState", "Trigger", "follow"]


class TaskState(IntEnum):
    """The state of a task. Integers, so that an array of a million tasks is a million bytes."""

    waiting = 0
    """For dependencies, or for a start time."""
    ready = 1
    """Could start now if there were room."""
    running = 2
    """Granted to a node: durable before the message leaves."""
    stopping = 3
    """Told to end; its processes may still live."""
    succeeded = 4
    failed = 5
    cancelled = 6
    skipped = 7
    """A dependency can no longer hold."""


FINAL = frozenset({TaskState.succeeded, TaskState.failed, TaskState.cancelled, TaskState.skipped})
"""States that only a revival leaves."""


class Trigger(StrEnum):
    """What can happen to a task."""

    release = "release"
    """Its last dependency holds."""
    grant = "grant"
    give_back = "give_back"
    """Its attempt never started, or ended in a way that lets it run again."""
    postpone = "postpone"
    """It runs again, but not at once."""
    stop = "stop"
    succeed = "succeed"
    fail = "fail"
    cancel = "cancel"
    skip = "skip"
    revive = "revive"
    """The user asks for it again."""


_S, _T = TaskState, Trigger
_ENDS = {_T.succeed: _S.succeeded, _T.fail: _S.failed, _T.cancel: _S.cancelled, _T.give_back: _S.ready}

TRANSITIONS: dict[TaskState, dict[Trigger, TaskState]] = {
    _S.waiting: {_T.release: _S.ready, _T.skip: _S.skipped, _T.cancel: _S.cancelled, _T.fail: _S.failed},
    _S.ready: {_T.grant: _S.running, _T.cancel: _S.cancelled, _T.fail: _S.failed},
    _S.running: {_T.stop: _S.stopping, _T.postpone: _S.waiting, **_ENDS},
    _S.stopping: {_T.stop: _S.stopping, **_ENDS},
    _S.succeeded: {},
    _S.failed: {_T.revive: _S.waiting},
    _S.cancelled: {_T.revive: _S.waiting},
    _S.skipped: {_T.revive: _S.waiting},
}
"""What may follow what; no state is set anywhere else."""


def follow(state: TaskState, trigger: Trigger) -> TaskState:
    """The state after `trigger`. Raises InternalError, and changes nothing, where the table has no entry."""
    try:
        return TRANSITIONS[state][trigger]
    except KeyError:
        msg = f"a task that is {state.name} cannot {trigger.value}"
        raise InternalError(msg) from None


class Outcome(StrEnum):
    """How one attempt ended."""

    exited = "exited"
    """By itself; the code says how."""
    signalled = "signalled"
    """By a signal that was not ours; the code is its number."""
    timed_out = "timed_out"
    out_of_memory = "out_of_memory"
    lost = "lost"
    """Nobody witnessed the end: node, agent or keeper died. Never uses up a retry."""
    preempted = "preempted"
    """Ended by us because the allocation of its node ends. Never uses up a retry."""
    interrupted = "interrupted"
    """Ended by us because the run was interrupted, or its manager stayed away. Never uses up a retry."""
    cancelled = "cancelled"
    """Ended because the user cancelled the task."""
    start_failed = "start_failed"
    """The program could not be started; the reason says why."""
    deferred = "deferred"
    """It asked to be run again later. Never uses up a retry."""
