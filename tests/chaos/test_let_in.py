"""Who is let in, and who is not: wrong versions, wrong certificates, wrong clocks; the run goes on with the rest."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pilotfish.transport.credentials import credentials_in
from tests.chaos.chaos import wait_for
from tests.chaos.network import FarCampaign, Network

pytestmark = pytest.mark.needs("root")

OF_ANOTHER_VERSION = """
import sys
import pilotfish.agent.agent as agent
from pilotfish.cli.main import main
agent.__version__ = "0.0"
sys.exit(main(sys.argv[1:]))
"""
KNOCK = """
import socket, ssl, sys
host, _, port = sys.argv[1].partition("://")[2].rpartition(":")
door = socket.create_connection((host, int(port)), 10)
if sys.argv[2] == "tls":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    door = context.wrap_socket(door)
try:
    door.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n" * 100)
    print(door.recv(100))
except OSError:  # closed, reset, or an alert of TLS
    print(b"")
"""
"""Say something that is no word of ours; tells what is answered."""


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[FarCampaign]:
    """Four tasks, two of which run on a machine."""
    with Network("a", "b") as network, FarCampaign(tmp_path, network, tasks=4) as campaign:
        campaign.start()
        campaign.agent("a")
        campaign.wait_for_tasks("a")
        yield campaign
        campaign.let_go()
        campaign.finish()
        assert campaign.ran_again() == set()


def test_an_agent_of_another_version_is_refused(campaign: FarCampaign) -> None:
    with_word = campaign.agent("b", program=(sys.executable, "-c", OF_ANOTHER_VERSION))
    campaign.wait_until_said("refused a connection: this manager is pilotfish", "node b has 0.0")
    assert with_word.wait(30) == 0
    other = campaign.folder / "join"
    told = msgspec.json.decode(campaign.join.read_bytes())
    other.write_bytes(msgspec.json.encode(told | {"version": "0.0"}))
    assert campaign.agent("b", join=other).wait(30) == 2
    assert "node b: the manager is pilotfish 0.0, here is" in (campaign.folder / "b.said").read_text()
    assert campaign.said.count("refused") == 1


def test_strangers_are_not_let_in(campaign: FarCampaign) -> None:
    told = msgspec.json.decode(campaign.join.read_bytes())
    forged = credentials_in(campaign.folder / "forged")
    lies = {"authority": forged.authority, "certificate": forged.agent_certificate, "secret": forged.agent_secret}
    other = campaign.folder / "join"
    other.write_bytes(msgspec.json.encode(told | lies | {"campaign": "/elsewhere", "key": "forged"}))
    stranger = campaign.agent("b", join=other)  # it tries until its lease is over
    for how in ("tcp", "tls"):
        words = campaign.network.machines["b"].words(sys.executable, "-c", KNOCK, told["addresses"][0], how)
        said = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
        assert said == "b''", how
    assert stranger.wait(60) == 0
    assert len(campaign.processes("gateway")) == 1
    campaign.agent("b")
    wait_for(lambda: len(campaign.running("b")) == 2)
    assert "node b" not in campaign.said


@pytest.mark.needs("faketime")
@pytest.mark.parametrize("error", ["-40h", pytest.param("+40h", marks=pytest.mark.soak)])
def test_a_wrong_clock_ends_nothing(tmp_path: Path, error: str) -> None:
    """The job's limit of time is far away by any right clock; certificates are accepted."""
    faked = {
        "LD_PRELOAD": "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
        "FAKETIME": error,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with Network("a") as network, FarCampaign(tmp_path, network, tasks=4, time="1h") as campaign:
        campaign.start()
        campaign.agent("a", env=faked)
        campaign.wait_for_tasks("a")
        campaign.let_go(*campaign.running("a"))
        wait_for(lambda: len(campaign.lines("ended")) == 2)
        campaign.let_go()
        campaign.finish()
        assert campaign.ran_again() == set()
