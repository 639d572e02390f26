"""The cluster for the tests of this folder."""

from tests.clusters import _slurm, slurm

__all__ = ["_slurm", "slurm"]
