"""Where servers are: from what a user says, or from where the user is, to the folder of a server's campaign.

What belongs here: finding a server, and its socket. What must not: what it is asked.
"""

import os
from collections.abc import Callable
from pathlib import Path

from pilotfish import __version__
from pilotfish.errors import NotYetSupportedError, UnavailableError, UserError
from pilotfish.manager.campaigns import DEFAULT_STORE, SERVER, last_run, read_access, user_store
from pilotfish.manager.requests import About, Welcomed, question_name
from pilotfish.transport.caller import Caller
from pilotfish.transport.local import connect

__all__ = ["client_folder", "find_server", "greet", "is_address", "living_server", "server_socket"]

_LATER = ("https:", "tcp:", "tls:")
_UNIX = "unix:"
_PATIENCE = 5.0
"""Seconds that a server gets to say where it is."""


def client_folder(folder: Path, client: str) -> Path:
    """Where the large values of a client lie, in the folder of its server's campaign."""
    return folder / "clients" / client


def is_address(text: str) -> bool:
    """Whether a text says where a server is, where it might also name a store of one's own."""
    return text.startswith((_UNIX, *_LATER))


def find_server(text: str) -> Path:
    """The folder of the server that ``unix:PATH``, or PATH, means: its store, its folder in that, or its socket.

    Raises UserError where there is none, UnavailableError where nobody answers at a socket.
    """
    if text.startswith(_LATER):
        raise NotYetSupportedError(f"{text}: servers on other machines are not yet supported; see docs/limits.md")
    path = Path(text.removeprefix(_UNIX)).absolute()
    if path.is_socket():
        return Path(greet(Caller(lambda: path, _PATIENCE)).folder)
    for folder in (path / SERVER, path):
        if last_run(folder) is not None:
            return folder
    raise UserError(f"{text}: there is no server; `pilotfish serve --store {path}` starts one there")


def living_server(text: str | None, start: Path) -> Path | None:
    """The folder of the server that `text` names, else ``PILOTFISH_SERVER``, else of one that lives; None: none does.

    Those are looked for in each ``.pilotfish`` from `start` upwards, then in the user's own store.
    """
    named = text or os.environ.get("PILOTFISH_SERVER")
    if named:
        return find_server(named)
    start = start.absolute()
    stores = [folder / DEFAULT_STORE for folder in (start, *start.parents)]
    return next((store / SERVER for store in (*stores, user_store()) if _lives(store / SERVER)), None)


def greet(caller: Caller) -> Welcomed:
    """Who answers. Raises UserError where it is another pilotfish, whose words may mean something else."""
    welcomed = Welcomed(**caller.ask(question_name(About()), {}))
    if welcomed.version != __version__:
        raise UserError(f"the server is pilotfish {welcomed.version}, and this is {__version__}: start it anew")
    return welcomed


def server_socket(folder: Path) -> Callable[[], Path]:
    """Tells where the server of a folder listens now; what it gives raises UnavailableError while none does."""

    def socket() -> Path:
        access = read_access(folder)
        if access is None:
            raise UnavailableError(f"no server runs in {folder.parent}: `pilotfish serve --store {folder.parent}`")
        if access.host != os.uname().nodename:
            raise UnavailableError(
                f"the server of {folder.parent} is process {access.pid} on host {access.host}: ask there"
            )
        return Path(access.socket)

    return socket


def _lives(folder: Path) -> bool:
    access = read_access(folder)
    if access is None:
        return False
    if access.host != os.uname().nodename:
        return True  # whoever asks it will hear where it is
    try:
        connect(Path(access.socket)).close()
    except UnavailableError:
        return False
    return True
