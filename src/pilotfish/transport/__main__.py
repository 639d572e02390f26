"""``python -m pilotfish.transport gateway|dialer …``: one of the processes in which Dask carries."""

import signal
import sys
from pathlib import Path

from pilotfish.transport.dask import be_dialer, be_gateway

__all__: list[str] = []

if __name__ == "__main__":
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):  # meant for all of a job: our end follows another's
        signal.signal(number, signal.SIG_IGN)
    role, *words = sys.argv[1:]
    if role == "gateway":
        be_gateway(Path(words[0]), Path(words[1]), Path(words[2]), int(words[3]), tuple(map(Path, words[4:])))
    else:
        be_dialer([Path(word) for word in words[2:]], Path(words[0]), Path(words[1]))
