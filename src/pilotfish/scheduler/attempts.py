"""What nodes tell: who they are and what they hold, how attempts ended, what they have given back.

What belongs here: events that come from agents, or from their silence. What must not: people's wishes, placement.
"""

import math
from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from pilotfish.model.attempts import AttemptId, LaneState, Report
from pilotfish.model.changes import Cancel, Release, Settle
from pilotfish.model.events import (
    CloseLane,
    Draining,
    Ended,
    Expected,
    Hosted,
    Kill,
    NodeBack,
    NodeJoined,
    NodeLost,
    NodeSilent,
    Retract,
    Returned,
)
from pilotfish.model.jobs import OnSilence
from pilotfish.model.states import FINAL, Outcome, TaskState, Trigger
from pilotfish.scheduler.book import Book
from pilotfish.scheduler.lanes import Lane
from pilotfish.scheduler.occupancy import LEAVING, SILENT, Node
from pilotfish.scheduler.retry import History, consequence
from pilotfish.scheduler.tasks import JobTasks

__all__ = ["Attempts"]

_EXITED, _SUCCEED = Outcome.exited, Trigger.succeed  # before Python 3.12 an enumeration takes its time to find them
_GIVEN_UP = "nothing was heard of its node for a while; on_silence lets it start elsewhere"
_Ends: TypeAlias = list[tuple[JobTasks, int, int]]
"""Tasks that have ended, of a job and from position to position."""
_FAREWELL = 2.0
"""Of the grace of a node's attempts: so long before its allocation ends they are told to end."""


class Attempts:
    """Decides what becomes of attempts."""

    def __init__(self, book: Book) -> None:
        """Decide over this state."""
        self._book = book

    # Nodes

    def join(self, event: NodeJoined, now: float) -> None:
        """A node introduces itself, for the first time or again."""
        book, placement, name = self._book, self._book.placement, event.node
        node, granted = Node(name, event.inventory), set(placement.held_on(name))
        placement.join(node)
        book.reach.joined(name, event.inventory)
        book.homes.arrived(name)
        for told in event.lanes:
            granted.difference_update(self._take_over(node, told, granted, now))
        self._hold_parts(node)
        for attempt in sorted(granted, key=lambda a: (a.job, a.position)):
            self._undo(attempt)
        book.nodes_changed()
        if node.inventory.ends_at is not None:
            farewell = node.inventory.ends_at - _FAREWELL * book.settings.grace
            book.at(farewell, lambda _now: self._leave_node(node))

    def _take_over(self, node: Node, told: LaneState, granted: set[AttemptId], now: float) -> list[AttemptId]:
        """Go on with a lane that the node has; those of its attempts that were granted."""
        book, placement, number = self._book, self._book.placement, told.lane
        if not told.attempts:
            book.out.append(CloseLane(node.name, number))
            return []
        known = [attempt for attempt in told.attempts if attempt in granted]
        cls = book.jobs[known[0].job].pool_of(known[0].position).cls if known else None
        lane = placement.open(node, told.slots, cls, number)
        lane.told = True
        lane.attempts.extend(known)
        lane.strangers.update(attempt for attempt in told.attempts if attempt not in granted)
        lane.since = now if told.started_at is None else min(now, told.started_at)
        placement.expect(lane)
        for attempt in known:
            placement.held[attempt] = (node.name, number)
            if book.jobs[attempt.job].states[attempt.position] == TaskState.stopping:
                book.out.append(Kill(node.name, number, attempt, Outcome.cancelled))
        self._say_farewell(lane)
        if book.draining is not None:
            self._run_dry(lane, book.draining)
        book.touched[lane] = None
        return known

    def _hold_parts(self, joined: Node) -> None:
        """Hold what attempts that other nodes lead hold on this one: in the lanes that it has told, where it has."""
        placement = self._book.placement
        told = placement.lanes[joined.name]
        for attempt, parts in placement.beside.items():
            for part in parts:
                if part.node == joined.name:
                    lane = told.get(part.lane) or placement.open(joined, part.slots, None, part.lane)
                    placement.hold_part(attempt, lane)
                    node, number = placement.held[attempt]
                    if (leading := placement.lanes.get(node, {}).get(number)) is not None:
                        placement.expect(leading)

    def _say_farewell(self, lane: Lane) -> None:
        """Tell what nobody has granted to end; parts of attempts that other nodes lead are theirs to end."""
        held = self._book.placement.held
        strangers = sorted(lane.strangers - held.keys(), key=lambda attempt: (attempt.job, attempt.position))
        self._book.out.extend(
            [Kill(lane.node.name, lane.number, one, Outcome.cancelled, hard=True) for one in strangers]
        )

    def lose(self, event: NodeLost, now: float) -> None:
        """A node is gone: its attempts are lost, and those on several nodes of which it was one must end."""
        book, placement = self._book, self._book.placement
        lost = placement.held_on(event.node)
        self._end_those_beside(event.node, Outcome.lost)
        book.reach.lost(event.node)
        placement.drop(event.node)
        book.homes.arrived(event.node)  # or it will not
        if event.told:
            for attempt in lost:
                self._undo(attempt)
        else:
            unseen = [_unseen(attempt, placement.held[attempt][1], Outcome.lost, event.reason, now) for attempt in lost]
            self.end(Ended(event.node, tuple(unseen)), now)
        book.nodes_changed()

    def _end_those_beside(self, node: str, outcome: Outcome) -> None:
        """Tell attempts on several nodes to end that are told so elsewhere, and hold something on this one."""
        placement = self._book.placement
        for attempt, parts in placement.beside.items():
            ends = outcome is Outcome.lost or self._needs_no_word(attempt)
            if ends and placement.held[attempt][0] != node and any(part.node == node for part in parts):
                self._book.out.append(Kill(*placement.held[attempt], attempt, outcome))

    def expect(self, event: Expected, _now: float) -> None:
        """So many nodes there will be at most."""
        self._book.reach.expected = event.nodes
        self._book.nodes_changed()

    # Silence

    def fall_silent(self, event: NodeSilent, now: float) -> None:
        """Nothing is heard of a node: it gets nothing new, and what need not wait for its word starts elsewhere."""
        placement = self._book.placement
        node = placement.nodes.get(event.node)
        if node is None:
            return
        node.stops.add(SILENT)
        self._end_those_beside(node.name, Outcome.interrupted)
        ends: _Ends = []
        for lane in placement.lanes[node.name].values():
            for attempt in [one for one in lane.attempts if self._needs_no_word(one) and one not in placement.beside]:
                self._fence(lane, attempt)
                tasks = self._book.jobs[attempt.job]
                if tasks.homes.pop(attempt.position, None) is not None:
                    self._book.ask_anew(tasks, attempt.position)
                report = _unseen(attempt, lane.number, Outcome.interrupted, _GIVEN_UP, now)
                self._conclude(report, node.name, now, ends)
        self._book.graph.ended(ends)

    def _needs_no_word(self, attempt: AttemptId) -> bool:
        """Whether an attempt on a silent node is given up at once: two copies may run then."""
        tasks = self._book.jobs[attempt.job]
        return tasks.job.spec.on_silence is OnSilence.rerun and tasks.states[attempt.position] == TaskState.running

    def _fence(self, lane: Lane, attempt: AttemptId) -> None:
        """From now on nobody has granted an attempt. It holds its slots until the node tells that it has ended."""
        del self._book.placement.held[attempt]
        lane.attempts.remove(attempt)
        lane.strangers.add(attempt)
        lane.due = math.inf
        self._book.placement.expect(lane)

    def come_back(self, event: NodeBack, _now: float) -> None:
        """A silent node is heard again: what was given up is told to end, and it gets work as before."""
        book, placement = self._book, self._book.placement
        node = placement.nodes.get(event.node)
        if node is None or SILENT not in node.stops:
            return
        node.stops.discard(SILENT)
        placement.offer(node)
        for lane in placement.lanes[node.name].values():
            self._say_farewell(lane)
            if lane.attempts:
                book.touched[lane] = None

    def _leave_node(self, node: Node) -> None:
        """The allocation of a node is about to end: nothing starts there, and what runs is told to end."""
        placement = self._book.placement
        if placement.nodes.get(node.name) is node:
            node.stops.add(LEAVING)
            for lane in placement.lanes[node.name].values():
                self._book.out.extend(_ends(lane, Outcome.preempted))

    # Ends

    def end(self, event: Ended, now: float) -> None:
        """Attempts have ended, in the order in which their lanes ran them."""
        book, placement = self._book, self._book.placement
        ends: _Ends = []
        for report in event.reports:
            attempt = report.attempt
            place = placement.held.get(attempt)
            if place is None or place[0] != event.node:  # fenced, told twice, or part of what another node leads
                self._leave_lane(event.node, report.lane, attempt, now)
                continue
            del placement.held[attempt]
            if placement.beside:
                self._let_go(attempt)
            self._leave_lane(event.node, place[1], attempt, now)
            self._conclude(report, event.node, now, ends)
        book.graph.ended(ends)

    def host(self, event: Hosted, _now: float) -> None:
        """A node is about to run a part of an attempt; until it tells its end, its lane is not free."""
        lane = self._book.placement.parts.get(event.attempt, {}).get(event.node)
        if lane is not None:
            lane.strangers.add(event.attempt)

    def _let_go(self, attempt: AttemptId) -> None:
        """An attempt is over: if it was on several nodes, what it has left on the others is told to end."""
        book = self._book
        for lane in book.placement.let_go(attempt):
            book.out.append(Kill(lane.node.name, lane.number, attempt, Outcome.cancelled, hard=True))
            book.touched[lane] = None

    def _conclude(self, report: Report, node: str, now: float, ends: _Ends) -> None:
        """What an attempt's end makes of its task; `ends` collects those that are final."""
        book, attempt = self._book, report.attempt
        tasks = book.jobs[attempt.job]
        if report.started_at and report.outcome is _EXITED:
            self._measure(tasks, report.ended_at - report.started_at)
        state = self._settle(tasks, report, node, now)
        if state in FINAL:
            ends.append((tasks, attempt.position, attempt.position + 1))
            if state is TaskState.failed:
                book.give_up(tasks, (0, tasks.count))
        if tasks.unfinished:
            book.queue.push_all(tasks)

    def _measure(self, tasks: JobTasks, seconds: float) -> None:
        unknown = tasks.expected_seconds == math.inf
        tasks.measured(seconds)
        if unknown and tasks.expected_seconds < math.inf:
            for lane in self._book.placement.by_class.get(tasks.pool.cls, ()):
                self._book.placement.expect(lane)

    def _settle(self, tasks: JobTasks, report: Report, node: str, now: float) -> TaskState:
        book, position = self._book, report.attempt.position
        if report.succeeded:
            state = tasks.move(position, _SUCCEED)
            book.out.append(Settle(report, node, state, charged=True))
            return state
        spec = tasks.job.spec
        past = History(tasks.tries.get(position, 0), tasks.losses.get(position, 0), tasks.preemptions.get(position, 0))
        trigger, charged, held, reason, after = consequence(
            report, past, retries=spec.retries, on_lost=spec.on_lost, crash_limit=book.settings.crash_limit
        )
        if tasks.states[position] == TaskState.stopping and trigger in (Trigger.give_back, Trigger.postpone):
            trigger, held = Trigger.cancel, ""
        if charged:
            tasks.tries[position] = past.tries + 1
        self._remember(tasks, position, report.outcome)
        if report.outcome is Outcome.cancelled:
            reason = self._why_cancelled(tasks)
        if reason:
            report = msgspec.structs.replace(report, reason="; ".join(filter(None, (report.reason, reason))))
        state = tasks.move(position, trigger)
        book.out.append(Settle(report, node, TaskState.ready if state is TaskState.waiting else state, charged))
        if held:
            book.hold(tasks, (position, position + 1), held=True, reason=held)
        if state is TaskState.waiting:
            time = now + after
            tasks.delayed[position] = time
            if report.outcome is Outcome.deferred:
                book.deferred[tasks.job.id, position] = report.reason
            book.at(time, lambda _now: self._try_again(tasks, position, time))
        return state

    def _why_cancelled(self, tasks: JobTasks) -> str:
        return self._book.reasons.get((tasks.job.id, Cancel), "cancelled by the user")

    def _remember(self, tasks: JobTasks, position: int, outcome: Outcome) -> None:
        """Count what calls for something else the next time."""
        by_outcome = {
            Outcome.lost: tasks.losses,
            Outcome.out_of_memory: tasks.shortages,
            Outcome.preempted: tasks.preemptions,
        }
        counts = by_outcome.get(outcome)
        if counts is not None:
            counts[position] = counts.get(position, 0) + 1
            self._book.ask_anew(tasks, position)

    def _try_again(self, tasks: JobTasks, position: int, time: float) -> None:
        """The delay before the next try is over, if it is still the same one."""
        if tasks.delayed.get(position) == time:
            del tasks.delayed[position]
            self._book.deferred.pop((tasks.job.id, position), None)
            if tasks.states[position] == TaskState.waiting:
                tasks.move(position, Trigger.release)
                self._book.queue.push_all(tasks)

    def _leave_lane(self, node: str, number: int, attempt: AttemptId, now: float) -> None:
        """Take an attempt out of its lane; the next one in it begins now."""
        placement = self._book.placement
        lane = placement.lanes.get(node, {}).get(number)
        if lane is None:
            return
        if lane.attempts and lane.attempts[0] == attempt:
            lane.attempts.popleft()
            lane.since = now
            lane.recalled = False
            placement.expect(lane)
        elif attempt in lane.strangers:
            lane.strangers.discard(attempt)
        elif attempt in lane.attempts:
            lane.attempts.remove(attempt)
        else:
            return  # told twice: the lane may be another's by now
        self._book.touched[lane] = None

    # Giving back

    def take_back(self, event: Returned, now: float) -> None:
        """The answer to a retraction, or the word of a keeper that has died: these attempts have not started."""
        placement = self._book.placement
        for attempt in event.attempts:
            if placement.held.get(attempt) == (event.node, event.lane):
                lane = placement.lanes.get(event.node, {}).get(event.lane)
                if lane is not None and attempt in lane.attempts:
                    lane.attempts.remove(attempt)
                    placement.expect(lane)
                    self._book.touched[lane] = None
                self._undo(attempt)
            else:
                self._leave_lane(event.node, event.lane, attempt, now)

    def _undo(self, attempt: AttemptId) -> None:
        """A granted attempt never started: as if it had not been granted."""
        book = self._book
        del book.placement.held[attempt]
        self._let_go(attempt)
        tasks, position = book.jobs[attempt.job], attempt.position
        book.out.append(Release(attempt.job, position, position + 1, attempt.number, attempt.epoch))
        if attempt.number > 1:
            tasks.numbers[position] = attempt.number - 1
        else:
            del tasks.numbers[position]
        stopping = tasks.state(position) is TaskState.stopping
        tasks.move(position, Trigger.give_back)
        if stopping:
            book.finish(tasks, (position, position + 1), Trigger.cancel, self._why_cancelled(tasks))
        book.queue.push_all(tasks)

    def drain(self, event: Draining, _now: float) -> None:
        """Start nothing any more."""
        self._book.draining = event
        for lane in self._book.placement.all_lanes():
            self._run_dry(lane, event)

    def _run_dry(self, lane: Lane, event: Draining) -> None:
        out = self._book.out
        if lane.waiting:
            lane.recalled = True
            out.append(Retract(lane.node.name, lane.number, lane.waiting))
        if event.kill:  # all of them: the first may have ended, and the next begun, before this arrives
            out.extend(_ends(lane, Outcome.interrupted, hard=event.hard))


def _unseen(attempt: AttemptId, lane: int, outcome: Outcome, reason: str, now: float) -> Report:
    """The report of an attempt of which the node tells nothing."""
    return Report(attempt, lane, outcome, 0, 0.0, now, 0.0, 0, reason=reason)


def _ends(lane: Lane, outcome: Outcome, *, hard: bool = False) -> Iterable[Kill]:
    """Tell each attempt of a lane to end."""
    return [Kill(lane.node.name, lane.number, attempt, outcome, hard=hard) for attempt in lane.attempts]
