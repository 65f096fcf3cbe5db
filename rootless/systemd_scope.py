"""Asking systemd for a cgroup: a transient scope around a process, its limits as properties, and its end.

The calls are those of org.freedesktop.systemd1(5), the properties those runc and crun set on cgroup v2 and
systemd.resource-control(5) explains. systemd writes their values to the same files that `rootless.cgroups.apply` does; it
is told so that it does not write its own ideas there when it reloads. What a systemd is too old to know is left out.
"""

from __future__ import annotations

from rootless.errors import InvalidDocument, KernelError, NotFound, PtbError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.dbus import Connection

    Property = tuple[str, tuple[str, Any]]

MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")

_INFINITY = 2**64 - 1
"""What systemd writes "no limit" and "infinite" as."""

_NUMBERS = {
    "memory.max": "MemoryMax",
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "memory.zswap.max": "MemoryZSwapMax",
    "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight",
}
_SETS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}
_FROM_LIMITS = frozenset(
    (
        *_NUMBERS.values(),
        *_SETS.values(),
        *("CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "IOWeight", "IODeviceWeight", "OOMPolicy"),
    )
)


def parse_cgroups_path(path: str, identity: str, *, user: bool) -> tuple[str, str]:
    """The (slice, scope) that `cgroupsPath` of the form slice:prefix:name asks for, as runc reads it.

    An empty path is ptb-IDENTITY.scope; an empty slice is user.slice or system.slice. Raises InvalidDocument.
    """
    slice_name, prefix, name = "", "ptb", identity
    if path:
        parts = path.split(":")
        if len(parts) != 3:
            raise InvalidDocument(f'linux.cgroupsPath: "{path}" is not of the form slice:prefix:name')
        slice_name, prefix, name = parts
    if not slice_name:
        slice_name = "user.slice" if user else "system.slice"
    expand_slice(slice_name)
    scope = f"{prefix}-{name}.scope"
    allowed = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@")
    if not name or len(scope) > 255 or not allowed.issuperset(scope):
        raise InvalidDocument(f'linux.cgroupsPath: "{scope}" is not the name of a unit (systemd.unit(5))')
    return slice_name, scope


def expand_slice(name: str) -> str:
    """Where a slice is, below the root of its manager: a-b.slice is a.slice/a-b.slice (systemd.slice(5)).

    Raises InvalidDocument for what is no slice's name.
    """
    stem = name.removesuffix(".slice")
    if name == "-.slice":
        return ""
    parts = stem.split("-")
    if stem == name or "/" in name or "" in parts:
        raise InvalidDocument(f'linux.cgroupsPath: "{name}" is not the name of a slice')
    return "/".join(f"{'-'.join(parts[: index + 1])}.slice" for index in range(len(parts)))


def scope_properties(files: list[tuple[str, str]]) -> list[Property]:
    """The unit properties that say what these files of `cgroup_limits.limits` say, as far as systemd has any.

    Raises InvalidDocument for a value that only `unified` can have put there and that systemd could not take.
    """
    found: dict[str, Property] = {}
    # a device's weight may come more than once, all else is the last said
    devices: list[tuple[str, int]] = []
    for file, value in files:
        try:
            if file in _NUMBERS:
                found[_NUMBERS[file]] = _number(_NUMBERS[file], _INFINITY if value == "max" else int(value))
            elif file in _SETS:
                found[_SETS[file]] = (_SETS[file], ("ay", bit_mask(value)))
            elif file == "cpu.max":
                found.update({name: _number(name, number) for name, number in _quota(value)})
            elif file in ("io.weight", "io.bfq.weight"):
                device, _space, weight = value.rpartition(" ")
                number = int(weight) if file == "io.weight" else _systemd_weight(int(weight))
                if device in ("", "default"):
                    found["IOWeight"] = _number("IOWeight", number)
                else:
                    devices.append((f"/dev/block/{device}", number))
            elif file == "memory.oom.group":
                found["OOMPolicy"] = ("OOMPolicy", ("s", "kill" if int(value) else "continue"))
        except ValueError:
            raise InvalidDocument(f'linux.resources: "{value}" is not a value of {file}') from None
    if ("cpu.idle", "1") in files:
        # CPUWeight=idle, and systemd sets cpu.idle (since version 252)
        found["CPUWeight"] = _number("CPUWeight", 0)
    if devices:
        found["IODeviceWeight"] = ("IODeviceWeight", ("a(st)", devices))
    return list(found.values())


def bit_mask(listed: str) -> bytes:
    """The bits, lowest first, that a list such as "0-3,7" of cpuset(7) sets. Raises ValueError."""
    mask = 0
    for part in listed.split(","):
        first, dash, last = part.strip().partition("-")
        low, high = int(first), int(last if dash else first)
        if not 0 <= low <= high < 2**16:
            raise ValueError(listed)
        mask |= ((1 << (high - low + 1)) - 1) << low
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def start_scope(
    pid: int,
    name: str,
    slice_name: str,
    description: str,
    properties: list[Property],
    *,
    user: bool,
) -> str:
    """Have systemd make the scope `name` in `slice_name` around process `pid`; returns its cgroup's path in the hierarchy.

    `user` asks the caller's own systemd. A unit of that name that failed is reset first. Raises HostUnfit if there is no
    systemd to ask, CallFailed with what it says against the request, KernelError if it does not answer.
    """
    from rootless import dbus
    from rootless.cgroups import cgroup_of

    asked: list[Property] = [
        ("Description", ("s", description)),
        ("Slice", ("s", slice_name)),
        ("PIDs", ("au", [pid])),
        ("Delegate", ("b", True)),
        # the container ends when its runtime says so, not when systemd orders units at shutdown
        ("DefaultDependencies", ("b", False)),
        ("CollectMode", ("s", "inactive-or-failed")),
        *properties,
    ]
    with dbus.connect(dbus.systemd_addresses(user=user)) as bus:
        _follow_jobs(bus)
        reset = False
        while True:
            try:
                (job,) = bus.call(MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail", asked, [])
                break
            except dbus.CallFailed as error:
                unknown = _unknown_property(error, asked)
                if unknown:
                    asked = [entry for entry in asked if entry[0] != unknown]
                elif error.name == "org.freedesktop.systemd1.UnitExists" and not reset:
                    reset = True
                    _reset_failed(bus, name)
                else:
                    raise
        result = _await_job(bus, job)
        if result != "done":
            _reset_failed(bus, name)
            raise PtbError(f'systemd did not start "{name}": {result}')
        try:
            path = cgroup_of(pid)
        except KernelError:
            path = ""
        if name not in path.split("/"):
            path = _control_group(bus, name)
    return path


def stop_scope(name: str, *, user: bool) -> None:
    """Have systemd stop the scope and everything in it, and forget it; one it does not know is stopped already."""
    from rootless import dbus

    with dbus.connect(dbus.systemd_addresses(user=user)) as bus:
        _follow_jobs(bus)
        try:
            (job,) = bus.call(MANAGER, "StopUnit", "ss", name, "replace")
        except dbus.CallFailed as error:
            if error.name != "org.freedesktop.systemd1.NoSuchUnit":
                raise
        else:
            _await_job(bus, job)
        _reset_failed(bus, name)


def attach_process(name: str, below: str, pid: int, *, user: bool) -> None:
    """Have systemd move process `pid` into the unit `name`, in its cgroup `below` ("/NAME" or ""). Raises PtbError.

    For a caller whose own cgroup is outside of what is delegated to it, such as a login session.
    """
    from rootless import dbus

    with dbus.connect(dbus.systemd_addresses(user=user)) as bus:
        bus.call(MANAGER, "AttachProcessesToUnit", "ssau", name, below, [pid])


def reset_failed(name: str, *, user: bool) -> None:
    """Have systemd forget that the unit failed."""
    from rootless import dbus

    with dbus.connect(dbus.systemd_addresses(user=user)) as bus:
        _reset_failed(bus, name)


def set_properties(name: str, properties: list[Property], *, user: bool) -> None:
    """Change properties of a running scope, until it ends. Raises NotFound if it has ended, CallFailed."""
    from rootless import dbus

    with dbus.connect(dbus.systemd_addresses(user=user)) as bus:
        while properties:
            try:
                bus.call(MANAGER, "SetUnitProperties", "sba(sv)", name, True, properties)
                return
            except dbus.CallFailed as error:
                unknown = _unknown_property(error, properties)
                if error.name == "org.freedesktop.systemd1.NoSuchUnit":
                    raise NotFound(f'systemd has no unit "{name}"') from None
                if not unknown:
                    raise
                properties = [entry for entry in properties if entry[0] != unknown]


def _follow_jobs(bus: Connection) -> None:
    bus.subscribe(f"type='signal',interface='{MANAGER[2]}',member='JobRemoved',path='{MANAGER[1]}'")


def _await_job(bus: Connection, job: str) -> str:
    """What became of a job: done, canceled, timeout, failed, dependency or skipped."""
    return str(bus.await_signal(MANAGER[2], "JobRemoved", lambda body: len(body) == 4 and body[1] == job)[3])


def _reset_failed(bus: Connection, name: str) -> None:
    from rootless import dbus

    try:
        bus.call(MANAGER, "ResetFailedUnit", "s", name)
    except dbus.CallFailed:
        pass


def _control_group(bus: Connection, name: str) -> str:
    (unit,) = bus.call(MANAGER, "GetUnit", "s", name)
    properties = (MANAGER[0], unit, "org.freedesktop.DBus.Properties")
    ((_signature, path),) = bus.call(properties, "Get", "ss", "org.freedesktop.systemd1.Scope", "ControlGroup")
    return str(path)


def _unknown_property(error: PtbError, properties: list[Property]) -> str:
    """Which of the properties that come from limits this systemd does not know; the limit is in its file all the same."""
    # "Cannot set property AllowedCPUs, or unknown property."
    words = error.message.replace(",", " ").split()
    named = words[words.index("property") + 1] if "property" in words[:-1] else ""
    return named if named in _FROM_LIMITS and any(entry[0] == named for entry in properties) else ""


def _number(name: str, value: int) -> Property:
    if not 0 <= value <= _INFINITY:
        raise ValueError(value)
    return name, ("t", value)


def _quota(value: str) -> list[tuple[str, int]]:
    """cpu.max, a quota of each period, as systemd's microseconds of each second, which it keeps as a whole percentage."""
    quota, _space, period_text = value.partition(" ")
    period = int(period_text) if period_text else 100_000
    if period <= 0:
        raise ValueError(value)
    per_second = _INFINITY
    if quota != "max":
        percents = -(-int(quota) * 100 // period)
        per_second = percents * 10_000
    return [("CPUQuotaPeriodUSec", period), ("CPUQuotaPerSecUSec", per_second)]


def _systemd_weight(bfq: int) -> int:
    """The IOWeight that systemd turns into this io.bfq.weight: 1, 100, 1000 are 1, 100, 10000, straight in between."""
    if bfq <= 100:
        return max(bfq, 1)
    return 100 + (bfq - 100) * 9900 // 900
