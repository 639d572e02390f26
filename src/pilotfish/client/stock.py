"""What there is of resources: parts of it are taken and given back.

What belongs here: who holds what. What must not: kinds, which know themselves how they are taken.
"""

from pilotfish.client.resources import Resource, ResourceError

__all__ = ["InsufficientError", "MissingKindError", "Stock"]


class MissingKindError(ResourceError, LookupError):
    """A stock has nothing at all of a kind that was to be taken."""


class InsufficientError(ResourceError):
    """A stock has too little left of a kind that was to be taken."""


class Stock:
    """What there is of a resource, of which parts are taken and given back. For one thread at a time.

    A request can be taken if, and only if, ``stock.free >= request``.
    """

    def __init__(self, resource: Resource) -> None:
        """All of it free. Raises ResourceError for what can only be asked for, such as ``Cores(2, most=8)``."""
        self._whole = Resource(*(kind.offered() for kind in resource.kinds.values()))
        self._left = dict(self._whole.kinds)
        self._taken: dict[int, Resource] = {}

    @property
    def free(self) -> Resource:
        """What is left; of what is all taken, none: ``Cores(0)``."""
        return Resource(*self._left.values())

    @property
    def taken(self) -> tuple[Resource, ...]:
        """What `take` answered and nobody has given back, the oldest first."""
        return tuple(self._taken.values())

    def take(self, request: Resource) -> Resource:
        """The very things, for `give` later: ``Cores([3, 5])`` for ``Cores(2)``. All or nothing.

        Raises MissingKindError for a kind that the stock never had, InsufficientError where too little is left.
        """
        left, pieces = dict(self._left), []
        for key, wanted in request.kinds.items():
            if key not in left:
                raise MissingKindError(f"{wanted} cannot be taken from {self._whole}, which has no {key}")
            if not left[key].affords(wanted):
                raise InsufficientError(f"{wanted} cannot be taken: free is {left[key]} of {self._whole.kinds[key]}")
            piece, left[key] = left[key].take(wanted)
            pieces.append(piece)
        taken = Resource(*pieces)
        self._left, self._taken[id(taken)] = left, taken
        return taken

    def give(self, taken: Resource) -> None:
        """Back what `take` answered: that very value, once. Raises ResourceError for any other."""
        if self._taken.get(id(taken)) is not taken:
            raise ResourceError(f"{taken} is not taken from this stock: give back what take answered, once")
        left = dict(self._left)
        for key, kind in taken.kinds.items():
            left[key] = left[key].give(kind)
        self._left = left
        del self._taken[id(taken)]
