"""What running tasks ask their manager about the values that they share, and its answers.

What belongs here: the values as they are now, and who waits for them to change. What must not: when an answer may
leave (loop), what values mean: what a task has packed is never unpacked here.
"""

import math
from collections.abc import Callable, Hashable, Iterable

import msgspec

from pilotfish.errors import UserError
from pilotfish.functions.line import LARGEST, VALUE_QUESTIONS, Add, Carried, Keys, Read, Watch, Write
from pilotfish.model.changes import Put

__all__ = ["Talk", "last_version"]

_EPOCH = 2**40
"""Changes of one epoch at most: each begins its versions above those of all before it."""
_LARGEST_NUMBER = 2**63

_Reply = Callable[[object], None]


class Talk:
    """The values of one campaign or session.

    Args:
        epoch: of the manager.
        record: makes a change durable; answers that come after it leave after that.

    """

    def __init__(self, epoch: int, record: Callable[[Put], None]) -> None:
        """There are none."""
        self._version = epoch * _EPOCH
        self._record = record
        self._values: dict[str, Put] = {}
        self._watchers: dict[str, dict[Hashable, _Reply]] = {}
        """By key, and by who waits, how they are told."""

    def restore(self, values: Iterable[Put]) -> None:
        """Take up what the store knows."""
        self._values.update({put.key: put for put in values})

    def hear(self, who: Hashable, name: str, arguments: dict[str, object], reply: _Reply) -> None:
        """Answer a question of `functions.line`, now or when its time has come.

        Raises UserError where there is something wrong with it.
        """
        try:
            question = msgspec.convert(arguments, VALUE_QUESTIONS[name], builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            raise UserError(f"question `{name}`: {error}") from error
        match question:
            case Read(key):
                reply(self.read(key))
            case Write(key, value, expected):
                agreed = expected in (None, self.read(key)[0])
                if agreed:
                    self.write(key, value)
                reply(agreed)
            case Add(key, by):
                reply(self._add(key, by))
            case Keys(prefix):
                reply(sorted(key for key in self._values if key.startswith(prefix)))
            case Watch(key, version):
                if self.read(key)[0] == version:
                    self._watchers.setdefault(key, {})[who] = reply
                else:
                    reply(self.read(key))

    def forget(self, who: Hashable) -> None:
        """Somebody who may wait for something has gone."""
        for key, waiting in list(self._watchers.items()):
            if waiting.pop(who, None) is not None and not waiting:
                del self._watchers[key]

    def read(self, key: str) -> tuple[int, Carried | None]:
        """The version and the value of a key; 0 and None where there is none."""
        put = self._values.get(key)
        return (0, None) if put is None else (put.version, put.value)

    def write(self, key: str, value: Carried | None) -> None:
        """Set the value of a key, or with None remove it. Raises UserError where it cannot be kept."""
        if isinstance(value, bytes):
            if len(value) > LARGEST:
                raise UserError(f"the value of `{key}` has {len(value)} bytes, at most {LARGEST} are possible")
        elif value is not None and not (math.isfinite(value) and -_LARGEST_NUMBER <= value < _LARGEST_NUMBER):
            raise UserError(f"`{key}` cannot be {value}: that is no number that can be kept")
        if value is None and key not in self._values:
            return
        self._version += 1
        put = Put(key, value, self._version)
        self._record(put)
        if value is None:
            del self._values[key]
        else:
            self._values[key] = put
        for reply in self._watchers.pop(key, {}).values():
            reply(self.read(key))

    def _add(self, key: str, by: float) -> float:
        _, value = self.read(key)
        if isinstance(value, bytes):
            raise UserError(f"the value of `{key}` is no number, so nothing can be added to it")
        total = (value or 0) + by
        self.write(key, total)
        return total


def last_version(epoch: int) -> int:
    """That of a change which is made when the manager of an epoch has gone: higher than those of all of its own."""
    return (epoch + 1) * _EPOCH - 1
