"""What users want done to tasks: cancel, hold, release, retry. From names to events, from changes to an answer.

A wish is granted by whoever owns the queue: a manager tells its scheduler, a :class:`Clerk` writes into a store that
no manager runs. What belongs here: which tasks are meant, and what was done to them. What must not: wording (cli),
deciding (scheduler), when an answer may leave (loop).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from pilotfish.errors import InternalError, UserError
from pilotfish.manager.answers import Done
from pilotfish.manager.look import Look, View
from pilotfish.model.changes import Cancel, Change, Finish, Hold, Revive
from pilotfish.model.events import Cancelled, Command, Event, Held, Revived
from pilotfish.model.jobs import Job, Span
from pilotfish.model.spans import intersection, size, subtraction, union
from pilotfish.model.states import FINAL, TaskState

__all__ = ["Clerk", "Tell", "Wish", "grant"]

Tell = Callable[[Event], Sequence[Command]]
"""Lets an event happen and returns what follows from it."""

_S = TaskState
_RUNNING = (_S.running, _S.stopping)
_ENDED_BADLY = FINAL - {_S.succeeded}
_Spanned = TypeVar("_Spanned", Finish, Hold, Cancel, Revive)


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something to be done to tasks. Those to which it cannot be done, or already was, are left alone."""

    verb: Literal["cancel", "hold", "release", "retry"]
    ids: tuple[str, ...] | None
    """Jobs and tasks as users call them; None: all."""
    failed: bool = False
    """Of `retry`: only what failed, not what was cancelled or skipped."""


def grant(arguments: Mapping[str, object], view: View, tell: Tell) -> Any:  # noqa: ANN401 - plain data
    """Let a wish come true and answer with a :class:`Done`, as plain data.

    Raises UserError, before anything is done, where the wish or one of its ids is wrong.
    """
    try:
        wish = msgspec.convert(arguments, Wish)
    except msgspec.ValidationError as error:
        raise UserError(f"wish: {error}") from error
    look = Look(view)
    meant = _meant(look, wish.ids)
    states = {state.name: count for state in _S if (count := _count(look, meant, state))}
    schedules = view.schedules.take_back(_wholly(look, wish.ids)) if wish.verb == "cancel" and view.schedules else 0
    commands = [command for event in _events(wish, look, meant) for command in tell(event)]
    return msgspec.to_builtins(msgspec.structs.replace(_done(wish, look, commands, states), schedules=schedules))


def _meant(look: Look, ids: Iterable[str] | None) -> dict[int, list[Span]]:
    """The tasks of current jobs that ids name, by ascending job."""
    if ids is None:
        return {job: [_whole(look.current[job])] for job in sorted(look.current)}
    meant: dict[int, list[Span]] = {}
    for text in ids:
        named = look.find(text)
        job, position = named.job, named.position
        if job.id not in look.current:
            raise UserError(f"`{text}` is no longer part of the campaign; the job of that name has another number")
        meant.setdefault(job.id, []).append(_whole(job) if position is None else Span(position, position + 1))
    return {job: union(meant[job]) for job in sorted(meant)}


def _wholly(look: Look, ids: Iterable[str] | None) -> set[int]:
    """The jobs that ids name as a whole."""
    named = map(look.find, ids) if ids is not None else ()
    return set(look.current) if ids is None else {one.job.id for one in named if one.position is None}


def _events(wish: Wish, look: Look, meant: Mapping[int, list[Span]]) -> list[Event]:
    if wish.verb == "retry":
        meant = _to_retry(look, meant, frozenset({_S.failed}) if wish.failed else _ENDED_BADLY)
    make: Callable[[int, int, int], Event]
    match wish.verb:
        case "cancel":
            make = Cancelled
        case "hold":
            make = Held
        case "release":
            make = _released
        case "retry":
            make = Revived
    return [make(job, span.lo, span.hi) for job, spans in meant.items() for span in spans]


def _released(job: int, lo: int, hi: int) -> Held:
    return Held(job, lo, hi, held=False, reason="")


def _to_retry(look: Look, meant: Mapping[int, list[Span]], wanted: Iterable[TaskState]) -> dict[int, list[Span]]:
    """Those of the meant tasks that ended so, and what was skipped because of them, and so on."""
    found: dict[int, list[Span]] = {}
    for number in sorted(look.current):  # a job's number is higher than those of the jobs that it depends on
        job = look.current[number]
        states = look.standing(number).states(number)
        spans = _in_states(states, meant.get(number, ()), wanted)
        for dependency, on in zip(job.spec.after, job.depends_on, strict=True):
            if on in found:
                below = found[on] if dependency.each else [_whole(job)]
                spans += _in_states(states, below, {_S.skipped})
        if spans:
            found[number] = union(spans)
    return found


def _done(wish: Wish, look: Look, commands: Sequence[Command], states: dict[str, int]) -> Done:
    running = 0
    finished = [command for command in commands if isinstance(command, Finish)]
    skipped = _tasks([one for one in finished if one.state is _S.skipped])
    match wish.verb:
        case "cancel":
            tasks = _tasks([one for one in finished if one.state is _S.cancelled])
        case "hold" | "release":
            holds = [one for one in commands if isinstance(one, Hold)]
            if wish.verb == "hold":
                spans = ((one.job, Span(one.lo, one.hi)) for one in holds)
                running = sum(_count(look, {job: [span]}, state) for job, span in spans for state in _RUNNING)
            tasks = _tasks(holds) - running
        case "retry":  # what is skipped at once does not run again
            tasks = _tasks([one for one in commands if isinstance(one, Revive)]) - skipped
            skipped = 0
    ending = _tasks([one for one in commands if isinstance(one, Cancel)])
    return Done(
        verb=wish.verb,
        tasks=tasks,
        ending=ending,
        running=running,
        skipped=skipped,
        states=states,
        live=look.view.live,
    )


class Clerk:
    """Records wishes where no scheduler decides: what the next one will find.

    Args:
        view: of a store without a manager. What the clerk has recorded is not seen by it.

    """

    def __init__(self, view: View) -> None:
        """Nothing is recorded yet."""
        self._look = Look(view)
        self.changes: list[Change] = []
        """For the caller to commit."""

    def tell(self, event: Event) -> Sequence[Command]:
        """The changes that an event means; dependants are left to the next scheduler."""
        made: list[Cancel | Finish | Hold | Revive]
        match event:
            case Cancelled(job=job, lo=lo, hi=hi, reason=reason):
                waiting = self._spans(job, lo, hi, {_S.waiting, _S.ready})
                running = self._spans(job, lo, hi, {_S.running})
                made = [Finish(job, span.lo, span.hi, _S.cancelled, reason) for span in waiting]
                made += [Cancel(job, span.lo, span.hi, reason) for span in running]
            case Held(job=job, lo=lo, hi=hi, held=held, reason=reason):
                unfinished = self._spans(job, lo, hi, set(_S) - FINAL)
                already = union(Span(hold.lo, hold.hi) for hold in self._look.holds(job, Span(lo, hi)))
                spans = (subtraction if held else intersection)(unfinished, already)
                made = [Hold(job, span.lo, span.hi, held, reason) for span in spans]
            case Revived(job=job, lo=lo, hi=hi):
                made = [Revive(job, span.lo, span.hi) for span in self._spans(job, lo, hi, _ENDED_BADLY)]
            case _:
                raise InternalError(f"a {type(event).__name__} is nothing for a clerk")
        self.changes += made
        return made

    def _spans(self, job: int, lo: int, hi: int, wanted: Iterable[TaskState]) -> list[Span]:
        return _in_states(self._look.standing(job).states(job), [Span(lo, hi)], wanted)


def _in_states(states: Sequence[int], spans: Iterable[Span], wanted: Iterable[TaskState]) -> list[Span]:
    """The longest spans of tasks in wanted states; of a million tasks in milliseconds."""
    runs = re.compile(b"[" + re.escape(bytes(wanted)) + b"]+")
    return [Span(*run.span()) for span in spans for run in runs.finditer(bytes(states), span.lo, span.hi)]


def _count(look: Look, meant: Mapping[int, list[Span]], state: TaskState) -> int:
    return sum(
        bytes(look.standing(job).states(job)).count(state, span.lo, span.hi) for job in meant for span in meant[job]
    )


def _whole(job: Job) -> Span:
    return Span(0, job.spec.count)


def _tasks(changes: Iterable[_Spanned]) -> int:
    return size(Span(change.lo, change.hi) for change in changes)
