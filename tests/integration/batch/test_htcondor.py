"""HTCondor's own library reads what we submit, and makes the very job of it that was asked for."""

import warnings
from importlib import import_module
from typing import Any

import pytest

from pilotfish.batch.dialect import AllocationRequest
from pilotfish.batch.htcondor import HTCondor

pytestmark = pytest.mark.needs("htcondor")

RUNNING = 2
WORDS = ("/usr/bin/env", "a b", "it's", '"quoted"', "$HOME", "$(Process)", "", "back\\slash", "ünïcode", "--x=1;2")
VARIABLES = (("PLAIN", "1"), ("SPACES", " x  y "), ("QUOTES", "'\"'"), ("DOLLAR", "$PATH $(Cluster)"))


def jobs(**keys: Any) -> list[Any]:
    """The jobs that it makes of an allocation, as their class ads."""
    wanted = AllocationRequest(
        argv=WORDS, name="pf-1a2b", folder="/tmp", log="/tmp/the log", seconds=3600.0, environment=VARIABLES, **keys
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses a pool's configuration, and is not its newest interface
        submit = import_module("htcondor").Submit(HTCondor().submit(wanted).stdin)
        return [dict(ad, ad=ad) for ad in submit.jobs()]


def in_words(packed: str) -> list[str]:
    """What its jobs find, of words that it keeps in one string."""
    classad = import_module("classad")
    words: list[str] = classad.ExprTree("argsToList(packed)").eval(classad.ClassAd({"packed": packed}))
    return words


def test_words_and_variables_arrive_as_they_are() -> None:
    (job,) = jobs(cores=1)
    assert (job["Cmd"], *in_words(job["Arguments"])) == WORDS
    assert set(in_words(job["Environment"])) == {f"{name}={text}" for name, text in VARIABLES}
    assert (job["Iwd"], job["Out"], job["Err"]) == ("/tmp", "/tmp/the log", "/tmp/the log")
    assert job["JobBatchName"] == "pf-1a2b"


def test_each_node_is_a_job_with_its_share() -> None:
    found = jobs(nodes=3, cores=4, memory=2**31 + 1, gpus=2, account="physics")
    assert [job["Out"] for job in found] == [f"/tmp/the log.{number}" for number in range(3)]
    for job in found:
        assert (job["RequestCpus"], job["RequestMemory"], job["RequestGPUs"]) == (4, 2049, 2)
        assert job["AccountingGroup"].startswith("physics")
        assert job["KillSig"] == "SIGTERM"


@pytest.mark.parametrize(("elapsed", "over"), [(3590, False), (3610, True)])
def test_it_is_removed_when_its_time_is_over(elapsed: int, *, over: bool) -> None:
    (job,) = jobs(cores=1)
    ad = job["ad"]
    ad["JobStatus"] = RUNNING
    ad["JobCurrentStartDate"] = import_module("classad").ExprTree(f"time() - {elapsed}")
    assert bool(ad.eval("PeriodicRemove")) is over
