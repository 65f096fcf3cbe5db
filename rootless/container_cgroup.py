"""A container's cgroup, whoever makes it: systemd as a scope of the caller's, or this runtime in a writable hierarchy.

What is remembered of it is a small document in the container's state, so that any later command finds it again; an
empty one means that the container has none. That is no error unless limits were asked for.
"""

from __future__ import annotations

from rootless import cgroups
from rootless import system as os
from rootless.errors import HostUnfit, KernelError, NotFound, PtbError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cgroup_limits import Files
    from rootless.spec import Spec

    Document = dict[str, Any]

_REFUSED = (1, 13, 30)  # EPERM, EACCES, EROFS
_SUBGROUP_ANNOTATION = "run.oci.systemd.subgroup"  # crun's
_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma", "misc")


def plan(spec: Spec, identity: str, *, systemd: bool, disabled: bool) -> Document:
    """Where the container's cgroup is to be. Raises HostUnfit where limits are asked for and nothing could hold them."""
    files = _limits(spec.linux.resources)
    hierarchy = cgroups.find_hierarchy()
    if disabled:
        if files:
            raise HostUnfit("linux.resources are asked for but cgroups are disabled", hint="--cgroup-manager systemd")
        return {}
    cgroups.require_hierarchy(hierarchy, files)
    if hierarchy is None:
        return {}
    if systemd:
        from rootless import dbus, systemd_scope

        user = os.geteuid() != 0 or dbus.host_uid() != 0
        slice_name, scope = systemd_scope.parse_cgroups_path(spec.linux.cgroups_path, identity, user=user)
        return {"manager": "systemd", "hierarchy": hierarchy, "slice": slice_name, "scope": scope, "user": user}
    path = spec.linux.cgroups_path or f"ptb-{identity}"
    if not path.startswith("/"):
        path = f"{cgroups.own_cgroup().rstrip('/')}/{path}"
    cgroups.at(hierarchy, path)
    return {"manager": "cgroupfs", "hierarchy": hierarchy, "path": path, "made": []}


def _limits(resources: Document) -> Files:
    if resources.keys() <= {"devices"}:
        return []  # as most have it; what follows is loaded for the others
    from rootless import cgroup_limits

    return cgroup_limits.limits(resources)


def _controllers_for(files: Files) -> set[str]:
    if not files:
        return set()
    from rootless import cgroup_limits

    return cgroup_limits.controllers_for(files)


def _field_of(files: Files) -> str:
    from rootless import cgroup_limits

    return cgroup_limits.field_of(files[0][0])


def make(planned: Document, spec: Spec) -> Document:
    """Make the cgroup as far as that comes before the process; returns what there is now. Raises PtbError."""
    if planned.get("manager") != "cgroupfs":
        return planned
    files = _limits(spec.linux.resources)
    try:
        wanted = _controllers_for(files)
        _cgroup, made = cgroups.create(planned["hierarchy"], planned["path"], wanted)
    except KernelError as error:
        if error.errno in _REFUSED and not files:
            return {}
        if error.errno in _REFUSED:
            raise HostUnfit(
                f"linux.resources.{_field_of(files)} needs a cgroup, and none can be made here: {error.message}",
                hint="a systemd user session on cgroup v2 gives one (ptb-runtime: --systemd-cgroup)",
            ) from error
        raise
    return {**planned, "made": made}


def enter(made: Document, spec: Spec, pid: int) -> Document:
    """Put the process in and set its limits; returns what is to be remembered. Raises PtbError."""
    if not made:
        return {}
    files = _limits(spec.linux.resources)
    if made["manager"] == "systemd":
        from rootless import cgroup_annotations, systemd_scope

        properties = systemd_scope.scope_properties(files) + cgroup_annotations.properties(spec.annotations)
        description = f"ptb container {spec.hostname or made['scope']}"
        try:
            path = systemd_scope.start_scope(
                pid, made["scope"], made["slice"], description, properties, user=made["user"]
            )
        except HostUnfit as error:
            if not files:
                return {}
            raise HostUnfit(
                f"linux.resources.{_field_of(files)} needs a cgroup: {error.message}", hint=error.hint
            ) from error
        below = spec.annotations.get(_SUBGROUP_ANNOTATION, "container")
        made = {**made, "path": path, "below": below}
        if below:
            made = _enter_below(made, pid)
    cgroup = _cgroup(made)
    try:
        if made["manager"] == "cgroupfs":
            cgroups.attach(cgroup, pid)
    except KernelError as error:
        # Moving a process needs the nearest cgroup above both places to be the caller's (cgroups(7), delegation).
        if error.errno not in _REFUSED or files:
            raise
        remove(made)
        return {}
    cgroups.apply(cgroup, files)
    rules = spec.linux.resources.get("devices") or []
    if os.geteuid() == 0 and rules and spec.linux.namespaces.get("user") != "":
        _guard_devices(cgroup, rules)
    return made


def _enter_below(made: Document, pid: int) -> Document:
    """Put the process in a cgroup of its own below the scope's, with the scope's controllers, as crun does.

    An engine reads there, once the container has ended, whether memory was why (conmon, memory.events). Systemd removes
    a scope that is empty meanwhile: in eight runs of eight it was faster with the scope's own cgroup, in none with this.
    """
    outer = _cgroup(made)
    inner = {**made, "path": f"{made['path']}/{made['below']}"}
    directory = _cgroup(inner)
    try:
        os.mkdir(directory.path, 0o755)
        cgroups.attach(directory, pid)
    except (OSError, KernelError) as error:
        if error.errno not in _REFUSED:
            raise
        return {**made, "below": ""}
    cgroups.enable_controllers(outer.path, set(_CONTROLLERS))
    return inner


def _guard_devices(cgroup: cgroups.Cgroup, rules: list[Document]) -> None:
    from rootless import device_filter

    if device_filter.allows_everything(rules):
        return
    directory = cgroups.open_directory(cgroup)
    try:
        device_filter.attach(device_filter.program(rules), directory)
    except KernelError as error:
        if error.errno != 1:
            raise
        # Root of a user namespace, who cannot open a device that its owner could not: nothing to guard.
    finally:
        os.close(directory)


def _cgroup(made: Document) -> cgroups.Cgroup:
    return cgroups.at(made["hierarchy"], made["path"])


def attach(made: Document, pid: int, below: str = "") -> None:
    """Put another process in, in the cgroup `below` the container's own. Raises PtbError."""
    if "path" not in made:
        return
    cgroup = cgroups.at(made["hierarchy"], f"{made['path']}/{below}")
    try:
        cgroups.attach(cgroup, pid)
    except KernelError as error:
        if error.errno not in _REFUSED or made["manager"] != "systemd":
            raise
        from rootless import systemd_scope

        inner = "".join(f"/{part}" for part in (made.get("below", ""), below) if part)
        systemd_scope.attach_process(made["scope"], inner, pid, user=made["user"])


def remove(made: Document) -> None:
    """Remove the cgroup, which must be empty; one that is gone is no error. Raises PtbError."""
    if not made:
        return
    if "path" in made:
        try:
            cgroups.remove(_cgroup(made))
        except NotFound:
            pass
        for directory in reversed(made.get("made", [])):
            try:
                os.rmdir(directory)
            except OSError:
                break
    if made["manager"] == "systemd":
        from rootless import systemd_scope

        try:
            systemd_scope.stop_scope(made["scope"], user=made["user"])
        except HostUnfit:
            return


def kill(made: Document) -> None:
    """Kill everything in the cgroup."""
    if "path" in made:
        try:
            cgroups.kill(_cgroup(made))
        except (NotFound, KernelError):
            return


def freeze(made: Document, *, frozen: bool) -> None:
    """Stop all processes in the cgroup, or let them go on; returns when that is so. Raises PtbError."""
    (cgroups.freeze if frozen else cgroups.thaw)(_cgroup(made))


def is_frozen(made: Document) -> bool:
    """Whether the cgroup is frozen."""
    try:
        return "path" in made and cgroups.frozen(_cgroup(made))
    except PtbError:
        return False


def process_ids(made: Document) -> list[int] | None:
    """The processes in the cgroup and below; None where there is none to ask."""
    try:
        return cgroups.processes(_cgroup(made)) if "path" in made else None
    except PtbError:
        return None


def update(made: Document, resources: Document) -> None:
    """Set other limits. Raises PtbError."""
    files = _limits(resources)
    if "path" not in made:
        cgroups.require_hierarchy(cgroups.find_hierarchy(), files)
        raise HostUnfit(
            "the container has no cgroup of its own to limit",
            hint="a systemd user session on cgroup v2 gives it one when it is started",
        )
    cgroup = _cgroup(made)
    cgroups.refuse_below_usage(cgroup, resources)
    if made["manager"] == "systemd":
        from rootless import systemd_scope

        systemd_scope.set_properties(made["scope"], systemd_scope.scope_properties(files), user=made["user"])
    cgroups.apply(cgroup, files)


def statistics(made: Document) -> Document:
    """What the cgroup has counted."""
    from rootless import cgroup_statistics

    return cgroup_statistics.statistics(_cgroup(made))


def out_of_memory_kills(made: Document) -> int:
    """How often the kernel killed for want of memory."""
    return cgroups.out_of_memory_kills(_cgroup(made)) if "path" in made else 0
