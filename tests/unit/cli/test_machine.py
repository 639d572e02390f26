from typing import Any

import pytest

from pilotfish.agent.inventory import Declared
from pilotfish.cli.arguments import Parser
from pilotfish.cli.machine import Demand, add_machine, declared_of, demand_of, refuse_impossible
from pilotfish.errors import UserError
from pilotfish.model.jobs import JobSpec, RangeArray
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Gpu, Inventory, Request

MACHINE = Inventory((0, 1, 2, 3), 1 << 30, gpus=(Gpu("0"),), resources=(("fpga", ONE),), labels=("fast",))


def declared(*words: str) -> Declared:
    parser = Parser(prog="pilotfish run", description="")
    add_machine(parser)
    return declared_of(parser.parse_words(words))


def cores(count: float) -> Amount:
    return Amount(round(count * ONE))


def job(*requests: Request, **spec: Any) -> JobSpec:
    request, *variants = requests
    return JobSpec(
        name="sim", command="true", directory="/", cwd="/", request=request, variants=tuple(variants), **spec
    )


def refusal(place: int, message: str) -> UserError:
    return UserError(f"{place}: {message}")


def demand(at_least: int, at_most: int | None, gpus_at_least: int = 0, gpus_at_most: int | None = 0) -> Demand:
    return Demand(at_least=at_least, at_most=at_most, gpus_at_least=gpus_at_least, gpus_at_most=gpus_at_most)


def test_nothing_is_declared_without_options() -> None:
    assert declared() == Declared()


def test_all_of_a_machine_can_be_declared() -> None:
    words = (
        "--cores 2 --memory 1GiB --gpus 0 --resource x=0.5 --resource a=2 --resource no=0 --label b --label a --label b"
    )
    assert declared(*words.split()) == Declared(
        cores=2, memory=1 << 30, gpus=0, resources=(("a", cores(2)), ("x", cores(0.5))), labels=("a", "b")
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--cores 0", "--cores: expected a whole number from 1 to 100000, got '0'"),
        ("--cores many", "--cores: expected a whole number from 1 to 100000, got 'many'"),
        ("--cores 100001", "--cores: expected a whole number from 1 to 100000, got '100001'"),
        ("--memory 0", "--memory: must be more than 0"),
        ("--gpus 0.5", "--gpus: expected a whole number from 0 to 100000, got '0.5'"),
        ("--gpus=-1", "--gpus: expected a whole number from 0 to 100000, got '-1'"),
        ("--memory much", "--memory: expected memory"),
        ("--resource fpga", "--resource: expected NAME=AMOUNT such as fpga=2, got 'fpga'"),
        ("--resource fpga=", "--resource: expected a number"),
        ("--resource =2", "--resource: expected a name"),
        ("--resource gpus=1", "--resource: gpus has an option of its own: --gpus 1"),
        ("--resource a=1 --resource a=2", "--resource: a is declared twice"),
        ("--label a,b", "--label: expected a name"),
    ],
)
def test_wrong_options_are_refused(words: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        declared(*words.split())
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("requests", "problem"),
    [
        ([Request(cores(5))], "5 cores, and it has 4; ask for less, or declare more: --cores 5"),
        ([Request(memory=2 << 30)], "2 GiB of memory, and it has 1 GiB; ask for less, or declare more: --memory SIZE"),
        ([Request(gpus=cores(2))], "2 GPUs, and it has 1; ask for less, or declare more: --gpus 2"),
        ([Request(gpus=cores(1.5))], "1.5 GPUs, and it has 1"),
        (
            [Request(resources=(("fpga", cores(2)),))],
            "2 fpga, and it has 1; ask for less, or declare more: --resource fpga=2",
        ),
        (
            [Request(labels=("big", "fast"))],
            "the label big, which it does not carry; ask for less, or declare more: --label big",
        ),
        ([Request(nodes=2)], "2 nodes, and it is one; ask for less"),
        ([Request(cores(5)), Request(nodes=2)], "5 cores, and it has 4, and none of its variants fits either"),
    ],
)
def test_what_can_never_run_is_refused(requests: list[Request], problem: str) -> None:
    with pytest.raises(UserError) as refused:
        refuse_impossible([job(Request()), job(*requests)], MACHINE, refusal)
    assert str(refused.value).startswith(f"1: this machine can never run job sim, which asks for {problem}")


def test_what_lacks_is_counted_in_words() -> None:
    bare = Inventory((), 1 << 30)
    assert bare.lacks(Request()) == "1 core, and it has 0"
    assert bare.lacks(Request(Amount(0), gpus=ONE)) == "1 GPU, and it has none"


def test_one_variant_that_fits_is_enough() -> None:
    one = job(Request(cores(5)), Request(nodes=2), Request(gpus=cores(0.5), labels=("fast",)))
    refuse_impossible([one], MACHINE, refusal)


def test_all_tasks_count_and_the_largest_must_run() -> None:
    specs = [
        job(Request(cores(0.5)), array=RangeArray(0, 10), max_parallel=3),
        job(Request(cores(2), gpus=cores(0.5))),
        job(Request(Amount(0))),
    ]
    assert demand_of(specs, MACHINE) == demand(2, 3 + 2, 1, 1)


def test_the_first_variant_that_fits_must_run_and_each_may() -> None:
    specs = [job(Request(cores(1), gpus=cores(2)), Request(cores(3)), Request(cores(4), gpus=cores(1)))]
    assert demand_of(specs, MACHINE) == demand(3, 4, 0, 2)


def test_as_many_cores_as_are_free_may_be_used() -> None:
    assert demand_of([job(Request(cores(1), most_cores=cores(8)))], MACHINE) == demand(1, 8)


def test_a_whole_node_is_all_that_there_is() -> None:
    assert demand_of([job(Request(exclusive=True))], MACHINE) == demand(4, None, 1, None)
