"""The files of SQL say what the code asks for, and nothing else."""

import ast
import gc
import re
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest

import pilotfish.store
from pilotfish.store.sql import migrations, repeated, statements

TABLES = Path(pilotfish.store.__file__).with_name("tables.py")


def test_every_statement_is_valid_in_the_newest_schema() -> None:
    with closing(connect(":memory:")) as connection:
        for script in migrations(after=0).values():
            connection.executescript(script)
        for statement in statements().values():
            names = set(re.findall(r":(\w+)", statement))
            count = len(set(re.findall(r"\?\d*", statement))) if "?1" in statement else statement.count("?")
            connection.execute(f"EXPLAIN {statement}", dict.fromkeys(names, 0) if names else [0] * count)


def test_every_statement_is_used() -> None:
    # What earlier tests have left may parse a traceback when it is freed; CPython 3.11 cannot parse inside a parse.
    gc.collect()
    constants = [node.value for node in ast.walk(ast.parse(TABLES.read_text())) if isinstance(node, ast.Constant)]
    words = {word for word in constants if isinstance(word, str)}
    composed = {kind + word for kind in ("current", "span") for word in words if word.startswith("_")}
    assert set(statements()) <= words | composed


def test_a_statement_ends_where_the_next_begins() -> None:
    assert statements()["add_job"] == "INSERT INTO jobs VALUES (?, ?, 1, ?)"


def test_migrations_are_numbered_without_gaps() -> None:
    numbers = list(migrations(after=0))
    assert numbers == list(range(1, len(numbers) + 1))
    assert migrations(after=numbers[-1]) == {}


@pytest.mark.parametrize(("times", "wanted"), [(1, "X VALUES (?, 1)"), (3, "X VALUES (?, 1), (?, 1), (?, 1)")])
def test_an_insert_is_repeated_by_its_row(times: int, wanted: str) -> None:
    assert repeated("X VALUES (?, 1)", times) == wanted
