"""The named limits of the whole queue: how many tasks may be held at once, whatever is free on nodes."""

from collections.abc import Mapping

from pilotfish.errors import InternalError

__all__ = ["Limits"]


class Limits:
    """The named limits and what is taken of each. Grants count, whether they have started or not."""

    def __init__(self) -> None:
        """No limits."""
        self._most: Mapping[str, int] = {}
        self._taken: dict[str, int] = {}

    def set(self, most: Mapping[str, int]) -> None:
        """Limits in the place of the earlier ones; names that are not among them are without one."""
        self._most = most

    def change(self, uses: Mapping[str, int], tasks: int) -> None:
        """So many more tasks that use this are held; fewer where negative."""
        for name, amount in uses.items():
            self._taken[name] = self._taken.get(name, 0) + tasks * amount

    def free(self, name: str) -> int | None:
        """What is left of a limit; None where there is no such limit."""
        most = self._most.get(name)
        return None if most is None else most - self._taken.get(name, 0)

    def most(self, name: str) -> int | None:
        """A limit; None where there is none of the name."""
        return self._most.get(name)

    def room(self, uses: Mapping[str, int]) -> int | None:
        """How many more tasks that use this may be held; None: any number."""
        rooms = [max(0, free) // amount for name, amount in uses.items() if (free := self.free(name)) is not None]
        return min(rooms, default=None)

    def lacking(self, uses: Mapping[str, int]) -> str | None:
        """The first limit that does not let another such task start."""
        for name, amount in uses.items():
            free = self.free(name)
            if free is not None and free < amount:
                return name
        return None

    def check(self, held: Mapping[str, int]) -> None:
        """Raise InternalError where what is taken is not what is held."""
        taken = {name: amount for name, amount in self._taken.items() if amount}
        if taken != {name: amount for name, amount in held.items() if amount}:
            raise InternalError(f"{taken} of the limits is taken, and {held} is held")
