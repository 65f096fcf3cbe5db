"""Limits: the options about memory, CPUs, processes and block devices as linux.resources of the OCI (config-linux.md)."""

from __future__ import annotations

from rootless import system as os
from rootless.errors import NotFound, UsageError
from toolbox.containers import sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_LEAST_MEMORY = 6 << 20
_THROTTLES = (
    ("device_read_bps", "throttleReadBpsDevice", True),
    ("device_write_bps", "throttleWriteBpsDevice", True),
    ("device_read_iops", "throttleReadIOPSDevice", False),
    ("device_write_iops", "throttleWriteIOPSDevice", False),
)


def resources(given: Mapping[str, Any]) -> dict[str, Any]:
    """The document for the options that are given, by their parameters' names. Raises UsageError, NotFound."""
    found = {"memory": _memory(given), "cpu": _cpu(given), "blockIO": _block(given)}
    limit = given.get("pids_limit") or ""
    if limit:
        number = _integer(limit, "--pids-limit")
        if number > 0 or given.get("changing"):
            found["pids"] = {"limit": number if number > 0 else -1}
    unified = {}
    for text in given.get("cgroup_conf") or ():
        name, equals, value = text.partition("=")
        if not equals or "/" in name:
            raise UsageError(f'--cgroup-conf "{text}" is not FILE=VALUE')
        unified[name] = value
    found["unified"] = unified
    return {key: value for key, value in found.items() if value}


def _memory(given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option, key in (("memory", "limit"), ("memory_reservation", "reservation")):
        if given.get(option):
            found[key] = sizes.bytes_of(given[option], f"--{option.replace('_', '-')}")
    if found.get("limit") and found["limit"] < _LEAST_MEMORY:
        raise UsageError(f"--memory {given['memory']}: a container needs 6m at least")
    if "limit" in found and found.get("reservation", 0) > found["limit"]:
        raise UsageError("--memory-reservation is above --memory")
    swap = given.get("memory_swap") or ""
    if swap:
        if "limit" not in found and swap != "-1":
            raise UsageError("--memory-swap needs --memory: it is the limit of both together")
        found["swap"] = -1 if swap == "-1" else sizes.bytes_of(swap, "--memory-swap")
        if found["swap"] != -1 and found["swap"] < found["limit"]:
            raise UsageError("--memory-swap is below --memory: it is the limit of both together")
    elif "limit" in found:
        found["swap"] = 2 * found["limit"]
    if given.get("memory_swappiness"):
        value = _integer(given["memory_swappiness"], "--memory-swappiness")
        if not -1 <= value <= 100:
            raise UsageError("--memory-swappiness is from 0 to 100")
        if value >= 0:
            found["swappiness"] = value
    if given.get("oom_kill_disable"):
        found["disableOOMKiller"] = True
    return found


def _cpu(given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option, key in (
        ("cpu_shares", "shares"),
        ("cpu_period", "period"),
        ("cpu_quota", "quota"),
        ("cpu_rt_period", "realtimePeriod"),
        ("cpu_rt_runtime", "realtimeRuntime"),
    ):
        if given.get(option):
            found[key] = _integer(given[option], f"--{option.replace('_', '-')}")
    for option, key in (("cpuset_cpus", "cpus"), ("cpuset_mems", "mems")):
        if given.get(option):
            found[key] = given[option]
    if given.get("cpus"):
        if "quota" in found or "period" in found:
            raise UsageError("--cpus cannot stand beside --cpu-quota and --cpu-period, which say the same")
        try:
            number = float(given["cpus"])
        except ValueError:
            raise UsageError(f'--cpus takes a number such as 1.5, not "{given["cpus"]}"') from None
        if not 0.01 <= number <= (os.cpu_count() or 1):
            raise UsageError(f"--cpus {given['cpus']}: this machine has {os.cpu_count()}, and 0.01 is the least")
        found["period"], found["quota"] = 100000, int(number * 100000)
    return found


def _block(given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if given.get("blkio_weight"):
        found["weight"] = _weight(given["blkio_weight"], "--blkio-weight")
    devices = [_device(text, "--blkio-weight-device") for text in given.get("blkio_weight_device") or ()]
    if devices:
        found["weightDevice"] = [
            {**device, "weight": _weight(value, "--blkio-weight-device")} for device, value in devices
        ]
    for option, key, is_size in _THROTTLES:
        name = f"--{option.replace('_', '-')}"
        limits = [_device(text, name) for text in given.get(option) or ()]
        if limits:
            found[key] = [
                {**device, "rate": sizes.bytes_of(value, name) if is_size else _integer(value, name)}
                for device, value in limits
            ]
    return found


def _weight(text: str, option: str) -> int:
    value = _integer(text, option)
    if not 10 <= value <= 1000:
        raise UsageError(f"{option} is from 10 to 1000, not {value}")
    return value


def _device(text: str, option: str) -> tuple[dict[str, int], str]:
    path, colon, value = text.rpartition(":")
    if not colon:
        raise UsageError(f'{option} "{text}" is not DEVICE:VALUE')
    try:
        number = os.stat(path).st_rdev
    except OSError as error:
        raise NotFound(f'{option} "{path}": {os.strerror(error.errno or 0)}') from error
    return {"major": os.major(number), "minor": os.minor(number)}, value


def _integer(text: str, option: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f'{option} takes a number, not "{text}"') from None


def optional_integer(text: str, option: str, least: int, most: int) -> int | None:
    """A number within bounds; None where the option is not given. Raises UsageError."""
    if not text:
        return None
    value = _integer(text, option)
    if not least <= value <= most:
        raise UsageError(f"{option} is from {least} to {most}, not {value}")
    return value
