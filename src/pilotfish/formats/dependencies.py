"""What must hold between the jobs of one file: unique names, known dependencies, no circle, equal arrays for `each`.

What belongs here: checks across jobs. What must not: checks of one job alone, decisions about when it runs.
"""

from collections.abc import Iterator, Mapping, Sequence

from pilotfish.formats.keys import EntryError, shown, similar
from pilotfish.model.jobs import Dependency, JobSpec

__all__ = ["check_dependencies"]


def check_dependencies(specs: Sequence[JobSpec]) -> None:
    """Raise EntryError, with the way from the list of jobs to the culprit, for the first law that is broken."""
    by_name: dict[str, int] = {}
    for place, spec in enumerate(specs):
        first = by_name.setdefault(spec.name, place)
        if first != place:
            msg = f"{spec.name} is also the name of jobs[{first}]: give each job a name of its own"
            raise EntryError(msg, place, "name")
    for place, spec in enumerate(specs):
        for dependency in spec.after:
            _check_dependency(specs, by_name, place, dependency)
    _refuse_circle(specs, by_name)


def _check_dependency(specs: Sequence[JobSpec], by_name: Mapping[str, int], place: int, dependency: Dependency) -> None:
    spec, name = specs[place], dependency.on
    if name == spec.name:
        msg = f"{name} cannot come after itself"
        raise EntryError(msg, place, "after")
    if name not in by_name:
        meant = similar(name, by_name)
        hint = f"; did you mean {meant}?" if meant else ""
        msg = f"no job of this file is named {shown(name)}{hint}"
        raise EntryError(msg, place, "after")
    other = specs[by_name[name]]
    if dependency.each and other.count != spec.count:
        msg = f"each: true needs as many tasks on both sides, but {spec.name} has {spec.count} and {name} {other.count}"
        raise EntryError(msg, place, "after")


def _refuse_circle(specs: Sequence[JobSpec], by_name: Mapping[str, int]) -> None:
    """Walk each job's dependencies once, with a stack of our own: chains may be very long."""
    finished: set[str] = set()
    for start in specs:
        if start.name in finished:
            continue
        path: dict[str, Iterator[Dependency]] = {start.name: iter(start.after)}
        while path:
            name, unseen = next(reversed(path.items()))
            dependency = next(unseen, None)
            if dependency is None:
                finished.add(name)
                del path[name]
            elif dependency.on in path:
                names = list(path)
                circle = [*names[names.index(dependency.on) :], dependency.on]
                msg = f"each of these waits for the next: {_arrows(circle)}; take one `after` out"
                raise EntryError(msg, by_name[dependency.on], "after")
            elif dependency.on not in finished:
                path[dependency.on] = iter(specs[by_name[dependency.on]].after)


def _arrows(names: list[str]) -> str:
    if len(names) > 12:
        names = [*names[:5], "…", *names[-5:]]
    return " → ".join(names)
