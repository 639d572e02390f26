"""What users call jobs and tasks: ``17``, ``17:3``, ``sim``, ``sim:3``, and which job and task that is.

The number behind the colon is the index that users see, never the position. What belongs here: from such a
text to a task, and the wording where there is none. What must not: anything else about tasks.
"""

import re
from collections.abc import Mapping

import msgspec

from pilotfish.errors import UserError
from pilotfish.model.jobs import Job, RangeArray

__all__ = ["Named", "array_words", "find", "task_id"]

_NUMBER = re.compile(r"(\d+)(?::(-?\d+))?")


class Named(msgspec.Struct, frozen=True):
    """A job, or one task of it."""

    job: Job
    position: int | None
    """None: the whole job; a job without an array has position 0 only, and is meant as a job."""


def task_id(job: Job, position: int) -> str:
    """The number of a task: ``17:3``, or ``17`` for a job without an array."""
    index = job.spec.index(position)
    return str(job.id) if index is None else f"{job.id}:{index}"


def find(text: str, current: Mapping[int, Job], every: Mapping[int, Job]) -> Named:
    """What a user means.

    Args:
        text: as typed.
        current: jobs that may be called by name.
        every: jobs that may be called by number, retired ones too.

    Raises:
        UserError: there is no such job or task; names what there is.

    """
    if number := _NUMBER.fullmatch(text):
        job = every.get(int(number[1]))
        if job is not None:
            return _task(job, number[2], number[1])
    by_name = {job.spec.name: job for job in current.values()}
    if text in by_name:
        return Named(by_name[text], None)
    name, _, index = text.rpartition(":")
    if name in by_name:
        return _task(by_name[name], index, name)
    raise UserError(f"there is no job `{number[1] if number else name or text}`{_hint(name or text, by_name)}")


def array_words(job: Job) -> str:
    """The indices of a job's tasks for a person: ``10-20:2``, ``0-99``; empty without an array."""
    array = job.spec.array
    if array is None:
        return ""
    if not isinstance(array, RangeArray) or array.step == 1:
        return f"{array.index(0)}-{array.index(array.count - 1)}" if array.count else "empty"
    return f"{array.start}-{array.index(array.count - 1)}:{array.step}" if array.count else "empty"


def _task(job: Job, index: str | None, called: str) -> Named:
    if index is None:
        return Named(job, None)
    array = job.spec.array
    if array is None:
        raise UserError(f"`{called}` has no array: its one task is `{called}`")
    try:
        position = array.position(int(index))
    except ValueError:
        raise UserError(f"`{index}` in `{called}:{index}` is not an index; `{called}` has {array_words(job)}") from None
    if position is None:
        raise UserError(f"`{called}` has no task {index}, but {array_words(job)}")
    return Named(job, position)


def _hint(name: str, known: Mapping[str, Job]) -> str:
    import difflib  # only where something is wrong

    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean `{near[0]}`?"
    some = ", ".join(list(known)[:10])
    return f"; there are: {some}{', …' if len(known) > 10 else ''}" if known else "; there are none"
