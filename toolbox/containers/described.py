"""Containers as `ps` shows them: one row a container, with podman's and docker's field names for templates and JSON."""

from __future__ import annotations

import time

from toolbox import output
from toolbox.containers import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.status import Status
    from toolbox.containers.record import ContainerRecord

_SHORT = 12


def state_of(container: ContainerRecord, status: Status) -> str:
    """created, running, paused, restarting or exited."""
    if status.state == "running" and store.is_paused(container):
        return "paused"
    return "created" if status.state == "starting" else status.state


def lasting(nanoseconds: int) -> str:
    """How long something takes or took, as docker words it: "About a minute", "3 hours"."""
    seconds = nanoseconds // 10**9
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return f"{seconds} second{'s' * (seconds != 1)}"
    minutes = seconds // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = (seconds + 1800) // 3600
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    days = seconds // 86400
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    if days < 730:
        return f"{days // 30} months"
    return f"{days // 365} years"


def status_text(state: str, status: Status) -> str:
    """The STATUS column: `Up 3 hours (healthy)`, `Exited (1) 2 minutes ago`."""
    now = time.time_ns()
    if state in ("running", "paused"):
        text = f"Up {lasting(now - status.started_at)}"
        extra = "Paused" if state == "paused" else status.health
        return f"{text} ({extra})" if extra else text
    if state == "restarting":
        return f"Restarting ({status.exit_code}) {lasting(now - status.finished_at)} ago"
    if state == "exited":
        return f"Exited ({status.exit_code}) {lasting(now - status.finished_at)} ago"
    return "Created"


def ports_text(container: ContainerRecord, status: Status) -> str:
    """The PORTS column: what is published while it runs, and what would be otherwise."""
    from toolbox.containers import ports

    published = status.ports or tuple(
        (port.host_ip, port.host_port, port.container_port, port.protocol) for port in container.network.publish
    )
    return ports.shown(published, container.network.exposed)


def command_text(container: ContainerRecord, *, whole: bool) -> str:
    """The COMMAND column, cut to 20 characters unless it is wanted whole."""
    text = " ".join(container.arguments)
    return text if whole or len(text) <= 20 else text[:17] + "..."


def row(container: ContainerRecord, *, whole: bool = False, size: bool = False) -> dict[str, Any]:
    """The fields of one container."""
    status = store.status(container)
    state = state_of(container, status)
    identity = container.id if whole else container.id[:_SHORT]
    image_id = container.image_id.partition(":")[2]
    mounts = [mount.name or mount.source or mount.target for mount in container.mounts]
    found: dict[str, Any] = {
        "ID": identity,
        "Id": identity,
        "Image": container.image,
        "ImageID": image_id if whole else image_id[:_SHORT],
        "Command": command_text(container, whole=whole),
        "CreatedAt": local_time(container.created),
        "CreatedHuman": f"{lasting(time.time_ns() - container.created)} ago",
        "Created": f"{lasting(time.time_ns() - container.created)} ago",
        "RunningFor": f"{lasting(time.time_ns() - container.created)} ago",
        "Status": status_text(state, status),
        "State": state,
        "Ports": ports_text(container, status),
        "Names": container.name,
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(container.labels.items())),
        "LabelMap": container.labels,
        "Label": lambda name: container.labels.get(name, ""),
        "Mounts": ",".join(mounts),
        "Networks": container.network.mode,
        "Pid": status.pid,
        "Exited": state == "exited",
        "ExitCode": status.exit_code,
        "ExitedAt": status.finished_at // 10**9,
        "StartedAt": status.started_at // 10**9,
        "Restarts": status.restarts,
        "AutoRemove": container.remove,
        "IsInfra": False,
        "Pod": "",
        "PodName": "",
        "LocalVolumes": str(sum(mount.kind == "volume" for mount in container.mounts)),
    }
    if size:
        from toolbox.containers import sizes_on_disk

        written, total = sizes_on_disk.of(container)
        found["Size"] = f"{output.size(written)} (virtual {output.size(total)})"
    return found


def local_time(nanoseconds: int) -> str:
    """A moment as Go prints it: 2026-11-25 02:00:00 +0000 UTC."""
    moment = time.localtime(nanoseconds // 10**9)
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", moment)


def json_row(container: ContainerRecord, *, size: bool = False) -> dict[str, Any]:
    """One element of `ps --format json`, as podman has it."""
    status = store.status(container)
    state = state_of(container, status)
    return {
        "AutoRemove": container.remove,
        "Command": list(container.arguments),
        "CreatedAt": f"{lasting(time.time_ns() - container.created)} ago",
        "CIDFile": container.id_file,
        "Exited": state == "exited",
        "ExitedAt": status.finished_at // 10**9 if status.finished_at else -62135596800,
        "ExitCode": status.exit_code,
        "ExposedPorts": None,
        "Id": container.id,
        "Image": container.image,
        "ImageID": container.image_id.partition(":")[2],
        "IsInfra": False,
        "Labels": container.labels or None,
        "Mounts": [mount.target for mount in container.mounts],
        "Names": [container.name],
        "Namespaces": {},
        "Networks": [],
        "Pid": status.pid,
        "Pod": "",
        "PodName": "",
        "Ports": _json_ports(container, status),
        "Restarts": status.restarts,
        "Size": _json_size(container) if size else None,
        "StartedAt": status.started_at // 10**9 if status.started_at else -62135596800,
        "State": state,
        "Status": status_text(state, status),
        "Created": container.created // 10**9,
    }


def _json_size(container: ContainerRecord) -> dict[str, int]:
    from toolbox.containers import sizes_on_disk

    written, total = sizes_on_disk.of(container)
    return {"rootFsSize": total, "rwSize": written}


def _json_ports(container: ContainerRecord, status: Status) -> list[dict[str, Any]] | None:
    published = status.ports or tuple(
        (port.host_ip, port.host_port, port.container_port, port.protocol) for port in container.network.publish
    )
    return [
        {"host_ip": ip, "container_port": inside, "host_port": outside, "range": 1, "protocol": protocol}
        for ip, outside, inside, protocol in published
    ] or None
