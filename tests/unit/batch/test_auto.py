import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotfish.batch.allocations import Pilot
from pilotfish.batch.auto import Caps, Decision, Drop, Offer, Propose, Stay, Waiting, decide
from pilotfish.batch.dialect import AllocationRequest, State
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Gpu, Inventory, Request

HOUR = 3600.0
NOW = 100_000.0
TEMPLATE = AllocationRequest(argv=("agent",), name="pf", folder="/w", log="/w/log", seconds=2 * HOUR, nodes=8)
NODE = Inventory(cores=tuple(range(4)), memory=16 * 2**30, gpus=(Gpu("0"), Gpu("1")))
OFFER = Offer(wanted=TEMPLATE, node=NODE)


def cores(number: float, **more: Any) -> Request:
    return Request(cores=Amount(round(number * ONE)), **more)


def tasks(ready: int, request: Request | None = None, **more: Any) -> Waiting:
    return Waiting(request=request or cores(1), ready=ready, **more)


def pilot(key: int, state: State = State.RUNNING, *, nodes: int = 1, after: str | None = None, **more: Any) -> Pilot:
    wanted = msgspec.structs.replace(TEMPLATE, nodes=nodes, after=after)
    base: dict[str, Any] = {"key": key, "id": str(100 + key), "wanted": wanted, "asked_at": 0.0, "state": state}
    if state is State.RUNNING:
        base |= {"starts_at": NOW - HOUR, "ends_at": NOW + HOUR, "joined": nodes}
    return Pilot(**base | more)


def refused(key: int, ago: float = 0.0, *, temporary: bool = False) -> Pilot:
    return pilot(key, State.REFUSED, failed_at=NOW - ago, failure=f"no {key}", temporary=temporary)


def after(
    *waiting: Waiting,
    pilots: tuple[Pilot, ...] = (),
    idle: dict[int, float] | None = None,
    offer: Offer = OFFER,
    forgiven: int = 0,
    **limits: Any,
) -> Decision:
    bounds = Caps(**{"nodes": 16} | limits)
    return decide(offer, bounds, waiting, pilots, NOW, idle=idle or {}, forgiven=forgiven)


def size(decision: Decision) -> tuple[int, float]:
    assert isinstance(decision, Propose), decision
    return decision.wanted.nodes, decision.wanted.seconds


def stays(decision: Decision) -> str:
    assert isinstance(decision, Stay), decision
    return decision.why


# how large


def test_nothing_that_waits_asks_for_nothing() -> None:
    assert stays(after()) == "nothing waits"


@pytest.mark.parametrize(
    ("work", "nodes"),
    [
        (tasks(1), 1),
        (tasks(4), 1),
        (tasks(5), 2),
        (tasks(1000), 8),
        (tasks(8, cores(0.25)), 1),
        (tasks(3, cores(3)), 3),
        (tasks(4, cores(1, memory=8 * 2**30)), 2),
        (tasks(4, cores(0, gpus=Amount(ONE))), 2),
        (tasks(4, cores(1, exclusive=True)), 4),
        (tasks(1, cores(1, nodes=6)), 6),
        (tasks(1000, cores(0)), 1),
    ],
)
def test_as_many_nodes_as_what_is_ready_fills(work: Waiting, nodes: int) -> None:
    assert size(after(work)) == (nodes, 2 * HOUR)


def test_short_tasks_get_no_more_nodes_than_have_work_for_the_least_time() -> None:
    """10000 tasks of a second would fill 2500 nodes, for a second."""
    assert size(after(tasks(10_000, seconds=1.0))) == (6, 600.0)


def test_long_tasks_get_the_time_of_their_longest_path() -> None:
    assert size(after(tasks(4, seconds=1200.0))) == (1, 1320.0)
    assert size(after(tasks(4, seconds=1200.0, path=4000.0))) == (1, 4140.0)


def test_the_time_covers_what_comes_later() -> None:
    assert size(after(tasks(4, seconds=1200.0, later=8))) == (1, 3 * 1200.0 + 120.0)


def test_never_longer_than_the_offer() -> None:
    assert size(after(tasks(4, seconds=3000.0, path=90_000.0))) == (1, 2 * HOUR)


def test_one_unknown_duration_takes_the_longest_time() -> None:
    assert size(after(tasks(4, seconds=10.0), tasks(4)))[1] == 2 * HOUR


# what does not fit


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (tasks(9, cores(5)), "a task needs 5 cores, and it has 4"),
        (tasks(9, cores(1, memory=2**40)), "a task needs 1 TiB of memory, and it has 16 GiB"),
        (tasks(9, cores(1, nodes=9)), "a task needs 9 nodes, and it has 8"),
        (tasks(9, seconds=2 * HOUR), "a task takes 2h00m, and it lasts 2h00m with its start and end"),
        (tasks(9, cores(1, labels=("fast",))), "a task needs the label fast, which it does not carry"),
    ],
)
def test_what_could_not_run_in_it_asks_for_nothing(work: Waiting, reason: str) -> None:
    """Peers have been seen to submit, wait for and lose allocations without end for such tasks."""
    assert stays(after(work)) == f"nothing that waits could run in such an allocation: {reason}"


def test_what_fits_is_not_held_up_by_what_does_not() -> None:
    assert size(after(tasks(9, cores(5)), tasks(4))) == (1, 2 * HOUR)


def test_what_only_waits_for_others_asks_for_nothing() -> None:
    assert stays(after(tasks(0, later=5))) == "all waits for others"


def test_too_few_nodes_for_a_wide_task_are_not_asked_for() -> None:
    wide = tasks(1, cores(1, nodes=6))
    assert stays(after(wide, pilots=(pilot(1, nodes=12),))) == "what waits needs more than the 4 nodes left"


# limits


def test_never_more_nodes_than_the_limit() -> None:
    assert size(after(tasks(1000), pilots=(pilot(1, nodes=13),)))[0] == 3


def test_never_more_in_the_queue_than_the_limit() -> None:
    waits = (pilot(1, State.QUEUED),)
    assert stays(after(tasks(1000), pilots=waits)) == "1 allocation in the queue, and more are not wanted"
    assert size(after(tasks(1000), pilots=waits, queued=2))[0] == 8


@pytest.mark.parametrize("state", [State.HELD, State.QUEUED])
def test_one_that_somebody_holds_is_one_in_the_queue(state: State) -> None:
    assert "in the queue" in stays(after(tasks(1000), pilots=(pilot(1, state),)))


def test_one_that_was_asked_for_is_awaited_before_the_next() -> None:
    decision = after(tasks(1000), pilots=(pilot(1, State.ASKED),), queued=9)
    assert stays(decision) == "the batch system has not answered yet"


def test_what_is_in_the_queue_does_its_share() -> None:
    decision = after(tasks(8), pilots=(pilot(1, State.QUEUED, nodes=2),), queued=2)
    assert stays(decision) == "what runs and what is in the queue will do all that waits"


def test_what_runs_does_what_takes_it_a_moment() -> None:
    assert "will do all" in stays(after(tasks(100, seconds=2.0), pilots=(pilot(1),)))
    assert size(after(tasks(100, seconds=600.0), pilots=(pilot(1),)))[0] == 8


def test_nodes_that_are_on_their_way_do_their_share() -> None:
    running: dict[str, Any] = {"nodes": 4, "joined": 1, "starts_at": NOW - 60.0}
    assert "will do all" in stays(after(tasks(12), pilots=(pilot(1, **running),)))
    assert size(after(tasks(16), pilots=(pilot(1, **running),)))[0] == 1
    assert "will do all" in stays(after(tasks(16, seconds=480.0), pilots=(pilot(1, **running | {"joined": 0}),)))


def test_nodes_that_never_came_do_nothing() -> None:
    running: dict[str, Any] = {"nodes": 4, "joined": 1, "starts_at": NOW - 300.0}
    assert size(after(tasks(12), pilots=(pilot(1, **running),)))[0] == 3
    assert size(after(tasks(16, seconds=600.0), pilots=(pilot(1, **running),)))[0] == 4


def test_node_hours_that_were_used_and_may_be_used_are_counted() -> None:
    ended = pilot(1, State.ENDED, starts_at=0.0, ends_at=HOUR, nodes=4, joined=4)
    assert size(after(tasks(1000), pilots=(ended,), node_seconds=10 * HOUR)) == (3, 2 * HOUR)
    assert size(after(tasks(1000), pilots=(ended,), node_seconds=5 * HOUR)) == (1, HOUR)
    why = "what is left of the node-hours, 0, is too little for what waits"
    assert stays(after(tasks(1000), pilots=(ended, pilot(2)), node_seconds=6 * HOUR)) == why


def test_what_is_left_of_the_node_hours_must_be_enough_for_a_task() -> None:
    assert "too little" in stays(after(tasks(9, seconds=1.5 * HOUR), node_seconds=HOUR))


# the next before the present one ends


def test_one_that_follows_waits_for_the_nodes_of_the_one_that_ends_first() -> None:
    running = (pilot(1, nodes=8, ends_at=NOW + 2 * HOUR), pilot(2, nodes=8, ends_at=NOW + HOUR))
    decision = after(tasks(1000), pilots=running)
    assert size(decision) == (8, 2 * HOUR)
    assert isinstance(decision, Propose)
    assert decision.wanted.after == "102"


def test_each_is_followed_once() -> None:
    successor = pilot(2, State.QUEUED, nodes=16, after="101")
    decision = after(tasks(1000), pilots=(pilot(1, nodes=16), successor), queued=2)
    assert stays(decision) == "16 nodes are held or in the queue, and more are not wanted"


def test_nothing_follows_where_all_is_done_before_the_end() -> None:
    running = (pilot(1, nodes=16, ends_at=NOW + HOUR),)
    assert "will do all" in stays(after(tasks(200, seconds=600.0), pilots=running))
    assert size(after(tasks(1000, seconds=600.0), pilots=running))[0] == 8


def test_nothing_follows_where_the_system_cannot_wait_for_an_end() -> None:
    offer = Offer(wanted=TEMPLATE, node=NODE, chains=False)
    assert "more are not wanted" in stays(after(tasks(1000), pilots=(pilot(1, nodes=16),), offer=offer))


# giving back


def test_an_idle_one_is_given_back() -> None:
    assert isinstance(after(pilots=(pilot(1),), idle={1: NOW - 299}), Stay)
    assert after(pilots=(pilot(1),), idle={1: NOW - 300}) == Drop(1, "it has had no task for 5m00s")


def test_one_in_the_queue_is_given_back_when_nothing_is_left() -> None:
    assert after(pilots=(pilot(1, State.QUEUED),)) == Drop(1, "nothing is left for it to do")
    assert isinstance(after(tasks(0, later=1), pilots=(pilot(1, State.QUEUED),)), Stay)


def test_one_that_can_never_start_is_given_back_and_counts_as_refused() -> None:
    stuck = pilot(1, State.STUCK, failure="PartitionTimeLimit", failed_at=NOW)
    assert after(tasks(9), pilots=(stuck,)) == Drop(1, "PartitionTimeLimit")
    given_back = pilot(1, State.ENDED, failure="PartitionTimeLimit", failed_at=NOW, cancelled=True)
    assert after(tasks(9), pilots=(given_back,)) == Stay("trying again later: PartitionTimeLimit", NOW + 60)


def test_one_that_is_already_being_given_back_still_holds_its_nodes() -> None:
    ending = pilot(1, nodes=16, cancelled=True)
    assert "more are not wanted" in stays(after(tasks(9), pilots=(ending,), idle={1: 0.0}))


# refusals


@pytest.mark.parametrize(("refusals", "wait"), [(1, 60), (2, 120), (4, 480), (9, HOUR)])
def test_each_refusal_doubles_the_wait(refusals: int, wait: float) -> None:
    row = tuple(refused(key, temporary=True) for key in range(1, refusals + 1))
    assert after(tasks(9), pilots=row) == Stay(f"trying again later: no {refusals}", NOW + wait)


def test_after_the_wait_it_is_tried_again() -> None:
    assert size(after(tasks(4), pilots=(refused(1, 60.0),))) == (1, 2 * HOUR)


def test_three_refusals_in_a_row_pause_until_a_person_acts() -> None:
    row = tuple(refused(key, 1e6) for key in (1, 2, 3))
    assert after(tasks(4), pilots=row) == Stay("paused after 3 failures in a row; the last one: no 3", paused=True)
    assert size(after(tasks(4), pilots=row, forgiven=3)) == (1, 2 * HOUR)


def test_limits_of_jobs_never_pause() -> None:
    row = tuple(refused(key, 1e6, temporary=True) for key in range(1, 99))
    assert size(after(tasks(4), pilots=row)) == (1, 2 * HOUR)


def test_one_that_worked_ends_the_row() -> None:
    worked = pilot(3, State.ENDED, joined=1, used=True)
    assert size(after(tasks(4), pilots=(refused(1, 1e6), refused(2, 1e6), worked, refused(4, 1e6)))) == (1, 2 * HOUR)


def test_allocations_that_die_before_their_agents_join_pause_too() -> None:
    """Else a broken environment burns one allocation after the other."""
    row = tuple(pilot(key, State.ENDED, failed_at=0.0, failure="died") for key in (1, 2, 3))
    assert after(tasks(4), pilots=row) == Stay("paused after 3 failures in a row; the last one: died", paused=True)


def test_one_in_which_nothing_of_what_waits_starts_is_a_failure() -> None:
    """Else one allocation after the other is got for what its nodes cannot hold, as nobody had said."""
    idle = {1: NOW - 301}
    dropped = after(tasks(1), pilots=(pilot(1),), idle=idle)
    assert isinstance(dropped, Drop)
    assert dropped.failed
    assert "none of what waits started in it" in dropped.why
    row = tuple(pilot(key, State.ENDED, joined=1, failed_at=0.0, failure="useless") for key in (1, 2, 3))
    assert isinstance(after(tasks(1), pilots=(*row, pilot(4))), Stay)


@pytest.mark.parametrize(
    ("work", "more"),
    [
        ((), {}),
        ((tasks(0, later=1),), {}),
        ((tasks(1, cores(1, nodes=2)),), {}),
        ((tasks(1),), {"used": True}),
    ],
)
def test_one_that_is_idle_for_another_reason_has_not_failed(work: tuple[Waiting, ...], more: dict[str, Any]) -> None:
    dropped = after(*work, pilots=(pilot(1, **more),), idle={1: NOW - 301})
    assert isinstance(dropped, Drop)
    assert not dropped.failed


# always

REQUESTS = st.builds(
    Request,
    cores=st.sampled_from([Amount(0), Amount(ONE // 4), Amount(ONE), Amount(3 * ONE), Amount(5 * ONE)]),
    memory=st.sampled_from([None, 2**30, 16 * 2**30, 2**40]),
    gpus=st.sampled_from([Amount(0), Amount(ONE // 2), Amount(2 * ONE)]),
    nodes=st.integers(1, 10),
    exclusive=st.booleans(),
)
DURATIONS = st.none() | st.floats(0.0, 20_000.0)
WAITING = st.builds(
    Waiting,
    request=REQUESTS,
    ready=st.integers(0, 10_000),
    later=st.integers(0, 100),
    seconds=DURATIONS,
    path=DURATIONS,
)
PILOTS = st.lists(
    st.tuples(st.sampled_from([State.QUEUED, State.RUNNING, State.ENDED, State.HELD]), st.integers(1, 8)), max_size=4
)


@settings(max_examples=300)
@given(st.lists(WAITING, max_size=5), PILOTS, st.integers(1, 20), st.sampled_from([math.inf, 1e4, 1e5]))
def test_what_is_asked_for_keeps_all_limits_and_something_can_run_in_it(
    waiting: list[Waiting], kinds: list[tuple[State, int]], nodes: int, budget: float
) -> None:
    pilots = tuple(pilot(key, state, nodes=size) for key, (state, size) in enumerate(kinds, 1))
    decision = after(*waiting, pilots=pilots, nodes=nodes, queued=9, node_seconds=budget)
    if not isinstance(decision, Propose):
        return
    wanted = decision.wanted
    held = sum(p.wanted.nodes for p in pilots if not p.state.final and p.id != wanted.after)
    before = sum(p.wanted.nodes for p in pilots if p.id == wanted.after)
    assert held + max(wanted.nodes, before) <= max(nodes, held + before)
    assert 1 <= wanted.nodes <= 8
    assert OFFER.least <= wanted.seconds <= TEMPLATE.seconds
    assert wanted.nodes * wanted.seconds <= budget
    assert any(
        work.ready
        and NODE.lacks(work.request) is None
        and work.request.nodes <= wanted.nodes
        and (work.seconds or 0.0) < wanted.seconds
        for work in waiting
    )
