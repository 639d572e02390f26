"""What an agent on another machine must know to reach its manager, and to be let in: one file of its user alone.

What belongs here: this value, its file. What must not: making keys, connecting.
"""

from pathlib import Path

import msgspec

from pilotfish.errors import UserError
from pilotfish.runtime import write_private
from pilotfish.settings import Settings

__all__ = ["JOIN", "Join", "parse_join", "read_join", "write_join"]

JOIN = "join"
"""Name of the file, in the folder of a campaign."""


class Join(msgspec.Struct, frozen=True, kw_only=True):
    """How to join a manager."""

    version: str
    """Of its pilotfish; agents must be of the same."""
    campaign: str
    """Its folder, absolute; whether a node sees the same one is for the node to find out."""
    key: str
    """Short name of the campaign, for folders of its own on each node."""
    addresses: tuple[str, ...]
    """Where it may be reached, in Dask's words (``tls://10.0.0.7:41235``); the likeliest first."""
    authority: str
    """Certificate of the manager's own authority, in PEM: who shows one signed by it is let in, on both sides."""
    certificate: str
    """For agents, in PEM."""
    secret: str
    """The private key of that certificate, in PEM."""
    settings: Settings
    """Of the manager."""


def write_join(path: Path, join: Join) -> None:
    """Write the file, readable by its user alone, never half written."""
    write_private(path, msgspec.json.encode(join))


def read_join(path: Path) -> Join:
    """What the file tells. Raises UserError where it is missing, damaged, or of another version."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} does not tell how to join a manager: {error.strerror}") from error
    return parse_join(content, str(path))


def parse_join(content: bytes, place: str) -> Join:
    """What was read at a place. Raises UserError naming that where it is damaged, or of another version."""
    try:
        return msgspec.json.decode(content, type=Join)
    except msgspec.DecodeError as error:
        raise UserError(f"{place} does not tell how to join a manager: {error}") from error
