from tests.clusters import _slurm, slurm

__all__ = ["_slurm", "slurm"]
