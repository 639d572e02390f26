"""Placeholders over a runner of threads: what is recorded, how values are had, how it ends."""

import asyncio
import gc
import logging
import operator
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

import pytest

from pilotfish.client.delayed import (
    delayed,
    outstanding,
    running_with,
)
from pilotfish.client.placeholders import Delayed, delayedval, each
from pilotfish.client.resources import Cores
from tests.unit.client.runners import (
    PATIENCE,
    Threads,
    add,
    fail,
    later,
    run,
    same,
    until,
    value_of,
    waiting_for,
)


@pytest.fixture(autouse=True)
def runner() -> Iterator[Threads]:
    threads = Threads()
    with running_with(threads):
        yield threads
    threads.pool.shutdown()


# Operations

OPERATIONS: list[Callable[[Any, Any], Any]] = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    operator.and_,
    operator.or_,
    operator.xor,
    operator.lshift,
    operator.rshift,
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
    divmod,
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_are_recorded_on_both_sides(operation: Callable[[Any, Any], Any]) -> None:
    for placeholder in (operation(add(13), 3), operation(13, add(3)), operation(add(13), add(3))):
        assert isinstance(placeholder, Delayed)
        assert placeholder.result() == operation(13, 3)


@pytest.mark.parametrize("operation", [operator.abs, operator.neg, operator.pos, operator.invert])
def test_operations_on_one_are_recorded(operation: Callable[[Any], Any]) -> None:
    assert operation(add(-5)).result() == operation(-5)


def test_matrices_are_multiplied_on_both_sides() -> None:
    class Matrix:
        def __matmul__(self, _: object) -> str:
            return "left"

        def __rmatmul__(self, _: object) -> str:
            return "right"

    assert (same(Matrix()) @ 1).result() == "left"
    assert (1 @ same(Matrix())).result() == "right"


def test_items_slices_attributes_and_calls_are_recorded() -> None:
    letters = same("a-b-c")
    assert letters[0].result() == "a"
    assert letters[add(2) :].result() == "b-c"
    assert letters.split("-", maxsplit=add(1)).result() == ["a", "b-c"]
    assert same(3 + 4j).imag.result() == 4
    assert same(len)("abc").result() == 3
    quotient, remainder = divmod(add(7), 2)
    assert (quotient.result(), remainder.result()) == (3, 1)


def test_in_place_operators_change_the_placeholder_alone() -> None:
    one = before = add(1)
    one += 2
    one *= add(5)
    assert (one.result(), before.result()) == (15, 1)
    numbers = same([1, 2, 3])
    numbers[1] += 5
    assert numbers.result() == [1, 7, 3]


def test_functions_of_numpy_are_recorded() -> None:
    numpy = pytest.importorskip("numpy")
    ones, twos = same(numpy.ones(3)), same(numpy.full(3, 2.0))
    assert numpy.mean(ones).result() == 1
    assert numpy.add(ones, twos).result().tolist() == [3, 3, 3]
    assert numpy.add.reduce(twos).result() == 6
    assert (numpy.arange(3) + ones).result().tolist() == [1, 2, 3]
    assert (numpy.float64(2) * twos).result().tolist() == [4, 4, 4]
    assert (numpy.eye(3) @ twos).result().tolist() == [2, 2, 2]
    assert numpy.concatenate([ones, twos]).result().tolist() == [1, 1, 1, 2, 2, 2]
    array = numpy.zeros(3)
    array += ones
    assert isinstance(array, Delayed)
    assert array.result().tolist() == [1, 1, 1]


def test_long_chains_need_no_deep_stack() -> None:
    chain: Delayed[Any] = add(0)
    for _ in range(100_000):
        chain = chain + 1
    assert chain.result() == 100_000
    wide = sum((chain * 0 + i for i in range(1000)), start=delayedval(0))
    assert wide.result() == 499_500

    unused: Delayed[Any] = delayedval(0)
    for _ in range(100_000):
        unused = -unused
    del unused


def test_operations_are_done_once_and_only_when_they_are_wanted() -> None:
    done: list[int] = []
    value = same(done.append)
    appended = value(1)
    copies = (appended, appended)
    assert done == []

    async def main() -> None:
        assert list(await asyncio.gather(appended, *copies)) == [None, None, None]

    run(main)
    assert appended.result() is None
    assert done == [1]


def test_a_second_await_gives_the_same() -> None:
    async def main() -> None:
        call = (same @ Cores(1))([])
        first = await call
        assert await call is first
        assert await each(call, call) == [first, first]
        assert call.result() is first  # it is there: nothing blocks

    run(main)


@pytest.mark.parametrize(
    ("use", "instead"),
    [
        (bool, "await it first"),
        (len, "say nout="),
        (iter, "say nout="),
        (lambda it: 1 in it, "await it first"),
        ([1].count, "await it first"),
        (lambda it: setattr(it, "x", 1), "await it first"),
        (lambda it: delattr(it, "x"), "await it first"),
        (pickle.dumps, "pass it as an argument"),
    ],
)
def test_what_needs_the_value_says_what_to_do_instead(use: Callable[[Any], object], instead: str) -> None:
    with pytest.raises(TypeError, match=rf"^<Delayed .*> has no value yet.*{instead}"):
        use(add(1))


def test_private_attributes_are_not_recorded() -> None:
    with pytest.raises(AttributeError, match="await it first, then take _hidden"):
        add(1)._hidden  # noqa: B018, SLF001 - it raises
    assert not hasattr(add(1), "__array_interface__")


def test_unpacking_into_too_many_or_too_few_says_so() -> None:
    @delayed(nout=2)
    def three() -> list[int]:
        return [1, 2, 3]

    assert len(three()) == 2
    first, _ = three()
    with pytest.raises(ValueError, match=r"three\(.*\) was to be unpacked into nout=2 values, but gave 3"):
        first.result()
    assert three().result() == [1, 2, 3]


def test_constants_are_placeholders() -> None:
    first, second = delayedval((1, 2), 2)
    assert (first + second).result() == 3
    assert delayedval([add(1), 2]).result() == [1, 2]
    with pytest.raises(TypeError, match=r"each\(\) takes placeholders, not 3"):
        each(add(1), 3)  # type: ignore[call-overload]


def test_looks_tell_how_far_it_is_and_evaluate_nothing(runner: Threads) -> None:
    pending = (later @ Cores(1))()
    assert repr(pending) == "<Delayed later() pending>"
    assert repr(pending + 1) == "<Delayed add(…, 1) pending>"
    assert repr((add @ Cores(1))(pending, b=2)) == "<Delayed add(…, b=2) pending>"
    assert repr((same @ Cores(1))([pending] * 50)) == "<Delayed same([…, …, …, …, …, …, ...]) pending>"
    runner.pending[0].set_result(5)
    assert repr(pending) == "<Delayed later(…) = 5>"
    broken = fail("no")
    with pytest.raises(ValueError, match="no"):
        broken.result()
    assert repr(broken) == "<Delayed fail(…) failed: ValueError('no')>"
    runner.launch(later.__wrapped__, (), {}, Cores(1))
    gone = (later @ Cores(1))()
    runner.pending[-1].cancel()
    assert repr(gone) == "<Delayed later(…) cancelled>"


# Errors and the end


def test_exceptions_arrive_where_they_are_awaited_and_in_all_that_depends() -> None:
    async def main() -> None:
        broken = (fail @ Cores(1))("broken")
        dependants = [
            broken,
            broken + 1,
            add(broken),
            (add @ Cores(1))([broken], 2),
            each(add(1), broken),
            -add(broken),
        ]
        caught = []
        for dependant in dependants:
            with pytest.raises(ValueError, match="broken") as info:
                await dependant
            caught.append(info.value)
        assert len(set(map(id, caught))) == 1

    run(main)


def test_a_failure_in_an_operation_is_kept() -> None:
    divided = add(1) / 0
    errors = []
    for wanted in (divided, divided + 1, divided):
        with pytest.raises(ZeroDivisionError) as info:
            wanted.result()
        errors.append(info.value)
    assert len(set(map(id, errors))) == 1


def test_each_fails_with_the_first_failure_and_the_others_go_on(runner: Threads) -> None:
    async def main() -> None:
        slow = (later @ Cores(1))()
        with pytest.raises(ValueError, match="now"):
            await each(slow, fail("now"))
        runner.pending[0].set_result(1)
        assert await slow == 1

    run(main)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Without what earlier tests have left."""
    gc.collect()
    caplog.clear()
    return caplog


def test_a_failure_that_nobody_saw_is_logged(logged: pytest.LogCaptureFixture) -> None:
    seen, unseen = fail("seen"), fail("unseen")
    with pytest.raises(ValueError, match="seen"):
        seen.result()
    add(1).result()  # it ran behind both, in the same loop
    with logged.at_level(logging.ERROR):
        del seen, unseen
        deadline = time.monotonic() + PATIENCE
        while not logged.messages and time.monotonic() < deadline:
            gc.collect()
    assert logged.messages == ["fail(…) failed, and nobody awaited it"]


def test_cancelling_an_await_cancels_all_that_only_it_waits_for(runner: Threads) -> None:
    async def main() -> None:
        a, b = (later @ Cores(2))(), (later @ Cores(6))()
        waiting = asyncio.create_task(value_of(a + add(b)))
        await until(lambda: len(runner.pending) == 2 and waiting_for(a) and waiting_for(b))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert [future.cancelled() for future in runner.pending] == [True, True]
        for cancelled in (a, b, a + b):
            with pytest.raises(asyncio.CancelledError, match=r"later\(…\) was cancelled"):
                await cancelled
            with pytest.raises(CancelledError):
                cancelled.result()

    run(main)


def test_what_others_wait_for_is_not_cancelled(runner: Threads) -> None:
    async def main() -> None:
        shared, own = (later @ Cores(1))(), (later @ Cores(1))()
        first, second = asyncio.create_task(value_of(shared + own)), asyncio.create_task(value_of(shared * 2))
        await until(lambda: waiting_for(shared) == 2)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert [future.cancelled() for future in runner.pending] == [False, True]
        runner.pending[0].set_result(21)
        assert await second == 42

    run(main)


def test_a_timeout_is_a_cancellation_but_for_a_shield(runner: Threads) -> None:
    async def main() -> None:
        shielded, bare = (later @ Cores(1))(), (later @ Cores(1))()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(shielded), 0.001)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bare, 0.001)
        assert [future.cancelled() for future in runner.pending] == [False, True]
        runner.pending[0].set_result(1)
        assert await shielded == 1

    run(main)


def test_a_cancelled_local_call_ends_before_the_await_does(runner: Threads) -> None:
    async def main() -> None:
        story: list[str] = []

        @delayed
        async def careful() -> None:
            try:
                await (later @ Cores(1))()
            finally:
                story.append("cleaning")
                await asyncio.sleep(0)
                story.append("clean")

        waiting = asyncio.create_task(value_of(careful()))
        await until(lambda: runner.pending)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert story == ["cleaning", "clean"]
        assert runner.pending[0].cancelled()

    run(main)


def test_a_call_that_cannot_be_cancelled_any_more_goes_on(runner: Threads) -> None:
    async def main() -> None:
        running = (later @ Cores(1))()
        runner.pending[0].set_running_or_notify_cancel()
        waiting = asyncio.create_task(value_of(running))
        await until(lambda: waiting_for(running))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        runner.pending[0].set_result(3)
        assert await running == 3

    run(main)


def test_calls_that_wait_for_inputs_end_with_their_loop(runner: Threads) -> None:
    async def main() -> Delayed[int]:
        return (add @ Cores(1))((later @ Cores(1))(), 1)

    call = run(main)
    with pytest.raises(CancelledError):
        call.result()
    assert runner.names() == ["later"]
    assert outstanding(runner) == []


def test_result_does_not_block_a_loop_and_has_a_timeout(runner: Threads) -> None:
    async def main() -> None:
        call = (later @ Cores(1))()
        with pytest.raises(RuntimeError, match=r"later\(\) is not there yet, and result\(\) would block.*await it"):
            call.result()
        runner.pending[0].set_result(1)
        assert call.result() == 1

    run(main)
    slow = (later @ Cores(1))()
    with pytest.raises(TimeoutError, match=r"later\(\) is not there after 0.001 s; it goes on"):
        slow.result(timeout=0.001)
    runner.pending[1].set_result(2)
    assert slow.result() == 2


def test_values_go_from_loop_to_loop_and_from_thread_to_thread() -> None:
    started, go = threading.Event(), threading.Event()

    @delayed
    def wait() -> int:
        started.set()
        go.wait(PATIENCE)
        return 1

    call = (wait @ Cores(1))()
    summed = call + 1
    with ThreadPoolExecutor(4) as pool:
        waiters = [pool.submit(summed.result, PATIENCE), pool.submit(run, lambda: value_of(summed))]
        assert started.wait(PATIENCE)
        go.set()
        assert [waiter.result() for waiter in waiters] == [2, 2]


def test_a_session_sees_all_that_has_not_ended_and_may_cancel_it(runner: Threads) -> None:
    @delayed
    async def orchestrate() -> int:
        return await (later @ Cores(1))() + 1

    async def main() -> None:
        first = (later @ Cores(1))()
        dependant, local = (add @ Cores(1))(first, 1), orchestrate()
        await until(lambda: len(runner.pending) == 2)
        assert sorted(call.title() for call in outstanding(runner)) == [
            "add(…, 1)",
            "later()",
            "later()",
            "orchestrate()",
        ]
        for call in outstanding(runner):
            call.cancel()
        await until(lambda: not outstanding(runner))
        for cancelled in (first, dependant, local):
            with pytest.raises(asyncio.CancelledError):
                await cancelled

    run(main)


def test_failures_beside_the_first_are_not_logged_when_all_were_awaited(logged: pytest.LogCaptureFixture) -> None:
    def fail_both() -> None:
        with pytest.raises(ValueError, match="one"):
            each(fail("one"), fail("two")).result()

    fail_both()
    add(1).result()  # it ran behind both, in the same loop
    gc.collect()
    assert logged.messages == []
