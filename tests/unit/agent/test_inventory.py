from pilotfish.agent.gpus import FoundGpu
from pilotfish.agent.inventory import (
    Declared,
    Machine,
    cgroup_folders,
    core_ids,
    domain_order,
    inventory_of,
    memory_total,
    quota_cores,
    read_inventory,
)
from pilotfish.model.quantities import ONE
from pilotfish.model.resources import Gpu, Inventory

V2_MEMBERSHIP = "0::/user.slice/user-1000.slice/session-3.scope\n"
V2_MOUNTS = (
    "24 30 0:22 / /proc rw,nosuid shared:12 - proc proc rw\n"
    "35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
)
V1_MEMBERSHIP = "9:name=systemd:/\n8:pids:/\n4:memory:/batch/job7/step0\n2:cpu,cpuacct:/batch/job7\n0::/\n"
V1_MOUNTS = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime master:5 - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)
MACHINE = Machine(cores=(0, 2, 4, 6), at_most=4, memory=8 << 30)


class TestCgroupFolders:
    def test_of_version_2(self) -> None:
        assert cgroup_folders(V2_MEMBERSHIP, V2_MOUNTS) == {
            "": (
                "/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope",
                "/sys/fs/cgroup/user.slice/user-1000.slice",
                "/sys/fs/cgroup/user.slice",
                "/sys/fs/cgroup",
            )
        }

    def test_of_version_1_with_its_controllers_apart(self) -> None:
        found = cgroup_folders(V1_MEMBERSHIP, V1_MOUNTS)
        assert found["cpu"] == (
            "/sys/fs/cgroup/cpu,cpuacct/batch/job7",
            "/sys/fs/cgroup/cpu,cpuacct/batch",
            "/sys/fs/cgroup/cpu,cpuacct",
        )
        assert found["memory"][0] == "/sys/fs/cgroup/memory/batch/job7/step0"
        assert found[""] == ("/sys/fs/cgroup/unified",)

    def test_of_a_container_that_sees_only_its_own(self) -> None:
        membership = "4:memory:/docker/c0ffee/inner\n"
        mounts = "35 31 0:32 /docker/c0ffee /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        assert cgroup_folders(membership, mounts)["memory"] == (
            "/sys/fs/cgroup/memory/inner",
            "/sys/fs/cgroup/memory",
        )

    def test_of_a_cgroup_outside_of_what_is_mounted(self) -> None:
        mounts = "35 31 0:32 /docker/c0ffee /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        assert cgroup_folders("4:memory:/docker/c0ffee2\n", mounts)["memory"] == ("/sys/fs/cgroup/memory",)

    def test_where_there_are_none(self) -> None:
        assert cgroup_folders("", V2_MOUNTS) == {}


class TestQuota:
    def test_counts_whole_cores(self) -> None:
        assert quota_cores("250000 100000") == 2
        assert quota_cores("400000 100000\n") == 4

    def test_leaves_at_least_one(self) -> None:
        assert quota_cores("50000 100000") == 1

    def test_may_not_be_there(self) -> None:
        assert [quota_cores(text) for text in ("max 100000", "-1 100000", "", " ")] == [None] * 4


class TestInventoryOf:
    def test_takes_all_that_there_is(self) -> None:
        assert inventory_of(MACHINE, Declared()) == Inventory((0, 2, 4, 6), 8 << 30)

    def test_takes_the_first_that_were_declared(self) -> None:
        assert inventory_of(MACHINE, Declared(cores=2, memory=1 << 30)) == Inventory((0, 2), 1 << 30)

    def test_takes_no_more_than_the_quota(self) -> None:
        limited = Machine((0, 1, 2, 3), 2, 8 << 30)
        assert inventory_of(limited, Declared()).cores == (0, 1)
        assert inventory_of(limited, Declared(cores=3)) == Inventory((0, 1, 2), 8 << 30, pinned=False)

    def test_gives_names_to_cores_that_do_not_exist(self) -> None:
        assert inventory_of(MACHINE, Declared(cores=6)) == Inventory((0, 1, 2, 3, 4, 5), 8 << 30, pinned=False)

    def test_cores_that_nothing_is_bound_to_are_names(self) -> None:
        assert inventory_of(MACHINE, Declared(cores=2, pinned=False)) == Inventory((0, 1), 8 << 30, pinned=False)
        assert inventory_of(MACHINE, Declared(pinned=False)).cores == (0, 1, 2, 3)


def test_memory_is_told_in_kibibytes() -> None:
    assert memory_total("MemFree:  1 kB\nMemTotal:       16384 kB\nSwapTotal: 0 kB\n") == 16 << 20


class TestDomains:
    MACHINE = Machine(
        cores=(0, 1, 2, 3, 8, 9),
        at_most=6,
        memory=8 << 30,
        numa={1: (2, 3), 0: (0, 8, 1, 9), 2: ()},
        gpus=(FoundGpu("0", 0, 1), FoundGpu("1", 1, 2), FoundGpu("2", 2), FoundGpu("GPU-a", 3, 0)),
    )

    def test_lists_of_the_kernel_are_read(self) -> None:
        assert core_ids("0-2,8,10-11\n") == (0, 1, 2, 8, 10, 11)
        assert core_ids("\n") == ()

    def test_threads_of_a_core_stand_beside_each_other(self) -> None:
        siblings = {0: (0, 4), 4: (0, 4), 1: (1, 5), 5: (1, 5)}
        assert domain_order((0, 1, 4, 5, 6), siblings, {0, 1, 4, 6}) == (0, 4, 1, 6)

    def test_each_gpu_knows_the_place_of_its_cores(self) -> None:
        inventory = inventory_of(self.MACHINE, Declared())
        assert inventory.numa == ((0, 8, 1, 9), (2, 3))
        assert inventory.gpus == (Gpu("0", 1), Gpu("1"), Gpu("2"), Gpu("GPU-a", 0))

    def test_what_is_not_ours_is_left_out(self) -> None:
        inventory = inventory_of(self.MACHINE, Declared(), (2, 3), ("2", "0"))
        assert (inventory.cores, inventory.numa, inventory.gpus) == ((2, 3), ((2, 3),), (Gpu("0", 0), Gpu("2")))

    def test_names_of_cores_are_in_no_domain(self) -> None:
        inventory = inventory_of(self.MACHINE, Declared(cores=100))
        assert (inventory.numa, inventory.gpus[0]) == ((), Gpu("0"))

    def test_fewer_gpus_are_the_first(self) -> None:
        assert inventory_of(self.MACHINE, Declared(gpus=1)).gpus == (Gpu("0", 1),)
        assert inventory_of(self.MACHINE, Declared(gpus=0)).gpus == ()

    def test_more_gpus_are_names(self) -> None:
        assert [gpu.id for gpu in inventory_of(self.MACHINE, Declared(gpus=5)).gpus] == ["0", "1", "2", "3", "4"]


def test_the_rest_is_what_somebody_says() -> None:
    declared = Declared(resources=(("fpga", ONE),), labels=("fast",), ends_at=7.0)
    inventory = inventory_of(MACHINE, declared)
    assert (inventory.resources, inventory.labels, inventory.ends_at) == ((("fpga", ONE),), ("fast",), 7.0)


def test_this_machine_has_something() -> None:
    inventory = read_inventory(Declared())
    assert inventory.cores
    assert inventory.memory > 1 << 28
    assert sorted(core for domain in inventory.numa for core in domain) == list(inventory.cores)
    assert read_inventory(Declared(cores=1, memory=5)).cores == inventory.cores[:1]
