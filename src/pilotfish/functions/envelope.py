"""How functions, their arguments, results and exceptions travel: as bytes.

What belongs here: packing and unpacking, and saying why something cannot be packed. What must not: what carries the
bytes, calling functions.

The first byte tells the form: that of a pickle as it is, the way of nearly every call; ``V``, a pickle with large
values by reference; ``E``, an exception. By reference go, where there is a `Values`, memory of at least `LARGE` bytes
(such as that of NumPy arrays, however deep in what is packed) and pickles that are as large. What arrives so is mapped
and read-only (a NumPy array's ``flags.writeable`` is False): whoever wants to change it makes a copy. Who unpacks must
trust who packed.
"""

import os
import pickle
import struct
import sys
import traceback
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from inspect import getclosurevars, signature
from io import BytesIO
from pathlib import Path
from pickle import PickleBuffer
from types import FunctionType, MethodDescriptorType, MethodType
from typing import Any, Never, cast

import cloudpickle  # type: ignore[import-untyped]

from pilotfish.errors import RemoteError, UnpicklableError
from pilotfish.functions.values import LARGE, Values, content_name

__all__ = [
    "load_function",
    "pack_arguments",
    "pack_exception",
    "pack_function",
    "pack_value",
    "unpack_arguments",
    "unpack_exception",
    "unpack_value",
    "value_names",
]

_PROTOCOL = 5
_PICKLE, _BY_REFERENCE, _EXCEPTION = 0x80, ord("V"), ord("E")
_HEAD = struct.Struct("<BI")
"""The form, and the length of the part that follows: the names of values, or the exception itself."""

_PLAIN = frozenset({bool, bytes, float, int, str, type(None)})
_FEW = 16
"""Items of a list or tuple that are worth a look, for all of them may be plain."""

_DEPTH = 4
"""Steps from something unpicklable to the part of it that is to blame."""

_HEAP_TYPE = 1 << 9
"""The flag of classes that were made by a ``class`` statement."""

_OURS = (f"{Path(__file__).parents[1]}{os.sep}", f"{Path(os.__file__).parent}{os.sep}asyncio{os.sep}")
"""Files whose frames above a user's function tell the user nothing."""

_loads = pickle.loads
_dumps = pickle.dumps


def pack_function(function: Callable[..., object]) -> tuple[str, bytes]:
    """The content name of a function as bytes, and these.

    What can be imported goes by reference: module and name. Functions and classes of ``__main__``, lambdas, closures
    and whatever hides behind another object's name go by value, with what they use. Raises UnpicklableError.
    """
    program = sys.modules.get("__mp_main__")
    if program is not None:  # a child that multiprocessing has spawned: what __main__ is to it, and to nobody else
        cloudpickle.register_pickle_by_value(program)
    try:
        blob = _pickled(function, None)
    except Exception as error:
        raise _refusal(f"function `{_name_of(function)}`", function, error) from error
    return content_name(blob), blob


def load_function(blob: bytes) -> Callable[..., Any]:
    """The function that was packed. Raises whatever unpickling raises, ModuleNotFoundError above all."""
    function: Callable[..., Any] = _loads(blob)
    return function


def pack_arguments(
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    values: Values | None,
    *,
    function: Callable[..., object] | None = None,
) -> bytes:
    """The arguments of a call.

    Each of `value_names` of the result is held once for each time that it stands there: release them when nobody
    needs the arguments any more. Raises UnpicklableError naming the argument; OSError where there is no room for it.

    Args:
        args: by position.
        kwargs: by name.
        values: where large ones go; None: they stay in the bytes.
        function: that is called; for the error message.

    """
    buffers: list[memoryview] = []
    if _is_plain(args) and (not kwargs or _is_plain(kwargs.values())):
        stream = _dumps((args, kwargs), _PROTOCOL)
        if values is None or len(stream) < LARGE:
            return stream
    else:
        try:
            stream, buffers = _split((args, kwargs), values)
        except Exception as error:
            raise _argument_refusal(args, kwargs, function, error) from error
    return _joined(stream, buffers, values, hold=True)


def unpack_arguments(data: bytes, values: Values | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What was packed: by position, by name. Raises whatever unpickling raises; OSError where a value is gone."""
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    arguments = _loads(data) if data[0] == _PICKLE else unpack_value(data, values)
    return arguments


def pack_value(value: object, values: Values | None, *, what: str = "the value") -> bytes:
    """Any value, such as a result. Nobody holds its `value_names`: who unpacks it is to hold or drop them.

    Raises UnpicklableError naming `what` (``the result of `work```); OSError where there is no room for it.
    """
    buffers: list[memoryview] = []
    if type(value) in _PLAIN:
        stream = _dumps(value, _PROTOCOL)
        if values is None or len(stream) < LARGE:
            return stream
    else:
        try:
            stream, buffers = _split(value, values)
        except Exception as error:
            raise _refusal(what, value, error) from error
    return _joined(stream, buffers, values, hold=False)


def unpack_value(data: bytes, values: Values | None) -> Any:  # noqa: ANN401 - whatever it was
    """What was packed. Raises whatever unpickling raises; OSError where a value is gone."""
    if data[0] == _PICKLE:
        return _loads(data)
    if values is None:
        raise ValueError(f"without a folder of values these cannot be had: {', '.join(value_names(data))}")
    _, size = _HEAD.unpack_from(data)
    buffers = [values.get(name) for name in value_names(data)]
    stream = memoryview(data)[_HEAD.size + size :] or buffers.pop()
    return _loads(stream, buffers=buffers)


def value_names(data: bytes) -> tuple[str, ...]:
    """The values that something packed needs; nothing is unpickled. A name stands there as often as it is used."""
    if data[0] == _PICKLE:
        return ()
    form, size = _HEAD.unpack_from(data)
    part = data[_HEAD.size : _HEAD.size + size]
    if form == _EXCEPTION:
        return value_names(part) if part else ()
    return tuple(part.decode().split(" "))


def pack_exception(error: BaseException, values: Values | None) -> bytes:
    """An exception with its type, arguments, attributes and notes, and its traceback with all causes as text.

    One that cannot be pickled, or not unpickled again, goes as its type's name and its message. Never raises. Nobody
    holds its `value_names`, as with `pack_value`.
    """
    summary, note = _summary(error), _traceback(error)
    try:
        packed = _tried(error, values)
    except BaseException:  # noqa: BLE001 - a user's exception may do what it likes when it is pickled
        packed = b""
    return _HEAD.pack(_EXCEPTION, len(packed)) + packed + _dumps((summary, note), _PROTOCOL)


def unpack_exception(data: bytes, values: Values | None) -> BaseException:
    """What was packed, with its traceback as a note; a RemoteError where it cannot be had."""
    _, size = _HEAD.unpack_from(data)
    packed = data[_HEAD.size : _HEAD.size + size]
    summary, note = _loads(data[_HEAD.size + size :])
    if packed:
        try:
            return _noted(unpack_value(packed, values), note)
        except Exception as reason:  # noqa: BLE001 - importing and making a user's class may raise anything
            note = f"{note}\n(It cannot be made here: {_summary(reason)})"
    return _noted(RemoteError(summary), note)


# Pickles


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc] # a base without types
    """Cloudpickle's, but for memory views and exceptions."""

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - a reduction, or NotImplemented
        """Exceptions are made again by their built-in base: their own ``__init__`` may want what nobody kept."""
        if issubclass(type(obj), BaseException) and _reduces_as_built_in(type(obj)):
            make, arguments, *state = cast("tuple[Any, ...]", obj.__reduce__())
            if make is type(obj):
                return _remade, (make, arguments), *state
        managers = sys.modules.get("multiprocessing.managers")
        if managers is not None and issubclass(type(obj), managers.BaseProxy):
            # Without the key of its manager a proxy is of use only to children of this very process.
            make, (kind, token, form, options) = cast("tuple[Any, ...]", obj.__reduce__())
            return make, (kind, token, form, {**options, "authkey": bytes(cast("Any", obj)._authkey)})  # noqa: SLF001
        return super().reducer_override(obj)


def _refuse_view(_view: memoryview) -> Never:
    # Cloudpickle would copy it, and something else would arrive.
    raise TypeError("cannot pickle a memoryview: give bytes(view), or the object that it shows")


_Pickler.dispatch_table = ChainMap({memoryview: _refuse_view}, cloudpickle.Pickler.dispatch_table)


def _reduces_as_built_in(kind: type) -> bool:
    own: object = kind.__reduce_ex__
    return isinstance(kind.__reduce__, MethodDescriptorType) and own is object.__reduce_ex__


def _remade(kind: type[BaseException], arguments: tuple[object, ...]) -> BaseException:
    base: Any = kind
    while base.__flags__ & _HEAP_TYPE:
        base = base.__base__
    error: BaseException = base.__new__(kind, *arguments)
    base.__init__(error, *arguments)
    return error


def _pickled(value: object, callback: Callable[[PickleBuffer], bool] | None) -> bytes:
    file = BytesIO()
    _Pickler(file, _PROTOCOL, callback).dump(value)
    return file.getvalue()


def _split(value: object, values: Values | None) -> tuple[bytes, list[memoryview]]:
    """Its pickle, and apart from it the memory that is large."""
    buffers: list[memoryview] = []

    def stays(buffer: PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < LARGE:
            return True
        buffers.append(raw)
        return False

    return _pickled(value, None if values is None else stays), buffers


def _joined(stream: bytes, buffers: list[memoryview], values: Values | None, *, hold: bool) -> bytes:
    """One piece of bytes, with what is large in `values`."""
    if values is None or not (buffers or len(stream) >= LARGE):
        return stream
    if len(stream) >= LARGE:
        buffers, stream = [*buffers, memoryview(stream)], b""
    names: list[str] = []
    try:
        for buffer in buffers:
            names.append(values.put(buffer, hold=hold))  # noqa: PERF401 - what was put is to be known when one fails
    except BaseException:
        for name in names:
            values.release(name)
        raise
    header = " ".join(names).encode()
    return _HEAD.pack(_BY_REFERENCE, len(header)) + header + stream


def _is_plain(items: Iterable[object]) -> bool:
    """Whether plain `pickle`, which is ten times as fast, does all that is needed."""
    return _PLAIN.issuperset(map(type, items)) or all(
        type(item) in _PLAIN
        or (type(item) in (tuple, list) and len(item) <= _FEW and _PLAIN.issuperset(map(type, item)))  # type: ignore[arg-type, call-overload]
        for item in items
    )


# Refusals


def _argument_refusal(
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    function: Callable[..., object] | None,
    error: Exception,
) -> UnpicklableError:
    of = "" if function is None else f" of `{_name_of(function)}`"
    for place, value in _named(args, kwargs, function):
        if (reason := _reason_against(value)) is not None:
            return _refusal(f"{place}{of}", value, reason)
    return _refusal(f"the call{of}", None, error)


def _named(
    args: tuple[object, ...], kwargs: Mapping[str, object], function: Callable[..., object] | None
) -> Iterator[tuple[str, object]]:
    names: list[str] = []
    with suppress(TypeError, ValueError):  # no function, or none that tells
        parameters = signature(cast("Callable[..., object]", function)).parameters.values()
        names = [
            f" (`{one.name}`)" for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        ]
    for index, value in enumerate(args):
        yield f"argument {index + 1}{names[index] if index < len(names) else ''}", value
    for name, value in kwargs.items():
        yield f"argument `{name}`", value


def _refusal(what: str, value: object, error: BaseException) -> UnpicklableError:
    where = "".join(f"its {place}: " for place in _way_to_blame(value))
    return UnpicklableError(f"{what} cannot be sent to another process: {where}{_first_line(error)}")


def _way_to_blame(value: object) -> Iterator[str]:
    """From something unpicklable to the innermost part of it that is."""
    for _ in range(_DEPTH):
        for place, part in _parts(value):
            if _reason_against(part) is not None:
                yield place
                value = part
                break
        else:
            return


def _parts(value: object) -> Iterator[tuple[str, object]]:
    try:
        match value:
            case FunctionType():
                used = getclosurevars(value)
                yield from ((f"variable `{name}`", part) for name, part in {**used.globals, **used.nonlocals}.items())
            case partial():
                yield "function", value.func
                yield from ((f"argument {index}", part) for index, part in enumerate(value.args, 1))
                yield from ((f"argument `{name}`", part) for name, part in value.keywords.items())
            case MethodType():
                yield "object", value.__self__
            case dict():
                yield from ((f"item {key!r:.40}", part) for key, part in value.items())
            case list() | tuple():
                yield from ((f"item {index}", part) for index, part in enumerate(value))
            case _:
                yield from ((f"attribute `{name}`", part) for name, part in vars(value).items())
    except Exception:  # noqa: BLE001 - a guess at what is to blame must not hide what was wrong
        return


def _reason_against(value: object) -> Exception | None:
    try:
        _pickled(value, lambda _: False)  # whatever is large stays outside
    except Exception as error:  # noqa: BLE001 - `__reduce__` may raise anything
        return error
    return None


def _name_of(function: object) -> str:
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__qualname__))


# What exceptions tell


def _tried(error: BaseException, values: Values | None) -> bytes:
    """The exception as bytes from which it could be had again."""
    packed = pack_value(error, values)
    try:
        _noted(unpack_value(packed, values), "")
    except BaseException:
        if values is not None:
            for name in value_names(packed):
                values.drop(name)
        raise
    return packed


def _noted(error: Any, note: str) -> BaseException:  # noqa: ANN401 - what was unpickled may be anything
    if not isinstance(error, BaseException):
        raise TypeError(f"an exception arrived as {type(error).__qualname__}")
    BaseException.add_note(error, note)
    return error


def _first_line(error: BaseException) -> str:
    try:
        text = str(error).strip().partition("\n")[0]
    except Exception:  # noqa: BLE001 - a user's `__str__`
        text = ""
    return text or type(error).__qualname__


def _summary(error: BaseException) -> str:
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a user's `__str__`
        text = "(its message cannot be told)"
    return f"{name}: {text}" if text else name


def _traceback(error: BaseException) -> str:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    try:
        report = traceback.TracebackException(type(error), error, frames or error.__traceback__)
        report.__notes__ = None  # they travel with the exception
        text = "".join(report.format()).rstrip()
    except BaseException as reason:  # noqa: BLE001 - likewise what it calls of a user's exception
        text = f"(its traceback cannot be told: {type(reason).__qualname__})"
    return f"Remote traceback:\n{text}"
