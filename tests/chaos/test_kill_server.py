"""A server is killed at each of its steps while a session works with it; the session notices nothing but the wait."""

from collections import Counter
from pathlib import Path

import pytest

import pilotfish as pf
from tests.integration.client.serving import Server

STEPS = ["manager.deciding", "manager.committed", "manager.acknowledging", "store.committing", "store.committed"]


def note(path: str, text: str) -> str:
    with Path(path).open("a") as log:
        log.write(f"{text}\n")
    return text


@pytest.mark.parametrize("times", [1, 3, 8])
@pytest.mark.parametrize("step", STEPS)
def test_what_a_session_asked_for_is_done_once(
    tmp_path: Path, step: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    server = Server(tmp_path, "--cores", "2")
    server.stop()
    monkeypatch.setenv("PILOTFISH_STOP_AT", f"{step}:{times}")
    server.start()
    monkeypatch.delenv("PILOTFISH_STOP_AT")
    server.restart_when_killed()
    with pf.Session(server.address) as session:
        futures = [session.submit(note, str(log), str(number)) for number in range(30)]
        command = session.command(f"echo c{{index}} >> {log}", array=5)
        futures += [session.submit(note, str(log), future) for future in futures[:5]]
        assert [future.result() for future in futures] == [*map(str, range(30)), *map(str, range(5))]
        assert [one.state for one in command.result()] == ["succeeded"] * 5
    server.stop()
    assert Counter(log.read_text().split()) == Counter(
        [*map(str, range(30)), *map(str, range(5)), *(f"c{index}" for index in range(5))]
    )
