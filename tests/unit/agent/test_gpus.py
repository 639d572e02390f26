import pytest

from pilotfish.agent.gpus import Card, FoundGpu, amd_card, nvidia_card, visible_gpus

CARDS = [Card("GPU-aa11-22", 0), Card("GPU-bb11-22", 0), Card("GPU-cc11-22", 1), Card("", None)]
INFORMATION = """\
Model: \t\t NVIDIA A100-SXM4-40GB
IRQ:   \t\t 164
GPU UUID: \t GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77
Bus Location: \t 0000:07:00.0
Device Minor: \t 3
GPU Excluded:\t No
"""
PROPERTIES = """\
cpu_cores_count 0
simd_count 440
location_id 25344
domain 1
unique_id 11140904310374390000
"""


def test_all_are_numbered_where_nobody_chooses() -> None:
    numbered = (FoundGpu("0", 0, 0), FoundGpu("1", 1, 0), FoundGpu("2", 2, 1), FoundGpu("3", 3))
    assert visible_gpus(CARDS, None) == visible_gpus(CARDS, "all") == numbered


@pytest.mark.parametrize("chosen", ["", "-1", "none", "void", "NoDevFiles", "-1,0"])
def test_there_may_be_none(chosen: str) -> None:
    assert visible_gpus(CARDS, chosen) == ()


def test_names_stay_as_they_were_given() -> None:
    assert visible_gpus(CARDS, "2, 0,2") == (FoundGpu("2", 2, 1), FoundGpu("0", 0, 0))
    assert visible_gpus(CARDS, "GPU-bb11-22") == (FoundGpu("GPU-bb11-22", 1, 0),)


def test_a_uuid_may_be_cut_short() -> None:
    assert visible_gpus(CARDS, "GPU-cc") == (FoundGpu("GPU-cc", 2, 1),)


def test_a_name_that_names_nothing_ends_the_list() -> None:
    assert [gpu.id for gpu in visible_gpus(CARDS, "1,what,2")] == ["1"]


def test_instances_have_places_of_their_own() -> None:
    one, other, old = visible_gpus(CARDS, "MIG-c0ffee,MIG-c0ffef,MIG-GPU-cc11-22/1/0")
    assert (one.id, one.node, old.node) == ("MIG-c0ffee", None, 1)
    assert len({one.place, other.place, old.place, *range(1024)}) == 1024 + 3
    assert visible_gpus([], "MIG-c0ffee") == (one,)


def test_numbers_of_the_host_are_counted_anew_in_a_container() -> None:
    assert [gpu.id for gpu in visible_gpus(CARDS[:2], "4,6")] == ["0", "1"]


def test_without_a_driver_to_ask_the_names_are_believed() -> None:
    assert visible_gpus([], "1,3") == (FoundGpu("1", 1), FoundGpu("3", 3))


def test_nvidia_tells_identity_and_device() -> None:
    assert nvidia_card(INFORMATION) == ("GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77", "/dev/nvidia3")


def test_a_driver_that_has_not_looked_yet_knows_no_identity() -> None:
    assert nvidia_card("GPU UUID: \t GPU-????????-????\n") == ("", "")


def test_amd_tells_identity_and_bus() -> None:
    assert amd_card(PROPERTIES) == ("GPU-9a9c7171787bd8f0", "0001:63:00.0")


def test_a_processor_is_no_gpu() -> None:
    assert amd_card("cpu_cores_count 64\nsimd_count 0\n") is None
    assert amd_card("") is None
