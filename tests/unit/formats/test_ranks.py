"""Keys `launcher`, `ranks` and `threads`: the cores that follow from them, and what contradicts what."""

import pytest

from pilotfish.errors import JobFileError
from pilotfish.formats.native import load_text
from pilotfish.model.jobs import JobSpec, Launcher
from pilotfish.model.quantities import ONE


def job(keys: str) -> JobSpec:
    return load_text(f"jobs: [{{name: a, command: b, {keys}}}]", name="f.yaml").jobs[0]


@pytest.mark.parametrize(
    ("keys", "cores"),
    [
        ("launcher: openmpi, ranks: 8", 8),
        ("launcher: openmpi, ranks: 8, nodes: 2", 4),
        ("launcher: srun, ranks: 5, nodes: 2, threads: 2", 6),
        ("launcher: intelmpi, threads: 3", 3),
        ("launcher: threads, threads: 6", 6),
        ("launcher: openmpi, ranks: 2, cores: 8", 8),
        ("launcher: openmpi", 1),
    ],
)
def test_cores_follow(keys: str, cores: int) -> None:
    assert job(keys).request.cores == cores * ONE


def test_they_may_be_defaults() -> None:
    text = "defaults: {launcher: openmpi, threads: 2}\njobs: [{name: a, command: b, ranks: 3}]"
    (spec,) = load_text(text, name="f.yaml").jobs
    assert (spec.launcher, spec.ranks, spec.threads, spec.request.cores) == (Launcher.openmpi, 3, 2, 6 * ONE)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("ranks: 2", "ranks: 2 needs a launcher that starts processes"),
        ("launcher: threads, ranks: 2", "ranks: 2 needs a launcher"),
        ("threads: 2", "threads: 2 needs launcher: threads"),
        ("launcher: threads, threads: 4, cores: 2", "4 is more than cores, 2: write cores: 4"),
        ("launcher: openmpi, ranks: 8, cores: 4", "8 ranks need 8, and cores is 4"),
        (
            "launcher: openmpi, ranks: 4, threads: 2, nodes: 2, cores: 2",
            "4 ranks of 2 threads on 2 nodes need 4 on each",
        ),
        ("launcher: srun, ranks: 2, nodes: 4", "2 is less than nodes, 4"),
        ("launcher: srun, cores: 5, threads: 2", "cores, 5, is no multiple of threads, 2"),
        ("launcher: srun, cores: 0.5", "srun needs whole cores, and cores is 0.5"),
        ("launcher: openmpi, ranks: 4, variants: [{cores: 8}, {cores: 2}]", "4 ranks need 4, and cores is 2"),
        ("launcher: mpirun", "expected default, threads, openmpi, intelmpi or srun"),
    ],
)
def test_contradictions_name_both_values(keys: str, words: str) -> None:
    with pytest.raises(JobFileError) as caught:
        job(keys)
    assert words in str(caught.value)
