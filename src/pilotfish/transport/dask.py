"""Dask carries: its communication layer takes the bytes of connections from machine to machine, over mutual TLS.

A *gateway* beside the manager lets agents in, a *dialer* beside each agent reaches it; each is a process of its own,
so that neither manager nor agent has an event loop, or a thread, that they would have to fork beside. What connects to
the dialer's Unix socket arrives, byte for byte, at the manager's. No Dask scheduler is involved.

What belongs here: these two, as far as they need Dask. What must not: frames, starting processes.
"""

import asyncio
import contextlib
import errno
import json
import logging
import os
import random
import resource
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import msgspec
import psutil
from distributed.comm.core import Comm, Listener, connect, listen
from distributed.security import Security

from pilotfish.errors import UserError
from pilotfish.transport.bulk import Piece, send_pieces, take_pieces
from pilotfish.transport.credentials import credentials_in
from pilotfish.transport.depot import END, Depot, open_values
from pilotfish.transport.join import Join, read_join

__all__ = ["be_dialer", "be_gateway"]

_MESSAGES, _PIECES, _VALUES = "messages", "pieces", "values"
"""What a connection carries: its first word."""
_CHUNK = 2**18
"""Bytes that travel at once."""
_CROWDED = 0.1
"""Seconds until the next attempt to take a connection where there were no descriptors for it."""
_CONNECT_PATIENCE = 5.0
"""Seconds for one address to answer."""
_NEXT_ADDRESS = 0.5
"""Seconds after which the next one is tried as well."""
_STRANGER = 10.0
"""Seconds in which whoever connects must have said what for: longer than an agent waits for an answer."""


def be_gateway(credentials: Path, manager: Path, outputs: Path, port: int, values: tuple[Path, ...] = ()) -> None:
    """Take connections of agents and pass each on to the manager's socket, until standard input ends.

    Tells on standard output, in one line of JSON, where it listens, and what agents need to be let in.

    Args:
        credentials: file that holds them, made where it is missing.
        manager: its Unix socket.
        outputs: folder for outputs of nodes that do not see it.
        port: to listen at, if it is free; so that agents which know no better find the next manager too.
        values: folder for values of a session, and one for those that it has no room for; none: there are none.

    """
    own = credentials_in(credentials)
    security = _security(own.authority, own.manager_certificate, own.manager_secret)

    async def serve() -> None:
        passing: set[asyncio.Task[None]] = set()

        async def take(comm: Comm) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - Dask calls this in one
            passing.add(task)
            try:
                kind = await comm.read()
                strangers.discard(comm.stream)  # type: ignore[attr-defined]
                if kind == _MESSAGES:
                    await _pass(comm, await _knock(manager))
                elif kind == _VALUES:
                    await Depot(comm, open_values(values)).serve()
                else:
                    await take_pieces(comm, outputs)
            except OSError:
                comm.abort()  # either side has gone
            finally:
                passing.discard(task)

        listener = await _listen(port, take, security)
        strangers = _with_patience(listener)
        bound = int(listener.contact_address.rpartition(":")[2])
        told = {
            "addresses": [f"tls://{host}:{bound}" for host in _hosts()],
            "authority": own.authority,
            "certificate": own.agent_certificate,
            "secret": own.agent_secret,
        }
        sys.stdout.write(f"{json.dumps(told)}\n")
        sys.stdout.flush()
        await _end_of_input()
        os._exit(0)  # all that is still on its way belongs to a manager that has gone

    _be(serve())


def be_dialer(joins: Sequence[Path], door: Path, outputs: Path) -> None:
    """Pass on to the manager what connects at a Unix socket, until standard input ends.

    Beside it, at ``<door>-bulk``, it takes words about which pieces of outputs shall be brought there; what connects at
    ``<door>-values`` reaches the values of a session.

    Args:
        joins: files that tell where the manager is, read anew at each connection: it may be another one by then. The
            first that is there counts.
        door: path of the socket.
        outputs: folder of this node's outputs.

    """

    async def serve() -> None:
        last = ""

        async def reach(kind: str) -> Comm | None:
            nonlocal last
            comm = None
            with contextlib.suppress(UserError):
                join = next((read_join(path) for path in joins if path.exists()), None)
                comm = None if join is None else await _dial(join, last)
            if comm is not None:
                last = comm.peer_address
                await comm.write(kind)
            return comm

        def through(
            kind: str, talk: Callable[[Comm, socket.socket], Awaitable[None]]
        ) -> Callable[[socket.socket], Awaitable[None]]:
            async def take(end: socket.socket) -> None:
                with end, contextlib.suppress(OSError):  # of a connection that ends at once; there will be another
                    comm = await reach(kind)
                    if comm is not None:
                        await talk(comm, end)

            return take

        doors = {
            door: through(_MESSAGES, _pass),
            door.with_name(f"{door.name}-values"): through(_VALUES, _pass),
            door.with_name(f"{door.name}-bulk"): through(_PIECES, partial(_bring, outputs)),
        }
        answering = [asyncio.create_task(_answer_at(_open_door(path), answer)) for path, answer in doors.items()]
        await asyncio.wait([*answering, asyncio.create_task(_end_of_input())], return_when=asyncio.FIRST_COMPLETED)
        os._exit(0)  # all that is still on its way belongs to an agent that has gone

    _be(serve())


def _be(serve: Coroutine[Any, Any, None]) -> None:
    """Be one of the two; each connection takes two descriptors."""
    for name in ("distributed", "tornado"):  # they tell of each connection that ends; that is for us to judge
        logging.getLogger(name).setLevel(logging.CRITICAL)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(serve)


def _security(authority: str, certificate: str, secret: str) -> Security:
    return Security(
        require_encryption=True,
        tls_ca_file=authority,
        tls_scheduler_cert=certificate,
        tls_scheduler_key=secret,
        tls_worker_cert=certificate,
        tls_worker_key=secret,
    )


@lru_cache(maxsize=1)  # Dask writes them to a temporary file each time: the disk may be full by then
def _to_connect(authority: str, certificate: str, secret: str) -> dict[str, Any]:
    options: dict[str, Any] = _security(authority, certificate, secret).get_connection_args("worker")
    return options


async def _listen(port: int, take: Callable[[Comm], Awaitable[None]], security: Security) -> Listener:
    options = security.get_listen_args("scheduler")
    listener: Listener
    try:
        listener = await listen(f"tls://0.0.0.0:{port}", take, deserialize=False, **options)
    except OSError:  # somebody else has it now
        listener = await listen("tls://0.0.0.0:0", take, deserialize=False, **options)
    return listener


def _with_patience(listener: Listener) -> set[object]:
    """Let those who connect go after a while, unless their stream is taken out of this set; else they may stay mute."""
    loop, server = asyncio.get_running_loop(), listener.tcp_server  # type: ignore[attr-defined]
    take, strangers = server.handle_stream, set()

    def let_go(stream: Any) -> None:  # noqa: ANN401 - Tornado's
        if stream in strangers:
            strangers.discard(stream)
            stream.close()

    def welcome(stream: Any, address: object) -> object:  # noqa: ANN401
        strangers.add(stream)
        loop.call_later(_STRANGER, let_go, stream)
        return take(stream, address)

    def crowded(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Tornado tries at once to take those again for whom there were no descriptors, and tells each time."""
        if getattr(context.get("exception"), "errno", None) in {errno.EMFILE, errno.ENFILE}:
            time.sleep(_CROWDED)
        else:
            loop.default_exception_handler(context)

    server.handle_stream = welcome
    loop.set_exception_handler(crowded)
    return strangers


def _hosts() -> list[str]:
    """Addresses of this machine: those of its networks, those of none last."""
    states = psutil.net_if_stats()
    found = [
        address.address
        for name, addresses in psutil.net_if_addrs().items()
        for address in addresses
        if address.family.name == "AF_INET" and name in states and states[name].isup
    ]
    return sorted(found, key=lambda address: address.startswith("127."))


async def _dial(join: Join, last: str) -> Comm | None:
    """A connection to the manager; None where none can be had. The address that answered last is tried first."""
    options = _to_connect(join.authority, join.certificate, join.secret)

    async def reach(turn: int, address: str) -> Comm:
        await asyncio.sleep(turn * _NEXT_ADDRESS)
        comm: Comm = await connect(address, timeout=_CONNECT_PATIENCE, deserialize=False, **options)
        return comm

    addresses = sorted(join.addresses, key=lambda address: address != last)
    tries = {asyncio.ensure_future(reach(turn, address)) for turn, address in enumerate(addresses)}
    while tries:
        ended, tries = await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
        reached = [one.result() for one in ended if one.exception() is None]
        if reached:
            for one in tries:
                one.cancel()
            for comm in reached[1:]:
                comm.abort()
            return reached[0]
    await asyncio.sleep(random.uniform(0.0, 0.2))  # noqa: S311 - so that not all agents come at the same moment
    return None


def _open_door(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX)
    door.settimeout(0)
    door.bind(str(path))
    path.chmod(0o600)
    door.listen()
    return door


async def _answer_at(door: socket.socket, answer: Callable[[socket.socket], Awaitable[None]]) -> None:
    """Take what connects, for ever."""
    loop = asyncio.get_running_loop()
    answers: set[asyncio.Future[None]] = set()
    while True:
        try:
            end, _ = await loop.sock_accept(door)
        except OSError:
            await asyncio.sleep(_CROWDED)
            continue
        answers.add(task := asyncio.ensure_future(answer(end)))
        task.add_done_callback(answers.discard)


async def _knock(path: Path) -> socket.socket:
    """A connection to a Unix socket."""
    end = socket.socket(socket.AF_UNIX)
    end.settimeout(0)
    try:
        await asyncio.get_running_loop().sock_connect(end, str(path))
    except BaseException:
        end.close()
        raise
    return end


async def _pass(comm: Comm, end: socket.socket) -> None:
    """Pass bytes both ways until either side ends, then end the other, which hears all that was said before.

    Hence a side that has ended says so by `END`, and the other one closes: to close while something comes in would
    destroy what is on its way out. For the same reason no stream of asyncio reads here: it drops what it has read, and
    reads no more, once a write has failed.
    """
    loop = asyncio.get_running_loop()

    async def out() -> None:
        with contextlib.suppress(OSError):  # it has closed before it had heard all
            while data := await loop.sock_recv(end, _CHUNK):
                await comm.write(data)
                if len(data) > _CHUNK // 2:  # Dask keeps what a slow reader does not take, without limit
                    await comm.stream.write(b"")  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            await comm.write(END)

    async def back() -> None:
        while data := await comm.read():
            with contextlib.suppress(OSError):  # it has gone, but what it said last may still be on its way
                await loop.sock_sendall(end, data)

    outward = asyncio.ensure_future(out())
    try:
        await back()
    finally:
        outward.cancel()
        await asyncio.wait([outward])
        end.close()
        with contextlib.suppress(OSError):
            await comm.close()


async def _bring(outputs: Path, comm: Comm, end: socket.socket) -> None:
    """Bring pieces of outputs to the manager's side, as the agent says; answer it with a line each time."""
    reader, writer = await asyncio.open_unix_connection(sock=end)
    try:
        while line := await reader.readline():
            trouble = await send_pieces(comm, outputs, msgspec.json.decode(line, type=list[Piece]))
            writer.write(f"{trouble}\n".encode())
            await writer.drain()
    except OSError:
        pass  # the agent will ask again
    finally:
        comm.abort()
        writer.close()


async def _end_of_input() -> None:
    """Wait until whoever has started this process has gone."""
    ended = asyncio.Event()
    descriptor = sys.stdin.fileno()

    def look() -> None:
        if not os.read(descriptor, 4096):
            ended.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, look)
    await ended.wait()
    loop.remove_reader(descriptor)
