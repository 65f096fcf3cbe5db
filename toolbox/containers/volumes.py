"""Volumes: `$XDG_DATA_HOME/ptb/volumes/NAME/`, each with its files in `_data`, its labels in volume.json.

Which containers use one is found by looking at their records. An empty volume gets what the image has in its place when
it is mounted for the first time (docker's copy-up).
"""

from __future__ import annotations

import time

from rootless import ids, json_text, overlay, tree_copy
from rootless import paths as confined
from rootless import system as os
from rootless.errors import AlreadyExists, NotFound, UsageError
from rootless.monitor_plan import Overlay
from rootless.record import record, values_of
from toolbox import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from toolbox.containers.record import ContainerRecord, Mount
    from toolbox.containers.users import User

_RECORD = "volume.json"
_DATA = "_data"


@record
class Volume:
    """A named volume; `created` in nanoseconds since 1970."""

    name: str
    created: int
    labels: dict[str, str]
    options: dict[str, str]
    anonymous: bool = False


def place() -> str:
    """The directory of all volumes."""
    return paths.data_home() + "/volumes"


def data(name: str) -> str:
    """Where a volume's files are."""
    return f"{place()}/{name}/{_DATA}"


def check_name(name: str) -> str:
    """The name, if it may be a volume's. Raises UsageError."""
    rest = name.replace("_", "").replace(".", "").replace("-", "")
    if not name or not name[0].isalnum() or not name.isascii() or not rest.isalnum() or len(name) > 200:
        raise UsageError(
            f'"{name}" cannot be the name of a volume',
            hint="names are letters, digits, '.', '_' and '-'; a directory here is ./NAME",
        )
    return name


def load(name: str) -> Volume | None:
    """The volume with this name; None if there is none."""
    path = f"{place()}/{name}/{_RECORD}"
    try:
        with open(path, encoding="utf-8") as stream:
            return Volume(**json_text.parse(stream.read(), path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def everything() -> list[Volume]:
    """All volumes, by name."""
    try:
        entries = sorted(os.listdir(place()))
    except FileNotFoundError:
        return []
    return [volume for volume in map(load, entries) if volume is not None]


def create(
    name: str,
    *,
    labels: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    anonymous: bool = False,
    existing: bool = True,
) -> Volume:
    """Make a volume, or return the one of this name unless `existing` forbids it. Raises AlreadyExists."""
    check_name(name)
    found = load(name)
    if found is not None:
        if not existing:
            raise AlreadyExists(f'volume "{name}" exists', hint=f"ptb volume rm {name}")
        return found
    made = Volume(name, time.time_ns(), labels or {}, options or {}, anonymous)
    directory = f"{place()}/{name}"
    os.makedirs(f"{directory}/{_DATA}", mode=0o755, exist_ok=True)
    temporary = f"{directory}/{_RECORD}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(json_text.dump(values_of(made)))
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(temporary, f"{directory}/{_RECORD}")
    return made


def remove(name: str) -> None:
    """Remove a volume, as root of the user namespace. Raises NotFound."""
    if load(name) is None:
        raise NotFound(f'volume "{name}" does not exist', hint="ptb volume ls")
    going = f".removing-{name}.{os.urandom(4).hex()}"
    os.rename(f"{place()}/{name}", f"{place()}/{going}")
    parent = os.open(place(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        confined.remove_tree(parent, going)
    finally:
        os.close(parent)


# --- in the monitor, before a start ---

_PLAIN = ("ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev")
_PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable")


def mounts(container: ContainerRecord, directory: str, root_fd: int, user: User) -> list[dict[str, Any]]:
    """The container's own mounts for its config.json, outer ones first; new volumes are filled from the image."""
    found = []
    owner = _owner(container, user)
    for index, mount in enumerate(container.mounts):
        entry = _mounted(mount, root_fd, owner)
        if "U" in mount.options:
            _give(entry["source"], owner)
        if "O" in mount.options:
            entry["source"] = _overlaid(entry["source"], f"{directory}/overlay{index}")
        found.append(entry)
    return sorted(found, key=lambda entry: entry["destination"].rstrip("/").count("/"))


def _mounted(mount: Mount, root_fd: int, owner: tuple[int, int]) -> dict[str, Any]:
    if mount.kind == "tmpfs":
        options = list(mount.options)
        if not {"ro", "rw"} & set(options):
            options.append("rw")
        options += [flag for flag in ("nosuid", "nodev") if flag.removeprefix("no") not in options]
        if "notmpcopyup" in options:
            options.remove("notmpcopyup")
        elif "tmpcopyup" not in options:
            options.append("tmpcopyup")
        return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options, "_user": True}
    if mount.kind == "devpts":
        options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        return {"destination": mount.target, "type": "devpts", "source": "devpts", "options": options, "_user": True}
    source = mount.source
    if mount.kind == "volume":
        create(mount.name, anonymous=mount.anonymous)
        source = data(mount.name)
        if not os.listdir(source):
            if not confined.exists_in(root_fd, mount.target):
                os.chown(source, *owner)  # nobody else could have meant it to be theirs
            elif "nocopy" not in mount.options:
                _fill(source, root_fd, mount.target)
    elif not os.path.lexists(source):
        raise NotFound(f'"{source}", to be mounted on "{mount.target}", is not there', hint=f"mkdir -p {source}")
    if mount.subpath:
        source = f"{source}/{mount.subpath.lstrip('/')}"
    options = [option for option in mount.options if option in _PLAIN or option in _PROPAGATION]
    options.append("bind" if "bind" in mount.options and "rbind" not in mount.options else "rbind")
    if not set(_PROPAGATION) & set(options):
        options.append("rprivate")
    return {"destination": mount.target, "type": "bind", "source": source, "options": options, "_user": True}


def _owner(container: ContainerRecord, user: User) -> tuple[int, int]:
    """The user's ids as the monitor has them."""
    if container.ids.mode != "maps":
        return user.uid, user.gid
    from toolbox.containers import id_maps

    uids, gids = id_maps.records(container.ids.uids), id_maps.records(container.ids.gids)
    return ids.outside_of(user.uid, uids), ids.outside_of(user.gid, gids)


def _give(source: str, owner: tuple[int, int]) -> None:
    """Make everything in the directory the owner's (option U); links are not followed."""
    fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if (os.fstat(fd).st_uid, os.fstat(fd).st_gid) == owner:
            return
        os.fchown(fd, *owner)
        for _path, directories, names, inner in os.fwalk(".", dir_fd=fd):
            for name in (*directories, *names):
                os.chown(name, *owner, dir_fd=inner, follow_symlinks=False)
    finally:
        os.close(fd)


def _overlaid(source: str, place: str) -> str:
    """A stack of the directory and an empty one, in which changes stay (option O); they go with the container's end."""
    confined_parent = os.open(os.path.dirname(place), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        confined.remove_tree(confined_parent, os.path.basename(place))
    except FileNotFoundError:
        pass
    finally:
        os.close(confined_parent)
    for part in ("upper", "work", "merged"):
        os.makedirs(f"{place}/{part}")
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    fd = os.open(source, flags)
    try:
        stack = Overlay(f"/proc/self/fd/{fd}", (".",), f"{place}/upper", f"{place}/work", f"{place}/log")
        overlay.mount(stack, f"{place}/merged")
    finally:
        os.close(fd)
    return f"{place}/merged"


def _fill(source: str, root_fd: int, target: str) -> None:
    """Copy what the image has at `target` into the volume."""
    destination = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        tree_copy.copy_contents(root_fd, target, destination)
    finally:
        os.close(destination)
