"""`inspect`: everything about containers, images and volumes as JSON of podman's shape, or through a Go template."""

from __future__ import annotations

import os

from rootless.errors import NotFound, UsageError
from toolbox.containers import described, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.monitor_plan import Health
    from rootless.status import Status
    from toolbox.containers.record import ContainerRecord

_NEVER = "0001-01-01T00:00:00Z"
_TYPES = ("all", "container", "image", "volume")


def show(names: list[str], *, format: str, latest: bool, size: bool, type: str) -> int:  # noqa: A002 - the options' names
    """`inspect`: what each name is of is found out unless `--type` says it."""
    if type and type not in _TYPES:
        raise UsageError(f'--type takes one of {", ".join(_TYPES)}, not "{type}"')
    if latest:
        names = [store.newest().id]
    if not names:
        raise UsageError("name what to inspect")
    found, missing = [], None
    for name in names:
        try:
            found.append(_found(name, type or "all", size=size))
        except NotFound as error:
            missing = missing or error
    if found or not format or format == "json":
        _print(found, format)  # as docker and podman do, what there is
    if missing is not None:
        raise missing
    return 0


def show_containers(names: list[str], *, format: str, latest: bool, size: bool) -> int:  # noqa: A002 - the option's name
    """`container inspect`."""
    return show(names, format=format, latest=latest, size=size, type="container")


def _print(documents: list[dict[str, Any]], format: str) -> int:  # noqa: A002 - the option's name
    from toolbox import output

    if format and format != "json":
        from toolbox import gotemplate

        template = gotemplate.parse(format)
        for document in documents:
            print(gotemplate.render(template, document))
    else:
        output.print_json(documents, indent=5)
    return 0


def _found(name: str, kind: str, *, size: bool) -> dict[str, Any]:
    if kind in ("all", "container"):
        container = store.find(name)
        if container is not None:
            return document(container, size=size)
        if kind == "container":
            store.need(name)
    if kind in ("all", "volume"):
        from toolbox.containers import volume_verbs, volumes

        volume = volumes.load(name)
        if volume is not None:
            return volume_verbs.document(volume)
    if kind in ("all", "image"):
        from toolbox.images import inspect

        image = inspect.find(name)
        if image is not None:
            return inspect.document(image)
    raise NotFound(f'no such object: "{name}"', hint="ptb ps -a, ptb images, ptb volume ls")


def moment(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nanoseconds; Go's zero time for never."""
    import time

    if not nanoseconds:
        return _NEVER
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9))
    return f"{text}.{nanoseconds % 10**9:09}Z"


def document(container: ContainerRecord, *, size: bool = False) -> dict[str, Any]:
    """One container, in the fields of `podman container inspect`."""
    status = store.status(container)
    state = described.state_of(container, status)
    place = store.directory(container.id)
    arguments = container.arguments
    found: dict[str, Any] = {
        "Id": container.id,
        "Created": moment(container.created),
        "Path": arguments[0] if arguments else "",
        "Args": list(arguments[1:]),
        "State": _state(container, status, state),
        "Image": container.image_id.partition(":")[2],
        "ImageDigest": container.image_digest,
        "ImageName": container.image,
        "Rootfs": container.rootfs,
        "Pod": "",
        "ResolvConfPath": f"{place}/files/etc-resolv.conf",
        "HostnamePath": f"{place}/files/etc-hostname",
        "HostsPath": f"{place}/files/etc-hosts",
        "StaticDir": place,
        "OCIConfigPath": f"{store.runtime_directory(container.id)}/config.json",
        "OCIRuntime": container.runtime or "ptb-runtime",
        "ConmonPidFile": "",
        "PidFile": container.pid_file,
        "Name": container.name,
        "RestartCount": status.restarts,
        "Driver": "overlay",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": container.security.apparmor,
        "EffectiveCaps": sorted(container.security.capabilities),
        "BoundingCaps": sorted(container.security.capabilities),
        "ExecIDs": [],
        "GraphDriver": {
            "Name": "overlay",
            "Data": {
                "LowerDir": ":".join(_layers(container)),
                "UpperDir": f"{place}/upper",
                "WorkDir": f"{place}/work",
                "MergedDir": f"{place}/rootfs",
            },
        },
        "Mounts": [_mount(mount) for mount in container.mounts if mount.kind != "tmpfs"],
        "Dependencies": _dependencies(container),
        "NetworkSettings": _network(container, status),
        "Namespace": "",
        "IsInfra": False,
        "IsService": False,
        "KubeExitCodePropagation": "invalid",
        "lockNumber": 0,
        "Config": _config(container),
        "HostConfig": _host_config(container),
    }
    if size:
        from toolbox.containers import sizes_on_disk

        found["SizeRw"], found["SizeRootFs"] = sizes_on_disk.of(container)
    return found


def _layers(container: ContainerRecord) -> list[str]:
    from toolbox import paths

    return [f"{paths.data_home()}/layers/{layer.partition(':')[2]}/diff" for layer in reversed(container.layers)]


def _dependencies(container: ContainerRecord) -> list[str]:
    uses = (container.network, container.pid, container.ipc, container.uts, container.cgroup)
    return list(dict.fromkeys(use.value for use in uses if use.mode == "container"))


def _state(container: ContainerRecord, status: Status, state: str) -> dict[str, Any]:
    return {
        "OciVersion": "1.2.1",
        "Status": state,
        "Running": state in ("running", "paused"),
        "Paused": state == "paused",
        "Restarting": state == "restarting",
        "OOMKilled": status.out_of_memory,
        "Dead": False,
        "Pid": status.pid,
        "ConmonPid": status.monitor if status.pid else 0,
        "ExitCode": status.exit_code,
        "Error": status.error,
        "StartedAt": moment(status.started_at),
        "FinishedAt": moment(status.finished_at),
        "Health": _health_state(status) if container.health is not None else None,
        "CgroupPath": _cgroup(status),
        "CheckpointedAt": _NEVER,
        "RestoredAt": _NEVER,
    }


def _cgroup(status: Status) -> str:
    if not status.pid:
        return ""
    try:
        with open(f"/proc/{status.pid}/cgroup", encoding="utf-8") as stream:
            return next((line.strip()[3:] for line in stream if line.startswith("0::")), "")
    except OSError:
        return ""


def _health_state(status: Status) -> dict[str, Any]:
    return {
        "Status": status.health or "starting",
        "FailingStreak": status.health_streak,
        "Log": [
            {"Start": moment(start), "End": moment(end), "ExitCode": code, "Output": text}
            for start, end, code, text in status.health_log
        ],
    }


def _mount(mount: Any) -> dict[str, Any]:
    from toolbox.containers import volumes

    named = mount.kind == "volume"
    options = list(mount.options)
    propagation = next(
        (option for option in options if option.lstrip("r") in ("private", "shared", "slave")), "rprivate"
    )
    return {
        "Type": mount.kind,
        **({"Name": mount.name} if named else {}),
        "Source": volumes.data(mount.name) if named else mount.source,
        "Destination": mount.target,
        "Driver": "local" if named else "",
        "Mode": ",".join(option for option in options if option in ("z", "Z")),
        "Options": options,
        "RW": "ro" not in options,
        "Propagation": propagation,
    }


def port_bindings(container: ContainerRecord, status: Status) -> dict[str, Any]:
    """The published ports as docker has them: `80/tcp` to a list of host addresses and ports."""
    published = status.ports or tuple(
        (port.host_ip, port.host_port, port.container_port, port.protocol) for port in container.network.publish
    )
    found: dict[str, Any] = dict.fromkeys(container.network.exposed)
    for address, outside, inside, protocol in published:
        entry = {"HostIp": address or "0.0.0.0", "HostPort": str(outside) if outside else ""}  # noqa: S104
        key = f"{inside}/{protocol}"
        found[key] = [*(found.get(key) or []), entry]
    return found


def _network(container: ContainerRecord, status: Status) -> dict[str, Any]:
    pid = status.pid
    return {
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": status.address,
        "IPPrefixLen": 24 if status.address else 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": "",
        "Bridge": "",
        "SandboxID": "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": port_bindings(container, status),
        "SandboxKey": f"/proc/{pid}/ns/net" if pid and container.network.mode != "host" else "",
        "Networks": {container.network.mode: {"NetworkID": container.network.mode, "IPAddress": status.address}},
    }


def _config(container: ContainerRecord) -> dict[str, Any]:
    found: dict[str, Any] = {
        "Hostname": container.hostname,
        "Domainname": "",
        "User": container.user,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": container.terminal,
        "OpenStdin": container.open_stdin,
        "StdinOnce": container.stdin_once,
        "Env": list(container.environment),
        "Cmd": list(container.command) or None,
        "Image": container.image,
        "Volumes": None,
        "WorkingDir": container.directory,
        "Entrypoint": list(container.entrypoint) or None,
        "OnBuild": None,
        "Labels": container.labels or None,
        "Annotations": container.annotations or None,
        "StopSignal": container.stop_signal,
        "HealthcheckOnFailureAction": container.health.on_failure if container.health else "none",
        "CreateCommand": list(container.create_command),
        "Umask": f"{container.umask:04o}",
        "Timeout": int(container.timeout),
        "StopTimeout": int(container.stop_timeout),
        "Passwd": True,
        "sdNotifyMode": container.sd_notify,
        "ExposedPorts": {port: {} for port in container.network.exposed} or None,
    }
    if container.time_zone:
        found["Timezone"] = container.time_zone
    if container.health is not None:
        found["Healthcheck"] = _health_config(container.health)
        startup = container.health.startup
        if startup is not None:
            found["StartupHealthCheck"] = {
                "Test": list(startup.test),
                "Interval": int(startup.interval * 10**9),
                "Timeout": int(startup.timeout * 10**9),
                "Retries": startup.retries,
                "Successes": startup.success,
            }
    return found


def _health_config(health: Health) -> dict[str, Any]:
    return {
        "Test": list(health.test),
        "StartPeriod": int(health.start_period * 10**9),
        "Interval": int(health.interval * 10**9),
        "Timeout": int(health.timeout * 10**9),
        "Retries": health.retries,
    }


def _id_mappings(container: ContainerRecord) -> dict[str, list[str]]:
    own = container.ids
    return {
        key: [":".join(map(str, part)) for part in ranges]
        for key, ranges in (("UidMap", own.uids), ("GidMap", own.gids))
    }


def _namespace(choice: Any) -> str:
    if choice.mode in ("container", "path"):
        return f"{'ns' if choice.mode == 'path' else choice.mode}:{choice.value}"
    return str(choice.mode)


def _host_config(container: ContainerRecord) -> dict[str, Any]:
    resources = container.resources
    cpu, memory = resources.get("cpu") or {}, resources.get("memory") or {}
    block = resources.get("blockIO") or {}
    security, network = container.security, container.network
    quota, period = cpu.get("quota", 0), cpu.get("period", 0)
    return {
        "Binds": [
            f"{mount.name or mount.source}:{mount.target}:{','.join(mount.options) or 'rw'}"
            for mount in container.mounts
            if mount.kind in ("bind", "volume")
        ],
        "CgroupManager": "systemd" if os.path.isdir("/run/systemd/system") else "cgroupfs",
        "CgroupMode": _namespace(container.cgroup),
        "ContainerIDFile": container.id_file,
        "LogConfig": {
            "Type": container.log.driver,
            "Config": None,
            "Path": f"{store.directory(container.id)}/ctr.log" if container.log.driver.endswith("-file") else "",
            "Tag": container.log.tag,
            "Size": f"{container.log.max_size}B",
        },
        "NetworkMode": _namespace(network),
        "PortBindings": port_bindings(container, store.status(container)),
        "RestartPolicy": {"Name": container.restart.policy, "MaximumRetryCount": container.restart.tries},
        "AutoRemove": container.remove,
        "Annotations": container.annotations or {},
        "VolumeDriver": "",
        "VolumesFrom": None,
        "CapAdd": sorted(security.added),
        "CapDrop": [],
        "Dns": list(network.dns),
        "DnsOptions": list(network.dns_options),
        "DnsSearch": list(network.dns_search),
        "ExtraHosts": list(network.add_hosts),
        "GroupAdd": list(container.groups),
        "IpcMode": _namespace(container.ipc),
        "Cgroup": "",
        "Cgroups": container.cgroups,
        "Links": None,
        "OomScoreAdj": container.oom_score or 0,
        "PidMode": _namespace(container.pid),
        "Privileged": security.privileged,
        "PublishAllPorts": False,
        "ReadonlyRootfs": container.read_only,
        "SecurityOpt": _security_options(container),
        "Tmpfs": {mount.target: ",".join(mount.options) for mount in container.mounts if mount.kind == "tmpfs"},
        "UTSMode": _namespace(container.uts),
        "UsernsMode": "private" if container.ids.mode == "maps" else container.ids.mode,
        "IDMappings": _id_mappings(container),
        "ShmSize": container.shm_size,
        "Runtime": "oci",
        "ConsoleSize": [0, 0],
        "Isolation": "",
        "CpuShares": cpu.get("shares", 0),
        "Memory": memory.get("limit", 0),
        "NanoCpus": quota * 10**9 // period if quota > 0 and period else 0,
        "CgroupParent": container.cgroup_parent,
        "BlkioWeight": block.get("weight", 0),
        "CpuPeriod": period,
        "CpuQuota": quota,
        "CpusetCpus": cpu.get("cpus", ""),
        "CpusetMems": cpu.get("mems", ""),
        "Devices": [
            {"PathOnHost": device.source, "PathInContainer": device.target, "CgroupPermissions": device.access}
            for device in container.devices
        ],
        "MemoryReservation": memory.get("reservation", 0),
        "MemorySwap": memory.get("swap", 0),
        "MemorySwappiness": memory.get("swappiness", 0),
        "OomKillDisable": bool(memory.get("disableOOMKiller")),
        "Init": container.init,
        "PidsLimit": (resources.get("pids") or {}).get("limit", 0),
        "Ulimits": [
            {"Name": f"RLIMIT_{limit.name.upper()}", "Soft": limit.soft, "Hard": limit.hard}
            for limit in container.limits
        ],
    }


def _security_options(container: ContainerRecord) -> list[str]:
    security = container.security
    found = ["no-new-privileges"] if security.no_new_privileges else []
    if security.seccomp:
        found.append("seccomp=unconfined" if security.seccomp == "unconfined" else "seccomp=custom")
    found += [f"label={label}" for label in security.label]
    if security.apparmor:
        found.append(f"apparmor={security.apparmor}")
    return found
