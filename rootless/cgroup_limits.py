"""What `linux.resources` of a container's configuration means in the files of cgroup v2. Pure: nothing is read or written.

The configuration speaks of cgroup v1 (runtime-spec 1.2, config-linux.md, "Control groups"); the files are those of the
kernel's admin-guide/cgroup-v2.rst. Conversions are runc's (github.com/opencontainers/cgroups), in its order. Absent, null
and 0 mean "not asked for" wherever they do to runc; -1 is "max". Three differences, all towards saying so:

* what v2 cannot do at all is refused by its name, as crun does, where runc ignores it: `memory.kernel`,
  `memory.kernelTCP`, `memory.swappiness`, `memory.disableOOMKiller`, `memory.useHierarchy: false`,
  `cpu.realtimeRuntime`, `cpu.realtimePeriod`, `blockIO.leafWeight`, `network.classID`, `network.priorities`;
* a throttle rate of 0 takes the limit away, as it does on v1; the kernel would refuse `rbps=0`;
* `cpu.idle: 1` wins over `cpu.shares`: the kernel refuses a weight for an idle group.

`devices` is `rootless/device_filter.py`'s business; `memory.checkBeforeUpdate` is `rootless.cgroups.refuse_below_usage`'s.
"""

from __future__ import annotations

from rootless.errors import InvalidDocument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Files = list[tuple[str, str]]

DEFAULT_PERIOD = 100_000
"""The kernel's cpu.max period in microseconds."""

_NO_LIMIT = 2**63 - 2**16
"""Engines write the largest page-aligned int64 for "no limit"; pages are at most 64 KiB."""

_FIELDS = {
    "memory.max": "memory.limit",
    "memory.low": "memory.reservation",
    "memory.swap.max": "memory.swap",
    "cpu.weight": "cpu.shares",
    "cpu.max": "cpu.quota",
    "cpu.max.burst": "cpu.burst",
    "cpu.idle": "cpu.idle",
    "cpuset.cpus": "cpu.cpus",
    "cpuset.mems": "cpu.mems",
    "pids.max": "pids.limit",
    "io.bfq.weight": "blockIO.weight",
    "io.weight": "blockIO.weight",
    "io.max": "blockIO.throttle",
    "rdma.max": "rdma",
}


def limits(resources: dict[str, Any]) -> Files:
    """The (file, value) pairs that `resources` asks for, in the order to write them; a file may come more than once.

    `io.bfq.weight` stands for whichever of the two weight files the kernel has (`io_weight` converts), and
    `hugetlb.SIZE.rsvd.max` may be missing from it; `rootless.cgroups.apply` knows both. Raises InvalidDocument for values
    of the wrong kind and for what cgroup v2 does not have.
    """
    files: Files = []
    _pids(_section(resources, "pids"), files)
    _memory(_section(resources, "memory"), files)
    _block_io(_section(resources, "blockIO"), files)
    _cpu(_section(resources, "cpu"), files)
    _huge_pages(resources.get("hugepageLimits"), files)
    _rdma(_section(resources, "rdma"), files)
    network = _section(resources, "network")
    _refuse(network, "network", "classID", "cgroup v2 does not mark packets")
    _refuse(network, "network", "priorities", "cgroup v2 has no network priorities")
    _unified(_section(resources, "unified"), files)
    return files


def controllers_for(files: Iterable[tuple[str, str]]) -> set[str]:
    """The controllers these files belong to; `cgroup.*` files belong to none."""
    return {file.partition(".")[0] for file, _value in files} - {"cgroup"}


def is_request(resources: dict[str, Any]) -> bool:
    """Whether anything in `resources` limits or weighs: "max" does not, and devices are not counted."""
    return any(not _is_unlimited(value) for _file, value in limits(resources))


def field_of(file: str) -> str:
    """The name under `linux.resources` that asks for this file."""
    if file.startswith("hugetlb."):
        return "hugepageLimits"
    return _FIELDS.get(file, f'unified["{file}"]')


def weight_of_shares(shares: int) -> int:
    """cpu.weight for `cpu.shares`; 0, which asks for nothing, stays 0.

    2, 1024 and 262144 become 1, 100 and 10000 along 10 to the power of (l² + 125 l) / 612 - 7 / 34 with l = log2(shares):
    runc since 1.3.2. The straight line they used before gave the default of 1024 a weight of 39.
    """
    if shares <= 2:
        return min(shares, 1)
    if shares >= 2**18:
        return 10000
    from math import ceil, log2

    octaves = log2(shares)
    return ceil(10 ** ((octaves * octaves + 125 * octaves) / 612 - 7 / 34))


def io_weight(bfq: int) -> int:
    """io.weight, 1 to 10000, for a `blockIO.weight` of 10 to 1000, which is also io.bfq.weight's scale."""
    return 1 + (max(bfq, 10) - 10) * 9999 // 990


def _is_unlimited(value: str) -> bool:
    if value == "max" or value.startswith("max ") or value.endswith("=max"):
        return True
    return value.isdecimal() and int(value) >= _NO_LIMIT


def _pids(pids: dict[str, Any], files: Files) -> None:
    limit = _number(pids, "pids", "limit", -1)
    if limit:
        files.append(("pids.max", _or_max(limit)))


def _memory(memory: dict[str, Any], files: Files) -> None:
    _refuse(memory, "memory", "kernel", "cgroup v2 counts kernel memory in the one limit")
    _refuse(memory, "memory", "kernelTCP", "cgroup v2 counts socket buffers in the one limit")
    _refuse(memory, "memory", "disableOOMKiller", "cgroup v2 cannot turn the OOM killer off")
    # 0 is a swappiness like any other
    if memory.get("swappiness") is not None:
        raise _unavailable("memory.swappiness", "cgroup v2 has no swappiness of its own")
    if memory.get("useHierarchy") is False:
        raise _unavailable("memory.useHierarchy", "cgroup v2 is always hierarchical")
    limit = _number(memory, "memory", "limit", -1)
    swap = swap_limit(limit, _number(memory, "memory", "swap", -1))
    # swap first: lowering memory.max may have to swap out, and must not find the new room still closed
    if swap is not None:
        files.append(("memory.swap.max", _or_max(swap)))
    if limit:
        files.append(("memory.max", _or_max(limit)))
    reservation = _number(memory, "memory", "reservation", -1)
    if reservation:
        files.append(("memory.low", _or_max(reservation)))


def swap_limit(limit: int, combined: int) -> int | None:
    """memory.swap.max for a memory limit and the memory+swap limit of v1; None where none is asked for.

    Raises InvalidDocument where the difference means nothing.
    """
    if combined == 0:
        return -1 if limit == -1 else None
    if combined == -1 or limit == -1:
        return combined
    if limit == 0:
        raise InvalidDocument("linux.resources.memory.swap: limits memory and swap together, and needs memory.limit")
    if combined < limit:
        raise InvalidDocument(f"linux.resources.memory.swap: {combined} is less than memory.limit, which it includes")
    return combined - limit


def _cpu(cpu: dict[str, Any], files: Files) -> None:
    for name in ("realtimeRuntime", "realtimePeriod"):
        _refuse(cpu, "cpu", name, "cgroup v2 does not share out realtime")
    idle = cpu.get("idle")
    if idle is not None:
        files.append(("cpu.idle", str(_number(cpu, "cpu", "idle", 0, 1))))
    weight = weight_of_shares(_number(cpu, "cpu", "shares", 0))
    if weight and idle != 1:
        files.append(("cpu.weight", str(weight)))
    quota, period = _number(cpu, "cpu", "quota", -1), _number(cpu, "cpu", "period", 0)
    # the burst may not exceed the quota, old or new; `apply` writes it again after cpu.max where the old one is in the way
    if cpu.get("burst") is not None:
        files.append(("cpu.max.burst", str(_number(cpu, "cpu", "burst", 0))))
    if quota or period:
        files.append(("cpu.max", f"{quota if quota > 0 else 'max'} {period or DEFAULT_PERIOD}"))
    for name in ("cpus", "mems"):
        listed = cpu.get(name)
        if listed:
            files.append((f"cpuset.{name}", _text(listed, f"cpu.{name}")))


def _block_io(block_io: dict[str, Any], files: Files) -> None:
    _refuse(block_io, "blockIO", "leafWeight", "cgroup v2 has no leaf weights")
    weight = _number(block_io, "blockIO", "weight", 0, 1000)
    if weight:
        files.append(("io.bfq.weight", str(weight)))
    for device in _list(block_io.get("weightDevice"), "blockIO.weightDevice"):
        _refuse(device, "blockIO.weightDevice", "leafWeight", "cgroup v2 has no leaf weights")
        weight = _number(device, "blockIO.weightDevice", "weight", 0, 1000)
        if weight:
            files.append(("io.bfq.weight", f"{_device(device, 'blockIO.weightDevice')} {weight}"))
    for name, key in (
        ("throttleReadBpsDevice", "rbps"),
        ("throttleWriteBpsDevice", "wbps"),
        ("throttleReadIOPSDevice", "riops"),
        ("throttleWriteIOPSDevice", "wiops"),
    ):
        for device in _list(block_io.get(name), f"blockIO.{name}"):
            rate = _number(device, f"blockIO.{name}", "rate", 0)
            files.append(("io.max", f"{_device(device, f'blockIO.{name}')} {key}={rate or 'max'}"))


def _huge_pages(entries: Any, files: Files) -> None:
    for entry in _list(entries, "hugepageLimits"):
        size = _text(entry.get("pageSize"), "hugepageLimits.pageSize")
        if not size[:-2].isdecimal() or size[-2:] not in ("KB", "MB", "GB"):
            raise InvalidDocument(f'linux.resources.hugepageLimits.pageSize: "{size}" is not a size such as 2MB')
        limit = str(_number(entry, "hugepageLimits", "limit", 0))
        files += [(f"hugetlb.{size}.max", limit), (f"hugetlb.{size}.rsvd.max", limit)]


def _rdma(devices: dict[str, Any], files: Files) -> None:
    for name, entry in devices.items():
        if not name or any(character.isspace() for character in name):
            raise InvalidDocument(f'linux.resources.rdma: "{name}" is not the name of a device')
        parts = [name]
        for key, written in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")):
            if entry.get(key) is not None:
                parts.append(f"{written}={_number(entry, f'rdma.{name}', key, 0)}")
        if len(parts) > 1:
            files.append(("rdma.max", " ".join(parts)))


def _unified(entries: dict[str, Any], files: Files) -> None:
    for file, value in entries.items():
        # a file name and nothing that leaves the directory; "." and ".." have no controller before the dot
        if "/" in file or "\0" in file or file.find(".") < 1:
            raise InvalidDocument(
                f"linux.resources.unified: the specified key has not the form CONTROLLER.VALUE `{file}`, as memory.high"
            )
        for line in _text(value, f"unified.{file}").splitlines():
            if line.strip():
                files.append((file, line.strip()))


def _or_max(value: int) -> str:
    return "max" if value < 0 else str(value)


def _section(resources: dict[str, Any], name: str) -> dict[str, Any]:
    section = resources.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise InvalidDocument(f"linux.resources.{name}: is not an object")
    return section


def _list(entries: Any, name: str) -> list[dict[str, Any]]:
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidDocument(f"linux.resources.{name}: is not a list of objects")
    return entries


def _number(section: dict[str, Any], where: str, name: str, least: int, most: int = 2**64 - 1) -> int:
    value = section.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        shown = "unlimited" if most == 2**64 - 1 else str(most)
        raise InvalidDocument(f"linux.resources.{where}.{name}: {value!r} is not a number from {least} to {shown}")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidDocument(f"linux.resources.{where}: {value!r} is not text")
    return value


def _device(entry: dict[str, Any], where: str) -> str:
    return f"{_number(entry, where, 'major', 0)}:{_number(entry, where, 'minor', 0)}"


def _refuse(section: dict[str, Any], where: str, name: str, why: str) -> None:
    if section.get(name):
        raise _unavailable(f"{where}.{name}", why)


def _unavailable(name: str, why: str) -> InvalidDocument:
    return InvalidDocument(f"linux.resources.{name}: {why}", hint=f"leave linux.resources.{name} out")
