"""The worker: a warm interpreter, forked from its keeper, that calls functions one after the other.

Between two calls it sees that the next one finds a clean process: folder, environment and cores are set back; what
cannot be set back (threads or processes that are left, streams that were closed) makes it say that it is spoiled, and
its keeper starts another.

What belongs here: the order of these things in the worker's process. What must not: how values travel; limits, which
the keeper enforces from outside.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import msgspec

from pilotfish.errors import InitializerError, InternalError, UnpicklableError, UserError
from pilotfish.functions import context
from pilotfish.functions.envelope import load_function, pack_exception, pack_value, unpack_arguments
from pilotfish.functions.far import values_of
from pilotfish.functions.line import Line
from pilotfish.functions.shared import read_from
from pilotfish.functions.surroundings import Surroundings
from pilotfish.functions.values import Values
from pilotfish.functions.wire import (
    CHUNK,
    ENDED,
    IN_BAND,
    REFUSED,
    Afar,
    Assignment,
    Batch,
    Call,
    CallEnd,
    Page,
    framed,
    split_call,
    unframed,
)
from pilotfish.model.jobs import Function

__all__ = ["work"]

_MOST_FUNCTIONS = 100
"""That are kept loaded."""
_BELL = b"."
_REFUSAL = CallEnd(REFUSED, b"", "", 0.0, 0.0, 0.0, printed=False, spoiled="")
_decode = msgspec.msgpack.Decoder(Batch).decode


class _Ended(BaseException):
    """What was to be unpickled for a call wants this process to end."""


class _Left(Exception):  # noqa: N818 - not an error: the keeper has gone
    """There is nobody to work for any more."""


def work(keeper: socket.socket, results: int, page: Page, line: Line, afar: Afar | None) -> int:
    """Call what the keeper sends until it goes away; the exit code of the process.

    Args:
        keeper: batches come in, the bell goes out.
        results: the writing end of a pipe that does not block.
        page: shared with the keeper.
        line: from what is called to the manager.
        afar: how to have values that lie on another machine; None: on this one.

    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    with contextlib.suppress(_Left):
        _Worker(keeper, results, page, line, afar).serve()
    return 0


class _Worker:
    def __init__(self, keeper: socket.socket, results: int, page: Page, line: Line, afar: Afar | None) -> None:
        self._keeper, self._results, self._page, self._line, self._afar = keeper, results, page, line, afar
        self._pid = os.getpid()
        os.register_at_fork(after_in_child=self._lose_keeper)
        self._arrived = bytearray()
        self._waiting: deque[Batch] = deque()
        self._rung = False
        """Whether the keeper was told that there is something, and has not answered."""
        self._may_go_on = True
        """Not while the keeper collects an output."""
        self._cpu = time.process_time()
        """Used when the last call had ended, in seconds."""
        self._given = 0
        """Calls that have come, made or not."""
        self._functions: dict[bytes, Callable[..., Any]] = {}
        """By what calls say of them."""
        self._why_not: Exception | None = None
        """Why the job cannot be worked for."""
        self._initializer: str | None = None
        """What was called first."""
        self._broken: Exception | None = None
        """Why nothing can be called: that raised."""
        self._function: Function | None = None
        self._values: Values | None = None
        self._surroundings = Surroundings()
        self._context: context.Current | None = None

    def serve(self) -> None:
        for batch in self._batches():
            if batch.assignment is not None:
                self._assign(batch.assignment)
            for call in batch.calls:
                number, self._given = self._given, self._given + 1
                if self._page.is_void(number):
                    continue
                self._page.begin(number, time.monotonic())
                if self._page.is_void(number):
                    self._tell(_REFUSAL)
                    continue
                done = self._make(call)
                self._tell(done)
                if done.spoiled:
                    raise _Left
                if call is batch.calls[-1] and not self._waiting:
                    self._ring()  # at once: nobody need wait for what follows
                self._tidy_up()

    def _batches(self) -> Iterator[Batch]:
        """What the keeper sends, for ever; rings the bell before it waits."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._rung:
                self._receive()
            elif not self._receive(socket.MSG_DONTWAIT):
                self._ring()

    def _receive(self, flags: int = 0) -> bool:
        """Take in what arrives; with MSG_DONTWAIT what has arrived, False where that is nothing."""
        try:
            chunk = self._keeper.recv(CHUNK, flags)
        except BlockingIOError:
            return False
        if not chunk:
            raise _Left
        self._rung = False
        self._arrived += chunk
        for message in unframed(self._arrived):
            batch = _decode(message)
            if batch.calls:
                self._waiting.append(batch)
            else:
                self._may_go_on = True
        return True

    def _assign(self, assignment: Assignment) -> None:
        """Become a worker of this job."""
        self._context = context.Current(assignment, self._line)
        context.enter(self._context)
        function = self._function = assignment.function
        self._values = values_of(function, self._afar)
        read_from(self._values)
        self._why_not = None
        if assignment.function.python != sys.version_info[:2]:
            theirs = ".".join(map(str, assignment.function.python))
            text = f"its functions were pickled by Python {theirs}, and the workers of this node are {sys.version[:6]}"
            self._why_not = UserError(f"{assignment.name}: {text}")
        try:
            self._surroundings.set(assignment)
        except OSError as error:
            self._why_not = error
        self._surroundings.accept_streams()

    def _make(self, call: Call) -> CallEnd:
        """Make one call, and see what it leaves."""
        began = time.time()
        if self._context is not None:
            self._context.begin(call.position, call.number)
        code, result, reason, defer = self._call(call.arguments)
        told_to_end = self._context is not None and self._context.end()
        if told_to_end and code == 0 and defer is None:
            code, result, reason = ENDED, b"", "it was told to end"  # what it returns counts no more
        spoiled, printed = self._surroundings.look()
        before, self._cpu = self._cpu, time.process_time()
        return CallEnd(
            code=code,
            result=result,
            reason=reason,
            began=began,
            ended=max(began, time.time()),
            cpu_seconds=self._cpu - before,
            printed=printed,
            spoiled=spoiled or "it was told to end" * told_to_end,
            defer=defer,
        )

    def _tidy_up(self) -> None:
        """Set back what the call has changed, before the next one begins."""
        try:
            self._surroundings.restore()
        except OSError:
            raise _Left from None  # its folder is gone: the next worker will say so

    def _call(self, packed: bytes) -> tuple[int, bytes, str, float | None]:
        """Code, packed result, reason, and the seconds after which it wants to be made again."""
        try:
            self._be_ready()
            head, arguments = split_call(packed)
            try:
                function = self._functions.get(head) or self._load(head)
                args, kwargs = unpack_arguments(arguments, self._values)
            except SystemExit as error:
                raise _Ended from error
            returned = function(*args, **kwargs)
            if isinstance(returned, Coroutine):
                returned = _run(returned)
            return 0, self._packed(returned, function), "", None
        except _Ended:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is travels to who waits for it
            deferral = context.deferral(error)
            if deferral is not None:
                return 0, b"", deferral.reason, deferral.seconds
            first = next(iter(str(error).splitlines()), "")
            return 1, pack_exception(error, self._values), f"{type(error).__name__}: {first}", None

    def _packed(self, returned: object, function: Callable[..., Any]) -> bytes:
        try:
            return pack_value(returned, self._values)
        except UnpicklableError:  # once more, for an error that names the function: a name for each call takes time
            return pack_value(returned, self._values, what=f"the result of {getattr(function, '__name__', function)}")

    def _be_ready(self) -> None:
        """Raise where no call can be made; call first what is to be called first."""
        if self._why_not is not None:
            raise self._why_not
        wanted = None if self._function is None else self._function.initializer
        if wanted != self._initializer and wanted is not None and self._values is not None:
            self._initializer = wanted
            try:
                load_function(bytes(self._values.get(wanted)))()
            except BaseException as error:
                self._broken = InitializerError(f"the executor's initializer raised {type(error).__name__}: {error}")
                raise self._broken from error
            finally:
                self._surroundings.adopt()
        if self._broken is not None:
            raise self._broken

    def _load(self, head: bytes) -> Callable[..., Any]:
        """The function that calls mean with this."""
        if head[:1] == IN_BAND:
            return load_function(head[1:])
        if self._values is None:
            raise InternalError("a call came before an assignment")
        if len(self._functions) >= _MOST_FUNCTIONS:
            self._functions.clear()
        function = self._functions[head] = load_function(bytes(self._values.get(head.decode())))
        return function

    def _tell(self, done: CallEnd) -> None:
        """Let the result reach the keeper before anything else happens; ring where it must answer, and wait."""
        if os.getpid() != self._pid:
            os._exit(0)  # the call has forked, and this is the child: its parent tells how it ended
        left = memoryview(framed(done))
        while left:
            try:
                left = left[os.write(self._results, left) :]
            except BlockingIOError:
                self._ring()
                select.select([], [self._results], [])
        if done.printed or done.spoiled:
            self._may_go_on = False
            self._ring()
        while not (self._may_go_on or done.spoiled):
            self._receive()

    def _lose_keeper(self) -> None:
        """Be a fork: it must not speak for its parent, nor keep the keeper from hearing that it has ended."""
        self._keeper.close()
        with contextlib.suppress(OSError):
            os.close(self._results)

    def _ring(self) -> None:
        self._rung = True
        with contextlib.suppress(BlockingIOError):  # it has not yet heard what was rung before
            try:
                self._keeper.send(_BELL, socket.MSG_DONTWAIT)
            except (BrokenPipeError, ConnectionResetError):
                raise _Left from None


def _run(coroutine: Coroutine[Any, Any, Any]) -> object:
    import asyncio  # 45 ms, which calls of plain functions need not wait for

    return asyncio.run(coroutine)
