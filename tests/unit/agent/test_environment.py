from pathlib import Path

import pytest

from pilotfish.agent.environment import lane_environment
from pilotfish.model.quantities import ONE, Amount
from pilotfish.model.resources import Slots

VISIBLE = (b"CUDA_VISIBLE_DEVICES", b"ROCR_VISIBLE_DEVICES", b"HIP_VISIBLE_DEVICES", b"ZE_AFFINITY_MASK")
THREADS = (
    b"OMP_NUM_THREADS", b"MKL_NUM_THREADS", b"OPENBLAS_NUM_THREADS", b"BLIS_NUM_THREADS", b"VECLIB_MAXIMUM_THREADS",
    b"NUMEXPR_NUM_THREADS", b"NUMEXPR_MAX_THREADS", b"RAYON_NUM_THREADS", b"JULIA_NUM_THREADS", b"LOKY_MAX_CPU_COUNT",
)  # fmt: skip
SCRATCH = Path("/scratch/3")


def test_a_lane_tells_what_it_holds() -> None:
    env = lane_environment({b"HOME": b"/root"}, "n1", Slots((4, 7), Amount(2 * ONE), 1 << 20), SCRATCH)
    assert env == {
        b"HOME": b"/root",
        b"PILOTFISH_NODE": b"n1",
        b"PILOTFISH_CORES": b"2",
        b"PILOTFISH_CORE_IDS": b"4,7",
        b"PILOTFISH_MEMORY": b"1048576",
        b"PILOTFISH_GPUS": b"",
        b"TMPDIR": b"/scratch/3",
        b"PILOTFISH_RUNTIME": b"/scratch/3/pilotfish",
        b"CUDA_DEVICE_ORDER": b"PCI_BUS_ID",
        **dict.fromkeys(VISIBLE, b""),
        **dict.fromkeys(THREADS, b"2"),
    }


@pytest.mark.parametrize(("renumbered", "hip"), [(False, b"3,GPU-a"), (True, b"0,1")])
def test_gpus_are_told_in_the_words_of_each_runtime(*, renumbered: bool, hip: bytes) -> None:
    slots = Slots((0,), ONE, None, ("3", "GPU-a"), Amount(2 * ONE))
    env = lane_environment({b"CUDA_VISIBLE_DEVICES": b"0,1,2,3"}, "n1", slots, SCRATCH, renumbered=renumbered)
    assert {name: env[name] for name in (b"PILOTFISH_GPUS", *VISIBLE)} == {
        b"PILOTFISH_GPUS": b"3,GPU-a",
        b"CUDA_VISIBLE_DEVICES": hip,
        b"ROCR_VISIBLE_DEVICES": b"3,GPU-a",
        b"HIP_VISIBLE_DEVICES": hip,
        b"ZE_AFFINITY_MASK": b"3,GPU-a",
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
