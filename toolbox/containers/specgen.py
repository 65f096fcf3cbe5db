"""From a container's record to the config.json it is started with (OCI runtime-spec).

Runs in the container's monitor, as root of its user namespace and with its root file system mounted, so that whatever
must be looked up in the image (users, what a volume starts with) is looked up at the moment it counts.
"""

from __future__ import annotations

from rootless import default_spec, notification, seccomp_default, spec
from rootless import system as os
from toolbox.containers import files, store, users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.network.connection import Running
    from toolbox.containers.record import ContainerRecord

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOTIFY = "/run/notify.sock"
"""The container's NOTIFY_SOCKET (sd_notify(3))."""

_WIDELY_KNOWN = "1.0.2"
"""The version of the specification that every other runtime takes."""

_CONTAINED = ("nosuid", "noexec", "nodev")


def document(container: ContainerRecord, directory: str, rootfs: str, network: Running) -> dict[str, Any]:
    """The configuration of a container that is about to start; `network` is what it will be connected by.

    Writes the files that tell it of its network and fills new volumes. Raises PtbError naming what cannot be had.
    """
    root = os.open(rootfs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        user = users.resolve(root, container.user, container.groups)
        if container.ids.mode == "keep-id":
            users.add_account(root, user)
        mounts = [
            *_kernel_mounts(container),
            *_device_mounts(container),
            *files.mounts(container, directory, root, network),
            *_notify_mounts(container),
            *_volume_mounts(container, directory, root, user),
        ]
    finally:
        os.close(root)
    covered = {mount["destination"] for mount in mounts if mount.get("_user")}
    kept = [mount for mount in mounts if mount.get("_user") or mount["destination"] not in covered]
    for mount in kept:
        mount.pop("_user", None)
    return {
        "ociVersion": spec.VERSION if not container.runtime else _WIDELY_KNOWN,
        "process": _process(container, user),
        "root": {"path": rootfs, "readonly": container.read_only},
        **({"hostname": container.hostname} if container.hostname and _own(container.uts) else {}),
        "mounts": kept,
        "annotations": _annotations(container),
        "linux": _linux(container, network),
    }


# What few containers ask for is loaded for them only: every module counts on the way to a start.


def _device_mounts(container: ContainerRecord) -> list[dict[str, Any]]:
    if not container.devices and not container.security.privileged:
        return []
    from toolbox.containers import devices

    return devices.mounts(container)


def _volume_mounts(container: ContainerRecord, directory: str, root: int, user: users.User) -> list[dict[str, Any]]:
    if not container.mounts:
        return []
    from toolbox.containers import volumes

    return volumes.mounts(container, directory, root, user)


def _secret_variables(container: ContainerRecord) -> list[str]:
    if not container.secrets:
        return []
    from toolbox.containers import secrets

    return secrets.variables(container.secrets)


def _notify_mounts(container: ContainerRecord) -> list[dict[str, Any]]:
    if container.sd_notify != "container" or not notification.wanted():
        return []
    return [_bind(f"{store.runtime_directory(container.id)}/{notification.NAME}", _NOTIFY, "bind", "rprivate")]


def _annotations(container: ContainerRecord) -> dict[str, str]:
    kept = {"run.oci.keep_original_groups": "1"} if "keep-groups" in container.groups else {}
    return {**container.annotations, **kept}


def _own(namespace: Any) -> bool:
    return bool(namespace.mode == "private")


def _process(container: ContainerRecord, user: users.User) -> dict[str, Any]:
    process: dict[str, Any] = {
        "terminal": container.terminal,
        "user": {
            "uid": user.uid,
            "gid": user.gid,
            "umask": container.umask,
            "additionalGids": list(user.groups),
        },
        "args": list(container.arguments),
        "env": environment(container, user),
        "cwd": container.directory or "/",
        "capabilities": _capabilities(container, user),
        "noNewPrivileges": container.security.no_new_privileges,
    }
    if container.limits:
        process["rlimits"] = [
            {"type": f"RLIMIT_{limit.name.upper()}", "soft": _unsigned(limit.soft), "hard": _unsigned(limit.hard)}
            for limit in container.limits
        ]
    if container.oom_score is not None:
        process["oomScoreAdj"] = container.oom_score
    if container.security.apparmor not in ("", "unconfined"):
        process["apparmorProfile"] = container.security.apparmor
    return process


def _unsigned(limit: int) -> int:
    return limit if limit >= 0 else (1 << 64) - 1


def environment(container: ContainerRecord, user: users.User) -> list[str]:
    """The variables of a process of this container's: ours, the image's, the user's, later ones over earlier."""
    found = {"PATH": PATH, "container": "podman"}
    if container.terminal:
        found["TERM"] = "xterm"
    for entry in (*container.environment, *_secret_variables(container)):
        name, _equals, value = entry.partition("=")
        found[name] = value
    if container.sd_notify == "container" and notification.wanted():
        found["NOTIFY_SOCKET"] = _NOTIFY
    found.setdefault("HOSTNAME", container.hostname or os.uname().nodename)
    found.setdefault("HOME", user.home)
    return [f"{name}={value}" for name, value in found.items()]


def _capabilities(container: ContainerRecord, user: users.User) -> dict[str, list[str]]:
    """Root has them all at hand; an ordinary user has what was added for it, and may gain the rest by setuid programs."""
    held = sorted(container.security.capabilities)
    if user.uid == 0 or container.security.privileged:
        return {"bounding": held, "effective": held, "permitted": held}
    added = sorted(set(container.security.added) & set(held))
    return {"bounding": held, **dict.fromkeys(("effective", "permitted", "inheritable", "ambient"), added)}


def _kernel_mounts(container: ContainerRecord) -> list[dict[str, Any]]:
    """The file systems of the kernel's that every container has, as podman mounts them."""
    privileged = container.security.privileged
    host_pid = container.pid.mode == "host"
    has_tty_group = container.ids.mode != "maps" or any(0 <= 5 - first < size for first, _, size in container.ids.gids)
    tty_group = ("gid=5",) if has_tty_group else ()
    mounts = [
        _bind("/proc", "/proc", "rbind", *_CONTAINED) if host_pid else _mount("/proc", "proc", *_CONTAINED),
        _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *tty_group),
        _mount("/sys", "sysfs", *_CONTAINED, "rw" if privileged else "ro"),
        _mount("/sys/fs/cgroup", "cgroup", *_CONTAINED, "relatime", "rw" if privileged or container.systemd else "ro"),
    ]
    if container.ipc.mode != "host":
        mounts.append(_mount("/dev/mqueue", "mqueue", *_CONTAINED))
    elif os.path.ismount("/dev/mqueue"):
        mounts.append(_bind("/dev/mqueue", "/dev/mqueue", "rbind", *_CONTAINED))
    if container.ipc.mode in ("private", "shareable", "none"):
        mounts.append(_mount("/dev/shm", "tmpfs", *_CONTAINED, "mode=1777", f"size={container.shm_size}"))  # noqa: S108
    elif container.ipc.mode == "host":
        mounts.append(_bind("/dev/shm", "/dev/shm", "rbind", "nosuid", "nodev", "noexec"))  # noqa: S108
    if container.systemd:
        for target in ("/run", "/run/lock", "/tmp", "/var/log/journal"):  # noqa: S108 # in the container
            mounts.append(_mount(target, "tmpfs", "nosuid", "nodev", "mode=1777" if target == "/tmp" else "mode=755"))  # noqa: S108
    elif container.read_only and container.read_only_tmpfs:
        for target in ("/run", "/tmp", "/var/tmp"):  # noqa: S108 # in the container
            mounts.append(_mount(target, "tmpfs", "nosuid", "nodev", "mode=1777", "tmpcopyup"))
    return mounts


def _mount(target: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


def _bind(source: str, target: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": source, "options": list(options)}


def _linux(container: ContainerRecord, network: Running) -> dict[str, Any]:
    security = container.security
    held = frozenset(security.capabilities)
    linux: dict[str, Any] = {
        "namespaces": _namespaces(container),
        "resources": dict(container.resources),
        "devices": [],
    }
    if os.path.isdir("/run/systemd/system"):
        linux["cgroupsPath"] = f"{container.cgroup_parent or 'user.slice'}:ptb:{container.id}"
    if not security.privileged:
        everything = "ALL" in security.unmasked
        linux["maskedPaths"] = [
            *(path for path in default_spec.MASKED_PATHS if not everything and not _named(path, security.unmasked)),
            *security.masked,
        ]
        linux["readonlyPaths"] = [
            path for path in default_spec.READONLY_PATHS if not everything and not _named(path, security.unmasked)
        ]
        if container.pid.mode == "host":
            # The host's /proc is bound: what is below it is what it is there.
            linux["maskedPaths"] = [path for path in linux["maskedPaths"] if not path.startswith("/proc")]
    if security.seccomp and security.seccomp != "unconfined":
        from rootless import json_text

        linux["seccomp"] = json_text.parse(security.seccomp, "the seccomp profile")
    elif not security.privileged and security.seccomp != "unconfined":
        linux["seccomp"] = seccomp_default.default_profile(held, os.uname().machine)
    if container.personality:
        linux["personality"] = {"domain": container.personality}
    if container.ids.mode == "maps":
        linux["namespaces"].append({"type": "user"})
        for key, ranges in (("uidMappings", container.ids.uids), ("gidMappings", container.ids.gids)):
            linux[key] = [{"containerID": i, "hostID": outside, "size": length} for i, outside, length in ranges]
    # Of a network that belongs to the namespace above a container cannot change anything.
    sysctls = {"net.ipv4.ping_group_range": "0 0"} if network.path and container.ids.mode != "maps" else {}
    linux["sysctl"] = {**sysctls, **container.sysctls}
    return linux


def _named(path: str, patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return False
    import fnmatch

    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def _namespaces(container: ContainerRecord) -> list[dict[str, str]]:
    found = [{"type": "mount"}]
    for kind, choice in (
        ("pid", container.pid),
        ("ipc", container.ipc),
        ("uts", container.uts),
        ("cgroup", container.cgroup),
    ):
        if choice.mode in ("private", "shareable"):
            found.append({"type": kind})
        elif choice.mode == "path":
            found.append({"type": kind, "path": choice.value})
        elif choice.mode == "container":
            found.append({"type": kind, "path": store.namespace_of(choice.value, kind)})
    return found
