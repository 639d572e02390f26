"""``pilotfish schema``: the JSON Schema of the job file, for editors and other programs.

What belongs here: printing it. What must not: what it says (:mod:`pilotfish.formats.schema`).
"""

import argparse
import json
import sys

from pilotfish.formats.schema import json_schema

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: there are none."""
    parser.usage = "pilotfish schema"


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - every command is called alike
    """Print the schema."""
    sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    return 0
