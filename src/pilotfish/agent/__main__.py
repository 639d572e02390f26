"""``python -m pilotfish.agent CONFIG``: an agent in an interpreter of its own; CONFIG is an AgentConfig as JSON."""

import sys

import msgspec

from pilotfish.agent.config import AgentConfig
from pilotfish.agent.serve import serve

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(serve(msgspec.json.decode(sys.argv[1], type=AgentConfig)))
