"""Running again: what a job file means for a campaign that may have run before.

Pure: the file's specs and the store's snapshot in, the changes and their count out. A task is known by
job name and index; it is *kept* when it succeeded and its fingerprint is the same, *changed* when the
fingerprint differs, *new* when there was none, a *dependant* when something that it depends on is
changed or new. What failed, was cancelled or was skipped runs again with fresh retries.
"""

from collections.abc import Mapping, Sequence

import msgspec

from pilotfish.formats.fingerprint import matches
from pilotfish.model.changes import Change, Forget, Kept, Revive, Snapshot, Submit
from pilotfish.model.jobs import Job, JobSpec, Span
from pilotfish.model.spans import intersection, size, subtraction, union
from pilotfish.model.states import TaskState

__all__ = ["Plan", "dependencies_first", "plan"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run will do, told before it does it; the numbers count tasks."""

    changes: tuple[Change, ...]
    total: int
    new: int
    changed: int
    dependants: int
    kept: int
    again: int
    """Failed, cancelled or skipped before."""
    unfinished: int
    """Not yet run by an earlier run."""
    forgotten: int
    """Jobs that are no longer in the file."""


class _Earlier(msgspec.Struct):
    """What the snapshot knows of one job of the campaign."""

    job: Job
    succeeded: list[Span]
    ended_badly: list[Span]


class _Fate(msgspec.Struct):
    """What becomes of one job of the file: its id now, whether it goes on as it was, and what must run anew."""

    id: int
    goes_on: bool
    anew: list[Span]


def plan(specs: Sequence[JobSpec], snapshot: Snapshot, *, next_id: int, now: float) -> Plan:
    """Compare a file with what its campaign did before.

    Args:
        specs: the jobs of the file, names unique, dependencies known and without a cycle.
        snapshot: the campaign's current jobs and tasks.
        next_id: the first free job id.
        now: when the submission happens, in seconds since 1970.

    """
    earlier = _earlier_jobs(snapshot)
    fates: dict[str, _Fate] = {}
    counts = dict.fromkeys(("total", "new", "changed", "dependants", "kept", "again", "unfinished"), 0)
    changes: list[Change] = []
    for spec in dependencies_first(specs):
        before = earlier.pop(spec.name, None)
        change, fate = _decide(spec, before, fates, counts, (next_id, now))
        fates[spec.name] = fate
        next_id = max(next_id, fate.id + 1)
        if change is not None:
            changes.append(change)
    changes.extend(Forget(gone.job.id) for gone in earlier.values())
    return Plan(changes=tuple(changes), forgotten=len(earlier), **counts)


def _decide(
    spec: JobSpec,
    before: _Earlier | None,
    fates: Mapping[str, _Fate],
    counts: dict[str, int],
    stamp: tuple[int, float],
) -> tuple[Change | None, _Fate]:
    everything = [Span(0, spec.count)]
    same = _same_tasks(before, spec)
    anew = subtraction(everything, [span for span, _ in same])
    upstream = subtraction(_told_by_dependencies(spec, fates), anew)
    kept = _kept(before, same, anew, upstream)
    counts["total"] += spec.count
    counts["dependants"] += size(upstream)
    counts["kept"] += size(kept_span.span for kept_span in kept)
    known = 0 if before is None else min(before.job.spec.count, spec.count)
    changed = intersection(anew, [Span(0, known)] if known else [])
    counts["changed"] += size(changed)
    counts["new"] += size(anew) - size(changed)
    rest = subtraction(everything, union([*anew, *upstream, *(kept_span.span for kept_span in kept)]))
    again = intersection(rest, before.ended_badly) if before is not None else []
    counts["again"] += size(again)
    counts["unfinished"] += size(rest) - size(again)
    depends_on = tuple(fates[dependency.on].id for dependency in spec.after)
    if before is not None and before.job.spec == spec and before.job.depends_on == depends_on:
        revive = Revive(before.job.id, 0, spec.count) if before.ended_badly else None
        return revive, _Fate(before.job.id, goes_on=True, anew=[])
    next_id, now = stamp
    job = Job(id=next_id, spec=spec, depends_on=depends_on, submitted_at=now)
    submit = Submit(job, tuple(kept), None if before is None else before.job.id)
    return submit, _Fate(next_id, goes_on=False, anew=union([*anew, *upstream]))


def _same_tasks(before: _Earlier | None, spec: JobSpec) -> list[tuple[Span, int]]:
    """Spans of `spec` whose tasks have the fingerprint of the earlier ones, with the earlier position."""
    if before is None:
        return []
    if before.job.spec == spec:
        return [(Span(0, spec.count), 0)]
    return [(Span(lo, hi), old) for lo, hi, old in matches(before.job.spec, spec)]


def _kept(
    before: _Earlier | None, same: Sequence[tuple[Span, int]], anew: list[Span], upstream: list[Span]
) -> list[Kept]:
    """Spans that need not run: same fingerprint, succeeded before, and nothing under them is changed."""
    if before is None:
        return []
    by_shift: dict[int, list[Span]] = {}
    for span, old in same:
        by_shift.setdefault(span.lo - old, []).append(span)
    excluded = union([*anew, *upstream])
    kept: list[Kept] = []
    for shift, spans in by_shift.items():
        done = [Span(piece.lo + shift, piece.hi + shift) for piece in before.succeeded]
        pieces = subtraction(intersection(done, union(spans)), excluded)
        kept.extend(Kept(piece, before.job.id, piece.lo - shift) for piece in pieces)
    return kept


def _told_by_dependencies(spec: JobSpec, fates: Mapping[str, _Fate]) -> list[Span]:
    """The positions that run again because something that they depend on does."""
    told: list[Span] = []
    for dependency in spec.after:
        anew = fates[dependency.on].anew
        told.extend(anew if dependency.each else [Span(0, spec.count)] * bool(anew))
    return union(told)


def dependencies_first(specs: Sequence[JobSpec]) -> list[JobSpec]:
    """The specs in an order in which each comes after what it depends on, else as in the file."""
    by_name = {spec.name: spec for spec in specs}
    placed: dict[str, JobSpec] = {}
    for first in specs:
        path = [(first, iter(first.after))]
        while path:
            spec, unseen = path[-1]
            missing = next((by_name[d.on] for d in unseen if d.on not in placed), None)
            if missing is None:
                placed.setdefault(spec.name, spec)
                path.pop()
            else:
                path.append((missing, iter(missing.after)))
    return list(placed.values())


def _earlier_jobs(snapshot: Snapshot) -> dict[str, _Earlier]:
    """The campaign's jobs by name, with what became of their tasks."""
    succeeded: dict[int, list[Span]] = {}
    badly: dict[int, list[Span]] = {}
    for submit in snapshot.submits:
        succeeded[submit.job.id] = [kept.span for kept in submit.kept]
        badly[submit.job.id] = []
    for job, position, state, *_ in map(msgspec.structs.astuple, snapshot.tasks):
        if state is TaskState.succeeded:
            succeeded[job].append(Span(position, position + 1))
        elif state is not TaskState.ready:
            badly[job].append(Span(position, position + 1))
    for finish in snapshot.finishes:
        badly[finish.job].append(Span(finish.lo, finish.hi))
    return {
        submit.job.spec.name: _Earlier(submit.job, union(succeeded[submit.job.id]), union(badly[submit.job.id]))
        for submit in snapshot.submits
    }
