from pilotfish.agent.inventory import Machine, cgroup_folders, inventory_of, memory_total, quota_cores, read_inventory
from pilotfish.model.resources import Inventory

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
        assert inventory_of(MACHINE) == Inventory((0, 2, 4, 6), 8 << 30)

    def test_takes_the_first_that_were_declared(self) -> None:
        assert inventory_of(MACHINE, 2, 1 << 30) == Inventory((0, 2), 1 << 30)

    def test_takes_no_more_than_the_quota(self) -> None:
        limited = Machine((0, 1, 2, 3), 2, 8 << 30)
        assert inventory_of(limited).cores == (0, 1)
        assert inventory_of(limited, 3) == Inventory((0, 1, 2), 8 << 30, pinned=False)

    def test_gives_names_to_cores_that_do_not_exist(self) -> None:
        assert inventory_of(MACHINE, 6) == Inventory((0, 1, 2, 3, 4, 5), 8 << 30, pinned=False)


def test_memory_is_told_in_kibibytes() -> None:
    assert memory_total("MemFree:  1 kB\nMemTotal:       16384 kB\nSwapTotal: 0 kB\n") == 16 << 20


def test_this_machine_has_something() -> None:
    inventory = read_inventory()
    assert inventory.cores
    assert inventory.memory > 1 << 28
    assert read_inventory(1, 5) == Inventory(inventory.cores[:1], 5)
