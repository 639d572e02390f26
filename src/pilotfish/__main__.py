"""``python -m pilotfish``: the command line, also where no script is on the path."""

from pilotfish.cli.main import entry

__all__: list[str] = []

if __name__ == "__main__":
    entry()
