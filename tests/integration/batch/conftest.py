"""Clusters for the tests of this folder."""

from tests.clusters import _grid_engine, _slurm, grid_engine, slurm

__all__ = ["_grid_engine", "_slurm", "grid_engine", "slurm"]
