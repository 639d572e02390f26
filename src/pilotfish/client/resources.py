"""What a call asks for, as values that can be joined and compared: ``Cores(4) & Memory("2GiB")``.

The words and their meaning are those of Grain 0.17 (``grain/resource.py``), but for what was wrong there: nothing here
changes once it is made, amounts are exact, and unrelated things are neither more nor less than each other. What belongs
here: the algebra, and its way to a request of the scheduler. What must not: sessions, clocks, functions.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from itertools import islice
from types import MappingProxyType
from typing import Generic, Self, TypeVar

import msgspec

from pilotfish.errors import UserError
from pilotfish.formats.keys import BUILT_IN
from pilotfish.formats.words import read_name
from pilotfish.model.quantities import (
    ONE,
    Amount,
    format_amount,
    format_bytes,
    format_seconds,
    parse_amount,
    parse_bytes,
    parse_memory,
    parse_seconds,
)
from pilotfish.model.resources import Request
from pilotfish.model.spans import spans_of

__all__ = [
    "Asked",
    "Capacity",
    "Cores",
    "GPUs",
    "Kind",
    "Memory",
    "Resource",
    "ResourceError",
    "Token",
    "WallTime",
    "as_request",
    "node",
]

_K = TypeVar("_K", bound="Kind")
_T = TypeVar("_T")
_Id = TypeVar("_Id", bound=int | str)
_U = TypeVar("_U", "Cores", "GPUs")

_RESERVED = {*BUILT_IN, "capacity", "token", "walltime"}
"""What no kind of a user's own is called, in small letters."""


class ResourceError(UserError, ValueError):
    """What was said of a resource cannot be; the message says what to write instead."""


class Resource:
    """A set of kinds, at most one of each; it never changes.

    ``A & B`` is both together. ``A >= B`` says that B can be taken from A, and so ``A <= B``; of what cannot be
    compared (``Cores(4)``, ``Memory("1GiB")``) neither is true. Equal are those of the same worth: which cores they
    are counts for nothing, ``Cores([7, 8]) == Cores(2)``. As a request ``Cores(2, most=8)`` wants no more than
    ``Cores(2)``, and every `Capacity` just one: each such pair can be taken from the other, and yet differs.
    """

    def __init__(self, *parts: "Resource") -> None:
        """All parts together; none: nothing, which everything affords. Raises ResourceError for a kind named twice."""
        kinds: dict[str, Kind] = {}
        for part in parts:
            for key, kind in part.kinds.items():
                if key in kinds:
                    raise ResourceError(f"{key} is asked for twice: {kinds[key]} and {kind}; write one of them")
                kinds[key] = kind
        self.__dict__["_kinds"] = kinds

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a resource is a value."""
        what = type(self).__name__
        raise AttributeError(
            f"{what} does not change: give {name} to a new one, or make it a field of a frozen dataclass"
        )

    def __delattr__(self, name: str) -> None:
        """Refuse likewise."""
        self.__setattr__(name, None)

    @property
    def kinds(self) -> Mapping[str, "Kind"]:
        """Its kinds by `Kind.key`, in the order in which they were joined."""
        kinds: dict[str, Kind] = self.__dict__["_kinds"]
        return MappingProxyType(kinds)

    def get(self, kind: type[_K]) -> _K | None:
        """What it says of a kind (``taken.get(WallTime)``); None: nothing."""
        return next((found for found in self.kinds.values() if isinstance(found, kind)), None)

    @property
    def cores(self) -> tuple[int, ...]:
        """Ids of its very cores, ascending; empty where it has none or only counts them."""
        cores = self.get(Cores)
        return cores.ids if cores else ()

    @property
    def memory(self) -> int | None:
        """Bytes; None where it says nothing of memory."""
        memory = self.get(Memory)
        return memory.size if memory else None

    @property
    def gpus(self) -> tuple[str, ...]:
        """Ids of its very GPUs, ascending, as ``CUDA_VISIBLE_DEVICES`` names them; as with `cores`."""
        gpus = self.get(GPUs)
        return gpus.ids if gpus else ()

    def __and__(self, other: "Resource") -> "Resource":
        """Both together."""
        return Resource(self, other) if _is_resource(other) else NotImplemented

    def __ge__(self, other: "Resource") -> bool:
        """Whether `other` can be taken from this."""
        return _affords(self, other) if _is_resource(other) else NotImplemented

    def __le__(self, other: "Resource") -> bool:
        """Whether this can be taken from `other`."""
        return _affords(other, self) if _is_resource(other) else NotImplemented

    def __gt__(self, other: "Resource") -> bool:
        """Whether `other` can be taken from this, but not this from `other`."""
        return _affords(self, other) and not _affords(other, self) if _is_resource(other) else NotImplemented

    def __lt__(self, other: "Resource") -> bool:
        """Whether this can be taken from `other`, but not `other` from this."""
        return _affords(other, self) and not _affords(self, other) if _is_resource(other) else NotImplemented

    def __eq__(self, other: object) -> bool:
        """Whether both have the same kinds, each of the same worth."""
        return _worths(self) == _worths(other) if isinstance(other, Resource) else NotImplemented

    def __hash__(self) -> int:
        """Equal ones have the same."""
        return hash(_worths(self))

    def __repr__(self) -> str:
        """As written: ``Cores(4) & Memory(2 GiB)``."""
        return " & ".join(kind.text() for kind in self.kinds.values()) or "Resource()"


class Kind(Resource):
    """One kind of resource; a subclass is a kind of your own.

    A kind that is counted needs no more than a name: with ``class Licence(Kind): ...`` a call that asks for
    ``Licence(2)`` takes two of the custom resource ``Licence`` that nodes declare. Where a number does not tell it
    all, make it a ``@dataclass(frozen=True, eq=False, repr=False)`` with fields of its own, and override

    * `amount`: what it asks for, in 1/10 000 of what nodes declare;
    * `affords`: whether another of its kind can be taken from it;
    * `take`: that other one as it was taken, and what is left;
    * `give`: what there is when something that was taken is back;
    * `text`: itself, for people.

    All of them answer with new values and change nothing. Instances travel by pickle: by reference where the class can
    be imported, and by value with cloudpickle.
    """

    _amount: Amount = ONE

    def __init__(self, amount: float | str = 1) -> None:
        """So much of it, in whole units: ``2``, ``0.5``. Raises ResourceError."""
        count = self._read(parse_amount, amount)
        if count == 0:
            raise self._wrong("must be more than 0: leave it out where none is needed")
        self.__dict__["_amount"] = count

    def __init_subclass__(cls, **options: object) -> None:
        """Refuse a name that no node could declare, or that is taken."""
        super().__init_subclass__(**options)
        if cls.__module__ == __name__:
            return
        if cls.__name__.lower() in _RESERVED:
            raise ResourceError(f"{cls.__name__} is a kind of pilotfish's own: give yours another name")
        cls._read(_name, cls.__name__)

    @classmethod
    def _read(cls, parse: Callable[[object], _T], value: object) -> _T:
        """What `parse` makes of the value; its complaint, with the kind before it."""
        return _read(cls.__name__, parse, value)

    @classmethod
    def _wrong(cls, problem: str) -> ResourceError:
        return ResourceError(f"{cls.__name__}: {problem}")

    def _with(self, **changes: object) -> Self:
        """The same but for the changes, which are not checked."""
        other = copy(self)
        other.__dict__.update(changes)
        return other

    @property
    def key(self) -> str:
        """What there may be only one of in a resource: the name of the class."""
        return type(self).__name__

    @property
    def kinds(self) -> Mapping[str, "Kind"]:
        """Itself."""
        return MappingProxyType({self.key: self})

    @property
    def amount(self) -> Amount:
        """What it asks for, in 1/10 000."""
        return self._amount

    def affords(self, wanted: Self) -> bool:
        """Whether `wanted`, of the same kind, can be taken from this."""
        return self.amount >= wanted.amount

    def take(self, wanted: Self) -> tuple[Self, Self]:
        """What is taken where `wanted` is asked for and afforded, and what is left."""
        return wanted, self._with(_amount=self._amount - wanted.amount)

    def give(self, taken: Self) -> Self:
        """What there is when `taken`, which had been taken from it, is back."""
        return self._with(_amount=self._amount + taken.amount)

    def offered(self) -> Self:
        """As what there is in a stock. Raises ResourceError where it can only be asked for."""
        return self

    def worth(self) -> tuple[object, ...]:
        """What equal ones share; hashable."""
        return tuple(sorted({**vars(self), "_amount": self._amount}.items()))

    def text(self) -> str:
        """For people, as it would be written."""
        return f"{type(self).__name__}({format_amount(self.amount)})"


class _Units(Kind, Generic[_Id]):
    """Things with ids, of which one can be shared: a count of them, or the very ones with how much of each."""

    shares: tuple[tuple[_Id, Amount], ...] = ()
    """How much of which, by ascending id; empty: only the amount is known."""
    most: Amount | None = None

    def __init__(self, n: float | str | Iterable[object]) -> None:
        """How many: ``4``, or ``0.5`` of one; or the ids of the very ones. Raises ResourceError."""
        if isinstance(n, Iterable) and not isinstance(n, str):
            counts = Counter(self._id(one) for one in n)
            if repeated := [one for one, count in counts.items() if count > 1]:
                raise self._wrong(f"{repeated[0]} is named twice: name each once, or write how many")
            self.__dict__.update(_held(dict.fromkeys(counts, ONE)))
            return
        amount = self._read(parse_amount, n)
        if amount > ONE and amount % ONE:
            less = amount // ONE
            raise self._wrong(f"more than one must be whole: write {less} or {less + 1}, not {n}")
        self.__dict__["_amount"] = amount

    @classmethod
    def _id(cls, value: object) -> _Id:
        """The id that was given, checked; or that of the n-th where they are only counted."""
        raise NotImplementedError

    @property
    def ids(self) -> tuple[_Id, ...]:
        """Of the very ones, ascending; empty where they are only counted."""
        return tuple(one for one, _ in self.shares)

    @property
    def shape(self) -> tuple[int, tuple[Amount, ...]]:
        """How many whole ones, and the parts of others, the largest first."""
        if not self.shares:
            whole, part = divmod(self.amount, ONE)
            return whole, (Amount(part),) * (part > 0)
        parts = sorted((share for _, share in self.shares if share < ONE), reverse=True)
        return len(self.shares) - len(parts), tuple(parts)

    def affords(self, wanted: Self) -> bool:
        """Whether each whole one, and each part, finds one of its own; those that are named in it are not looked at."""
        whole, mine = self.shape
        asked, parts = wanted.shape
        rest = parts[max(0, whole - asked) :]
        return (
            whole >= asked
            and len(rest) <= len(mine)
            and all(have >= part for have, part in zip(mine, rest, strict=False))
        )

    def take(self, wanted: Self) -> tuple[Self, Self]:
        """The first whole ones; a part from the one with the least that is enough, so that whole ones stay whole."""
        whole, parts = wanted.shape
        free = dict(self.offered().shares)
        count = whole if wanted.most is None else wanted.most // ONE
        taken = dict.fromkeys(islice((one for one, share in free.items() if share == ONE), count), ONE)
        for part in parts:
            enough = (one for one, share in free.items() if share >= part and one not in taken)
            taken[min(enough, key=free.__getitem__)] = part
        left = {one: Amount(share - taken.get(one, 0)) for one, share in free.items()}
        return self._with(**_held(taken)), self._with(**_held(left))

    def give(self, taken: Self) -> Self:
        """With the shares of both."""
        shares = dict(self.shares)
        for one, share in taken.shares:
            shares[one] = Amount(shares.get(one, 0) + share)
        return self._with(**_held(shares))

    def offered(self) -> Self:
        """Those that are only counted get ids, from 0."""
        if self.most is not None:
            raise self._wrong(f"there are {format_amount(self.amount)} or {format_amount(self.most)}: write how many")
        if self.shares:
            return self
        whole, parts = self.shape
        counted = enumerate([ONE] * whole + list(parts))
        return self._with(**_held({self._id(at): share for at, share in counted}))

    def worth(self) -> tuple[object, ...]:
        """Which ones they are counts for nothing."""
        return (*self.shape, self.most)

    def text(self) -> str:
        """``Cores(4)``, ``Cores(2, most=8)``, ``Cores([0-2, 5, 6: 0.5])``."""
        said = format_amount(self.amount)
        if self.most is not None:
            said += f", most={format_amount(self.most)}"
        if self.shares:
            whole = _listed([one for one, share in self.shares if share == ONE])
            parts = [f"{one}: {format_amount(share)}" for one, share in self.shares if share < ONE]
            said = f"[{', '.join([*whole, *parts])}]"
        return f"{type(self).__name__}({said})"


class Cores(_Units[int]):
    """Cores of one node: ``Cores(4)``, ``Cores(0.5)`` (half of one), ``Cores(2, most=8)`` (as many as are free).

    ``Cores([3, 5])`` are these very cores, of a stock or as they were taken. A request looks at their number alone.
    """

    def __init__(self, n: float | str | Iterable[int], *, most: float | str | None = None) -> None:
        """At least `n`, at most `most`, whole ones then. Raises ResourceError."""
        super().__init__(n)
        if most is None:
            return
        top = self._read(parse_amount, most)
        if self.shares or self.amount % ONE or top % ONE or top < self.amount:
            raise self._wrong(f"most={most!r} with {n!r}: write two whole numbers, the lesser first: Cores(2, most=8)")
        self.__dict__["most"] = top if top > self.amount else None

    @classmethod
    def _id(cls, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise cls._wrong(f"expected ids of cores such as [3, 5], got {value!r} among them")
        return value


class GPUs(_Units[str]):
    """GPUs of one node: ``GPUs(2)``, ``GPUs(0.5)`` (half of one), or the very ones, as with `Cores`."""

    def __init__(self, n: float | str | Iterable[int | str]) -> None:
        """So many. Raises ResourceError."""
        super().__init__(n)

    @classmethod
    def _id(cls, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int | str) or not re.match(r"\w", str(value)):
            raise cls._wrong(f"expected ids of GPUs such as [0, 1], got {value!r} among them")
        return str(value)


class Memory(Kind):
    """Memory of one node: ``Memory("4GiB")``, ``Memory("500MB")``, or a number of bytes."""

    size: int
    """In bytes."""

    def __init__(self, size: int | str) -> None:
        """Of this size. Raises ResourceError."""
        self.__dict__["size"] = self._read(parse_memory, size)
        if self.size == 0:
            raise self._wrong("must be more than 0: leave it out where it need not be counted")

    def affords(self, wanted: Self) -> bool:
        """Whether it is enough."""
        return self.size >= wanted.size

    def take(self, wanted: Self) -> tuple[Self, Self]:
        """Bytes from bytes."""
        return wanted, self._with(size=self.size - wanted.size)

    def give(self, taken: Self) -> Self:
        """Bytes to bytes."""
        return self._with(size=self.size + taken.size)

    def text(self) -> str:
        """``Memory(2 GiB)``; exact, and so in bytes where need be."""
        return f"Memory({_exact(format_bytes(self.size), parse_bytes, self.size, 'B')})"


class WallTime(Kind):
    """How long an attempt may take: ``WallTime("10m")``, ``WallTime("10m", soft="5m")``, ``WallTime(group="fit")``.

    The limit is enforced. `soft` is the estimate, for placement alone: of two, that with the longer one (or the
    limit, where there is none) affords the other. What the two leave open, the runs of the group tell (`RunTimes`).
    Taking time uses up none.
    """

    limit: float | None
    """In seconds."""
    soft: float | None
    """In seconds, at most the limit."""
    group: str | None

    def __init__(
        self, limit: float | str | None = None, *, soft: float | str | None = None, group: str | None = None
    ) -> None:
        """Some of the three. Raises ResourceError."""
        if limit is soft is group is None:
            raise self._wrong('says nothing: write WallTime("10m") or WallTime(group="fit")')
        if group is not None:
            self._read(_group, group)
        self.__dict__.update(limit=self._seconds(limit), soft=self._seconds(soft), group=group)
        if self.limit is not None and self.soft is not None and self.soft > self.limit:
            raise self._wrong(f"soft, {soft}, is more than the limit, {limit}: it is what an attempt probably takes")

    @classmethod
    def _seconds(cls, time: float | str | None) -> float | None:
        if time is None:
            return None
        seconds = cls._read(parse_seconds, time)
        if seconds == 0:
            raise cls._wrong("must be more than 0: leave it out for no limit")
        return seconds

    @property
    def reckoned(self) -> float:
        """Seconds that placement reckons with; 0 where nobody knows."""
        return self.soft or self.limit or 0.0

    def affords(self, wanted: Self) -> bool:
        """Whether what is reckoned with is enough."""
        return self.reckoned >= wanted.reckoned

    def take(self, wanted: Self) -> tuple[Self, Self]:
        """All of it stays."""
        return wanted, self

    def give(self, taken: Self) -> Self:  # noqa: ARG002 - nothing had been used up
        """As it was."""
        return self

    def offered(self) -> Self:
        """With a limit."""
        if self.limit is None:
            raise self._wrong(f"{self} does not say how much time there is: give it a limit")
        return self

    def text(self) -> str:
        """``WallTime(10m00s, soft=5m00s, group='fit')``."""
        parts = [] if self.limit is None else [_exact(format_seconds(self.limit), parse_seconds, self.limit, "s")]
        parts += (
            [] if self.soft is None else [f"soft={_exact(format_seconds(self.soft), parse_seconds, self.soft, 's')}"]
        )
        parts += [] if self.group is None else [f"group={self.group!r}"]
        return f"WallTime({', '.join(parts)})"


class Token(Kind):
    """A label that the node must carry: ``Token("fast")``. It is not used up; several different ones may be joined."""

    name: str

    def __init__(self, name: str) -> None:
        """Of this name. Raises ResourceError."""
        self.__dict__["name"] = self._read(_name, name)

    @property
    def key(self) -> str:
        """Of each name one: ``Token('fast')``."""
        return self.text()

    def affords(self, wanted: Self) -> bool:
        """Whether it is the same."""
        return self.name == wanted.name

    def take(self, wanted: Self) -> tuple[Self, Self]:
        """It stays."""
        return wanted, self

    def give(self, taken: Self) -> Self:  # noqa: ARG002 - it had stayed
        """As it was."""
        return self

    def text(self) -> str:
        """``Token('fast')``."""
        return f"Token({self.name!r})"


class Capacity(Kind):
    """So many at once of a named thing: ``Capacity(3, of="licence")``. Whatever its number, a request takes one."""

    n: int
    of: str

    def __init__(self, n: int = 1, *, of: str = "capacity") -> None:
        """`n` at once of the custom resource `of`. Raises ResourceError."""
        self._read(_whole, n)
        if self._read(_name, of) in BUILT_IN:
            raise self._wrong(f"{of} is no custom resource: write Cores, Memory or GPUs")
        self.__dict__.update(n=n, of=of)

    @property
    def key(self) -> str:
        """Of each thing one: what nodes declare it as."""
        return self.of

    def affords(self, wanted: Self) -> bool:  # noqa: ARG002 - each wants one
        """Whether one is left."""
        return self.n > 0

    def take(self, wanted: Self) -> tuple[Self, Self]:
        """One."""
        return type(self)(of=wanted.of), self._with(n=self.n - 1)

    def give(self, taken: Self) -> Self:
        """With that one."""
        return self._with(n=self.n + taken.n)

    def text(self) -> str:
        """``Capacity(3, of='licence')``."""
        return f"Capacity({self.n}, of={self.of!r})"


def node(
    cores: float | str | Iterable[int], memory: int | str, gpus: float | str | Iterable[int | str] = 0
) -> Resource:
    """Cores, memory and GPUs of one node: ``Cores(cores) & Memory(memory) & GPUs(gpus)``, without GPUs where 0."""
    both = Cores(cores) & Memory(memory)
    return both & GPUs(gpus) if gpus else both


class Asked(msgspec.Struct, frozen=True):
    """What a resource asks for, in the words of the scheduler."""

    request: Request
    time: float | None = None
    """Seconds after which an attempt is ended."""
    estimate: float | None = None
    """Seconds that it probably takes."""
    group: str | None = None
    """Whose `pilotfish.client.times.RunTimes` tell `time` and `estimate` where they are None."""


def as_request(resource: Resource) -> Asked:
    """The resource as a request to the scheduler; what says nothing of cores asks for one.

    Tokens become labels; capacities, and kinds of the user's own by the name of their class, custom resources.
    Raises ResourceError for what can be free but not be asked for, such as halves of two cores.
    """
    cores, gpus = _askable(resource, Cores), _askable(resource, GPUs)
    if resource.memory == 0:
        raise ResourceError(f"{resource} cannot be asked for: no task does without memory")
    kinds = resource.kinds
    custom = {
        key: kind for key, kind in kinds.items() if not isinstance(kind, Cores | GPUs | Memory | Token | WallTime)
    }
    for kind in custom.values():
        _read(f"the amount of {kind}, in 1/10000", _whole, kind.amount)
    request = Request(
        cores=cores.amount if cores else ONE,
        memory=resource.memory,
        gpus=gpus.amount if gpus else Amount(0),
        most_cores=cores.most if cores else None,
        resources=tuple(sorted((key, kind.amount) for key, kind in custom.items())),
        labels=tuple(sorted(kind.name for kind in kinds.values() if isinstance(kind, Token))),
    )
    time = resource.get(WallTime)
    return Asked(request, time.limit, time.soft, time.group) if time else Asked(request)


def _askable(resource: Resource, kind: type[_U]) -> _U | None:
    """What it asks of cores or of GPUs: whole ones, or a part of one."""
    units = resource.get(kind)
    if units is not None:
        whole, parts = units.shape
        if len(parts) + bool(whole) > 1:
            raise ResourceError(f"{units} cannot be asked for: write a whole number, or a part of one")
    return units


def _affords(there: Resource, wanted: Resource) -> bool:
    kinds = there.kinds
    return all(key in kinds and kinds[key].affords(kind) for key, kind in wanted.kinds.items())


def _worths(resource: Resource) -> frozenset[tuple[str, tuple[object, ...]]]:
    return frozenset((key, kind.worth()) for key, kind in resource.kinds.items())


def _held(shares: Mapping[_Id, Amount]) -> dict[str, object]:
    """What units that are just these know of themselves; ids in numeric order also where they are text."""
    held = ((one, share) for one, share in shares.items() if share)
    in_order = tuple(sorted(held, key=lambda pair: (len(str(pair[0])), str(pair[0]))))
    return {"shares": in_order, "_amount": Amount(sum(share for _, share in in_order))}


def _listed(ids: Iterable[int | str]) -> list[str]:
    """Ids for people, with three or more numbers that follow each other as ``0-2``."""
    found = list(ids)
    words = [one for one in found if isinstance(one, str)]
    for span in spans_of(one for one in found if isinstance(one, int)):
        few = span.hi - span.lo < 3
        words += map(str, range(span.lo, span.hi)) if few else [f"{span.lo}-{span.hi - 1}"]
    return words


def _exact(text: str, parse: Callable[[object], float], number: float, unit: str) -> str:
    """The text, if it reads back as the number; else the number."""
    return text if parse(text) == number else f"{number} {unit}"


def _is_resource(value: object) -> bool:
    """Also where its type promises so: what cannot be joined or compared is Python's to refuse."""
    return isinstance(value, Resource)


def _read(what: str, parse: Callable[[object], _T], value: object) -> _T:
    try:
        return parse(value)
    except ValueError as error:
        raise ResourceError(f"{what}: {error}") from error


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f'expected a name such as "fast", got {value!r}')
    return read_name(value)


def _group(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f'expected the name of a group such as "fit", got {value!r}')
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"expected a whole number from 1, got {value!r}")
    return value
