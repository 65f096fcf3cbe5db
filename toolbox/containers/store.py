"""Containers on disk: one directory each, beside the boxes' (see `toolbox.names`).

    $XDG_DATA_HOME/ptb/containers/ID/container.json   what it was made with (`record`)
                                     status.json      what its monitor says of it (`rootless.status`)
                                     upper/ work/     what was changed in it
                                     rootfs/          an empty directory to mount on
                                     files/           its hosts, resolv.conf, hostname
                                     ctr.log          its output, unless that goes elsewhere
    $XDG_RUNTIME_DIR/ptb/containers/ID/attach         its monitor's socket while it runs
    $XDG_RUNTIME_DIR/ptb/oci/ID                       the OCI runtime's state while it runs

The directory is locked (flock) by whoever starts, changes or removes the container.
"""

from __future__ import annotations

import fcntl

from rootless import status as status_module
from rootless import system as os
from rootless.errors import NotFound, PtbError, UsageError
from toolbox import names, paths
from toolbox.containers import record
from toolbox.containers.record import ContainerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.status import Status


_ENOSPC = 28


def directory(identity: str) -> str:
    """The container's directory."""
    return f"{names.containers()}/{identity}"


def runtime_directory(identity: str) -> str:
    """Where the container's sockets are while it runs."""
    return f"{paths.runtime_dir()}/containers/{identity}"


def runtime_root() -> str:
    """Where OCI runtimes keep the state of containers that run."""
    return f"{paths.runtime_dir()}/oci"


def identities() -> list[str]:
    """The ids of all containers."""
    place = names.containers()
    try:
        entries = os.listdir(place)
    except FileNotFoundError:
        return []
    return [entry for entry in entries if entry[0] != "." and os.path.exists(f"{place}/{entry}/{names.CONTAINER}")]


def load(identity: str) -> ContainerRecord | None:
    """The record of the container with this id; None if there is none."""
    path = f"{directory(identity)}/{names.CONTAINER}"
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return record.from_text(stream.read(), path)
    except FileNotFoundError:
        return None


def everything() -> list[ContainerRecord]:
    """Every container, the newest first."""
    found = [loaded for loaded in map(load, identities()) if loaded is not None]
    return sorted(found, key=lambda container: -container.created)


def find(text: str) -> ContainerRecord | None:
    """The container with this name or id, or with the only id that begins so. Raises UsageError where several do."""
    identity = names.id_of(text, names.CONTAINER)
    if identity is None and text and set(text) <= set("0123456789abcdef"):
        candidates = [other for other in identities() if other.startswith(text)]
        if len(candidates) > 1:
            raise UsageError(f'"{text}" is the beginning of {len(candidates)} container ids', hint="ptb ps -a")
        identity = candidates[0] if candidates else None
    return None if identity is None else load(identity)


def need(text: str) -> ContainerRecord:
    """The container with this name or id. Raises NotFound."""
    found = find(text)
    if found is None:
        if names.id_of(text, names.BOX) is not None:
            raise NotFound(f'"{text}" is a box, not a container', hint=f"ptb enter {text}, or ptb list")
        raise NotFound(f'no container with name or ID "{text}" found: no such container', hint="ptb ps -a")
    return found


def newest() -> ContainerRecord:
    """The container made last. Raises NotFound."""
    found = everything()
    if not found:
        raise NotFound("there is no container", hint="ptb run IMAGE")
    return found[0]


def chosen(wanted: list[str], *, all: bool = False, latest: bool = False) -> list[ContainerRecord]:  # noqa: A002 - the option's name
    """The containers that a command names, or all, or the newest. Raises UsageError, NotFound."""
    if (all or latest) and wanted:
        raise UsageError("--all and --latest and names exclude each other")
    if all:
        return everything()
    if latest:
        return [newest()]
    if not wanted:
        raise UsageError("name a container")
    found: list[ContainerRecord] = []
    for text in wanted:
        container = need(text)
        if container.id not in (other.id for other in found):
            found.append(container)
    return found


def status(container: ContainerRecord) -> Status:
    """What is true of the container now, but for being paused, which `is_paused` asks the kernel."""
    return status_module.load(directory(container.id))


def is_paused(container: ContainerRecord) -> bool:
    """Whether the container is frozen."""
    from rootless import state

    try:
        return state.status(runtime_root(), state.read(runtime_root(), container.id)) == "paused"
    except PtbError:
        return False


def check_name(name: str) -> str:
    """The name, if it may be a container's. Raises UsageError."""
    rest = name.replace("_", "").replace(".", "").replace("-", "")
    if not name or not name[0].isalnum() or not name.isascii() or not rest.isalnum() or len(name) > 200:
        raise UsageError(
            f'"{name}" cannot be the name of a container',
            hint="names are letters, digits, '.', '_' and '-', and start with a letter or digit",
        )
    return name


def add(container: ContainerRecord) -> int:
    """Write the container to disk and claim its name; returns a descriptor that holds its lock. Raises AlreadyExists.

    Whatever fails, nothing of the container is left.
    """
    place = directory(container.id)
    try:
        os.makedirs(place, mode=0o700)
    except OSError as error:
        raise _unwritable(container, error) from error
    held = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        for part, mode in (("upper", 0o755), ("work", 0o700), ("rootfs", 0o755), ("files", 0o755)):
            os.mkdir(f"{place}/{part}", mode)
            os.chmod(f"{place}/{part}", mode)
        save(container)
        names.claim(container.name, container.id)
    except BaseException as error:
        forget(container.id)
        os.close(held)
        if isinstance(error, OSError):
            raise _unwritable(container, error) from error
        raise
    return held


def _unwritable(container: ContainerRecord, error: OSError) -> PtbError:
    hint = "free some space: ptb container prune, ptb rmi" if error.errno == _ENOSPC else None
    return PtbError(f'container "{container.name}" cannot be kept: {os.strerror(error.errno or 0)}', hint=hint)


def save(container: ContainerRecord) -> None:
    """Write the record, in one step that survives a crash."""
    path = f"{directory(container.id)}/{names.CONTAINER}"
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(record.to_text(container))
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(temporary, path)


def lock(container: ContainerRecord) -> int:
    """Wait for the container's lock; a descriptor that holds it. Raises NotFound where it has gone meanwhile."""
    path = directory(container.id)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.path.exists(f"{path}/{names.CONTAINER}"):
            return fd
        os.close(fd)
    except FileNotFoundError:
        pass
    raise NotFound(f'container "{container.name}" was removed meanwhile')


def forget(identity: str) -> None:
    """Remove the directory of a container as root of the user namespace, or as the caller where that can."""
    from rootless import paths as confined

    parent = os.open(names.containers(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        confined.remove_tree(parent, identity)
    finally:
        os.close(parent)


_NAMESPACE_FILES = {"pid": "pid", "ipc": "ipc", "uts": "uts", "network": "net", "cgroup": "cgroup", "user": "user"}


def namespace_of(wanted: str, kind: str) -> str:
    """The path of a namespace of another container's, which must be running. Raises NotFound."""
    other = need(wanted)
    pid = status(other).pid
    if not pid:
        raise NotFound(
            f'container "{other.name}", whose {kind} namespace is wanted, does not run', hint=f"ptb start {other.name}"
        )
    return f"/proc/{pid}/ns/{_NAMESPACE_FILES[kind]}"
