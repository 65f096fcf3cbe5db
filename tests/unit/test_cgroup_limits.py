"""`linux.resources` becomes the files of cgroup v2 that runc writes, in its order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless import cgroup_limits
from rootless.errors import InvalidDocument

GIB = 2**30


@pytest.mark.parametrize(
    ("resources", "files"),
    [
        ({}, []),
        ({"memory": None, "pids": None, "devices": [{"allow": False}]}, []),
        ({"memory": {"limit": GIB}}, [("memory.max", str(GIB))]),
        ({"memory": {"limit": 0, "swap": 0}}, []),
        ({"memory": {"limit": -1}}, [("memory.swap.max", "max"), ("memory.max", "max")]),
        ({"memory": {"limit": GIB, "swap": 3 * GIB}}, [("memory.swap.max", str(2 * GIB)), ("memory.max", str(GIB))]),
        ({"memory": {"limit": GIB, "swap": GIB}}, [("memory.swap.max", "0"), ("memory.max", str(GIB))]),
        ({"memory": {"limit": GIB, "swap": -1}}, [("memory.swap.max", "max"), ("memory.max", str(GIB))]),
        ({"memory": {"limit": -1, "swap": GIB}}, [("memory.swap.max", str(GIB)), ("memory.max", "max")]),
        ({"memory": {"swap": -1}}, [("memory.swap.max", "max")]),
        ({"memory": {"reservation": 4096, "disableOOMKiller": False}}, [("memory.low", "4096")]),
        ({"memory": {"useHierarchy": True, "checkBeforeUpdate": True, "swappiness": None}}, []),
        ({"pids": {"limit": 0}}, []),
        ({"pids": {"limit": -1}}, [("pids.max", "max")]),
        ({"pids": {"limit": 100}}, [("pids.max", "100")]),
        ({"cpu": {"shares": 1024}}, [("cpu.weight", "100")]),
        ({"cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""}}, []),
        ({"cpu": {"quota": 50000}}, [("cpu.max", "50000 100000")]),
        ({"cpu": {"quota": 50000, "period": 20000}}, [("cpu.max", "50000 20000")]),
        ({"cpu": {"quota": -1}}, [("cpu.max", "max 100000")]),
        ({"cpu": {"period": 20000}}, [("cpu.max", "max 20000")]),
        ({"cpu": {"quota": 50000, "burst": 0}}, [("cpu.max.burst", "0"), ("cpu.max", "50000 100000")]),
        ({"cpu": {"idle": 1, "shares": 1024}}, [("cpu.idle", "1")]),
        ({"cpu": {"idle": 0, "shares": 2}}, [("cpu.idle", "0"), ("cpu.weight", "1")]),
        ({"cpu": {"cpus": "0-1", "mems": "0"}}, [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]),
        ({"cpu": {"realtimeRuntime": 0, "realtimePeriod": None}}, []),
        (
            {"blockIO": {"weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 100}]}},
            [("io.bfq.weight", "500"), ("io.bfq.weight", "8:0 100")],
        ),
        (
            {
                "blockIO": {
                    "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
                    "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}],
                }
            },
            [("io.max", "8:0 rbps=600"), ("io.max", "8:16 wiops=max")],
        ),
        (
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 9223372036854771712}]},
            [("hugetlb.2MB.max", "9223372036854771712"), ("hugetlb.2MB.rsvd.max", "9223372036854771712")],
        ),
        (
            {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}},
            [("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000")],
        ),
        ({"network": {"classID": 0, "priorities": []}}, []),
        (
            {
                "pids": {"limit": 5},
                "unified": {"memory.high": "1G", "io.max": "8:0 rbps=1\n8:16 rbps=2", "cpu.max": ""},
            },
            [("pids.max", "5"), ("memory.high", "1G"), ("io.max", "8:0 rbps=1"), ("io.max", "8:16 rbps=2")],
        ),
    ],
)
def test_resources_become_files(resources, files):
    assert cgroup_limits.limits(resources) == files


@pytest.mark.parametrize(
    ("resources", "named"),
    [
        ({"memory": {"kernel": 1}}, "memory.kernel"),
        ({"memory": {"kernelTCP": -1}}, "memory.kernelTCP"),
        ({"memory": {"swappiness": 0}}, "memory.swappiness"),
        ({"memory": {"disableOOMKiller": True}}, "memory.disableOOMKiller"),
        ({"memory": {"useHierarchy": False}}, "memory.useHierarchy"),
        ({"memory": {"swap": GIB}}, "memory.swap"),
        ({"memory": {"limit": GIB, "swap": GIB - 1}}, "memory.swap"),
        ({"memory": {"limit": "1g"}}, "memory.limit"),
        ({"memory": {"limit": -2}}, "memory.limit"),
        ({"memory": {"limit": True}}, "memory.limit"),
        ({"memory": []}, "memory"),
        ({"cpu": {"realtimeRuntime": 1}}, "cpu.realtimeRuntime"),
        ({"cpu": {"realtimePeriod": 1}}, "cpu.realtimePeriod"),
        ({"cpu": {"cpus": 3}}, "cpu.cpus"),
        ({"cpu": {"idle": 2}}, "cpu.idle"),
        ({"blockIO": {"leafWeight": 10}}, "blockIO.leafWeight"),
        ({"blockIO": {"weight": 1001}}, "blockIO.weight"),
        ({"blockIO": {"throttleReadBpsDevice": ["8:0"]}}, "blockIO.throttleReadBpsDevice"),
        ({"hugepageLimits": [{"pageSize": "../../x", "limit": 1}]}, "hugepageLimits.pageSize"),
        ({"rdma": {"a b": {"hcaHandles": 1}}}, "rdma"),
        ({"network": {"classID": 1}}, "network.classID"),
        ({"network": {"priorities": [{"name": "eth0", "priority": 1}]}}, "network.priorities"),
        ({"unified": {"../memory.max": "1"}}, "unified"),
        ({"unified": {"..": "1"}}, "unified"),
        ({"unified": {"memory": "1"}}, "unified"),
        ({"unified": {"memory.max": 1}}, "unified"),
    ],
)
def test_what_version_2_does_not_have_is_refused_by_name(resources, named):
    with pytest.raises(InvalidDocument) as refusal:
        cgroup_limits.limits(resources)
    assert refusal.value.message.startswith(f"linux.resources.{named}")


def test_shares_become_weights_as_runc_converts_them():
    # least, default and most are what the curve of opencontainers/runc#4785 was fitted to
    pairs = {0: 0, 1: 1, 2: 1, 10: 4, 256: 35, 512: 59, 1024: 100, 2048: 174, 262144: 10000, 10**9: 10000}
    assert {shares: cgroup_limits.weight_of_shares(shares) for shares in pairs} == pairs


@given(shares=st.integers(0, 2**19))
def test_more_shares_never_weigh_less(shares):
    assert cgroup_limits.weight_of_shares(shares) <= cgroup_limits.weight_of_shares(shares + 1) <= 10000


def test_io_weights_fill_their_range():
    assert [cgroup_limits.io_weight(weight) for weight in (10, 100, 1000)] == [1, 910, 10000]


@pytest.mark.parametrize(
    "resources",
    [
        {},
        {"devices": [{"allow": False, "access": "rwm"}]},
        {"memory": {"limit": -1, "swap": -1}},
        {"memory": {"limit": 9223372036854771712}},
        {"pids": {"limit": 0}},
        {"pids": {"limit": -1}},
        {"cpu": {"quota": -1, "period": 100000}},
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 9223372036854771712}]},
        {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 0}]}},
    ],
)
def test_no_limit_is_no_request(resources):
    assert not cgroup_limits.is_request(resources)


def test_a_limit_or_a_weight_is_a_request():
    for resources in (
        {"pids": {"limit": 2048}},
        {"cpu": {"shares": 1024}},
        {"memory": {"limit": -1, "reservation": 5}},
        {"unified": {"cgroup.max.depth": "1"}},
    ):
        assert cgroup_limits.is_request(resources)


def test_controllers_and_fields_are_those_of_the_files():
    files = cgroup_limits.limits({"memory": {"limit": 5}, "cpu": {"cpus": "0"}, "unified": {"cgroup.max.depth": "1"}})
    assert cgroup_limits.controllers_for(files) == {"memory", "cpuset"}
    assert [cgroup_limits.field_of(file) for file in ("memory.max", "hugetlb.2MB.max", "memory.high")] == [
        "memory.limit",
        "hugepageLimits",
        'unified["memory.high"]',
    ]
