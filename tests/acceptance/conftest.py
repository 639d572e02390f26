"""What acceptance tests are given."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.box import Box
from tests.clusters import _grid_engine, _slurm, grid_engine, slurm

__all__ = ["_grid_engine", "_slurm", "box", "grid_engine", "slurm"]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    for process in box.started:
        if process.poll() is None:
            process.kill()
        process.communicate()
