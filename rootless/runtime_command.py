"""What each `ptb-runtime` command does with its options; the verbs themselves are in `runtime`, `launch`, `container_exec`."""

from __future__ import annotations

from rootless import processes
from rootless import state as state_module
from rootless import system as os
from rootless.errors import InvalidDocument, PtbError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.launch import Request
    from rootless.spec import Process, Spec

    Values = dict[str, Any]


def _say(text: str) -> None:
    data = (text + "\n").encode(errors="surrogateescape")
    while data:
        data = data[os.write(1, data) :]


def _absolute(path: str) -> str:
    return os.path.abspath(path) if path and not path.startswith("/") else path


def _real_directory(path: str) -> str:
    """`path` with no link in it."""
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return os.path.abspath(path)  # said where its config.json is missed
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _request(settings: Values, values: Values, identity: str, *, keep_terminal: bool) -> Request:
    from rootless import launch

    return launch.Request(
        root=settings["root"],
        id=identity,
        bundle=_real_directory(values.get("bundle") or "."),
        config=values.get("config") or "config.json",
        console_socket=_absolute(values.get("console-socket", "")),
        pid_file=_absolute(values.get("pid-file", "")),
        preserve_fds=processes.open_or_filled(values.get("preserve-fds", 0)),
        pivot=not values.get("no-pivot"),
        systemd_cgroup=settings["systemd"],
        cgroup_disabled=settings["cgroup-disabled"],
        reaper=bool(values.get("init")),
        keep_terminal=keep_terminal,
        notify_socket=_notify_socket(),
    )


def _notify_socket() -> str:
    place = os.environ.get("NOTIFY_SOCKET", "")
    return place if place.startswith("/") else ""


def create(settings: Values, values: Values, operands: list[str]) -> int:
    """`create`."""
    from rootless import launch

    launch.create(_request(settings, values, operands[0], keep_terminal=False))
    return 0


def run(settings: Values, values: Values, operands: list[str]) -> int:
    """`run`."""
    from rootless import launch, runtime, terminal_relay

    detach = bool(values.get("detach"))
    identity, root = operands[0], settings["root"]
    keeps = not detach and not values.get("console-socket")
    created = launch.create(_request(settings, values, identity, keep_terminal=keeps))
    signals = None if detach else terminal_relay.catch_signals()
    try:
        _start(root, identity, created.spec, wait=detach)
    except BaseException:
        runtime.delete(root, identity, force=True)
        raise
    if signals is None:
        return 0
    status = terminal_relay.wait(created.state.pid, created.master, signals)
    if not values.get("keep"):
        runtime.delete(root, identity, created.spec, force=True)
    return status


def start(settings: Values, _values: Values, operands: list[str]) -> int:
    """`start`."""
    _start(settings["root"], operands[0], None, wait=True)
    return 0


def _start(root: str, identity: str, spec: Spec | None, *, wait: bool) -> None:
    """Start the container; where its readiness is awaited return once it is ready, or without `wait` leave that to a fork."""
    from rootless import runtime

    awaited = None
    if _notify_socket():
        from rootless import notification, notify_mount

        awaited = notify_mount.listen(root, identity)
    runtime.start(root, identity, spec)
    if awaited is not None:
        if wait:
            notification.await_ready(*awaited)
        elif os.fork() == 0:
            try:
                notification.await_ready(*awaited)
            finally:
                os._exit(0)


def state(settings: Values, _values: Values, operands: list[str]) -> int:
    """`state`."""
    import json

    from rootless import runtime

    _say(json.dumps(runtime.document(settings["root"], operands[0]), indent=2))
    return 0


def kill(settings: Values, values: Values, operands: list[str]) -> int:
    """`kill`."""
    from rootless import runtime, signals

    number = signals.signal_number(operands[1] if len(operands) > 1 else "TERM")
    runtime.kill(settings["root"], operands[0], number, everything=bool(values.get("all")))
    return 0


def delete(settings: Values, values: Values, operands: list[str]) -> int:
    """`delete`."""
    from rootless import runtime

    identities = _matching(settings["root"], operands) if values.get("regex") else operands
    for identity in identities:
        runtime.delete(settings["root"], identity, force=bool(values.get("force")))
    return 0


def _matching(root: str, expressions: list[str]) -> list[str]:
    """The ids in which any of the regular expressions is found. Raises UsageError."""
    import re

    try:
        pattern = re.compile("|".join(f"(?:{expression})" for expression in expressions))
    except re.error as error:
        raise UsageError(f"delete: {' '.join(expressions)!r} is no regular expression: {error}") from None
    return [name for name in state_module.identities(root) if pattern.search(name)]


def exec_(settings: Values, values: Values, operands: list[str]) -> int:
    """`exec`."""
    from rootless import capabilities, container_exec, terminal_relay

    identity, command = operands[0], operands[1:]
    detach = bool(values.get("detach"))
    spec = state_module.configuration(settings["root"], identity)
    process = _exec_process(spec, values, command)
    capabilities.warn_of_unknown(process.capabilities)
    console_socket = _absolute(values.get("console-socket", ""))
    request = container_exec.ExecRequest(
        root=settings["root"],
        id=identity,
        spec=spec,
        process=process,
        console_socket=console_socket,
        pid_file=_absolute(values.get("pid-file", "")),
        preserve_fds=processes.open_or_filled(values.get("preserve-fds", 0)),
        ignore_paused=bool(values.get("ignore-paused")),
        keep_terminal=not detach and not console_socket,
        cgroup=values.get("cgroup", ""),
    )
    signals = None if detach else terminal_relay.catch_signals()
    pid, master = container_exec.start(request)
    return 0 if signals is None else terminal_relay.wait(pid, master, signals)


def _exec_process(spec: Spec, values: Values, command: list[str]) -> Process:
    from rootless import container_exec
    from rootless import spec as spec_module

    path = values.get("process", "")
    if path:
        _text, document = spec_module.load(path)
        return spec_module.read_process(document, f"{path}: ")
    if not command:
        raise UsageError("exec: a command is missing", hint="or give the process with --process FILE")
    own = spec.process or spec_module.no_process()
    changes: Values = {"arguments": tuple(command), "terminal": bool(values.get("tty"))}
    changes["environment"] = (*own.environment, *values.get("env", ()))
    if values.get("cwd"):
        changes["directory"] = values["cwd"]
    changes["user"] = _exec_user(values, own)
    if values.get("cap"):
        added = tuple(
            name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}" for name in values["cap"]
        )
        # Not inheritable nor ambient: a program that is given neither must not get them by execve (CVE-2022-29162).
        sets = dict(own.capabilities)
        for kind in ("bounding", "effective", "permitted"):
            sets[kind] = tuple(dict.fromkeys((*sets[kind], *added)))
        changes["capabilities"] = sets
    changes["no_new_privileges"] = bool(values.get("no-new-privs"))  # whatever the container's own has, as in crun
    if values.get("process-label"):
        changes["selinux_label"] = values["process-label"]
    if values.get("apparmor"):
        changes["apparmor_profile"] = values["apparmor"]
    return container_exec.process_of(spec, **changes)


def _exec_user(values: Values, own: Process) -> object:
    from rootless.spec import User

    user = own.user
    if values.get("user"):
        uid, _colon, gid = values["user"].partition(":")
        if not uid.isdecimal() or not (gid or "0").isdecimal():
            raise UsageError(f'exec: --user must be UID[:GID] in numbers, not "{values["user"]}"')
        user = User(int(uid), int(gid) if gid else user.gid, user.umask, user.additional_gids)
    if values.get("additional-gids"):
        listed = [part for value in values["additional-gids"] for part in value.split(",")]
        if not all(part.isdecimal() for part in listed):
            raise UsageError("exec: --additional-gids must be numbers")
        user = User(user.uid, user.gid, user.umask, tuple(int(part) for part in listed))
    return user


def list_(settings: Values, values: Values, _operands: list[str]) -> int:
    """`list`."""
    from rootless import container_report, runtime

    found = runtime.listing(settings["root"])
    if values.get("quiet"):
        for entry in found:
            _say(str(entry["id"]))
    elif _format(values) == "json":
        import json

        _say(json.dumps(found, separators=(",", ":")))
    else:
        _say(container_report.table(found))
    return 0


def _format(values: Values) -> str:
    wanted: str = values.get("format", "table")
    if wanted not in ("table", "json"):
        raise UsageError(f'--format must be table or json, not "{wanted}"')
    return wanted


def ps(settings: Values, values: Values, operands: list[str]) -> int:
    """`ps`."""
    from rootless import container_report, runtime

    pids = runtime.members(state_module.read(settings["root"], operands[0]))
    if _format(values) == "json":
        import json

        _say(json.dumps(pids, separators=(",", ":")))
    else:
        _say(container_report.processes_table(pids, operands[1:]))
    return 0


def pause(settings: Values, _values: Values, operands: list[str]) -> int:
    """`pause`."""
    from rootless import runtime

    runtime.pause(settings["root"], operands[0])
    return 0


def resume(settings: Values, _values: Values, operands: list[str]) -> int:
    """`resume`."""
    from rootless import runtime

    runtime.pause(settings["root"], operands[0], resume=True)
    return 0


def update(settings: Values, values: Values, operands: list[str]) -> int:
    """`update`."""
    from rootless import container_cgroup

    state_ = state_module.read(settings["root"], operands[0])
    container_cgroup.update(state_.cgroup, _resources(values))
    return 0


def _resources(values: Values) -> Values:
    from rootless import json_text

    if values.get("resources"):
        path = values["resources"]
        with open(0 if path == "-" else path, encoding="utf-8", closefd=path != "-") as stream:
            document = json_text.parse(stream.read(), path)
        if type(document) is not dict:
            raise InvalidDocument(f"{path} must hold an object")
        return document
    cpu = {
        key: values[name]
        for key, name in (
            ("shares", "cpu-share"),
            ("quota", "cpu-quota"),
            ("period", "cpu-period"),
            ("burst", "cpu-burst"),
            ("idle", "cpu-idle"),
            ("cpus", "cpuset-cpus"),
            ("mems", "cpuset-mems"),
        )
        if name in values
    }
    memory = {
        key: _bytes(values[name], name)
        for key, name in (("limit", "memory"), ("reservation", "memory-reservation"), ("swap", "memory-swap"))
        if name in values
    }
    resources: Values = {}
    if cpu:
        resources["cpu"] = cpu
    if memory:
        resources["memory"] = memory
    if "pids-limit" in values:
        resources["pids"] = {"limit": values["pids-limit"]}
    if "blkio-weight" in values:
        resources["blockIO"] = {"weight": values["blkio-weight"]}
    if not resources:
        raise UsageError("update: nothing to change", hint="ptb-runtime update --help")
    return resources


def _bytes(text: str, name: str) -> int:
    """A number of bytes, with an optional suffix k, m, g or t."""
    units = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
    digits = text.lower().rstrip("b")
    unit = digits[-1:] if digits[-1:] in "kmgt" and digits[-1:] else ""
    number = digits.removesuffix(unit) if unit else digits
    try:
        return int(number) * units[unit]
    except ValueError:
        raise UsageError(f'update: --{name} must be a number of bytes, not "{text}"') from None


def events(settings: Values, values: Values, operands: list[str]) -> int:
    """`events`."""
    from rootless import container_report

    text = str(values.get("interval", "5s"))
    seconds = text.removesuffix("s")
    if not seconds.replace(".", "", 1).isdecimal() or float(seconds) <= 0:
        raise UsageError(f'events: --interval must be a time as 5s, not "{text}"')
    state_ = state_module.read(settings["root"], operands[0])
    for line in container_report.events(state_, interval=float(seconds), once=bool(values.get("stats"))):
        _say(line)
    return 0


def features(_settings: Values, _values: Values, _operands: list[str]) -> int:
    """`features`."""
    import json

    from rootless import runtime_features

    _say(json.dumps(runtime_features.document(), indent=2))
    return 0


def spec(_settings: Values, values: Values, _operands: list[str]) -> int:
    """`spec`."""
    import json

    from rootless import default_spec

    path = f"{values.get('bundle') or '.'}/config.json"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise PtbError(f'"{path}" cannot be made: {os.strerror(error.errno or 0)}') from error
    with open(fd, "w", encoding="utf-8") as stream:
        json.dump(default_spec.document(rootless=bool(values.get("rootless"))), stream, indent="\t")
        stream.write("\n")
    return 0


FUNCTIONS: dict[str, Callable[[Values, Values, list[str]], int]] = {
    "create": create,
    "run": run,
    "start": start,
    "state": state,
    "kill": kill,
    "delete": delete,
    "exec": exec_,
    "list": list_,
    "ps": ps,
    "pause": pause,
    "resume": resume,
    "update": update,
    "events": events,
    "features": features,
    "spec": spec,
}
