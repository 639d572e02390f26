"""What must hold between the jobs of one campaign: unique names, known dependencies and limits, no circle.

What belongs here: checks across jobs. What must not: checks of one job alone, decisions about when it runs.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from pilotfish.formats.entries import EntryError, did_you_mean, shown
from pilotfish.model.jobs import Dependency, JobSpec

__all__ = ["check_dependencies", "check_uses"]


def check_dependencies(
    specs: Sequence[JobSpec], shown_place: Callable[[int], str], *, outside: Collection[str] = ()
) -> None:
    """Raise EntryError, with the way from the list of jobs to the culprit, for the first law that is broken.

    `shown_place` is how a message names the job at a place of the list; `outside` are names of jobs that are elsewhere.
    """
    by_name: dict[str, int] = {}
    for place, spec in enumerate(specs):
        first = by_name.setdefault(spec.name, place)
        if first != place:
            msg = f"{spec.name} is also the name of {shown_place(first)}: give each job a name of its own"
            raise EntryError(msg, place, "name")
    for place, spec in enumerate(specs):
        for dependency in spec.after:
            if dependency.on in by_name or dependency.on not in outside:
                _check_dependency(specs, by_name, place, dependency)
    _refuse_circle(specs, by_name)


def check_uses(specs: Sequence[JobSpec], limits: Mapping[str, int]) -> None:
    """Raise EntryError likewise for a job that uses more of a named limit than there is."""
    for place, spec in enumerate(specs):
        for name, amount in spec.uses.items():
            if name not in limits:
                hint = did_you_mean(name, limits) or f"; write `limits: {{{name}: {amount}}}` at the top of the file"
                msg = f"no limit is named {shown(name)}{hint}"
                raise EntryError(msg, place, "uses", name)
            if amount > limits[name]:
                msg = f"each task uses {amount}, and the limit is {limits[name]}: it could never run"
                raise EntryError(msg, place, "uses", name)


def _check_dependency(specs: Sequence[JobSpec], by_name: Mapping[str, int], place: int, dependency: Dependency) -> None:
    spec, name = specs[place], dependency.on
    if name == spec.name:
        msg = f"{name} cannot come after itself"
        raise EntryError(msg, place, "after")
    if name not in by_name:
        msg = f"no job of this campaign is named {shown(name)}{did_you_mean(name, by_name)}"
        raise EntryError(msg, place, "after")
    other = specs[by_name[name]]
    if dependency.each and other.count != spec.count:
        msg = f"each: true needs as many tasks on both sides, but {spec.name} has {spec.count} and {name} {other.count}"
        raise EntryError(msg, place, "after")
    follows = spec.followed is not None and spec.after[spec.followed] is dependency
    if follows and not dependency.each and other.count != 1:
        msg = f"needs one task to follow, and {name} has {other.count}"
        raise EntryError(msg, place, "same_node")


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
            elif dependency.on not in finished and dependency.on in by_name:
                path[dependency.on] = iter(specs[by_name[dependency.on]].after)


def _arrows(names: list[str]) -> str:
    if len(names) > 12:
        names = [*names[:5], "…", *names[-5:]]
    return " → ".join(names)
