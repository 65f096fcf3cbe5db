"""What can be said of cgroups without one: where they are, whose fault a missing one is, and what their files mean."""

from __future__ import annotations

import json
import os

import pytest

from rootless import cgroup_limits, cgroup_statistics, cgroups
from rootless.errors import HostUnfit, InUse, InvalidDocument, KernelError

PIDS = [("pids.max", "5")]


def test_the_hierarchy_is_where_the_kernel_shows_one():
    hierarchy = cgroups.find_hierarchy()
    if hierarchy is None:
        assert not os.path.exists(f"{cgroups.UNIFIED}/cgroup.controllers")
    else:
        assert os.path.exists(f"{hierarchy}/cgroup.controllers")
        assert os.path.isdir(cgroups.at(hierarchy, cgroups.own_cgroup()).path)


def test_a_process_that_is_gone_has_no_cgroup():
    with pytest.raises(KernelError, match="No such file or directory"):
        cgroups.cgroup_of(2**22 + 1)


def test_paths_stay_in_the_hierarchy():
    assert cgroups.at("/sys/fs/cgroup", "/a//./b/").path == "/sys/fs/cgroup/a/b"
    assert cgroups.at("/sys/fs/cgroup", "/").path == "/sys/fs/cgroup"
    for path in ("../x", "a/../../b", "a\0b"):
        with pytest.raises(InvalidDocument, match="leads out"):
            cgroups.at("/sys/fs/cgroup", path)


def test_limits_without_version_2_say_so_and_how_to_get_it():
    cgroups.require_hierarchy(cgroups.UNIFIED, PIDS)
    cgroups.require_hierarchy(None, [])
    for hierarchy, said in ((None, "not mounted"), (cgroups.HYBRID, "version 1's")):
        with pytest.raises(HostUnfit, match=f"linux.resources.pids.limit.*{said}") as unfit:
            cgroups.require_hierarchy(hierarchy, PIDS)
        assert "systemd.unified_cgroup_hierarchy=1" in (unfit.value.hint or "")


def test_a_directory_that_may_not_be_made_leaves_nothing_behind(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("")
    with pytest.raises(KernelError, match="mkdir"):
        cgroups.create(str(tmp_path), "a/b/c", set())
    made = cgroups.create(str(tmp_path), "new/x", {"pids"})
    assert made == (cgroups.Cgroup(f"{tmp_path}/new/x"), [f"{tmp_path}/new", f"{tmp_path}/new/x"])


def test_a_cgroup_that_is_gone_is_empty_removed_and_killed(tmp_path):
    gone = cgroups.Cgroup(f"{tmp_path}/gone")
    cgroups.remove(gone)
    cgroups.kill(gone)
    assert cgroups.processes(gone) == []
    assert not cgroups.frozen(gone)
    assert cgroups.out_of_memory_kills(gone) == 0
    assert cgroup_statistics.statistics(gone)["pids"] == {}
    with pytest.raises(KernelError, match="No such file"):
        cgroups.apply(gone, PIDS)
    with pytest.raises(KernelError, match="No such file"):
        cgroups.freeze(gone)


def test_a_limit_below_what_is_used_is_refused_where_that_is_asked_for(tmp_path):
    (tmp_path / "memory.current").write_text("4096\n")
    cgroup = cgroups.Cgroup(str(tmp_path))
    cgroups.refuse_below_usage(cgroup, {"memory": {"limit": 1}})
    cgroups.refuse_below_usage(cgroup, {"memory": {"limit": -1, "swap": 5000, "checkBeforeUpdate": True}})
    with pytest.raises(InUse, match=r"memory\.limit: 4096 bytes are asked for and 4096"):
        cgroups.refuse_below_usage(cgroup, {"memory": {"limit": 4096, "checkBeforeUpdate": True}})


FILES = {
    "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 1\nthrottled_usec 7\n",
    "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.25 total=99\n",
    "memory.current": "1000\n",
    "memory.max": "5000\n",
    "memory.peak": "1500\n",
    "memory.swap.current": "10\n",
    "memory.swap.max": "500\n",
    "memory.stat": "anon 600\nfile 400\n",
    "pids.current": "3\n",
    "pids.max": "max\n",
    "io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=0 dbytes=0 dios=0\n",
    "hugetlb.2MB.current": "2097152\n",
    "hugetlb.2MB.rsvd.current": "4194304\n",
    "hugetlb.2MB.events": "max 6\n",
}


def test_statistics_have_the_form_of_runc_events(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    psi = {"avg10": 1.5, "avg60": 0.0, "avg300": 0.25, "total": 99}
    zero = {"limit": 0, "failcnt": 0}
    found = cgroup_statistics.statistics(cgroups.Cgroup(str(tmp_path)))
    json.dumps(found)
    assert found["cpu"] == {
        "usage": {"total": 30000, "kernel": 10000, "user": 20000},
        "throttling": {"periods": 4, "throttledPeriods": 1, "throttledTime": 7000},
        "psi": {"some": psi, "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 0}},
    }
    assert found["memory"] == {
        "cache": 400,
        "usage": {"usage": 1000, "max": 1500, "limit": 5000, "failcnt": 0},
        "swap": {"usage": 1010, "limit": 5500, "failcnt": 0},
        "kernel": zero,
        "kernelTCP": zero,
        "raw": {"anon": 600, "file": 400},
    }
    assert found["pids"] == {"current": 3}
    assert found["blkio"] == {
        "ioServiceBytesRecursive": [
            {"major": 8, "op": "Read", "value": 1},
            {"major": 8, "op": "Write", "value": 2},
        ],
        "ioServicedRecursive": [{"major": 8, "op": "Read", "value": 3}, {"major": 8, "op": "Write"}],
    }
    assert found["hugetlb"] == {"2MB": {"usage": 4194304, "failcnt": 6}}


def test_limits_go_to_their_files_in_order_and_the_optional_ones_may_be_missing(tmp_path):
    # a directory of plain files stands where the kernel's would: what is tested is which are written
    for name in ("memory.max", "io.weight", "hugetlb.2MB.max", "cgroup.controllers"):
        (tmp_path / name).write_text("")
    cgroups.apply(
        cgroups.Cgroup(str(tmp_path)),
        cgroup_limits.limits(
            {
                "memory": {"limit": 4096, "swap": 4096},
                "blockIO": {"weight": 100},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 5}],
            }
        ),
    )
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "memory.max": "4096",
        "io.weight": "default 910",
        "hugetlb.2MB.max": "5",
        "cgroup.controllers": "",
    }
    with pytest.raises(HostUnfit, match='"pids" controller'):
        cgroups.apply(cgroups.Cgroup(str(tmp_path)), PIDS)
