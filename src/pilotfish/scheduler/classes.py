"""Request classes: tasks that ask for the same share one, so that a pass works on classes and counts.

What belongs here: what is known of a class whatever job its tasks are of. What must not: tasks, nodes.
"""

import math
from collections import deque
from collections.abc import Iterator

from pilotfish.model.resources import Request
from pilotfish.scheduler.fit import Need

__all__ = ["Classes", "Durations", "RequestClass"]

_REMEMBERED = 15
"""Durations of which quantiles are taken: enough to be robust, few enough to follow a change."""
_LIKELY = 0.9
"""The quantile that is promised to others: most attempts take no longer."""


class Durations:
    """How long the newest attempts of like tasks took, in seconds."""

    __slots__ = ("_newest", "likely", "typical")

    def __init__(self) -> None:
        """None yet."""
        self._newest: deque[float] = deque(maxlen=_REMEMBERED)
        self.typical: float | None = None
        """Their median, None before there is one."""
        self.likely: float | None = None
        """What most of them did not exceed, None before there is one."""

    def add(self, seconds: float) -> None:
        """One more."""
        self._newest.append(seconds)
        ascending = sorted(self._newest)
        self.typical, self.likely = ascending[len(ascending) // 2], ascending[int(len(ascending) * _LIKELY)]


class RequestClass:
    """What its tasks ask for: one request, or alternatives."""

    __slots__ = (
        "durations",
        "home",
        "least_cores",
        "needs",
        "plain",
        "reached",
        "refused_window",
        "shortest",
        "simple",
    )

    def __init__(self, requests: tuple[Request, ...], home: str | None = None) -> None:
        """Of these requests, best first; with `home`, on the node of that name alone."""
        self.home = home
        self.needs = tuple([Need(request, home) for request in requests])
        first, *others = requests
        self.simple = not (others or first.nodes > 1 or first.most_cores is not None or first.spread)
        """Whether whatever slots its tasks get are as good as any others that they could get."""
        self.plain = all(need.plain for need in self.needs)
        """Whether counting cores and memory tells if its tasks fit."""
        self.least_cores = min(need.whole if need.nodes == 1 else 0 for need in self.needs)
        """A node with fewer whole cores has no room for its tasks; 0: others may have to come with it."""
        self.durations = Durations()
        """Of jobs of one task each: none of them can tell by itself whether it is short."""
        self.shortest = math.inf
        """Seconds that no task which was ever queued is expected to beat."""
        self.refused_window = -1.0
        """Seconds before a reservation that were too short for every one that is queued."""
        self.reached = False
        """Whether the nodes that are here could hold its tasks, if nothing ran on them; else these are not queued."""


class Classes:
    """All classes that there are."""

    def __init__(self) -> None:
        """None yet."""
        self._known: dict[tuple[tuple[Request, ...], str | None], RequestClass] = {}

    def __iter__(self) -> Iterator[RequestClass]:
        """All of them, as they came."""
        return iter(self._known.values())

    def of(self, requests: tuple[Request, ...], home: str | None = None) -> RequestClass:
        """The one class of those who ask for this; with `home`, on the node of that name alone."""
        found = self._known.get((requests, home))
        if found is None:
            found = self._known[requests, home] = RequestClass(requests, home)
        return found
