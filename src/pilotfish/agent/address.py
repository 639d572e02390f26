"""Where the manager of a campaign is, as its access file tells.

What belongs here: reading that file. What must not: connecting.
"""

from pathlib import Path

import msgspec

from pilotfish.errors import UnavailableError

__all__ = ["manager_socket"]


class _Access(msgspec.Struct, frozen=True):
    """What the file tells, as far as an agent and its workers need it."""

    socket: str


def manager_socket(access: Path) -> Path:
    """The socket of the manager that has written the file. Raises UnavailableError."""
    try:
        return Path(msgspec.json.decode(access.read_bytes(), type=_Access).socket)
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise UnavailableError(f"{access} does not tell where the manager is") from error
