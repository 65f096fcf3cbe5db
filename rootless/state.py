"""What the runtime remembers of a container, and what is true of it now.

A container is the directory ROOT/ID, made when it is created and removed when it is deleted:

    state.json    who it is, written to a temporary name and renamed
    config.json   the configuration it was created with; later changes to the bundle's do not matter (runtime.md)
    start.sock    where its init waits to be started
    lock          held by whoever creates or deletes it
    waiting       held by its init until the process is executed: what tells `created` from `running`

Nothing is derived from what a file says where the kernel can be asked: pid, start time and boot name one process for
ever, and a lock is gone with its holder.
"""

from __future__ import annotations

import fcntl

from rootless import json_text, paths, processes
from rootless import system as os
from rootless.errors import AlreadyExists, InvalidDocument, NotFound
from rootless.record import record, values_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.spec import Spec


@record
class State:
    """The content of state.json. `pid` is 0 until there is a process; `cgroup` is what `container_cgroup` made."""

    id: str
    version: str
    pid: int
    started: int
    boot: str
    bundle: str
    rootfs: str
    created: str
    owner: int
    annotations: dict[str, str]
    cgroup: dict[str, Any]


def default_root() -> str:
    """Where containers are kept: XDG_RUNTIME_DIR of an ordinary user, /run of root."""
    runtime_directory = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.geteuid() == 0 and not runtime_directory:
        return "/run/ptb-runtime"
    if runtime_directory.startswith("/"):
        return f"{runtime_directory}/ptb-runtime"
    return f"/tmp/ptb-runtime-{os.geteuid()}"  # noqa: S108 # made 0700 and checked to be the caller's


def check_id(identity: str) -> None:
    """Raises InvalidDocument unless `identity` may name a container: letters, digits and _ + - . as in runc."""
    for character in identity:
        if not (character.isascii() and character.isalnum()) and character not in "_+-.":
            raise InvalidDocument(f'"{identity}" is not a container id: invalid character `{character}` in the ID')
    if identity in ("", ".", "..") or len(identity) > 1024:
        raise InvalidDocument(f'"{identity}" is not a container id')


def open_root(root: str) -> int:
    """The directory of all containers, made if need be. Raises InvalidDocument if it is someone else's."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        fd = os.open(root, flags)
    except FileNotFoundError:
        os.makedirs(root, 0o700, exist_ok=True)
        fd = os.open(root, flags)
    if os.fstat(fd).st_uid != os.geteuid():
        os.close(fd)
        raise InvalidDocument(f'"{root}" belongs to someone else', hint="choose another with --root")
    return fd


def make(root: str, identity: str) -> int:
    """Make the container's directory and lock it; returns its descriptor. Raises AlreadyExists."""
    check_id(identity)
    root_fd = open_root(root)
    try:
        try:
            os.mkdir(identity, 0o700, dir_fd=root_fd)
        except FileExistsError:
            raise AlreadyExists(f'container "{identity}" exists already') from None
        fd = os.open(identity, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root_fd)
    finally:
        os.close(root_fd)
    return fd


def open_directory(root: str, identity: str) -> int:
    """The container's directory. Raises NotFound."""
    check_id(identity)
    try:
        return os.open(f"{root}/{identity}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise NotFound(f'container "{identity}" does not exist') from None


def lock(directory: int) -> int:
    """Wait until nobody else creates or deletes the container; held until the descriptor is closed."""
    fd = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=directory)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def write(directory: int, name: str, text: str) -> None:
    """Write a file of the container's whole or not at all."""
    temporary = f".{name}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        data = text.encode(errors="surrogateescape")
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)


def save(directory: int, state: State) -> None:
    """Write state.json."""
    write(directory, "state.json", json_text.dump(values_of(state)))


def read(root: str, identity: str) -> State:
    """What is remembered of a container. Raises NotFound, also for one whose creation has not come that far."""
    directory = open_directory(root, identity)
    try:
        return read_in(directory, identity)
    finally:
        os.close(directory)


def read_in(directory: int, identity: str) -> State:
    """As `read`, from an open directory."""
    text = _content(directory, "state.json")
    if text is None:
        raise NotFound(f'container "{identity}" was never finished', hint=f"ptb-runtime delete --force {identity}")
    return State(**json_text.parse(text, f'state of container "{identity}"'))


def _content(directory: int, name: str) -> str | None:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    with open(fd, encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read()


def configuration(root: str, identity: str) -> Spec:
    """The configuration the container was created with."""
    from rootless import spec

    directory = open_directory(root, identity)
    try:
        text = _content(directory, "config.json")
    finally:
        os.close(directory)
    if text is None:
        raise NotFound(f'container "{identity}" was never finished', hint=f"ptb-runtime delete --force {identity}")
    return spec.read_spec(json_text.parse(text, f'configuration of container "{identity}"'))


def open_process(state: State) -> int | None:
    """A pidfd of the container's first process, or None when it is no more."""
    if state.pid == 0 or state.boot != processes.boot_id():
        return None
    return processes.open_process(state.pid, state.started)


def status(root: str, state: State) -> str:
    """`creating`, `created`, `running`, `paused` or `stopped` (runtime.md, State)."""
    process = open_process(state)
    if process is None:
        return "creating" if state.pid == 0 and _is_locked(root, state.id, "lock") else "stopped"
    os.close(process)
    if _is_locked(root, state.id, "waiting"):
        return "created"
    if state.cgroup:
        from rootless import container_cgroup

        if container_cgroup.is_frozen(state.cgroup):
            return "paused"
    return "running"


def _is_locked(root: str, identity: str, name: str) -> bool:
    try:
        fd = os.open(f"{root}/{identity}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def document(state: State, status_: str) -> dict[str, object]:
    """The state as the specification has it, which is what hooks get (runtime.md, State)."""
    found: dict[str, object] = {"ociVersion": state.version, "id": state.id, "status": status_}
    if status_ != "stopped":
        found["pid"] = state.pid
    found["bundle"] = state.bundle
    found["annotations"] = state.annotations
    return found


def forget(root: str, identity: str) -> None:
    """Remove the container's directory."""
    root_fd = open_root(root)
    try:
        paths.remove_tree(root_fd, identity)
    finally:
        os.close(root_fd)


def identities(root: str) -> list[str]:
    """The ids of all containers, sorted."""
    try:
        return sorted(name for name in os.listdir(root) if not name.startswith("."))
    except FileNotFoundError:
        return []
