"""Making a container: the options of `run` and `create`, the image's configuration, and the defaults, put into a record."""

from __future__ import annotations

import sys
import time

from rootless import signals
from rootless import system as os
from rootless.errors import AlreadyExists, NotFound, UsageError
from rootless.monitor_plan import Log
from toolbox import names as shared_names
from toolbox.containers import (
    events,
    network_options,
    ports,
    process_options,
    resource_options,
    security_options,
    sizes,
    store,
)
from toolbox.containers.record import ContainerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rootless.monitor_plan import Health
    from toolbox.containers.record import Mount
    from toolbox.images.lookup import Found

    Given = dict[str, Any]

_REFUSED = {
    "pod": "pods are not there yet",
    "ip": "only a network with a name gives addresses, and there are none yet",
    "ip6": "only a network with a name gives addresses, and there are none yet",
    "mac_address": "only a network with a name has one, and there are none yet",
    "network_alias": "only a network with a name has them, and there are none yet",
    "device_cgroup_rule": "an ordinary user cannot allow devices: give one with --device",
}


def create(given: Given) -> ContainerRecord:
    """Make a container of these options, by their parameters' names. Raises UsageError, NotFound, AlreadyExists, and what
    pulling raises."""
    for option, why in _REFUSED.items():
        if given.get(option):
            raise UsageError(f"--{option.replace('_', '-')}: {why}")
    name = given.get("name") or ""
    if name:
        store.check_name(name)
        if not given.get("replace") and shared_names.id_of(name) is not None:
            raise shared_names.taken(name)
    _check_id_file(given.get("cidfile") or "")
    if given.get("rootfs"):
        return _add(given, _without_image(given))
    from toolbox.images import keeping, lookup

    for missing in (True, False):
        # Nobody can remove the image's layers before the container refers to them.
        held = keeping.layers()
        try:
            found = None if missing and (given.get("pull") or "") == "always" else lookup.find(given["image"])
            if found is not None:
                return _add(given, _with_image(found))
        finally:
            os.close(held)
        if missing:
            _pull(given)
    raise NotFound(f'image "{given["image"]}" was removed meanwhile', hint=f"ptb pull {given['image']}")


def _pull(given: Given) -> None:
    policy = given.get("pull") or "missing"
    if policy not in ("always", "missing", "never", "newer", "true", "false"):
        raise UsageError(f'--pull takes always, missing, never or newer, not "{policy}"')
    if policy in ("never", "false"):
        raise NotFound(f'image "{given["image"]}" is not here', hint=f"ptb pull {given['image']}")
    from toolbox.images import pull

    if given.get("authfile"):
        from os import environ  # the one that registries are asked with

        environ["REGISTRY_AUTH_FILE"] = os.path.abspath(given["authfile"])
    platform = given.get("platform") or ""
    if not platform and (given.get("arch") or given.get("os") or given.get("variant")):
        from fuse_overlay import oci

        host = oci.host_platform()
        parts = (given.get("os") or host.os, given.get("arch") or host.architecture, given.get("variant") or "")
        platform = "/".join(part for part in parts if part)
    pull.pull(given["image"], quiet=bool(given.get("quiet")), platform=platform or None)


def _check_id_file(path: str) -> None:
    if path and os.path.exists(path):
        raise AlreadyExists(f'--cidfile "{path}" exists', hint=f"rm {path}, unless that container still runs")


def _without_image(given: Given) -> Given:
    path = os.path.abspath(given["image"])
    if not os.path.isdir(path):
        raise NotFound(f'--rootfs "{path}" is not a directory')
    return {"image": "", "image_id": "", "image_digest": "", "layers": (), "rootfs": path, "config": {}}


def _with_image(image: Found) -> Given:
    return {
        "image": image.name,
        "image_id": image.image_id,
        "image_digest": image.digest,
        "layers": image.layers,
        "rootfs": "",
        "config": image.config,
    }


def _add(given: Given, image: Given) -> ContainerRecord:
    container = _record(given, image)
    if given.get("replace"):
        from toolbox.containers import remove

        older = store.find(container.name) if shared_names.id_of(container.name) else None
        if older is not None:
            remove.remove_one(older, force=True, seconds=0)
    held = store.add(container)
    try:
        events.note(
            "container", "create", container.id, container.name, Image=container.image, Attributes=container.labels
        )
        path = given.get("cidfile") or ""
        if path:
            with open(path, "x", encoding="ascii") as stream:
                stream.write(container.id)
    except BaseException:
        shared_names.release(container.name)
        store.forget(container.id)
        raise
    finally:
        os.close(held)
    return container


def _record(given: Given, image: Given) -> ContainerRecord:
    config = image["config"]
    identity = os.urandom(32).hex()
    entry_point = process_options.entry_point(given.get("entrypoint"))
    command = tuple(given.get("command") or ())
    if entry_point is None:
        entry_point = tuple(config.get("Entrypoint") or ())
        command = command or tuple(config.get("Cmd") or ())
    if not entry_point and not command:
        raise UsageError(f'image "{given["image"]}" says no command: give one', hint=f"ptb run {given['image']} sh")
    security = security_options.security(
        given.get("cap_add") or (),
        given.get("cap_drop") or (),
        given.get("security_opt") or (),
        privileged=bool(given.get("privileged")),
    )
    exposed = ports.exposed([*(config.get("ExposedPorts") or ()), *(given.get("expose") or ())])
    network = network_options.network(given, exposed)
    namespaces = {
        key: security_options.namespace(given.get(option) or "", f"--{option}")
        for key, option in (("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroupns"))
    }
    limits, host_limits = process_options.limits(given.get("ulimit") or ())
    ids = security_options.user_namespace(
        given.get("userns") or "", given.get("uidmap") or [], given.get("gidmap") or []
    )
    user = given.get("user") or config.get("User") or ""
    if ids.mode == "keep-id" and not given.get("user"):
        user = f"{os.getuid() if ids.uid < 0 else ids.uid}:{os.getgid() if ids.gid < 0 else ids.gid}"
    open_stdin = bool(given.get("interactive"))
    systemd = _wants_systemd(given.get("systemd") or "true", (*entry_point, *command))
    return ContainerRecord(
        id=identity,
        name=given.get("name") or _invent_name(),
        created=time.time_ns(),
        image=image["image"],
        image_id=image["image_id"],
        image_digest=image["image_digest"],
        layers=image["layers"],
        rootfs=image["rootfs"],
        arguments=(*entry_point, *command),
        entrypoint=entry_point,
        command=command,
        environment=_environment(given, config),
        directory=_directory(given, config),
        user=user,
        hostname=_hostname(given, identity, namespaces, network.mode),
        security=security,
        groups=tuple(given.get("group_add") or ()),
        terminal=bool(given.get("tty")),
        open_stdin=open_stdin,
        stdin_once=open_stdin and not given.get("detach"),
        remove=bool(given.get("rm")),
        labels=_labels(given, config),
        annotations=process_options.pairs(given.get("annotation") or (), "--annotation"),
        mounts=_mounts(given, config),
        network=network,
        ids=ids,
        devices=security_options.devices(given.get("device") or ()),
        resources=resource_options.resources(given),
        limits=limits,
        host_limits=host_limits,
        sysctls=process_options.sysctls(
            given.get("sysctl") or (),
            network=network.mode not in ("host", "container"),
            ipc=namespaces["ipc"].mode in ("private", "shareable"),
            uts=namespaces["uts"].mode == "private",
        ),
        read_only=bool(given.get("read_only")),
        read_only_tmpfs=_is_on(given.get("read_only_tmpfs") or "true"),
        shm_size=sizes.bytes_of(given.get("shm_size") or "65536000", "--shm-size"),
        personality=_personality(given.get("personality") or ""),
        umask=process_options.umask(given.get("umask") or "0022"),
        time_zone=given.get("tz") or "",
        oom_score=resource_options.optional_integer(given.get("oom_score_adj") or "", "--oom-score-adj", -1000, 1000),
        init=bool(given.get("init")),
        systemd=systemd,
        cgroups=given.get("cgroups") or "enabled",
        cgroup_parent=given.get("cgroup_parent") or "",
        log=_log(given),
        restart=_restart(given),
        stop_signal=_stop_signal(given, config, systemd=systemd),
        stop_timeout=float(
            resource_options.optional_integer(given.get("stop_timeout") or "10", "--stop-timeout", -1, 10**6) or 0
        ),
        timeout=float(resource_options.optional_integer(given.get("timeout") or "0", "--timeout", 0, 10**9) or 0),
        health=_health(given, config.get("Healthcheck")),
        runtime=_runtime(given.get("runtime") or ""),
        create_command=tuple(sys.argv),
        pid_file=os.path.abspath(given["pidfile"]) if given.get("pidfile") else "",
        id_file=os.path.abspath(given["cidfile"]) if given.get("cidfile") else "",
        sd_notify=_sd_notify(given.get("sdnotify") or "container"),
        secrets=_secrets(given.get("secret") or ()),
        pid=namespaces["pid"],
        ipc=namespaces["ipc"],
        uts=namespaces["uts"],
        cgroup=namespaces["cgroup"],
    )


def _is_on(text: str) -> bool:
    return text.lower() not in ("false", "0", "f")


def _invent_name() -> str:
    from toolbox.containers import invented_names

    while True:
        name = invented_names.invent()
        if shared_names.id_of(name) is None:
            return name


def _environment(given: Given, config: Given) -> tuple[str, ...]:
    found: dict[str, str] = {}

    def take(entries: Any) -> None:
        for entry in entries:
            name, _equals, value = entry.partition("=")
            found[name] = value

    if not given.get("unsetenv_all"):
        take(config.get("Env") or ())
    if _is_on(given.get("http_proxy") or "true"):
        for name in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy"):
            for spelled in (name, name.upper()):
                if spelled in os.environ:
                    found.setdefault(spelled, os.environ[spelled])
    if given.get("env_host"):
        take(f"{name}={value}" for name, value in os.environ.items())
    for name in given.get("unsetenv") or ():
        found.pop(name, None)
    take(process_options.environment(given.get("env") or (), given.get("env_file") or (), os.environ))
    return tuple(f"{name}={value}" for name, value in found.items())


def _directory(given: Given, config: Given) -> str:
    directory = given.get("workdir") or config.get("WorkingDir") or "/"
    if not directory.startswith("/"):
        if given.get("workdir"):
            raise UsageError(f'--workdir "{directory}" must be an absolute path')
        directory = f"/{directory}"
    return str(directory)


def _hostname(given: Given, identity: str, namespaces: Given, network: str) -> str:
    if namespaces["uts"].mode != "private":
        if given.get("hostname"):
            raise UsageError("--hostname needs a UTS namespace of the container's own: leave --uts out")
        return os.uname().nodename
    if given.get("hostname"):
        return str(given["hostname"])
    return os.uname().nodename if network == "host" else identity[:12]


def _labels(given: Given, config: Given) -> dict[str, str]:
    own = process_options.pairs(given.get("label") or (), "--label", given.get("label_file") or ())
    return {**(config.get("Labels") or {}), **own}


def _wants_systemd(text: str, arguments: tuple[str, ...]) -> bool:
    if text not in ("true", "false", "always"):
        raise UsageError(f'--systemd takes true, false or always, not "{text}"')
    if text == "always":
        return True
    name = arguments[0] if arguments else ""
    known = ("/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init")
    return text == "true" and (name in known or name.rpartition("/")[2] == "systemd")


def _log(given: Given) -> Log:
    driver = given.get("log_driver") or "k8s-file"
    if driver not in ("k8s-file", "json-file", "journald", "none"):
        raise UsageError(f'--log-driver takes k8s-file, json-file, journald or none, not "{driver}"')
    settings = process_options.pairs(given.get("log_opt") or (), "--log-opt")
    unknown = set(settings) - {"max-size", "max-file", "tag", "path"}
    if unknown or "path" in settings:
        raise UsageError(
            f'--log-opt "{(sorted(unknown) or ["path"])[0]}" is not known', hint="max-size, max-file and tag are"
        )
    files = resource_options.optional_integer(settings.get("max-file", "1"), "--log-opt max-file", 1, 1000) or 1
    size = sizes.bytes_of(settings["max-size"], "--log-opt max-size") if settings.get("max-size", "-1") != "-1" else 0
    return Log(driver, size, files, settings.get("tag", ""))


def _restart(given: Given) -> Any:
    policy = process_options.restart(given.get("restart") or "")
    if policy.policy != "no" and given.get("rm"):
        raise UsageError("--rm and --restart contradict each other")
    return policy


def _stop_signal(given: Given, config: Given, *, systemd: bool) -> str:
    name = given.get("stop_signal") or config.get("StopSignal") or ("RTMIN+3" if systemd else "TERM")
    signals.signal_number(name)
    return str(name)


# What few containers ask for is loaded for them only: every module counts on the way to a start.


def _mounts(given: Given, config: Given) -> tuple[Mount, ...]:
    asked = [given.get(option) or () for option in ("volume", "mount", "tmpfs", "volumes_from")]
    own = config.get("Volumes") or ()
    if not any(asked) and not own and not given.get("image_volume"):
        return ()
    from toolbox.containers import mount_syntax

    found = mount_syntax.mounts(*asked)
    return found + mount_syntax.image_volumes(own, given.get("image_volume") or "", [mount.target for mount in found])


def _health(given: Given, image: Given | None) -> Health | None:
    if not image and not any(given.get(option) for option in given if option.startswith("health_")):
        return None
    from toolbox.containers import health_options

    return health_options.health(given, image)


def _secrets(asked: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    if not asked:
        return ()
    from toolbox.containers import secrets

    return secrets.parse(asked)


def _runtime(name: str) -> str:
    if not name:
        return ""
    from rootless import oci_runtime

    return oci_runtime.find(name)


def _personality(text: str) -> str:
    if text not in ("", "LINUX", "LINUX32"):
        raise UsageError(f'--personality takes LINUX or LINUX32, not "{text}"')
    return text


def _sd_notify(text: str) -> str:
    if text not in ("container", "conmon", "healthy", "ignore"):
        raise UsageError(f'--sdnotify takes container, conmon, healthy or ignore, not "{text}"')
    return text
