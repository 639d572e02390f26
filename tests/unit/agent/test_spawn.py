from pathlib import Path

from pilotfish.agent.spawn import lane_environment
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Slots

SCRATCH = Path("/scratch/3")


def test_a_lane_tells_what_it_holds() -> None:
    env = lane_environment({b"HOME": b"/root"}, "n1", Slots((4, 7), Amount(2 * ONE), 1 << 20), SCRATCH)
    assert env == {
        b"HOME": b"/root",
        b"PILOTFISH_NODE": b"n1",
        b"PILOTFISH_CORES": b"2",
        b"PILOTFISH_CORE_IDS": b"4,7",
        b"PILOTFISH_MEMORY": b"1048576",
        b"TMPDIR": b"/scratch/3",
        b"PILOTFISH_RUNTIME": b"/scratch/3/pilotfish",
        b"OMP_NUM_THREADS": b"2",
        b"MKL_NUM_THREADS": b"2",
        b"OPENBLAS_NUM_THREADS": b"2",
        b"NUMEXPR_NUM_THREADS": b"2",
    }


def test_a_share_of_a_core_is_one_thread_on_it() -> None:
    env = lane_environment({}, "n1", Slots((4,), Amount(2500), None), SCRATCH)
    assert (env[b"PILOTFISH_CORES"], env[b"PILOTFISH_CORE_IDS"], env[b"OMP_NUM_THREADS"]) == (b"1", b"4", b"1")
    assert env[b"PILOTFISH_MEMORY"] == b""


def test_no_core_is_one_thread_anywhere() -> None:
    env = lane_environment({}, "n1", Slots((), Amount(0), None), SCRATCH)
    assert (env[b"PILOTFISH_CORES"], env[b"PILOTFISH_CORE_IDS"], env[b"OMP_NUM_THREADS"]) == (b"0", b"", b"1")


def test_what_the_user_set_stays() -> None:
    base = {b"OMP_NUM_THREADS": b"8", b"TMPDIR": b"/theirs", b"PILOTFISH_CORES": b"99"}
    env = lane_environment(base, "n1", Slots((0,), ONE, None), SCRATCH)
    assert (env[b"OMP_NUM_THREADS"], env[b"TMPDIR"], env[b"PILOTFISH_CORES"]) == (b"8", b"/scratch/3", b"1")
