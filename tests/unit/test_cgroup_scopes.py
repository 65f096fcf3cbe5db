"""What systemd is asked for: names of scopes and slices, limits as unit properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless import cgroup_limits, systemd_scope
from rootless.errors import InvalidDocument

INFINITY = 2**64 - 1


def test_cgroups_paths_name_a_slice_and_a_scope():
    parse = systemd_scope.parse_cgroups_path
    assert parse("machine.slice:libpod:abc", "x", user=False) == ("machine.slice", "libpod-abc.scope")
    assert parse(":libpod:abc", "x", user=True) == ("user.slice", "libpod-abc.scope")
    assert parse(":libpod:abc", "x", user=False) == ("system.slice", "libpod-abc.scope")
    assert parse("", "x", user=True) == ("user.slice", "ptb-x.scope")


@pytest.mark.parametrize(
    "path", ["/machine/abc", "a:b", "a.slice:b:c:d", "a:b:c", "a.slice:b:", "a.slice:b:c/d", "a.slice:b:ü"]
)
def test_a_path_of_another_form_is_refused(path):
    with pytest.raises(InvalidDocument, match="linux.cgroupsPath"):
        systemd_scope.parse_cgroups_path(path, "x", user=True)


def test_slices_nest_by_their_dashes():
    assert systemd_scope.expand_slice("a.slice") == "a.slice"
    assert systemd_scope.expand_slice("a-b-c.slice") == "a.slice/a-b.slice/a-b-c.slice"
    assert systemd_scope.expand_slice("-.slice") == ""


@pytest.mark.parametrize("name", ["", ".slice", "a", "-a.slice", "a-.slice", "a--b.slice", "a/b.slice"])
def test_what_is_no_slice_is_refused(name):
    with pytest.raises(InvalidDocument, match="not the name of a slice"):
        systemd_scope.expand_slice(name)


@pytest.mark.parametrize(
    ("resources", "properties"),
    [
        ({}, {}),
        (
            {"memory": {"limit": 100, "swap": 150, "reservation": 50}},
            {"MemoryMax": ("t", 100), "MemorySwapMax": ("t", 50), "MemoryLow": ("t", 50)},
        ),
        ({"memory": {"limit": -1}}, {"MemoryMax": ("t", INFINITY), "MemorySwapMax": ("t", INFINITY)}),
        ({"pids": {"limit": -1}}, {"TasksMax": ("t", INFINITY)}),
        ({"cpu": {"shares": 1024}}, {"CPUWeight": ("t", 100)}),
        ({"cpu": {"idle": 1, "shares": 1024}}, {"CPUWeight": ("t", 0)}),
        ({"cpu": {"quota": 50000}}, {"CPUQuotaPerSecUSec": ("t", 500_000), "CPUQuotaPeriodUSec": ("t", 100_000)}),
        # a third of a CPU becomes 34 percent, never less than was asked for
        (
            {"cpu": {"quota": 10000, "period": 30000}},
            {"CPUQuotaPerSecUSec": ("t", 340_000), "CPUQuotaPeriodUSec": ("t", 30_000)},
        ),
        ({"cpu": {"quota": -1}}, {"CPUQuotaPerSecUSec": ("t", INFINITY), "CPUQuotaPeriodUSec": ("t", 100_000)}),
        (
            {"cpu": {"cpus": "0-3,9", "mems": "0"}},
            {"AllowedCPUs": ("ay", b"\x0f\x02"), "AllowedMemoryNodes": ("ay", b"\1")},
        ),
        ({"blockIO": {"weight": 1000}}, {"IOWeight": ("t", 10000)}),
        ({"blockIO": {"weight": 10}}, {"IOWeight": ("t", 10)}),
        (
            {
                "blockIO": {
                    "weightDevice": [{"major": 8, "minor": 0, "weight": 100}, {"major": 8, "minor": 16, "weight": 10}]
                }
            },
            {"IODeviceWeight": ("a(st)", [("/dev/block/8:0", 100), ("/dev/block/8:16", 10)])},
        ),
        (
            {
                "memory": {"limit": 100},
                "unified": {"memory.high": "90", "memory.max": "80", "io.weight": "default 7", "a.b": "c"},
            },
            {"MemoryMax": ("t", 80), "MemoryHigh": ("t", 90), "IOWeight": ("t", 7)},
        ),
        (
            {"unified": {"cpu.max": "max"}},
            {"CPUQuotaPerSecUSec": ("t", INFINITY), "CPUQuotaPeriodUSec": ("t", 100_000)},
        ),
        ({"unified": {"memory.oom.group": "1"}}, {"OOMPolicy": ("s", "kill")}),
    ],
)
def test_limits_are_told_to_systemd(resources, properties):
    assert dict(systemd_scope.scope_properties(cgroup_limits.limits(resources))) == properties


@pytest.mark.parametrize(
    "unified", [{"cpu.max": "half"}, {"pids.max": "-5"}, {"cpuset.cpus": "3-1"}, {"cpu.max": "1 0"}]
)
def test_a_value_systemd_could_not_take_is_refused(unified):
    with pytest.raises(InvalidDocument, match="is not a value of"):
        systemd_scope.scope_properties(cgroup_limits.limits({"unified": unified}))


@given(numbers=st.sets(st.integers(0, 200), min_size=1))
def test_a_list_of_cpus_is_its_bits(numbers):
    mask = systemd_scope.bit_mask(",".join(map(str, sorted(numbers))))
    assert {index for index in range(len(mask) * 8) if mask[index // 8] >> index % 8 & 1} == numbers
