"""`stats`: what containers use. From their cgroups where they have one with controllers, else from their processes."""

from __future__ import annotations

import os
import time

from rootless import runtime
from rootless import state as state_module
from rootless.errors import PtbError, UsageError
from rootless.record import record
from toolbox import output
from toolbox.containers import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from toolbox.containers.record import ContainerRecord

_COLUMNS = (
    ("ID", "ID"),
    ("NAME", "Name"),
    ("CPU %", "CPUPerc"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("NET IO", "NetIO"),
    ("BLOCK IO", "BlockIO"),
    ("PIDS", "PIDs"),
    ("CPU TIME", "CPUTime"),
    ("AVG CPU %", "AvgCPU"),
)


@record
class Sample:
    """What was used up to a moment: seconds of CPU, bytes, numbers."""

    at: float
    cpu: float
    memory: int
    limit: int
    pids: int
    received: int
    sent: int
    read: int
    written: int


def show(
    names: list[str],
    *,
    all: bool,  # noqa: A002 - the option's name
    format: str,  # noqa: A002 - the option's name
    interval: str,
    latest: bool,
    no_reset: bool,
    no_stream: bool,
    no_trunc: bool,
) -> int:
    """`stats`: again and again until it is interrupted, unless --no-stream."""
    from toolbox import listing

    if interval and not interval.isdecimal():
        raise UsageError(f'--interval takes a number of seconds, not "{interval}"')
    seconds = int(interval or 5)
    before: dict[str, Sample] = {}
    while True:
        containers = store.chosen(names, latest=latest) if names or latest else store.everything()
        rows = []
        for container in containers:
            now = sample(container)
            if now is not None or all:
                rows.append(_row(container, now, before.get(container.id), whole=no_trunc))
                if now is not None:
                    before[container.id] = now
        if not no_reset and not no_stream and format != "json":
            print("\x1b[2J\x1b[H", end="")
        listing.show(rows, columns=_COLUMNS, format=format, quiet=None, json_rows=[_json(row) for row in rows])
        if no_stream:
            return 0
        time.sleep(seconds)


def sample(container: ContainerRecord) -> Sample | None:
    """What the container has used; None where it does not run."""
    status = store.status(container)
    if status.state != "running" or not status.pid:
        return None
    try:
        state = state_module.read(store.runtime_root(), container.id)
        pids = runtime.members(state)
    except PtbError:
        return None
    cpu, memory, read, written = _of_processes(pids)
    limit = _machine_memory()
    if state.cgroup.get("path"):
        place = f"{state.cgroup['hierarchy']}/{state.cgroup['path'].lstrip('/')}"
        cpu = _keyed(f"{place}/cpu.stat", "usage_usec", cpu * 1e6) / 1e6
        memory = int(_number(f"{place}/memory.current", memory))
        limit = min(limit, int(_number(f"{place}/memory.max", limit)))
    received, sent = _network(status.pid) if container.network.mode != "host" else (0, 0)
    return Sample(time.time(), cpu, memory, limit, len(pids), received, sent, read, written)


def _of_processes(pids: list[int]) -> tuple[float, int, int, int]:
    """(seconds of CPU, bytes of memory shared fairly, bytes read, bytes written) of these processes."""
    cpu, memory, read, written = 0.0, 0, 0, 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
                fields = stream.read().rpartition(")")[2].split()
            cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            memory += int(_keyed(f"/proc/{pid}/smaps_rollup", "Pss:", 0)) * 1024
            read += int(_keyed(f"/proc/{pid}/io", "read_bytes:", 0))
            written += int(_keyed(f"/proc/{pid}/io", "write_bytes:", 0))
        except OSError:
            continue
    return cpu, memory, read, written


def _keyed(path: str, key: str, default: float) -> float:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            for line in stream:
                fields = line.split()
                if fields and fields[0] == key:
                    return float(fields[1])
    except OSError:
        pass
    return default


def _number(path: str, default: float) -> float:
    try:
        with open(path, encoding="ascii") as stream:
            return float(stream.read())
    except (OSError, ValueError):
        return default


def _machine_memory() -> int:
    return int(_keyed("/proc/meminfo", "MemTotal:", 0)) * 1024


def _network(pid: int) -> tuple[int, int]:
    received = sent = 0
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as stream:
            for line in list(stream)[2:]:
                name, _colon, rest = line.partition(":")
                if name.strip() != "lo":
                    fields = rest.split()
                    received, sent = received + int(fields[0]), sent + int(fields[8])
    except OSError:
        pass
    return received, sent


def _row(container: ContainerRecord, now: Sample | None, before: Sample | None, *, whole: bool) -> dict[str, Any]:
    started = store.status(container).started_at / 10**9
    identity = container.id if whole else container.id[:12]
    if now is None:
        empty = dict.fromkeys((field for _head, field in _COLUMNS), "--")
        return {**empty, "ID": identity, "ContainerID": identity, "Name": container.name}
    since, used = (before.at, now.cpu - before.cpu) if before is not None else (started, now.cpu)
    share = used / (now.at - since) * 100 if now.at > since else 0.0
    average = now.cpu / (now.at - started) * 100 if now.at > started else 0.0
    percent = now.memory / now.limit * 100 if now.limit else 0.0
    return {
        "ID": identity,
        "ContainerID": identity,
        "Name": container.name,
        "CPUPerc": f"{share:.2f}%",
        "AvgCPU": f"{average:.2f}%",
        "CPUTime": f"{now.cpu:.6f}s",
        "MemUsage": f"{output.size(now.memory)} / {output.size(now.limit)}",
        "MemUsageBytes": f"{now.memory} / {now.limit}",
        "MemPerc": f"{percent:.2f}%",
        "NetIO": f"{output.size(now.received)} / {output.size(now.sent)}",
        "BlockIO": f"{output.size(now.read)} / {output.size(now.written)}",
        "PIDs": str(now.pids),
        "PIDS": str(now.pids),
    }


def _json(row: dict[str, Any]) -> dict[str, Any]:
    """One element of podman's `stats --format json`."""
    return {
        "id": row["ID"],
        "name": row["Name"],
        "cpu_time": row["CPUTime"],
        "cpu_percent": row["CPUPerc"],
        "avg_cpu": row["AvgCPU"],
        "mem_usage": row["MemUsage"],
        "mem_percent": row["MemPerc"],
        "net_io": row["NetIO"],
        "block_io": row["BlockIO"],
        "pids": row["PIDs"],
    }
