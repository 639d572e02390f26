"""GPUs of this machine: those that its drivers tell of, or those that our environment leaves us.

Drivers are asked through files of the kernel alone: no library is loaded and no program started, so that a machine
without GPUs pays for two look-ups. The batch system's ``CUDA_VISIBLE_DEVICES`` and its kin are kept to, with the
names that they use.

What belongs here: finding and naming GPUs. What must not: who uses them.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

__all__ = ["Card", "FoundGpu", "amd_card", "nvidia_card", "only_amd", "read_gpus", "visible_gpus"]

_NVIDIA = "/proc/driver/nvidia/gpus"
_AMD = "/sys/class/kfd/kfd/topology/nodes"
_NVIDIA_NAMES: tuple[str, ...] = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
_AMD_NAMES: tuple[str, ...] = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_ANY_NAMES = ("CUDA_VISIBLE_DEVICES", *_AMD_NAMES)
"""``NVIDIA_VISIBLE_DEVICES`` is not among them: images of containers set it, wherever they run."""
_UUIDS = ("GPU-", "MIG-")
_PLACES = 1_048_573
"""Prime, so that names which are no numbers spread over the places."""


class Card(msgspec.Struct, frozen=True):
    """One GPU as its driver tells of it."""

    uuid: str = ""
    """Empty where it is not told."""
    node: int | None = None
    """The kernel's number of the memory node that it is near; None: not known."""


class FoundGpu(msgspec.Struct, frozen=True):
    """One GPU that we may use."""

    id: str
    """As ``CUDA_VISIBLE_DEVICES`` names it: an index or a UUID."""
    place: int
    """The same for all runs on this machine that mean this GPU, whatever they call it."""
    node: int | None = None
    """As of its card."""


def read_gpus(environment: Mapping[str, str]) -> tuple[FoundGpu, ...]:
    """The GPUs of this machine that the environment leaves us, in their order.

    NVIDIA's where there are any, else AMD's. Without a driver that we can read, as in some containers, those that the
    environment names.
    """
    if cards := _nvidia_cards():
        names = _NVIDIA_NAMES
    else:
        cards = _amd_cards()
        names = _AMD_NAMES if cards else _ANY_NAMES
    chosen = next((environment[name] for name in names if name in environment), None)
    return visible_gpus(cards, chosen)


def only_amd() -> bool:
    """True where GPUs are AMD's: HIP counts them anew within ``ROCR_VISIBLE_DEVICES``."""
    return Path(_AMD).exists() and not Path(_NVIDIA).exists()


def visible_gpus(cards: Sequence[Card], chosen: str | None) -> tuple[FoundGpu, ...]:
    """What is left of the cards where one of the drivers' variables chooses among them.

    Args:
        cards: in the order in which the driver counts them.
        chosen: the variable's text; as for the drivers, a name that names nothing ends the list. None: it is not set.

    """
    names: dict[str, None] = {}
    for name in map(str.strip, (chosen or "").split(",")):
        if not (name.isdecimal() or name.startswith(_UUIDS)):
            break
        names[name] = None
    # As many numbers as there are cards: in a container they may be its host's, and the cards have others in here.
    if chosen in {None, "all"} or (len(names) == len(cards) and all(map(str.isdecimal, names))):
        return tuple(FoundGpu(str(place), place, card.node) for place, card in enumerate(cards))
    return tuple([_named(name, cards) for name in names])


def _named(name: str, cards: Sequence[Card]) -> FoundGpu:
    unknown = 1024 + int.from_bytes(name.encode()) % _PLACES
    for place, card in enumerate(cards):
        # A UUID may be cut short; an instance is, for older drivers, MIG-<UUID of its card>/<number>/<number>.
        if name == str(place) or (name.startswith(_UUIDS[0]) and card.uuid.startswith(name)):
            return FoundGpu(name, place, card.node)
        if card.uuid and name.startswith(f"MIG-{card.uuid}/"):
            return FoundGpu(name, unknown, card.node)
    return FoundGpu(name, int(name) if name.isdecimal() else unknown)


def nvidia_card(information: str) -> tuple[str, str]:
    """UUID and device file of one of NVIDIA's, empty where they are not told.

    Args:
        information: the text of ``/proc/driver/nvidia/gpus/<bus>/information``.

    """
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in information.splitlines())}
    uuid, minor = told.get("GPU UUID", ""), told.get("Device Minor", "")
    return ("" if "?" in uuid else uuid), (f"/dev/nvidia{minor}" if minor else "")


def amd_card(properties: str) -> tuple[str, str] | None:
    """UUID and PCI address of one of AMD's; None for a processor, which the topology lists as well.

    Args:
        properties: the text of ``/sys/class/kfd/kfd/topology/nodes/<number>/properties``.

    """
    words = [line.partition(" ") for line in properties.splitlines()]
    told = {name: int(value) for name, _, value in words if value.isdecimal()}
    if not told.get("simd_count"):
        return None
    location = told.get("location_id", 0)
    bus = f"{told.get('domain', 0):04x}:{location >> 8 & 255:02x}:{location >> 3 & 31:02x}.{location & 7}"
    return f"GPU-{told.get('unique_id', 0):016x}", bus


def _nvidia_cards() -> list[Card]:
    cards = []
    # CUDA counts in this order, being told CUDA_DEVICE_ORDER=PCI_BUS_ID, and only what it can open.
    for bus in sorted(_listed(_NVIDIA)):
        uuid, device = nvidia_card(_text(f"{_NVIDIA}/{bus}/information"))
        if not device or Path(device).exists():
            cards.append(Card(uuid, _memory_node(bus.lower())))
    return cards


def _amd_cards() -> list[Card]:
    found = [amd_card(_text(f"{_AMD}/{number}/properties")) for number in sorted(_listed(_AMD), key=int)]
    return [Card(uuid, _memory_node(bus)) for uuid, bus in filter(None, found)]


def _memory_node(bus: str) -> int | None:
    text = _text(f"/sys/bus/pci/devices/{bus}/numa_node").strip()
    return int(text) if text.isdecimal() else None


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are wanted, and a folder that is not there is the rule
    except OSError:
        return []


def _text(path: str) -> str:
    """The content of a file of the kernel, empty where we may not read it."""
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
