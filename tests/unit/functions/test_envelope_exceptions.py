"""Exceptions arrive as themselves with their traceback as a note, or it is told what they were."""

import asyncio
import errno
import subprocess
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.errors import JobFileError, RemoteError
from pilotfish.functions.envelope import (
    pack_exception,
    pack_value,
    unpack_exception,
    unpack_value,
    value_names,
)
from pilotfish.functions.values import LARGE, Values

LOCK = threading.Lock()


@pytest.fixture
def values(tmp_path: Path) -> Values:
    return Values(tmp_path / "values")


def raised(act: Callable[[], object]) -> BaseException:
    """What it raises."""
    try:
        act()
    except BaseException as error:  # noqa: BLE001 - any
        return error
    pytest.fail("nothing was raised")


def arrived(error: BaseException, values: Values | None = None) -> BaseException:
    return unpack_exception(pack_exception(error, values), values)


class FussyError(Exception):
    """An exception whose arguments do not tell how to make it."""

    def __init__(self, place: str, *, depth: int) -> None:
        super().__init__(f"trouble at {place}")
        self.depth = depth


class TwiceError(ValueError):
    """One that would change its message each time that it is made."""

    def __init__(self, message: str) -> None:
        super().__init__(f"again: {message}")


class DecodingError(UnicodeDecodeError):
    def __init__(self, data: bytes) -> None:
        super().__init__("ascii", data, 0, 1, "not one of ours")


class OwnPathError(FileNotFoundError):
    def __init__(self, path: str) -> None:
        super().__init__(errno.ENOENT, "nothing there", path)


class MixedError(FussyError, KeyError):
    pass


class OwnReduceError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(one + two)
        self.one, self.two = one, two

    def __reduce__(self) -> tuple[object, ...]:
        return OwnReduceError, (self.one, self.two), vars(self)


def syntax_error() -> SyntaxError:
    return cast("SyntaxError", raised(lambda: compile("a b", "file.py", "exec")))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad", 3),
        ValueError(),
        KeyError("k"),
        FileNotFoundError(errno.ENOENT, "no such", "/a", None, "/b"),
        OSError("only text"),
        UnicodeDecodeError("ascii", b"\xff", 0, 1, "bad"),
        StopIteration(4),
        SystemExit(3),
        KeyboardInterrupt(),
        ImportError("no", name="module", path="/path"),
        syntax_error(),
        FussyError("home", depth=3),
        TwiceError("bad"),
        DecodingError(b"\xff"),
        OwnPathError("/x"),
        MixedError("home", depth=2),
        OwnReduceError(1, 2),
        JobFileError("wrong", file="a.yaml", line=3, key="jobs"),
        subprocess.CalledProcessError(2, ["ls"], "out"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_arrives_as_itself(error: BaseException) -> None:
    error.extra = [1, 2]  # type: ignore[attr-defined]
    back = arrived(error)
    assert type(back) is type(error)
    assert back.args == error.args
    assert str(back) == str(error)
    assert {**vars(back), "__notes__": None} == {**vars(error), "__notes__": None}
    for name in (
        "errno",
        "filename",
        "filename2",
        "value",
        "code",
        "reason",
        "object",
        "name",
        "path",
        "lineno",
        "text",
    ):
        assert getattr(back, name, None) == getattr(error, name, None)


def test_its_traceback_and_its_causes_arrive_as_a_note() -> None:
    def inner() -> NoReturn:
        raise KeyError("the cause")

    def outer() -> NoReturn:
        try:
            inner()
        except KeyError as error:
            error.add_note("a note of the cause")
            raise FussyError("home", depth=3) from error

    error = raised(outer)
    error.add_note("a note of its own")
    back = arrived(error)
    own, note = back.__notes__
    assert own == "a note of its own"
    lines = note.splitlines()
    assert lines[:2] == ["Remote traceback:", "Traceback (most recent call last):"]
    for text in (
        "KeyError: 'the cause'",
        "a note of the cause",
        "in inner",
        "in outer",
        "the direct cause of the following",
    ):
        assert text in note
    assert "a note of its own" not in note
    assert lines[-1].endswith("FussyError: trouble at home")
    assert back.__cause__ is None
    assert note in "".join(traceback.format_exception(back))
    assert error.__notes__ == ["a note of its own"]


def below(error: BaseException, count: int) -> BaseException:
    """The error without the first frames of its traceback."""
    frames = error.__traceback__
    for _ in range(count):
        assert frames is not None
        frames = frames.tb_next
    return error.with_traceback(frames)


def note_of(error: BaseException) -> str:
    return arrived(error).__notes__[-1]


def test_our_own_frames_above_the_function_are_cut_off() -> None:
    path = Path(pack_value.__code__.co_filename).with_name("invented.py")
    scope: dict[str, Any] = {}
    exec(compile("def run(function):\n    return function()", path, "exec"), scope)

    def fail() -> NoReturn:
        raise ValueError("bad")

    async def wait() -> NoReturn:
        fail()

    assert "invented.py" in note_of(raised(lambda: scope["run"](fail)))
    for function in (fail, lambda: asyncio.run(wait())):
        note = note_of(below(raised(lambda function=function: scope["run"](function)), 2))  # type: ignore[misc]
        assert "invented.py" not in note
        assert note.endswith("ValueError: bad")
    note = note_of(below(raised(lambda: asyncio.run(wait())), 2))
    assert note.count("File") == 2
    assert "in wait" in note
    assert "in fail" in note


def test_an_error_of_our_own_keeps_its_frames() -> None:
    assert "in unpack_value" in note_of(below(raised(lambda: unpack_value(b"V\0\0\0\0", None)), 2))


def test_groups_arrive_with_their_members() -> None:
    class Own(ExceptionGroup[Exception]):
        pass

    for kind in (ExceptionGroup, BaseExceptionGroup, Own):
        members = [ValueError("bad"), FussyError("home", depth=3), ExceptionGroup("inner", [KeyError("k")])]
        error = raised(lambda kind=kind, members=members: (_ for _ in ()).throw(kind("several", members)))  # type: ignore[misc]
        back = arrived(error)
        assert isinstance(back, BaseExceptionGroup)
        assert back.message == "several"
        assert [type(member) for member in back.exceptions] == [ValueError, FussyError, ExceptionGroup]
        assert cast("FussyError", back.exceptions[1]).depth == 3
        assert "KeyError: 'k'" in back.__notes__[0]


def test_exceptions_arrive_as_values_too() -> None:
    back = unpack_value(pack_value([FussyError("home", depth=3)], None), None)[0]
    assert (type(back), back.depth, back.args) == (FussyError, 3, ("trouble at home",))


def test_an_exception_that_holds_itself_arrives() -> None:
    error = ValueError("bad")
    error.me = error  # type: ignore[attr-defined]
    back = arrived(error)
    assert back.me is back  # type: ignore[attr-defined]


def test_large_parts_of_an_exception_go_by_reference(values: Values, tmp_path: Path) -> None:
    array = np.arange(LARGE)
    data = pack_exception(ValueError(array), values)
    (name,) = value_names(data)
    assert np.array_equal(unpack_exception(data, values).args[0], array)
    values.drop(name)
    lost = unpack_exception(data, values)
    assert type(lost) is RemoteError
    assert str(lost).startswith("ValueError: [")
    assert "It cannot be made here: FileNotFoundError: [Errno 2] this value was dropped" in lost.__notes__[0]
    assert (tmp_path / "values" / "used").stat().st_size == 0


class UnloadableError(Exception):
    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


class NoExceptionError(Exception):
    def __reduce__(self) -> tuple[object, ...]:
        return int, ("3",)


class LeavingError(Exception):
    def __reduce__(self) -> NoReturn:
        raise SystemExit(3)


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class BadNotesError(Exception):
    __notes__ = 3  # type: ignore[assignment]


def with_lock() -> Exception:
    error = FussyError("home", depth=3)
    error.lock = LOCK  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("bad", LOCK), "ValueError: ('bad', <unlocked _thread.lock"),
        (with_lock(), "FussyError: trouble at home"),
        (UnloadableError("bad"), "UnloadableError: bad"),
        (NoExceptionError("bad"), "NoExceptionError: bad"),
        (LeavingError("bad"), "LeavingError: bad"),
        (BadNotesError("bad"), "BadNotesError: bad"),
        (ExceptionGroup("several", [with_lock()]), "ExceptionGroup: several (1 sub-exception)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_exception_that_cannot_travel_is_told(
    error: BaseException, text: str, values: Values, tmp_path: Path
) -> None:
    error.array = np.arange(LARGE)  # type: ignore[attr-defined]
    data = pack_exception(error, values)
    assert value_names(data) == ()
    back = unpack_exception(data, values)
    assert type(back) is RemoteError
    assert text in str(back)
    assert back.__notes__[0].startswith("Remote traceback:\n")
    used = tmp_path / "values" / "used"
    assert not used.exists() or used.stat().st_size == 0


def test_an_exception_without_words_arrives() -> None:
    back = arrived(raised(lambda: (_ for _ in ()).throw(MuteError(1))))
    assert type(back) is MuteError
    assert "<exception str() failed>" in back.__notes__[0]
    back = arrived(MuteError(LOCK))
    assert str(back).endswith("MuteError: (its message cannot be told)")


def test_an_exception_finds_a_way_where_there_is_no_room(tmp_path: Path) -> None:
    values = Values(tmp_path / "values", limit=1)
    back = arrived(ValueError(np.arange(LARGE)), values)
    assert type(back) is RemoteError
    assert str(back).startswith("ValueError: ")


def test_an_exception_of_a_deep_recursion_arrives() -> None:
    def deep() -> None:
        deep()

    back = arrived(raised(deep))
    assert type(back) is RecursionError
    assert len(back.__notes__[0]) < 2000


@given(st.text(), st.lists(st.none() | st.integers() | st.binary() | st.text()))
def test_any_exception_arrives(message: str, detail: object) -> None:
    back = arrived(RuntimeError(message, detail))
    assert (type(back), back.args) == (RuntimeError, (message, detail))
