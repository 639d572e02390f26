"""Jobs of a class for a queue that stays: what belongs to them there, and what wants one again and again.

What belongs here: from a class and arguments to what a manager is told. What must not: who tells it.
"""

import sys
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

import msgspec

from pilotfish.functions.envelope import pack_arguments
from pilotfish.functions.jobclass import JobClass, job_fields, packed_call, schedule_of
from pilotfish.manager.requests import Repeat
from pilotfish.model.jobs import CallArray, Function, JobSpec

__all__ = ["class_job", "repetition"]


def class_job(kind: type[JobClass], folder: Path) -> JobSpec:
    """The job that calls of a class belong to, in a campaign's folder. Raises UserError where the class is wrong."""
    here = str(Path.cwd())
    function = Function(
        values=str(folder / "values"),
        spill=str(folder / "spill"),
        limit=sys.maxsize,
        python=sys.version_info[:2],
        path=tuple(sys.path),
    )
    return JobSpec(
        **job_fields(kind), command=(), function=function, directory=here, cwd=here, array=CallArray()
    )  # fmt: skip


def repetition(kind: type[JobClass], arguments: Mapping[str, object], folder: Path) -> Repeat:
    """Wants a job of a class again and again, as its schedule says.

    It is the same where file, name and arguments of the class are: so a class that was changed replaces what it was.
    Raises UserError, UnpicklableError.
    """
    ordered = dict(sorted(arguments.items()))
    place = getattr(sys.modules.get(kind.__module__), "__file__", None) or kind.__module__
    name = f"{place}\0{kind.__qualname__}\0".encode(errors="surrogateescape")
    return Repeat(
        identity=blake2b(name + pack_arguments((), ordered, None), digest_size=16).hexdigest(),
        spec=msgspec.msgpack.encode(class_job(kind, folder)),
        call=packed_call(kind, ordered),
        schedule=schedule_of(kind) or "",
    )
