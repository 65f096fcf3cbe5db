"""The OCI runtime-spec 1.2 as frozen records, read from a bundle's config.json and checked field by field.

Whatever this runtime does not do is refused here, by name; properties the specification does not know are ignored, as
it demands. `resources` and `seccomp` stay documents: `cgroup_limits` and `seccomp` read them.
"""

from __future__ import annotations

from rootless.errors import InvalidDocument, NotFound
from rootless.ids import IdRange
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = "1.2.1"
"""The newest specification this implements."""

NAMESPACES = ("user", "pid", "network", "mount", "ipc", "uts", "cgroup", "time")
RLIMITS = (
    *("RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_LOCKS", "RLIMIT_MEMLOCK"),
    *("RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_RSS", "RLIMIT_RTPRIO"),
    *("RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_STACK"),
)
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")
PERSONALITIES = {"LINUX": 0, "LINUX32": 8}
PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable")
SCHEDULER_POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 1,
    "SCHED_FLAG_RECLAIM": 2,
    "SCHED_FLAG_DL_OVERRUN": 4,
    "SCHED_FLAG_KEEP_POLICY": 8,
    "SCHED_FLAG_KEEP_PARAMS": 16,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 32,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 64,
}
IO_PRIORITY_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}


@record
class User:
    """process.user; `umask` is None where none is set."""

    uid: int
    gid: int
    umask: int | None
    additional_gids: tuple[int, ...]


@record
class Rlimit:
    """One of process.rlimits (getrlimit(2))."""

    type: str
    soft: int
    hard: int


@record
class Scheduler:
    """process.scheduler, by the names of struct sched_attr (sched_setattr(2)); times in nanoseconds."""

    policy: int
    nice: int
    priority: int
    flags: int
    runtime: int
    deadline: int
    period: int


@record
class Process:
    """The `process` object: what runs, and as what."""

    terminal: bool
    console_size: tuple[int, int] | None
    user: User
    arguments: tuple[str, ...]
    environment: tuple[str, ...]
    directory: str
    capabilities: dict[str, tuple[str, ...]]
    rlimits: tuple[Rlimit, ...]
    no_new_privileges: bool
    oom_score_adjustment: int | None
    scheduler: Scheduler | None
    io_priority: tuple[int, int] | None
    apparmor_profile: str
    selinux_label: str
    cpu_affinity: tuple[str, str]


@record
class Mount:
    """One of `mounts`; `options` as given."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...]
    uid_mappings: tuple[IdRange, ...]
    gid_mappings: tuple[IdRange, ...]

    @property
    def is_bind(self) -> bool:
        """Whether it binds what is there already instead of making a file system (config.md, mounts)."""
        return self.type == "bind" or "bind" in self.options or "rbind" in self.options


@record
class Hook:
    """One program of `hooks`; `timeout` in seconds or None, `environment` None where none is given."""

    path: str
    arguments: tuple[str, ...]
    environment: tuple[str, ...] | None
    timeout: int | None


@record
class Device:
    """One of linux.devices."""

    type: str
    path: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


@record
class Linux:
    """The `linux` object. `namespaces` maps a kind to the path to join, or to "" for a new one."""

    namespaces: dict[str, str]
    uid_mappings: tuple[IdRange, ...]
    gid_mappings: tuple[IdRange, ...]
    time_offsets: tuple[tuple[str, int, int], ...]
    devices: tuple[Device, ...]
    cgroups_path: str
    resources: dict[str, Any]
    rootfs_propagation: str
    seccomp: dict[str, Any] | None
    sysctl: dict[str, str]
    masked_paths: tuple[str, ...]
    readonly_paths: tuple[str, ...]
    mount_label: str
    personality: int | None


@record
class Spec:
    """A whole config.json; `process` is None where the document has none."""

    version: str
    root_path: str
    root_readonly: bool
    process: Process | None
    hostname: str
    domainname: str
    mounts: tuple[Mount, ...]
    hooks: dict[str, tuple[Hook, ...]]
    annotations: dict[str, str]
    linux: Linux


_ROLES: dict[type, str] = {str: "a string", int: "an integer", bool: "true or false", dict: "an object", list: "a list"}


def _get(document: dict[str, Any], key: str, kind: type, default: Any, where: str) -> Any:
    value = document.get(key)
    if value is None:
        return default
    if type(value) is not kind:
        raise InvalidDocument(f"{where}{key} must be {_ROLES[kind]}, not {str(value)[:60]!r}")
    return value


def _need(document: dict[str, Any], key: str, kind: type, where: str) -> Any:
    value = _get(document, key, kind, None, where)
    if value is None:
        raise InvalidDocument(f"{where}{key} is missing")
    return value


def _strings(document: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    found = _get(document, key, list, [], where)
    for index, value in enumerate(found):
        if type(value) is not str:
            raise InvalidDocument(f"{where}{key}[{index}] must be a string, not {str(value)[:60]!r}")
        if "\0" in value:
            raise InvalidDocument(f"{where}{key}[{index}] holds a NUL byte")
    return tuple(found)


def _integers(document: dict[str, Any], key: str, where: str) -> tuple[int, ...]:
    found = _get(document, key, list, [], where)
    for index, value in enumerate(found):
        if type(value) is not int:
            raise InvalidDocument(f"{where}{key}[{index}] must be an integer, not {str(value)[:60]!r}")
    return tuple(found)


def _objects(document: dict[str, Any], key: str, where: str) -> list[tuple[str, dict[str, Any]]]:
    """The members of a list of objects, each with the prefix that names its fields."""
    found = _get(document, key, list, [], where)
    for index, value in enumerate(found):
        if type(value) is not dict:
            raise InvalidDocument(f"{where}{key}[{index}] must be an object, not {str(value)[:60]!r}")
    return [(f"{where}{key}[{index}].", value) for index, value in enumerate(found)]


def _choice(value: str, choices: Any, where: str) -> str:
    if value not in choices:
        raise InvalidDocument(f'{where} must be one of {", ".join(choices)}, not "{value}"')
    return value


def _strings_by_name(document: dict[str, Any], key: str, where: str) -> dict[str, str]:
    found: dict[str, str] = _get(document, key, dict, {}, where)
    for name, value in found.items():
        if type(value) is not str:
            raise InvalidDocument(f"{where}{key}.{name} must be a string, not {str(value)[:60]!r}")
    return found


def _mappings(document: dict[str, Any], key: str, where: str) -> tuple[IdRange, ...]:
    ranges = []
    for place, found in _objects(document, key, where):
        inside, outside, length = (_need(found, name, int, place) for name in ("containerID", "hostID", "size"))
        if not (0 <= inside < 1 << 32 and 0 <= outside < 1 << 32 and 0 < length < 1 << 32):
            raise InvalidDocument(f"{place[:-1]} is not a range of ids")
        ranges.append(IdRange(inside, outside, length))
    return tuple(ranges)


def _id(document: dict[str, Any], key: str, where: str) -> int:
    value: int = _get(document, key, int, 0, where)
    if not 0 <= value < (1 << 32) - 1:
        raise InvalidDocument(f"{where}{key}: {value} is not an id")
    return value


def read_process(document: dict[str, Any], where: str = "process.") -> Process:
    """The `process` object of a config.json, or of `exec --process`. Raises InvalidDocument."""
    user = _get(document, "user", dict, {}, where)
    arguments = _strings(document, "args", where)
    if not arguments:
        raise InvalidDocument(f"{where}args is missing or empty")
    directory = _get(document, "cwd", str, "", where)
    if not directory.startswith("/"):
        raise InvalidDocument(f'{where}cwd must be an absolute path, not "{directory}"')
    size = _get(document, "consoleSize", dict, None, where)
    oom = _get(document, "oomScoreAdj", int, None, where)
    if oom is not None and not -1000 <= oom <= 1000:
        raise InvalidDocument(f"{where}oomScoreAdj must be from -1000 to 1000, not {oom}")
    umask = _get(user, "umask", int, None, f"{where}user.")
    affinity = _get(document, "execCPUAffinity", dict, {}, where)
    return Process(
        terminal=_get(document, "terminal", bool, False, where),
        console_size=None
        if size is None
        else (_need(size, "height", int, f"{where}consoleSize."), _need(size, "width", int, f"{where}consoleSize.")),
        user=User(
            _id(user, "uid", f"{where}user."),
            _id(user, "gid", f"{where}user."),
            None if umask is None else umask & 0o7777,
            _integers(user, "additionalGids", f"{where}user."),
        ),
        arguments=arguments,
        environment=_strings(document, "env", where),
        directory=directory,
        capabilities=_capabilities(document, where),
        rlimits=_rlimits(document, where),
        no_new_privileges=_get(document, "noNewPrivileges", bool, False, where),
        oom_score_adjustment=oom,
        scheduler=_scheduler(document, where),
        io_priority=_io_priority(document, where),
        apparmor_profile=_get(document, "apparmorProfile", str, "", where),
        selinux_label=_get(document, "selinuxLabel", str, "", where),
        cpu_affinity=(
            _get(affinity, "initial", str, "", f"{where}execCPUAffinity."),
            _get(affinity, "final", str, "", f"{where}execCPUAffinity."),
        ),
    )


def no_process() -> Process:
    """What stands for the process until `start`, which must fail without one, where `create` must not (config.md, Process)."""
    return read_process({"args": ["/"], "cwd": "/"})


def _capabilities(document: dict[str, Any], where: str) -> dict[str, tuple[str, ...]]:
    found = _get(document, "capabilities", dict, {}, where)
    return {name: _strings(found, name, f"{where}capabilities.") for name in CAPABILITY_SETS}


def _rlimits(document: dict[str, Any], where: str) -> tuple[Rlimit, ...]:
    limits: list[Rlimit] = []
    for place, found in _objects(document, "rlimits", where):
        name = _choice(_need(found, "type", str, place), RLIMITS, f"{place}type")
        if name in (limit.type for limit in limits):
            raise InvalidDocument(f"{place}type: {name} is there twice")
        soft, hard = (_need(found, key, int, place) for key in ("soft", "hard"))
        if soft > hard:
            raise InvalidDocument(f"{place}soft is above hard")
        limits.append(Rlimit(name, soft, hard))
    return tuple(limits)


def _scheduler(document: dict[str, Any], where: str) -> Scheduler | None:
    found = _get(document, "scheduler", dict, None, where)
    if found is None:
        return None
    where += "scheduler."
    policy = _choice(_need(found, "policy", str, where), SCHEDULER_POLICIES, f"{where}policy")
    flags = 0
    for flag in _strings(found, "flags", where):
        flags |= SCHEDULER_FLAGS[_choice(flag, SCHEDULER_FLAGS, f"{where}flags")]
    numbers = (_get(found, key, int, 0, where) for key in ("nice", "priority", "runtime", "deadline", "period"))
    nice, priority, runtime, deadline, period = numbers
    if nice < -20 or nice > 19:
        raise InvalidDocument(f"{where}nice must be from -20 to 19, not {nice}")
    if priority and policy not in ("SCHED_FIFO", "SCHED_RR"):
        raise InvalidDocument(f"{where}priority is for SCHED_FIFO and SCHED_RR only")
    if (runtime or deadline or period) and policy != "SCHED_DEADLINE":
        raise InvalidDocument(f"{where}runtime, deadline and period are for SCHED_DEADLINE only")
    return Scheduler(SCHEDULER_POLICIES[policy], nice, priority, flags, runtime, deadline, period)


def _io_priority(document: dict[str, Any], where: str) -> tuple[int, int] | None:
    found = _get(document, "ioPriority", dict, None, where)
    if found is None:
        return None
    where += "ioPriority."
    name = _choice(_need(found, "class", str, where), IO_PRIORITY_CLASSES, f"{where}class")
    level = _get(found, "priority", int, 0, where)
    if not 0 <= level <= 7:
        raise InvalidDocument(f"{where}priority must be from 0 to 7, not {level}")
    return IO_PRIORITY_CLASSES[name], level


def _mounts(document: dict[str, Any]) -> tuple[Mount, ...]:
    mounts = []
    for place, found in _objects(document, "mounts", ""):
        destination = _need(found, "destination", str, place)
        options = _strings(found, "options", place)
        uids, gids = _mappings(found, "uidMappings", place), _mappings(found, "gidMappings", place)
        if bool(uids) != bool(gids):
            raise InvalidDocument(f"{place[:-1]} needs both uidMappings and gidMappings, or neither")
        kind = _get(found, "type", str, "", place)
        if not kind and not {"bind", "rbind"} & set(options):
            kind = "none"
        mounts.append(Mount(destination, kind, _get(found, "source", str, "", place), options, uids, gids))
    return tuple(mounts)


def _hooks(document: dict[str, Any]) -> dict[str, tuple[Hook, ...]]:
    found = _get(document, "hooks", dict, {}, "")
    hooks = {}
    for name in HOOKS:
        listed = []
        for place, hook in _objects(found, name, "hooks."):
            path = _need(hook, "path", str, place)
            if not path.startswith("/"):
                raise InvalidDocument(f'{place}path must be absolute, not "{path}"')
            timeout = _get(hook, "timeout", int, None, place)
            if timeout is not None and timeout <= 0:
                raise InvalidDocument(f"{place}timeout must be more than 0, not {timeout}")
            environment = _strings(hook, "env", place) if hook.get("env") is not None else None
            listed.append(Hook(path, _strings(hook, "args", place), environment, timeout))
        hooks[name] = tuple(listed)
    return hooks


DEVICE_KINDS = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}
"""The types of config-linux.md, Devices, as mode bits (inode(7))."""


def _devices(linux: dict[str, Any]) -> tuple[Device, ...]:
    devices = []
    for place, found in _objects(linux, "devices", "linux."):
        kind = _choice(_need(found, "type", str, place), DEVICE_KINDS, f"{place}type")
        path = _need(found, "path", str, place)
        if not path.startswith("/") or not path.strip("/"):
            raise InvalidDocument(f'{place}path must be absolute, not "{path}"')
        need = _need if kind != "p" else lambda document, key, type_, where: _get(document, key, type_, 0, where)
        devices.append(
            Device(
                kind,
                path.rstrip("/"),
                need(found, "major", int, place),
                need(found, "minor", int, place),
                _get(found, "fileMode", int, 0o666, place) & 0o7777,
                _id(found, "uid", place),
                _id(found, "gid", place),
            )
        )
    return tuple(devices)


def _linux(document: dict[str, Any]) -> Linux:
    linux = _get(document, "linux", dict, {}, "")
    namespaces: dict[str, str] = {}
    for place, found in _objects(linux, "namespaces", "linux."):
        kind = _choice(_need(found, "type", str, place), NAMESPACES, f"{place}type")
        if kind in namespaces:
            raise InvalidDocument(f'{place}type: "{kind}" is there twice')
        path = _get(found, "path", str, "", place)
        if path and not path.startswith("/"):
            raise InvalidDocument(f'{place}path must be absolute, not "{path}"')
        namespaces[kind] = path
    for name in ("intelRdt", "memoryPolicy", "netDevices"):
        if linux.get(name):
            raise InvalidDocument(f"linux.{name} is not supported by this runtime")
    offsets = []
    for clock, offset in _get(linux, "timeOffsets", dict, {}, "linux.").items():
        _choice(clock, ("monotonic", "boottime"), "linux.timeOffsets")
        place = f"linux.timeOffsets.{clock}."
        offsets.append((clock, _get(offset, "secs", int, 0, place), _get(offset, "nanosecs", int, 0, place)))
    if offsets and namespaces.get("time") != "":
        raise InvalidDocument("linux.timeOffsets needs a new time namespace in linux.namespaces")
    propagation = _get(linux, "rootfsPropagation", str, "", "linux.")
    if propagation:
        _choice(propagation, PROPAGATIONS, "linux.rootfsPropagation")
    persona = _get(linux, "personality", dict, None, "linux.")
    if persona is not None:
        domain = _choice(_need(persona, "domain", str, "linux.personality."), PERSONALITIES, "linux.personality.domain")
        if persona.get("flags"):
            raise InvalidDocument("linux.personality.flags is not supported: the specification defines none")
    sysctl = _strings_by_name(linux, "sysctl", "linux.")
    return Linux(
        namespaces=namespaces,
        uid_mappings=_mappings(linux, "uidMappings", "linux."),
        gid_mappings=_mappings(linux, "gidMappings", "linux."),
        time_offsets=tuple(offsets),
        devices=_devices(linux),
        cgroups_path=_get(linux, "cgroupsPath", str, "", "linux."),
        resources=_get(linux, "resources", dict, {}, "linux."),
        rootfs_propagation=propagation,
        seccomp=_get(linux, "seccomp", dict, None, "linux."),
        sysctl=sysctl,
        masked_paths=_absolute(linux, "maskedPaths"),
        readonly_paths=_absolute(linux, "readonlyPaths"),
        mount_label=_get(linux, "mountLabel", str, "", "linux."),
        personality=None if persona is None else PERSONALITIES[domain],
    )


def _absolute(linux: dict[str, Any], key: str) -> tuple[str, ...]:
    paths = _strings(linux, key, "linux.")
    for path in paths:
        if not path.startswith("/"):
            raise InvalidDocument(f'linux.{key}: "{path}" must be absolute')
    return paths


def read_spec(document: dict[str, Any]) -> Spec:
    """A whole config.json (OCI runtime-spec, config.md). Raises InvalidDocument naming the field."""
    version = _need(document, "ociVersion", str, "")
    if version.partition(".")[0] != "1":
        raise InvalidDocument(f'ociVersion: "{version}" is not supported, this runtime implements {VERSION}')
    root = _need(document, "root", dict, "")
    process = _get(document, "process", dict, None, "")
    spec = Spec(
        version=version,
        root_path=_need(root, "path", str, "root."),
        root_readonly=_get(root, "readonly", bool, False, "root."),
        process=None if process is None else read_process(process),
        hostname=_get(document, "hostname", str, "", ""),
        domainname=_get(document, "domainname", str, "", ""),
        mounts=_mounts(document),
        hooks=_hooks(document),
        annotations=_strings_by_name(document, "annotations", ""),
        linux=_linux(document),
    )
    _check_together(spec)
    return spec


_SYSCTL_OF_IPC = (
    *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax"),
    *("kernel.shmmni", "kernel.shm_rmid_forced"),
)


def _check_together(spec: Spec) -> None:
    """What no field tells alone. Raises InvalidDocument."""
    namespaces = spec.linux.namespaces
    if "mount" not in namespaces:
        raise InvalidDocument("linux.namespaces must have a mount namespace: a root file system cannot do without")
    for name, value in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if value and "uts" not in namespaces:
            raise InvalidDocument(f"{name} needs a uts namespace in linux.namespaces")
    if (spec.linux.uid_mappings or spec.linux.gid_mappings) and "user" not in namespaces:
        raise InvalidDocument("linux.uidMappings and gidMappings need a user namespace in linux.namespaces")
    if bool(spec.linux.uid_mappings) != bool(spec.linux.gid_mappings):
        raise InvalidDocument("linux.uidMappings and linux.gidMappings go together")
    for name in spec.linux.sysctl:
        _check_sysctl(name, spec)


def _check_sysctl(name: str, spec: Spec) -> None:
    """Only what belongs to one of the container's own namespaces may be set: anything else is the whole machine's."""
    namespaces = spec.linux.namespaces
    dotted = name.replace("/", ".") if "/" in name and name.find("/") < (name + ".").find(".") else name
    parts = dotted.split(".")
    if not all(parts) or not all(part.replace("_", "").replace("-", "").replace("/", "").isalnum() for part in parts):
        raise InvalidDocument(f'linux.sysctl: "{name}" is not a name')
    needed = ""
    if dotted in _SYSCTL_OF_IPC or dotted.startswith("fs.mqueue."):
        needed = "ipc"
    elif dotted.startswith("net."):
        needed = "network"
    elif dotted == "kernel.domainname":
        needed = "uts"
    elif dotted == "kernel.hostname":
        raise InvalidDocument('linux.sysctl: use "hostname" in place of kernel.hostname')
    elif dotted.startswith("user."):
        needed = "user"
    if not needed:
        raise InvalidDocument(f'linux.sysctl: "{name}" is not of any namespace: it would change the whole machine')
    if needed not in namespaces:
        raise InvalidDocument(f'linux.sysctl: "{name}" needs a {needed} namespace in linux.namespaces')


def load(path: str) -> tuple[str, dict[str, Any]]:
    """The text and the object of a configuration file. Raises NotFound or InvalidDocument."""
    from rootless import json_text

    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
    except FileNotFoundError:
        raise NotFound(f'"{path}" does not exist', hint="ptb-runtime spec writes one") from None
    except OSError as error:
        from posix import strerror

        raise NotFound(f'"{path}" cannot be read: {strerror(error.errno or 0)}') from error
    document = json_text.parse(text, path)
    if type(document) is not dict:
        raise InvalidDocument(f"{path} must hold an object")
    return text, document
