"""Stopping on purpose at a named step: the seam through which tests strike where it hurts most.

``PILOTFISH_STOP_AT=keeper.intent`` makes each process that comes to that step kill itself there with SIGKILL;
``keeper.intent:3`` when it comes there for the third time. With ``keeper.intent:3:/some/file`` the first process to do
so writes its id into that new file and pauses (SIGSTOP): a test may kill whom it likes and let it go on; the
others pass. Unset, a step costs one empty call.

What belongs here: this seam. What must not: anything that the product depends on.
"""

import os
import signal
from collections.abc import Callable

__all__ = ["reached"]


def _stop_at(order: str) -> Callable[[str], None]:
    wanted, _, rest = order.partition(":")
    times, _, marker = rest.partition(":")
    left = int(times or 1)

    def count(step: str) -> None:
        nonlocal left
        if step != wanted:
            return
        left -= 1
        if left == 0 and not marker:
            os.kill(os.getpid(), signal.SIGKILL)
        elif left == 0 and _first(marker):
            os.kill(os.getpid(), signal.SIGSTOP)

    return count


def _first(marker: str) -> bool:
    try:
        file = os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    os.write(file, b"%d\n" % os.getpid())
    os.close(file)
    return True


def _go_on(_step: str) -> None:
    """Nobody asked for a fault."""


_order = os.environ.get("PILOTFISH_STOP_AT")

reached: Callable[[str], None] = _stop_at(_order) if _order else _go_on
"""Tell that this process has come to a step, named like ``store.committing``."""
