"""`pilotfish` whose agents all come from other machines, by themselves: ``python -m tests.chaos.far run FILE``."""

import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from pilotfish.cli import run
from pilotfish.cli.main import main


class Strangers:
    """In the place of this machine's agent: it only lets others in."""

    expected = None

    def __init__(self, _config: object) -> None:
        pass

    def go(self, let_in: Callable[[], Path]) -> None:
        let_in()

    def supervise(self, _connected: Collection[str], _now: float) -> Iterable[str]:
        return ()

    def end(self, _patience: float) -> None:
        pass


if __name__ == "__main__":
    setattr(run, "AgentProcess", Strangers)  # noqa: B010 - a plain assignment to a class is a type error
    sys.exit(main(sys.argv[1:]))
