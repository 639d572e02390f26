"""What acceptance tests are given."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.box import Box


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    for process in box.started:
        if process.poll() is None:
            process.kill()
        process.communicate()
