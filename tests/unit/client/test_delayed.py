"""Delayed functions over a runner of threads: what a session does with resources is tested elsewhere."""

import asyncio
import operator
import threading
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, assert_type

import pytest

from pilotfish.client.delayed import (
    DelayedFunction,
    current_runner,
    delayed,
    open_waitgroup,
    outstanding,
    running_with,
)
from pilotfish.client.placeholders import Delayed, delayedval, each
from pilotfish.client.resources import Cores, Memory, ResourceError, node
from pilotfish.errors import UserError
from tests.unit.client.runners import (
    PATIENCE,
    Threads,
    add,
    both,
    fail,
    identity,
    later,
    run,
    same,
    total,
    until,
)

Pair = namedtuple("Pair", "left right")  # noqa: PYI024 - what users have


@pytest.fixture(autouse=True)
def runner() -> Iterator[Threads]:
    threads = Threads()
    with running_with(threads):
        yield threads
    threads.pool.shutdown()


# What Grain's tutorial shows


def test_readme_weighted_sums_of_expensive_calls_are_added() -> None:
    @delayed
    async def weighted_sum() -> int:
        r = (identity @ Cores(1))(0)
        r += (identity @ Cores(1))(1) * 1 + (identity @ Cores(1))(2) * 2
        value: int = await r
        return value

    async def main() -> int:
        value: int = await (weighted_sum() + weighted_sum())
        return value

    assert run(main) == 10


def test_readme_the_fancier_sum() -> None:
    @delayed
    async def weighted_sum() -> Any:
        return await sum((identity @ Cores(1))(i) * i for i in range(3))  # type: ignore[misc] # sum() may give 0

    async def main() -> Any:
        return await (weighted_sum() + weighted_sum())

    assert run(main) == 10


def test_futures_compose_and_each_call_has_its_own_resources(runner: Threads) -> None:
    async def main() -> None:
        assert await identity(7) == 7
        assert runner.launched == []
        assert await (identity @ Cores(4))(7) == 7
        r = (identity @ Cores(2))(1) + (identity @ Cores(6))(2)
        assert await r == 3

    run(main)
    assert runner.launched == [
        ("identity", (7,), Cores(4)),
        ("identity", (1,), Cores(2)),
        ("identity", (2,), Cores(6)),
    ]


def test_tutorial_1_local_calls_run_at_the_same_time() -> None:
    async def main() -> list[int]:
        all_here = asyncio.Barrier(3)

        @delayed
        async def add_one(x: int) -> int:
            await all_here.wait()
            return x + 1

        return await each([add_one(x) for x in (1, 2, 3)])

    assert run(main) == [2, 3, 4]


def test_tutorial_2_and_3_local_functions_reduce_remote_ones() -> None:
    @delayed
    async def elevated_sum(numbers: list[int]) -> int:
        return sum(await each((add @ Cores(1))(x, 1) for x in numbers))

    async def main() -> list[int]:
        return await each(elevated_sum(numbers) for numbers in ([1, 2, 3], [4, 5, 6], [7, 8, 9]))

    assert run(main) == [9, 18, 27]


def test_tutorial_note_one_after_the_other_is_written_so(runner: Threads) -> None:
    async def main() -> list[int]:
        return [await (identity @ Cores(1))(x) for x in range(3)]

    assert run(main) == [0, 1, 2]
    assert runner.names() == ["identity"] * 3


def test_tutorial_4_results_are_unpacked_and_joined() -> None:
    @delayed(nout=2)
    async def hostname() -> tuple[str, str]:
        return "node7", "worker"

    async def main() -> list[str]:
        name, kind = (hostname @ node(16, "10GiB"))()
        return await each("Hello from " + name + "!", kind + "s")

    assert run(main) == ["Hello from node7!", "workers"]


@pytest.mark.parametrize(("copies", "first"), [(True, (3, 4)), (False, (3, 9))])
def test_items_that_were_taken_before_change_with_the_value_in_place_only(
    copies: bool,  # noqa: FBT001 - a case
    first: tuple[int, int],
) -> None:
    @delayed(nout=2, copy_on_setitem=copies)
    async def numbers() -> list[int]:
        return [3, 4]

    async def main() -> None:
        r = numbers()
        a, b = r[0], r[1]
        r[1] = 9
        assert await r == [3, 9]
        assert (await a, await b) == first
        r[0] = identity(8)
        assert await r == [8, 9]

    run(main)


def test_an_array_takes_placeholders_as_items_once_it_is_one() -> None:
    numpy = pytest.importorskip("numpy")

    async def main() -> None:
        r = same(numpy.array([10, 20]))
        array = numpy.arange(3)
        with pytest.raises(TypeError, match=r"delayedval\(array\)"):
            array[[0, 1]] += r
        a = delayedval(numpy.arange(3))
        a[[0, 1]] += r
        assert (await a).tolist() == [10, 21, 2]

    run(main)


def test_a_limit_on_calls_at_once_is_asyncios_own() -> None:
    async def main() -> int:
        limit, now, most = asyncio.Semaphore(10), 0, 0

        @delayed
        async def work() -> None:
            nonlocal now, most
            async with limit:
                now += 1
                most = max(most, now)
                await asyncio.sleep(0)
                now -= 1

        await each(work() for _ in range(30))
        return most

    assert run(main) == 10


def test_waitgroups_keep_the_order_of_submission() -> None:
    async def main() -> list[int]:
        seventh = asyncio.Event()

        @delayed
        async def slow(x: int) -> int:
            await seventh.wait()
            return x

        @delayed
        async def quick(x: int) -> int:
            seventh.set()
            return x

        async with open_waitgroup() as group:
            group.submit(slow, 1)
            group.submit(quick, 2)
            three = group.submit(add @ Cores(1), 1, b=2)
            group.submit(add, three, 1)
            with pytest.raises(RuntimeError, match="have not ended"):
                group.results  # noqa: B018 - it raises
        return group.results

    assert run(main) == [1, 2, 3, 4]


def test_without_a_loop_everything_works_too() -> None:
    calls = [(add @ Memory("2GiB"))(i, 1) for i in range(5)]
    assert each(calls).result() == [1, 2, 3, 4, 5]
    assert identity(3).result(PATIENCE) == 3
    assert (add(1, 2) + identity(4)).result() == 7
    assert each().result() == []
    first, second = (both @ Cores(1))(add(1), 2)
    assert (first + second).result() == 3


# Requests


def test_resources_belong_to_the_call_and_never_to_the_function(runner: Threads) -> None:
    one, two = add @ Cores(1), add @ Cores(2)
    assert one is not two
    for bound in (one, two, one):
        bound(1).result()
    add(1).result()
    assert [resources for _, _, resources in runner.launched] == [Cores(1), Cores(2), Cores(1)]


def test_a_bound_function_takes_further_kinds_each_once(runner: Threads) -> None:
    bound = add @ Cores(4)
    more = bound & Memory("2GiB")
    assert more(1).result() == 1
    assert (add @ (Cores(4) & Memory("2GiB")))(1).result() == 1
    assert [resources for _, _, resources in runner.launched] == [Cores(4) & Memory("2GiB")] * 2
    assert bound.resources == Cores(4)
    with pytest.raises(ResourceError, match="Cores is asked for twice"):
        more & Cores(1)
    with pytest.raises(TypeError, match=r"add @ 4: write resources, such as add @ Cores\(4\)"):
        add @ 4  # type: ignore[operator]


def test_a_call_with_resources_needs_a_session() -> None:
    def outside() -> None:
        with pytest.raises(UserError, match="no session is open"):
            (add @ Cores(1))(1)
        assert add(1).result() == 1

    thread = threading.Thread(target=outside)  # which has a context of its own
    thread.start()
    thread.join()


def test_the_innermost_session_is_the_current_one(runner: Threads) -> None:
    other = Threads()
    with running_with(other):
        assert current_runner() is other
        (add @ Cores(1))(1).result()
    assert current_runner() is runner
    assert (runner.names(), other.names()) == ([], ["add"])
    other.pool.shutdown()


def test_what_cannot_be_launched_is_told_where_it_is_awaited() -> None:
    class Full(Threads):
        def launch(self, *_: object) -> Future[Any]:
            raise UserError("no node has 4 cores")

    full = Full()
    with running_with(full):
        for call in ((add @ Cores(4))(1), (add @ Cores(4))(add(1))):
            with pytest.raises(UserError, match="no node has 4 cores"):
                call.result()
    full.pool.shutdown()


# Functions


def test_functions_keep_their_looks() -> None:
    assert add.__name__ == "add"
    assert repr(add) == "<delayed add>"
    assert repr(add @ Cores(4)) == "<delayed add @ Cores(4)>"
    assert add.__wrapped__(1, 2) == 3


def test_types_are_those_of_the_function() -> None:
    assert_type(add(1), Delayed[int])
    assert_type((identity @ Cores(1))(1), Delayed[int])
    assert_type(add(1).result(), int)
    assert_type(each(add(1), identity(2)).result(), list[int])
    assert_type(both(1, 2).result(), tuple[Any, Any])
    assert_type(add(add(1)), Delayed[int])
    assert isinstance(delayed(operator.neg), DelayedFunction)


def test_methods_can_be_delayed() -> None:
    class Model:
        def __init__(self, scale: int) -> None:
            self.scale = scale

        @delayed
        def scaled(self, x: int) -> int:
            return self.scale * x

    assert Model(3).scaled(4).result() == 12
    assert (Model(3).scaled @ Cores(1))(5).result() == 15
    assert isinstance(Model.scaled, DelayedFunction)


def test_a_local_function_runs_in_the_thread_of_the_loop() -> None:
    async def main() -> None:
        here = threading.get_ident()
        assert await delayed(threading.get_ident)() == here
        assert await (delayed(threading.get_ident) @ Cores(1))() != here

    run(main)


def test_a_function_may_return_a_placeholder_for_itsvalue_of() -> None:
    @delayed
    def product(numbers: list[int]) -> Any:
        return (same @ Cores(1))(numbers[0]) * numbers[1]

    assert product([2, 3]).result() == 6


# Placeholders as arguments


def test_placeholders_are_found_in_containers_however_deep(runner: Threads) -> None:
    one = (add @ Cores(1))(1)
    value = (same @ Cores(1))({"a": [one, (one + 1, {one})], one: Pair(one, slice(one, None)), "x": frozenset([one])})
    assert value.result() == {"a": [1, (2, {1})], 1: Pair(1, slice(1, None)), "x": frozenset([1])}
    assert isinstance(value.result()[1], Pair)
    assert (add @ Cores(1))(2, b=one).result() == 3
    assert all(not isinstance(arg, Delayed) for _, args, _ in runner.launched for arg in args)


def test_containers_without_placeholders_are_left_alone() -> None:
    numbers = [1, [2, 3]]
    numbers.append(numbers)  # it holds itself
    assert same(numbers).result() is numbers
    kept, value = both(numbers, add(1)).result()
    assert kept is numbers
    assert value == 1


def test_a_call_starts_when_its_inputs_are_there(runner: Threads) -> None:
    async def main() -> None:
        one = (later @ Cores(1))()
        two = (add @ Cores(1))(one, 1)
        three = (total @ Cores(1))([two, one])
        assert runner.names() == ["later"]
        assert repr(three) == "<Delayed total([…, …]) pending>"
        runner.pending[0].set_result(1)
        assert await three == 3
        assert runner.names() == ["later", "add", "total"]

    run(main)


def test_arguments_are_what_placeholders_were_when_the_call_was_made() -> None:
    numbers = delayedval([1, 2])
    before = total(numbers)
    numbers[0] = 10
    assert before.result() == 3
    assert total(numbers).result() == 12


# Groups


def test_the_first_failure_in_a_group_cancels_the_others(runner: Threads) -> None:
    async def main() -> None:
        with pytest.raises(ExceptionGroup) as info:  # noqa: PT012 - the block is what raises
            async with open_waitgroup() as group:
                group.submit(later @ Cores(1))
                group.submit(fail @ Cores(1), "one")
        assert [repr(error) for error in info.value.exceptions] == ["ValueError('one')"]
        assert runner.pending[0].cancelled()
        assert outstanding(runner) == []

    run(main)


def test_all_that_failed_in_a_group_is_raised() -> None:
    async def main() -> None:
        with pytest.raises(ExceptionGroup) as info:  # noqa: PT012 - the block is what raises
            async with open_waitgroup() as group:
                for reason in ("one", "two"):
                    group.submit(fail, reason)
                raise KeyError("body")
        kinds = {type(error) for error in info.value.exceptions}
        assert KeyError in kinds

    run(main)


def test_a_cancelled_group_cancels_its_calls(runner: Threads) -> None:
    async def main() -> None:
        async def grouped() -> None:
            async with open_waitgroup() as group:
                group.submit(later @ Cores(1))

        task = asyncio.create_task(grouped())
        await until(lambda: runner.pending)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not outstanding(runner))
        assert runner.pending[0].cancelled()

    run(main)


def test_a_group_takes_delayed_functions_only() -> None:
    async def main() -> None:
        async with open_waitgroup() as group:
            with pytest.raises(TypeError, match="decorate it with @delayed"):
                group.submit(abs, 1)  # type: ignore[arg-type]

    run(main)
