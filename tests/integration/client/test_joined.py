"""Sessions that join a server: they work as sessions of their own do, whatever is killed meanwhile."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import pilotfish as pf
from pilotfish.errors import ImpossibleRequestError, NotYetSupportedError, TaskError, UnavailableError, UserError
from pilotfish.manager.campaigns import socket_path
from tests.integration.client.serving import Server, wait_for


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, "--cores", "2", "--limit", "licence=1")
    yield server
    if server.process is None:
        server.start()  # so that its agent is told to end
    server.stop()


def square(number: int) -> int:
    return number * number


def note(path: str, text: str) -> str:
    with Path(path).open("a") as log:
        log.write(f"{text}\n")
    return text


def note_and_wait(path: str, text: str, until: str) -> str:
    note(path, text)
    wait_for(Path(until).exists)
    return text


def noted(path: Path) -> Counter[str]:
    return Counter(path.read_text().split() if path.exists() else [])


def test_calls_and_their_errors_come_back(server: Server) -> None:
    with pf.Session(server.address) as session:
        assert session.submit(square, 7).result() == 49
        assert [one.result() for one in session.map(square, range(200))] == [n * n for n in range(200)]
        assert session.gather(session.submit(square, 2), [session.submit(lambda: 3)]) == [4, 3]
        assert sorted(one.result() for one in session.as_completed(session.map(square, range(5)))) == [0, 1, 4, 9, 16]
        assert session.submit(square, session.submit(square, 3)).result() == 81
        with pytest.raises(TypeError) as caught:
            session.submit(square, "x").result()
    assert any("in square" in line for line in caught.value.__notes__)


def test_commands_come_back_with_their_output(server: Server) -> None:
    with pf.Session(server.address) as session:
        hello = session.command("echo hello {index}; exit $(( {index} == 2 ))", array=3, name="hello")
        with pytest.raises(TaskError, match="hello:2 did not succeed: exit code 1"):
            hello.result()
        assert [one.stdout for one in hello.results()] == ["hello 0\n", "hello 1\n", "hello 2\n"]
        first = session.command("true", name="again")
        second = session.command("true", name="again", after=first)
        assert second.result().state == "succeeded"
        assert session.options(after=second).submit(square, 2).result() == 4
        assert not session.options(after={"job": first, "when": "failed"}).command("true").results()[0].outcome


def test_large_values_are_shared_and_go_with_their_session(server: Server) -> None:
    folder = server.store / "server" / "clients"
    with pf.Session(server.address) as session:
        ones = session.put(np.ones(100_000))
        assert session.submit(np.sum, ones).result() == 100_000
        zeros = session.submit(np.zeros, 100_000).result()
        assert zeros.shape == (100_000,)
        assert not zeros.flags.writeable
        (client,) = session.calls.backend.home.values.parent.relative_to(folder).parts
        assert (folder / client).is_dir()
    wait_for(lambda: not (folder / client).exists())


def test_what_a_task_says_of_itself_and_prints_arrives(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    def tell() -> None:
        pf.current().progress(0.5, "half")
        print("printed")  # noqa: T201 - that is what is tested

    heard: list[tuple[float, str]] = []
    with pf.Session(server.address) as session:
        future = session.options(start_after="0.1s").submit(tell)
        future.on_progress(lambda fraction, text: heard.append((fraction, text)))
        future.result()
        session.kv.set("answer", 42)
        assert session.submit(lambda: pf.current().kv.get("answer")).result() == 42
    assert heard == [(0.5, "half")]
    assert capsys.readouterr().out == "printed\n"


def test_requests_that_cannot_be_met_fail_with_the_reason(server: Server) -> None:
    with pf.Session(server.address) as session:
        with pytest.raises(ImpossibleRequestError, match="3 cores"):
            session.options(cores=3).submit(square, 1).result()
        with pytest.raises(UserError, match="no such limit"):
            session.options(uses={"seat": 1})
        assert session.options(uses={"licence": 1}).submit(square, 3).result() == 9
        assert session.limits == {"licence": 1}


def test_a_task_can_be_explained_and_cancelled(server: Server, tmp_path: Path) -> None:
    with pf.Session(server.address) as session:
        first = session.options(cores=2).submit(note_and_wait, str(tmp_path / "log"), "a", str(tmp_path / "go"))
        wait_for(lambda: noted(tmp_path / "log"))
        second = session.options(cores=2).submit(square, 1)
        wait_for(lambda: "cores" in session.explain(second))
        assert first.running()
        assert not second.running()
        wait_for(lambda: session.counts() == {"running": 1, "ready": 1})
        assert repr(session) == "<Session 1 ready, 1 running>"
        assert first.cancel()
        assert second.result() == 1
        command = session.command("sleep 100")
        command.cancel()
        with pytest.raises(CancelledError):
            command.result()
        wait_for(lambda: session.counts().get("cancelled") == 2)


def test_calls_that_are_cancelled_on_their_way_hold_nothing_up(server: Server) -> None:
    with pf.Session(server.address) as session:
        for number in range(20):
            for _ in range(200):
                session.submit(square, 2).cancel()
            assert session.submit(square, number).result(timeout=60) == number**2


def test_delayed_functions_and_asyncio(server: Server) -> None:
    @pf.delayed
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    async def main() -> int:
        async with pf.AsyncSession(server.address) as session:
            total: int = await ((double @ pf.Cores(1))(3) + (double @ pf.Cores(2))(4))
            assert await session.submit(square, 5) == 25
            assert await session.gather(session.map(square, range(3))) == [0, 1, 4]
            return total

    assert asyncio.run(main()) == 14


def test_a_job_class_may_have_children(server: Server) -> None:
    class Sum(pf.JobClass):
        defer_time = 0.02

        def execute(self, numbers: list[int]) -> int:
            if len(numbers) == 1:
                return numbers[0]
            if not self.children:
                for number in numbers:
                    self.enqueue(numbers=[number])
                self.defer("launched")
            if self.children.unfinished:
                self.defer("waiting")
            return sum(self.children.results())

    with pf.Session(server.address) as session:
        sums = [session.enqueue(Sum, numbers=[1, 2, 3]), session.enqueue(Sum, numbers=[4, 5])]
        assert session.gather(sums) == [6, 9]


def test_a_job_class_with_a_schedule_stays_when_its_session_has_left(server: Server) -> None:
    class Hourly(pf.JobClass):
        schedule = "0 * * * *"

        def execute(self) -> None:
            """Nothing."""

    with pf.Session(server.address) as session:
        future = session.enqueue(Hourly)
        assert (future.result(), future.done(), future.running()) == ("Hourly", True, False)
        assert session.enqueue(Hourly).result() == "Hourly"
    with pytest.raises(UserError, match="Hourly has a schedule, which a server keeps"), pf.Session() as session:
        session.enqueue(Hourly)


def test_leaving_by_an_exception_cancels_and_leaving_otherwise_waits(server: Server, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with suppress(KeyError), pf.Session(server.address) as session:
        futures = [session.submit(note_and_wait, str(log), "a", "/nowhere") for _ in range(5)]
        command = session.command("sleep 100")
        wait_for(lambda: noted(log)["a"] >= 1)
        raise KeyError
    assert all(future.cancelled() for future in futures)
    assert isinstance(command.exception(), CancelledError)
    with pf.Session(server.address) as session:
        late = session.options(start_after="0.2s").submit(square, 4)
        wait_for(lambda: session.counts() == {"waiting": 1})
    assert late.done()
    assert late.result() == 16
    with pytest.raises(RuntimeError, match="after shutdown"):
        session.submit(square, 1)


def test_many_threads_and_many_sessions_get_their_own_results(server: Server) -> None:
    def work(number: int) -> None:
        with pf.Session(server.address) as session:
            futures = session.map(square, range(number, number + 300))
            found[number] = [future.result() for future in futures]

    found: dict[int, list[int]] = {}
    threads = [threading.Thread(target=work, args=[1000 * number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {n: [k * k for k in range(n, n + 300)] for n in (0, 1000, 2000, 3000)}


def test_killed_amid_calls_and_commands_the_server_loses_nothing_and_repeats_nothing(
    server: Server, tmp_path: Path
) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    with pf.Session(server.address) as session:
        early = session.submit(note, str(log), "early")
        early.result()
        running = [session.submit(note_and_wait, str(log), f"call{n}", str(go)) for n in range(40)]
        command = session.command(f"echo command{{index}} >> {log}", array=20, cores=1)
        wait_for(lambda: noted(log)["call0"])
        server.kill()
        late = [session.submit(note, str(log), f"late{n}") for n in range(10)]
        go.touch()
        server.start()
        assert [one.result() for one in running] == [f"call{n}" for n in range(40)]
        assert len(command.result()) == 20
        server.kill()
        server.start()
        assert [one.result() for one in late] == [f"late{n}" for n in range(10)]
    names = ["early", *(f"call{n}" for n in range(40)), *(f"late{n}" for n in range(10))]
    assert noted(log) == Counter(names + [f"command{n}" for n in range(20)])


def test_killed_again_and_again_it_still_answers_each_call_once(server: Server, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pf.Session(server.address) as session:
        futures = []
        for turn in range(4):
            futures += [session.submit(note, str(log), str(n)) for n in range(100 * turn, 100 * turn + 100)]
            wait_for(lambda turn=turn: len(noted(log)) > 60 * turn)  # type: ignore[misc] # a default of a lambda
            server.kill()
            server.start()
        assert [one.result() for one in futures] == [str(n) for n in range(400)]
    assert noted(log) == Counter(str(n) for n in range(400))


CLIENT = """
import os, sys
import pilotfish as pf
from tests.integration.client.test_joined import note, note_and_wait

session = pf.Session(sys.argv[1])
log, go, how = sys.argv[2:]
futures = [session.submit(note_and_wait, log, str(n), go) for n in range(6)]
futures[0].result() if how == "never" else None
if how == "killed":
    session.command("true").result()
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_a_program_that_dies_leaves_its_jobs_in_the_queue(server: Server, tmp_path: Path, how: str) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    words = [sys.executable, "-c", CLIENT, server.address, str(log), str(go), how]
    folder = Path(__file__).parents[3]
    (tmp_path / "free").touch()
    if how == "killed":
        go.touch()
    done = subprocess.run(words, cwd=folder, timeout=60, check=False, capture_output=True, text=True)
    assert done.returncode == (-signal.SIGKILL if how == "killed" else 0), done.stderr
    go.touch()
    wait_for(lambda: len(noted(log)) == 6)
    assert set(noted(log).values()) == {1}


def test_a_server_that_stays_away_ends_the_waiting(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PILOTFISH_LEASE", "0.3")
    session = pf.Session(server.address)
    future = session.submit(note_and_wait, str(tmp_path / "log"), "a", str(tmp_path / "go"))
    wait_for(lambda: noted(tmp_path / "log"))
    server.kill()
    with pytest.raises(UnavailableError, match=r"has been away for 0.3 s"):
        future.result()
    with pytest.raises(UnavailableError):
        session.submit(square, 1)
    session.close()
    (tmp_path / "go").touch()


def test_the_address_may_be_a_store_a_folder_or_a_socket(server: Server) -> None:
    folder = server.store / "server"
    socket = socket_path(folder)
    for address in (server.address, f"unix:{folder}", f"unix:{socket}"):
        with pf.Session(address) as session:
            assert session.submit(square, 2).result() == 4


@pytest.mark.parametrize(
    ("address", "kind", "message"),
    [
        ("unix:/nowhere", UserError, "there is no server"),
        ("https://somewhere", NotYetSupportedError, "servers on other machines are not yet supported"),
    ],
)
def test_a_wrong_address_is_refused_at_once(address: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        pf.Session(address)


def test_what_the_server_says_is_not_said_by_who_joins_it(server: Server) -> None:
    with pytest.raises(UserError, match="cores: the server at unix:"):
        pf.Session(server.address, cores=2)
    with pytest.raises(UserError, match="limits: the server at unix:"):
        pf.Session(server.address, limits={"licence": 2})


def test_a_server_that_does_not_run_is_told_at_the_first_call(tmp_path: Path) -> None:
    server = Server(tmp_path, "--no-agent")
    server.stop()
    session = pf.Session(server.address)
    with pytest.raises(UnavailableError, match=r"no server runs in .*: `pilotfish serve --store"):
        session.submit(square, 1)
