"""Running again: what a job file means for a campaign that may have run before.

Pure: the file's specs and the store's snapshot in, the changes and their count out. A task is known by job name and
index, in tables by its row; it is *kept* when it succeeded and its fingerprint is the same, *changed* when the
fingerprint differs, *new* when it is not known, a *dependant* when something that it depends on is changed or new.
What failed, was cancelled or was skipped runs again with fresh retries, unless it is *left*: because the user wants
failures left alone, or because the reason for which it was skipped still holds.
"""

from collections.abc import Iterable, Sequence

import msgspec

from pilotfish.errors import UserError
from pilotfish.formats.fingerprint import Match, known, matches
from pilotfish.model.changes import Change, Finish, Forget, Hold, Kept, Revive, Snapshot, Submit
from pilotfish.model.jobs import Job, JobSpec, Span, When
from pilotfish.model.spans import intersection, size, subtraction, union
from pilotfish.model.states import TaskState
from pilotfish.scheduler.submissions import HELD_BY_FILE

__all__ = ["Plan", "dependencies_first", "plan"]

_LEFT_FAILED = "it failed in an earlier run, and --keep-failed leaves it so"


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
    left: int
    """Ended so before too, and not run again."""
    unfinished: int
    """Not yet run by an earlier run."""
    forgotten: int
    """Jobs that are no longer in the file."""


def plan(specs: Sequence[JobSpec], snapshot: Snapshot, *, next_id: int, now: float, keep_failed: bool = False) -> Plan:
    """Compare a file with what its campaign did before.

    Args:
        specs: the jobs of the file, names unique, dependencies known and without a cycle.
        snapshot: the campaign's current jobs and tasks.
        next_id: the first free job id.
        now: when the submission happens, in seconds since 1970.
        keep_failed: what failed is left, and with it what was skipped for that.

    Raises:
        UserError: the campaign is that of a Python session, whose jobs no file can tell.

    """
    calling = next((submit.job.spec for submit in snapshot.submits if submit.job.spec.function is not None), None)
    if calling is not None:
        raise UserError(
            f"the campaign is a Python session's: its job `{calling.name}` calls functions. Give the job file another "
            "`name`, or put the session's work away with --fresh"
        )
    intake = _Intake(snapshot, next_id, now, keep_failed=keep_failed)
    for spec in dependencies_first(specs):
        intake.take(spec)
    return intake.plan()


class _Earlier(msgspec.Struct):
    """What the snapshot knows of one job of the campaign."""

    job: Job
    ended: dict[TaskState, list[Span]]
    """By final state, the tasks that are in it."""
    holds: list[Hold] = []


class _Fate(msgspec.Struct):
    """What becomes of one job of the file, for those that depend on it."""

    id: int
    same: Sequence[Match] = ()
    """Its tasks that are the same work as before, with nothing under them changed."""
    kept: Sequence[Span] = ()
    left: Sequence[Span] = ()
    changed: bool = True
    """Some of its tasks are changed, new or dependants."""
    all_kept: bool = False


class _Intake:
    """A plan in the making: takes job after job, each when those that it depends on have been taken."""

    def __init__(self, snapshot: Snapshot, next_id: int, now: float, *, keep_failed: bool) -> None:
        self._earlier = _earlier_jobs(snapshot)
        self._next_id, self._now, self._keep_failed = next_id, now, keep_failed
        self._fates: dict[str, _Fate] = {}
        self._changes: list[Change] = []
        self._total = self._new = self._changed = self._dependants = 0
        self._kept = self._again = self._left = self._unfinished = 0

    def plan(self) -> Plan:
        """What was found. Jobs that were not taken are forgotten."""
        gone = [Forget(before.job.id) for before in self._earlier.values()]
        return Plan(
            changes=(*self._changes, *gone),
            total=self._total,
            new=self._new,
            changed=self._changed,
            dependants=self._dependants,
            kept=self._kept,
            again=self._again,
            left=self._left,
            unfinished=self._unfinished,
            forgotten=len(gone),
        )

    def take(self, spec: JobSpec) -> None:
        """Compare one job with what it was before."""
        self._total += spec.count
        before = self._earlier.pop(spec.name, None)
        depends_on = tuple([self._fates[dependency.on].id for dependency in spec.after])
        if before is None:
            self._new += spec.count
            self._fates[spec.name] = _Fate(self._submit(spec, depends_on))
        else:
            self._fates[spec.name] = self._compare(spec, before, depends_on)

    def _compare(self, spec: JobSpec, before: _Earlier, depends_on: tuple[int, ...]) -> _Fate:
        everything = [Span(0, spec.count)]
        equal = before.job.spec == spec
        goes_on = equal and before.job.depends_on == depends_on
        alike = (Match(0, spec.count, 0),) if equal else matches(before.job.spec, spec)
        if goes_on and before.ended == {TaskState.succeeded: everything}:
            self._kept += spec.count
            return _Fate(before.job.id, alike, everything, changed=False, all_kept=True)
        same = self._on_the_same(spec, alike)
        done = _where(same, before.ended.get(TaskState.succeeded, ()))
        kept = _spans(done)
        failed, left, again = self._ended_badly(spec, before, same)
        self._count_anew(spec, before, alike)
        self._dependants += _size(alike) - _size(same)
        self._kept += size(kept)
        self._left += size(left)
        self._again += size(again)
        self._unfinished += _size(same) - size(kept) - size(left) - size(again)
        if goes_on:
            new = before.job.id
            revived = again if left else everything[: len(again)]
            self._changes.extend([Revive(new, span.lo, span.hi) for span in revived])
        else:
            new = self._submit(spec, depends_on, before, done)
            self._changes.extend([Finish(new, span.lo, span.hi, TaskState.failed, _LEFT_FAILED) for span in failed])
        return _Fate(new, same, kept, left, changed=_size(same) < spec.count, all_kept=kept == everything)

    def _ended_badly(
        self, spec: JobSpec, before: _Earlier, same: Sequence[Match]
    ) -> tuple[list[Span], list[Span], list[Span]]:
        """Of what was failed, cancelled or skipped: the failures that are left, all that is left, what runs again."""
        ended = {
            state: _spans(_where(same, spans))
            for state, spans in before.ended.items()
            if state is not TaskState.succeeded
        }
        failed = ended.get(TaskState.failed, []) if self._keep_failed else []
        left = union([*failed, *self._still_broken(spec, ended.get(TaskState.skipped, []))])
        return failed, left, subtraction(union([span for spans in ended.values() for span in spans]), left)

    def _count_anew(self, spec: JobSpec, before: _Earlier, alike: Sequence[Match]) -> None:
        """Tell changed from new among tasks that are not the same work as before."""
        anew = spec.count - _size(alike)
        if anew:
            known_ones = _spans(known(before.job.spec, spec))
            changed = size(subtraction(known_ones, _spans(alike)))
            self._changed += changed
            self._new += anew - changed

    def _on_the_same(self, spec: JobSpec, alike: Sequence[Match]) -> Sequence[Match]:
        """Those of a job's matches that come after the same work as before, which is not changed either."""
        for dependency in spec.after:
            upstream = self._fates[dependency.on]
            if dependency.each:
                alike = _in_step(alike, upstream.same)
            elif upstream.changed:
                return ()
        return alike

    def _still_broken(self, spec: JobSpec, skipped: list[Span]) -> list[Span]:
        """Those skipped tasks that wait for something that cannot come true in this run either."""
        broken: list[Span] = []
        for dependency in spec.after if skipped else ():
            upstream = self._fates[dependency.on]
            if dependency.when is When.succeeded:
                broken += upstream.left if dependency.each else skipped * bool(upstream.left)
            elif dependency.when is When.failed:
                broken += upstream.kept if dependency.each else skipped * upstream.all_kept
        return intersection(skipped, union(broken))

    def _submit(
        self, spec: JobSpec, depends_on: tuple[int, ...], before: _Earlier | None = None, done: Sequence[Match] = ()
    ) -> int:
        """Enter a job with what is kept of the one before it; its id."""
        new = self._next_id
        self._next_id += 1
        job = Job(id=new, spec=spec, depends_on=depends_on, submitted_at=self._now)
        if before is None:
            self._changes.append(Submit(job))
        else:
            kept = tuple([Kept(Span(lo, hi), before.job.id, old_lo) for lo, hi, old_lo in done])
            self._changes.append(Submit(job, kept, before.job.id))
        if spec.hold:
            self._changes.append(Hold(new, 0, spec.count, held=True, reason=HELD_BY_FILE))
        elif before is not None and before.holds:
            self._hold_on(new, spec, before)
        return new

    def _hold_on(self, new: int, spec: JobSpec, before: _Earlier) -> None:
        """Hold what was held before, but for what the file no longer says."""
        stays = known(before.job.spec, spec)
        for hold in before.holds:
            if hold.reason != HELD_BY_FILE:
                found = _where(stays, [Span(hold.lo, hold.hi)])
                self._changes.extend([Hold(new, lo, hi, held=True, reason=hold.reason) for lo, hi, _ in found])


def dependencies_first(specs: Sequence[JobSpec]) -> list[JobSpec]:
    """The specs in an order in which each comes after those of them that it depends on, else as in the file."""
    by_name = {spec.name: spec for spec in specs}
    placed: dict[str, JobSpec] = {}
    for first in specs:
        path = [(first, iter(first.after))]
        while path:
            spec, unseen = path[-1]
            missing = next((by_name[d.on] for d in unseen if d.on in by_name and d.on not in placed), None)
            if missing is None:
                placed.setdefault(spec.name, spec)
                path.pop()
            else:
                path.append((missing, iter(missing.after)))
    return list(placed.values())


def _earlier_jobs(snapshot: Snapshot) -> dict[str, _Earlier]:
    """The campaign's jobs by name, with what became of their tasks."""
    jobs = {submit.job.id: _Earlier(submit.job, {}) for submit in snapshot.submits}
    for submit in snapshot.submits:
        if submit.kept:
            jobs[submit.job.id].ended[TaskState.succeeded] = [kept.span for kept in submit.kept]
    for job, position, state, *_ in map(msgspec.structs.astuple, snapshot.tasks):
        if state is not TaskState.ready:
            jobs[job].ended.setdefault(state, []).append(Span(position, position + 1))
    for finish in snapshot.finishes:
        jobs[finish.job].ended.setdefault(finish.state, []).append(Span(finish.lo, finish.hi))
    for hold in snapshot.holds:
        jobs[hold.job].holds.append(hold)
    for earlier in jobs.values():
        for state, spans in earlier.ended.items():
            earlier.ended[state] = union(spans) if len(spans) > 1 else spans
    return {earlier.job.spec.name: earlier for earlier in jobs.values()}


def _where(found: Sequence[Match], spans: Sequence[Span]) -> list[Match]:
    """Those parts of the matches whose earlier positions lie in the spans, which are ascending and disjoint."""
    inside: list[Match] = []
    place = 0
    for lo, hi, old_lo in sorted(found, key=lambda match: match.old_lo):
        shift, old_hi = lo - old_lo, old_lo + hi - lo
        while place < len(spans) and spans[place].hi <= old_lo:
            place += 1
        at = place
        while at < len(spans) and spans[at].lo < old_hi:
            first, last = max(old_lo, spans[at].lo), min(old_hi, spans[at].hi)
            inside.append(Match(first + shift, last + shift, first))
            at += 1
    return sorted(inside)


def _in_step(left: Sequence[Match], right: Sequence[Match]) -> list[Match]:
    """The positions at which both stand for the same earlier one; of ascending matches."""
    common: list[Match] = []
    i = j = 0
    while i < len(left) and j < len(right):
        lo, hi = max(left[i].lo, right[j].lo), min(left[i].hi, right[j].hi)
        old_lo = left[i].old_lo + lo - left[i].lo
        if lo < hi and old_lo == right[j].old_lo + lo - right[j].lo:
            common.append(Match(lo, hi, old_lo))
        if left[i].hi < right[j].hi:
            i += 1
        else:
            j += 1
    return common


def _spans(found: Iterable[Match]) -> list[Span]:
    """The new positions."""
    return union([Span(lo, hi) for lo, hi, _ in found])


def _size(found: Iterable[Match]) -> int:
    return sum([hi - lo for lo, hi, _ in found])
