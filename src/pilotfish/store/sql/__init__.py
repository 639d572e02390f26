"""The SQL of the store, kept as SQL: named statements and numbered migrations, and the parser that finds them.

What belongs here: ``.sql`` files and their reading. What must not: running them.

A statement begins with ``-- name: …`` and a sentence that says what it does. A migration is a file
``migrations/0001_….sql``; the number of the newest is the version of the schema, which a store keeps in
``PRAGMA user_version``. A migration that was released is never changed: the next one mends it.
"""

import re
from pathlib import Path

__all__ = ["migrations", "repeated", "statements"]

_FOLDER = Path(__file__).parent
_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def statements() -> dict[str, str]:
    """Each statement of ``statements.sql`` by its name."""
    parts = _NAME.split((_FOLDER / "statements.sql").read_text())[1:]
    return dict(zip(parts[::2], (body.strip() for body in parts[1::2]), strict=True))


def migrations(after: int) -> dict[int, str]:
    """The scripts that lift a schema of version `after` to the newest one, by their number, ascending."""
    files = sorted((_FOLDER / "migrations").glob("*.sql"))
    numbered = {int(file.name[:4]): file for file in files}
    return {number: file.read_text() for number, file in numbered.items() if number > after}


def repeated(insert: str, times: int) -> str:
    """The statement ``INSERT … VALUES (…)`` for several rows at once."""
    head, values, row = insert.partition("VALUES")
    return head + values + ",".join([row] * times)
