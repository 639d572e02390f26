"""Functions, arguments, results and exceptions arrive as they left, or it is said which of them cannot and why."""

import builtins
import collections
import dataclasses
import functools
import gc
import math
import operator
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from pickle import PickleBuffer
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.errors import UnpicklableError
from pilotfish.functions.envelope import (
    load_function,
    pack_arguments,
    pack_function,
    pack_value,
    unpack_arguments,
    unpack_value,
    value_names,
)
from pilotfish.functions.values import LARGE, Values

LOCK = threading.Lock()


@pytest.fixture
def values(tmp_path: Path) -> Values:
    return Values(tmp_path / "values")


def returned(value: object, values: Values | None = None) -> Any:
    return unpack_value(pack_value(value, values), values)


def called(function: Callable[..., object], *args: object) -> object:
    """What a function gives after its travel."""
    return load_function(pack_function(function)[1])(*args)


# By value, between two programs


SENDER = """
import dataclasses, functools, sys
from pathlib import Path
from pilotfish.functions.envelope import pack_arguments, pack_exception, pack_function

FACTOR = 3

@dataclasses.dataclass
class Point:
    x: int
    def scaled(self, by): return Point(self.x * by)

class Trouble(Exception):
    def __init__(self, place, *, depth):
        super().__init__(f"trouble at {place}")
        self.depth = depth

def times(point):
    return point.scaled(FACTOR)

def deep(n):
    return 0 if n == 0 else 1 + deep(n - 1)

def closure():
    def inner(n): return 0 if n == 0 else 1 + inner(n - 1)
    return inner

def fail(point):
    raise Trouble(point, depth=point.x)

@functools.wraps(deep)
def hidden(n):
    return -n

class Caller:
    def __init__(self, n): self.n = n
    def __call__(self, point): return self.n + point.x
    def method(self, point): return self.n * point.x
    @classmethod
    def build(cls, point): return cls(point.x).n
    @staticmethod
    def plain(point): return point.x

point = Point(5)
everything = {
    "times": (times, point), "deep": (deep, 7), "closure": (closure(), 9), "fail": (fail, point), "hidden": (hidden, 2),
    "lambda": (lambda p: p.x, point), "partial": (functools.partial(pow, 2), 10), "instance": (Caller(4), point),
    "method": (Caller(4).method, point), "classmethod": (Caller.build, point), "static": (Caller.plain, point),
    "class": (Point, 8), "builtin": (len, "four"),
}
for name, (function, argument) in everything.items():
    Path(name).write_bytes(pack_function(function)[1])
    Path(name + ".arguments").write_bytes(pack_arguments((argument,), {}, None))
"""

RECEIVER = """
import sys
from pathlib import Path
from pilotfish.functions.envelope import load_function, pack_exception, unpack_arguments, unpack_exception

for name in sys.argv[1:]:
    args, kwargs = unpack_arguments(Path(name + ".arguments").read_bytes(), None)
    try:
        print(name, load_function(Path(name).read_bytes())(*args, **kwargs))
    except Exception as error:
        back = unpack_exception(pack_exception(error, None), None)
        print(name, type(back).__name__, back, back.depth, "in fail" in back.__notes__[0])
"""

EXPECTED = {
    "times": "Point(x=15)",
    "deep": "7",
    "closure": "9",
    "fail": "Trouble trouble at Point(x=5) 5 True",
    "hidden": "-2",
    "lambda": "5",
    "partial": "1024",
    "instance": "9",
    "method": "20",
    "classmethod": "5",
    "static": "5",
    "class": "Point(x=8)",
    "builtin": "4",
}


def test_what_a_program_defines_travels_to_one_that_never_saw_it(tmp_path: Path) -> None:
    (tmp_path / "sender.py").write_text(SENDER)
    subprocess.run([sys.executable, "sender.py"], check=True, cwd=tmp_path)
    command = [sys.executable, "-c", RECEIVER, *EXPECTED]
    out = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True).stdout
    assert dict(line.split(" ", 1) for line in out.splitlines()) == EXPECTED


ROUND = """
import subprocess, sys
from pilotfish.functions.envelope import pack_exception, pack_value, unpack_exception, unpack_value

class Result:
    pass

class Trouble(Exception):
    pass

back = unpack_value(subprocess.run(
    [sys.executable, "-c", '''if True:
        import sys
        from pilotfish.functions.envelope import *
        kinds = unpack_value(sys.stdin.buffer.read(), None)
        sys.stdout.buffer.write(pack_value((kinds[0](), pack_exception(kinds[1]("bad"), None)), None))
    '''], input=pack_value((Result, Trouble), None), stdout=subprocess.PIPE, check=True).stdout, None)
assert isinstance(back[0], Result)
try:
    raise unpack_exception(back[1], None)
except Trouble as error:
    assert error.args == ("bad",)
"""


def test_classes_are_the_same_when_they_come_back() -> None:
    subprocess.run([sys.executable, "-c", ROUND], check=True)


# Functions


@pytest.mark.parametrize(
    "function", [math.sqrt, subprocess.run, collections.Counter, dict.fromkeys, operator.itemgetter]
)
def test_what_can_be_imported_travels_by_reference(function: Callable[..., object]) -> None:
    name, blob = pack_function(function)
    assert load_function(blob) == function
    assert len(blob) < 100
    assert pack_function(function) == (name, blob)


def test_functions_with_state_travel() -> None:
    def count(total: int) -> Callable[[int], int]:
        return lambda more: total + more

    assert called(count(4), 5) == 9
    assert called(functools.partial(count(1)), 1) == 2
    assert called([1, 2].__contains__, 2) is True
    assert called("a-b".split, "-") == ["a", "b"]


def test_a_function_under_the_name_of_another_is_not_taken_for_it() -> None:
    @functools.wraps(math.sqrt)
    def wrapper(number: float) -> float:
        return -number

    assert called(wrapper, 4) == -4


def test_a_function_that_uses_what_cannot_travel_is_refused_with_its_place() -> None:
    lock = threading.Lock()
    config = {"guards": [lock]}

    def work() -> object:
        return config

    with pytest.raises(UnpicklableError) as caught:
        pack_function(work)
    assert str(caught.value) == (
        f"function `{work.__qualname__}` cannot be sent to another process: "
        "its variable `config`: its item 'guards': its item 0: cannot pickle '_thread.lock' object"
    )
    with pytest.raises(UnpicklableError, match=r"function `print` .*: its argument 1: cannot pickle"):
        pack_function(functools.partial(print, lock))
    with pytest.raises(UnpicklableError, match=r"acquire.* cannot be sent .*: cannot pickle '_thread.lock' object"):
        pack_function(lock.acquire)


def test_a_function_that_does_not_exist_elsewhere_is_told_when_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("of_the_moment")
    exec("def work(): pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "of_the_moment", module)
    _, blob = pack_function(module.work)
    monkeypatch.delitem(sys.modules, "of_the_moment")
    with pytest.raises(ModuleNotFoundError, match="of_the_moment"):
        load_function(blob)


# Arguments and values

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
ANY = st.recursive(
    PLAIN | st.complex_numbers(allow_nan=False) | st.frozensets(st.integers()),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


@given(st.lists(ANY).map(tuple), st.dictionaries(st.text(), ANY))
def test_arguments_arrive_as_they_left(args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    data = pack_arguments(args, kwargs, None)
    assert unpack_arguments(data, None) == (args, kwargs)
    assert value_names(data) == ()


@given(ANY)
def test_values_arrive_as_they_left(value: object) -> None:
    back = returned(value)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("value", [-(1 << 5_000), "\ud800", float("inf"), b"\x80V", (1, (2, (3,))), ...], ids=ascii)
def test_odd_values_arrive(value: object) -> None:
    assert returned(value) == value
    assert math.copysign(1, returned(-0.0)) == -1


def test_what_is_one_object_stays_one() -> None:
    shared: list[int] = []
    (first, second), _ = unpack_arguments(pack_arguments((shared, shared), {}, None), None)
    assert first is second


class Int(int):
    """An int with more to it."""


def test_subclasses_of_plain_types_are_not_plain() -> None:
    number = Int(3)
    number.unit = "m"  # type: ignore[attr-defined]
    assert returned(number).unit == "m"
    assert unpack_arguments(pack_arguments((number,), {}, None), None)[0][0].unit == "m"


def test_large_plain_values_go_by_reference(values: Values) -> None:
    text = "x" * LARGE
    data = pack_arguments((text,), {"again": text}, values)
    assert len(data) < 200
    (name,) = value_names(data)
    assert unpack_arguments(data, values) == ((text,), {"again": text})
    values.release(name)
    assert name not in values
    assert returned(text, values) == text
    assert len(pack_value(text, None)) > LARGE


def test_what_is_by_reference_needs_values(values: Values) -> None:
    data = pack_value(bytes(LARGE), values)
    with pytest.raises(ValueError, match=r"without a folder of values these cannot be had: [0-9a-f]{32}-"):
        unpack_value(data, None)
    values.drop(value_names(data)[0])
    with pytest.raises(FileNotFoundError):
        unpack_value(data, values)


def arrays() -> Iterator[Any]:
    big = LARGE // 8 + 1
    yield np.arange(0)
    yield np.zeros((0, 5))
    yield np.arange(5)
    yield np.arange(big)
    yield np.arange(2.0 * big).reshape(2, big)
    yield np.asfortranarray(np.arange(3.0 * big).reshape(3, big))
    yield np.arange(4 * big)[::2]
    yield np.arange(big)[::-1]
    yield np.arange(4.0 * big).reshape(2, 2, big).transpose(1, 2, 0)
    yield np.zeros(big, dtype=[("a", "i4"), ("b", "f8", (2,)), ("c", "U3")])
    yield np.array([{"a": 1}, None, "text"] * big, dtype=object)
    yield np.array(["text"] * big)
    yield np.float32(1.5)
    yield np.array(7)
    yield np.arange(big, dtype=">i8")
    yield np.full(big, np.datetime64("2024-02-29"))


@pytest.mark.parametrize("array", list(arrays()), ids=lambda array: f"{array.dtype.char}{array.shape}")
@pytest.mark.parametrize("by_reference", [False, True])
def test_arrays_arrive(array: Any, by_reference: bool, values: Values) -> None:  # noqa: FBT001 - a parameter of pytest
    back = returned({"deep": [array]}, values if by_reference else None)["deep"][0]
    assert type(back) is type(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert np.array_equal(back, array)
    if array.ndim > 1 and array.size:
        assert back.flags.f_contiguous == array.flags.f_contiguous


def test_large_arrays_are_mapped_and_cannot_be_changed(values: Values, tmp_path: Path) -> None:
    array, small = np.arange(LARGE), np.arange(3)
    data = pack_value([array, small, array.copy()], values)
    assert len(data) < 1000
    back, back_small, again = unpack_value(data, values)
    assert not back.flags.writeable
    assert not back.flags.owndata
    assert back_small.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 1
    for name in value_names(data):
        values.drop(name)
    assert sorted(path.name for path in (tmp_path / "values").iterdir()) == ["used"]
    assert np.array_equal(back, array)
    assert np.array_equal(again, array)
    assert unpack_value(pack_value(array, None), None).flags.writeable


def test_an_array_is_stored_once_for_many_calls(values: Values, tmp_path: Path) -> None:
    array = np.arange(LARGE)
    packed = [pack_arguments((number, array), {}, values) for number in range(5)]
    assert len({name for data in packed for name in value_names(data)}) == 1
    assert (tmp_path / "values" / "used").stat().st_size == array.nbytes
    for number, data in enumerate(packed):
        args, _ = unpack_arguments(data, values)
        assert args[0] == number
        values.release(value_names(data)[0])
    assert (tmp_path / "values" / "used").stat().st_size == 0


def test_each_name_is_held_as_often_as_it_stands_there(values: Values, tmp_path: Path) -> None:
    array = np.arange(LARGE)
    names = value_names(pack_arguments((array, array.copy()), {"more": np.arange(LARGE) + 1}, values))
    assert len(names) == 3
    for name in names:
        assert name in values
        values.release(name)
    assert (tmp_path / "values" / "used").stat().st_size == 0


def test_without_room_nothing_stays_behind(tmp_path: Path) -> None:
    values = Values(tmp_path / "values", limit=3 * LARGE)
    arrays = (np.zeros(2 * LARGE, np.uint8), np.ones(2 * LARGE, np.uint8))
    packs: list[Callable[[], bytes]] = [lambda: pack_arguments(arrays, {}, values), lambda: pack_value(arrays, values)]
    for pack in packs:
        with pytest.raises(OSError, match="no room"):
            pack()
        assert (tmp_path / "values" / "used").stat().st_size == 0


class Refusing:
    def __reduce__(self) -> NoReturn:
        raise RuntimeError("not\nme")


class Noisy:
    def __del__(self) -> None:
        raise RuntimeError("in __del__")


def work(first: int, lock: object, *rest: object, key: object = None) -> None:
    """A function with names."""


GENERATOR = (number for number in range(3))


NO_LOCK = "cannot pickle '_thread.lock' object"
NO_VIEW = "cannot pickle a memoryview: give bytes(view), or the object that it shows"


@pytest.mark.parametrize(
    ("args", "kwargs", "which", "why"),
    [
        ((1, LOCK), {}, "argument 2 (`lock`)", NO_LOCK),
        ((1, 2, LOCK), {"key": 1}, "argument 3", NO_LOCK),
        ((1, 2), {"key": LOCK}, "argument `key`", NO_LOCK),
        ((GENERATOR,), {}, "argument 1 (`first`)", "cannot pickle 'generator' object"),
        ((memoryview(b"abc"),), {}, "argument 1 (`first`)", NO_VIEW),
        (([1, (2, LOCK)],), {}, "argument 1 (`first`)", f"its item 1: its item 1: {NO_LOCK}"),
        ((Refusing(),), {}, "argument 1 (`first`)", "not"),
    ],
)
def test_an_argument_that_cannot_travel_is_named(
    args: tuple[object, ...], kwargs: dict[str, object], which: str, why: str
) -> None:
    with pytest.raises(UnpicklableError) as caught:
        pack_arguments(args, kwargs, None, function=work)
    assert str(caught.value) == f"{which} of `work` cannot be sent to another process: {why}"
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("function", [None, builtins.dict, builtins.print, functools.partial(print, 1)])
def test_functions_without_names_for_their_arguments_are_no_obstacle(function: Callable[..., object] | None) -> None:
    with pytest.raises(UnpicklableError, match=r"^argument 1( of `\w+`)? cannot be sent .* 'generator' object$"):
        pack_arguments((GENERATOR,), {}, None, function=function)


def test_a_result_that_cannot_travel_is_named() -> None:
    holder = types.SimpleNamespace(lock=LOCK)
    with pytest.raises(UnpicklableError, match=r"^the result of `work` .*: its attribute `lock`: cannot"):
        pack_value(holder, None, what="the result of `work`")


def test_what_is_nested_too_deep_is_refused() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(UnpicklableError, match="recursion"):
        pack_value(value, None)


def test_memory_with_gaps_is_refused_and_memory_without_arrives(values: Values) -> None:
    array: Any = np.arange(LARGE)
    for home in (values, None):
        with pytest.raises(UnpicklableError, match="contiguous"):
            pack_value(PickleBuffer(array[::2]), home)
        assert bytes(returned(PickleBuffer(array), home)) == array.tobytes()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_objects_that_die_noisily_arrive() -> None:
    assert isinstance(returned(Noisy()), Noisy)
    gc.collect()


def test_what_cannot_be_unpickled_says_so_itself() -> None:
    class Strange:
        def __reduce__(self) -> tuple[object, ...]:
            return int, ("no number",)

    with pytest.raises(ValueError, match="no number"):
        returned(Strange())


@dataclasses.dataclass
class Chain:
    """A value with a method."""

    name: str

    def greet(self) -> str:
        return f"I am {self.name}"


def test_bound_methods_travel_with_their_objects() -> None:
    assert called(Chain("a").greet) == "I am a"
    assert called(operator.attrgetter("name"), Chain("b")) == "b"
