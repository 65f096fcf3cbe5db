"""What a cgroup has used, in the JSON form of `runc events --stats` (runc's types/events.go), from the files of version 2.

Times are nanoseconds, sizes bytes; "no limit" is 2⁶⁴ - 1 for memory and left out for processes. What version 2 does not
count stays 0, and what the cgroup has no controller for is left at its least, as runc leaves it.
"""

from __future__ import annotations

import os

from rootless.cgroups import keyed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cgroups import Cgroup

_UNLIMITED = 2**64 - 1

_CPUSET = (
    *("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab"),
    *("memory_pressure", "sched_load_balance", "sched_relax_domain_level"),
)
"""Version 1's, always there and always 0."""

_IO = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
}


def statistics(cgroup: Cgroup) -> dict[str, Any]:
    """The `data` of a stats event; a cgroup that is gone has used nothing."""
    return {
        "cpu": _cpu(cgroup.path),
        "cpuset": dict.fromkeys(_CPUSET, 0),
        "memory": _memory(cgroup.path),
        "pids": _pids(cgroup.path),
        "blkio": _io(cgroup.path),
        "hugetlb": _huge_pages(cgroup.path),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _cpu(path: str) -> dict[str, Any]:
    counts = keyed(_read(f"{path}/cpu.stat"))
    usage = {key: counts.get(f"{name}_usec", 0) * 1000 for key, name in (("kernel", "system"), ("user", "user"))}
    throttling = {
        "periods": counts.get("nr_periods", 0),
        "throttledPeriods": counts.get("nr_throttled", 0),
        "throttledTime": counts.get("throttled_usec", 0) * 1000,
    }
    return {
        "usage": {**_present({"total": counts.get("usage_usec", 0) * 1000}), **usage},
        "throttling": _present(throttling),
        **_pressure(f"{path}/cpu.pressure"),
    }


def _memory(path: str) -> dict[str, Any]:
    raw = keyed(_read(f"{path}/memory.stat"))
    usage, limit = _number(f"{path}/memory.current"), _number(f"{path}/memory.max")
    swap, swap_limit = _number(f"{path}/memory.swap.current"), _number(f"{path}/memory.swap.max")
    # memory and swap together, as version 1 counts
    both_limit = _UNLIMITED if swap_limit == _UNLIMITED else min(swap_limit + limit, _UNLIMITED)
    none = {"limit": 0, "failcnt": 0}
    return {
        **_present({"cache": raw.get("file", 0)}),
        "usage": {**_present({"usage": usage, "max": _number(f"{path}/memory.peak")}), "limit": limit, "failcnt": 0},
        "swap": {**_present({"usage": usage + swap}), "limit": both_limit, "failcnt": 0},
        "kernel": none,
        "kernelTCP": dict(none),
        **_present({"raw": raw}),
        **_pressure(f"{path}/memory.pressure"),
    }


def _pids(path: str) -> dict[str, Any]:
    current = _number(f"{path}/pids.current")
    limit = _number(f"{path}/pids.max")
    if not current:
        # no pids controller: those that are there can be counted all the same
        current = len(_read(f"{path}/cgroup.procs").split())
    return _present({"current": current, "limit": 0 if limit == _UNLIMITED else limit})


def _io(path: str) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    for line in _read(f"{path}/io.stat").splitlines():
        device, *counts = line.split()
        major, colon, minor = device.partition(":")
        if not colon:
            continue
        for count in counts:
            key, _equals, value = count.partition("=")
            if key in _IO:
                table, operation = _IO[key]
                entry = {"major": int(major), "minor": int(minor), "op": operation, "value": int(value)}
                tables.setdefault(table, []).append(_present(entry))
    return {**tables, **_pressure(f"{path}/io.pressure")}


def _huge_pages(path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        names = os.listdir(path)
    except OSError:
        return found
    for name in names:
        parts = name.split(".")
        if len(parts) == 3 and parts[0] == "hugetlb" and parts[2] == "current":
            size = parts[1]
            # what is reserved counts as used, where the kernel counts that (since 5.7)
            reserved = f"{path}/hugetlb.{size}.rsvd.current"
            usage = _number(reserved if os.path.exists(reserved) else f"{path}/{name}")
            failures = keyed(_read(f"{path}/hugetlb.{size}.events")).get("max", 0)
            found[size] = {**_present({"usage": usage}), "failcnt": failures}
    return found


def _pressure(path: str) -> dict[str, Any]:
    """`psi` from a pressure file (the kernel's accounting/psi.rst); nothing where the kernel does not measure it."""
    kinds: dict[str, Any] = {}
    for line in _read(path).splitlines():
        kind, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs)
        averages = {key: float(values.get(key, 0)) for key in ("avg10", "avg60", "avg300")}
        kinds[kind] = {**averages, "total": int(values.get("total", 0))}
    if not kinds:
        return {}
    nothing = {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 0}
    return {"psi": {kind: kinds.get(kind, nothing) for kind in ("some", "full")}}


def _present(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is 0 or empty, which Go's `omitempty` leaves out."""
    return {key: value for key, value in values.items() if value}


def _number(path: str) -> int:
    text = _read(path).strip()
    return _UNLIMITED if text == "max" else int(text or 0)


def _read(path: str) -> str:
    # a controller that is not there, a cgroup that is gone, pressure that is switched off (EOPNOTSUPP)
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
