"""Boxes on disk. A box is a directory; nothing else knows of it.

    $XDG_DATA_HOME/ptb/containers/ID/record.json   what it was made with
                                     summary       name, image and creation time in one line, for listings
                                     state         its anchor and environment while it runs; stale ones are recognised
                                     upper/ work/  what was changed in it
                                     home/         the home of a box that has one of its own
                                     root/         an empty directory to mount on while it starts
    $XDG_DATA_HOME/ptb/names/NAME → ../containers/ID

The link claims the name, atomically. A directory whose link is missing was being made or removed when its process
died; `toolbox.boxes.remove.sweep` clears it. The directory is locked (flock) by whoever starts or removes the box.
"""

from __future__ import annotations

from rootless import processes
from rootless import system as os
from rootless.errors import InvalidDocument
from rootless.record import record
from toolbox import names as shared_names
from toolbox import paths

SHARED_HOME = ""
NO_HOME = "none"

_FORMAT = "1"
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


@record
class BoxRecord:
    """What a box was made with. `home` is SHARED_HOME, NO_HOME or the host directory mounted in the home's place."""

    id: str
    name: str
    image: str
    asked: str
    image_digest: str
    layers: tuple[str, ...]
    image_env: tuple[str, ...]
    env: tuple[str, ...]
    volumes: tuple[str, ...]
    home: str
    ephemeral: bool
    created: int


@record
class State:
    """A running box: its anchor, and what entering needs to know of its record."""

    id: str
    name: str
    asked: str
    anchor_pid: int
    anchor_started: int
    home: str
    env: tuple[str, ...]


def containers() -> str:
    """The directory of all boxes."""
    return shared_names.containers()


def directory(box_id: str) -> str:
    """The directory of one box."""
    return f"{containers()}/{box_id}"


def own_home(box_id: str) -> str:
    """The home of a box that has one of its own."""
    return f"{directory(box_id)}/home"


def check_name(name: str) -> str:
    """The name, if it may be a box's; raises InvalidDocument."""
    if not name or len(name) > 200 or name[0] in "_.-" or not _NAME_CHARACTERS.issuperset(name):
        raise InvalidDocument(
            f'"{name}" cannot be the name of a box',
            hint="names are letters, digits, '.', '_' and '-', and start with a letter or digit",
        )
    return name


def name_for(image: str) -> str:
    """The name a box gets from its image: `quay.io/x/centos:7` → `centos-7` (toolbox's rule)."""
    base = image.rpartition("/")[2]
    base, _at, digest = base.partition("@")
    if digest and ":" not in base:
        base += "-" + digest.rpartition(":")[2][:12]
    return base.replace(":", "-")


def names() -> list[str]:
    """All boxes' names, sorted."""
    return shared_names.all_names(shared_names.BOX)


def id_of(name: str) -> str | None:
    """The id of the box with this name, or None."""
    return shared_names.id_of(name, shared_names.BOX)


def find(name: str) -> BoxRecord | None:
    """The box with this name, or whose id starts with it where that is one only; None if there is none."""
    box_id = id_of(name)
    if box_id is None and len(name) >= 3 and set(name) <= set("0123456789abcdef"):
        candidates = [other for other in map(id_of, names()) if other is not None and other.startswith(name)]
        box_id = candidates[0] if len(candidates) == 1 else None
    return None if box_id is None else load(box_id)


def load(box_id: str) -> BoxRecord | None:
    """The record of the box with this id; None if there is none. Raises InvalidDocument where it does not parse."""
    import json

    path = f"{directory(box_id)}/record.json"
    try:
        with open(path, encoding="utf-8") as stream:
            fields = json.load(stream)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InvalidDocument(f'"{path}" does not parse: {error}', hint=f"rm -r {directory(box_id)}") from error
    fields.pop("format", None)
    for key in ("layers", "image_env", "env", "volumes"):
        fields[key] = tuple(fields[key])
    return BoxRecord(**fields)


def all_records() -> list[BoxRecord]:
    """Every box, by name."""
    found = (find(name) for name in names())
    return [box for box in found if box is not None]


def summary_of(name: str) -> tuple[str, str, str, int] | None:
    """(id, name, image, created) of a box, without parsing its record."""
    box_id = id_of(name)
    if box_id is None:
        return None
    try:
        with open(f"{directory(box_id)}/summary", encoding="utf-8") as stream:
            image, created = stream.read().rstrip("\n").split("\t")
    except (OSError, ValueError):
        return None
    return box_id, name, image, int(created)


def new_id() -> str:
    """A random id, as long and as hexadecimal as docker's."""
    return os.urandom(32).hex()


def add(box: BoxRecord) -> int:
    """Write the box to disk and claim its name; returns a descriptor that holds its lock. Raises AlreadyExists.

    Whatever fails, nothing of the box is left.
    """
    os.makedirs(containers(), mode=0o700, exist_ok=True)
    place = directory(box.id)
    held = _make_locked(place)
    try:
        for part, mode in (("upper", 0o755), ("work", 0o700), ("root", 0o700)):
            os.mkdir(f"{place}/{part}")
            os.chmod(f"{place}/{part}", mode)
        if box.home == NO_HOME:
            os.mkdir(own_home(box.id), 0o700)
        write_file(f"{place}/summary", f"{box.image}\t{box.created}\n")
        write_file(f"{place}/record.json", _as_json(box))
        shared_names.claim(box.name, box.id)
    except BaseException:
        from rootless import paths as confined

        parent = os.open(containers(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        confined.remove_tree(parent, box.id)
        os.close(parent)
        os.close(held)
        raise
    return held


def _make_locked(place: str) -> int:
    """Make the directory and lock it; again, if it was taken for a leftover in between."""
    import fcntl

    while True:
        os.makedirs(place, mode=0o700, exist_ok=True)
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            if os.stat(place).st_ino == os.fstat(fd).st_ino:
                return fd
        except FileNotFoundError:
            pass
        os.close(fd)


def _as_json(box: BoxRecord) -> str:
    import json

    fields = {name: getattr(box, name) for name in BoxRecord.__match_args__}
    return json.dumps({"format": _FORMAT, **fields}, indent=1) + "\n"


def write_file(path: str, text: str) -> None:
    """Replace the file in one step that survives a crash."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(temporary, path)


def lock(box_id: str) -> int | None:
    """Wait for the box's lock; a descriptor that holds it, or None where the box has gone meanwhile."""
    import fcntl

    try:
        fd = os.open(directory(box_id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    fcntl.flock(fd, fcntl.LOCK_EX)
    if os.path.exists(f"{directory(box_id)}/record.json"):
        return fd
    os.close(fd)
    return None


def write_state(box: BoxRecord, anchor_pid: int, anchor_started: int, home: str) -> State:
    """Note that the box runs. The file is volatile: it is believed only while the anchor it names lives."""
    env = (*box.image_env, *box.env)
    state = State(box.id, box.name, box.asked, anchor_pid, anchor_started, home, env)
    fields = (
        _FORMAT,
        processes.boot_id(),
        box.id,
        box.name,
        box.asked,
        str(anchor_pid),
        str(anchor_started),
        home,
        *env,
    )
    path = f"{directory(box.id)}/state"
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as stream:
        stream.write("\0".join(fields).encode(errors="surrogateescape"))
    os.rename(temporary, path)
    return state


def read_state(box_directory: str) -> tuple[State, int] | None:
    """The state of a box that runs, with a pidfd of its anchor; None if it does not run."""
    try:
        with open(f"{box_directory}/state", "rb") as stream:
            fields = stream.read().decode(errors="surrogateescape").split("\0")
    except OSError:
        return None
    if len(fields) < 8 or fields[0] != _FORMAT or fields[1] != processes.boot_id():
        return None
    pid, started = int(fields[5]), int(fields[6])
    pidfd = processes.open_process(pid, started)
    if pidfd is None:
        return None
    return State(fields[2], fields[3], fields[4], pid, started, fields[7], tuple(fields[8:])), pidfd


def running(name: str) -> tuple[State, int] | None:
    """The state of the box with this name and a pidfd of its anchor, if it runs."""
    if not name or "/" in name:
        return None
    return read_state(f"{paths.data_home()}/names/{name}")


def remember_last(name: str) -> None:
    """Make this the box that `ptb enter` without a name enters."""
    place = paths.state_home()
    if last_used() == name:
        return
    os.makedirs(place, mode=0o700, exist_ok=True)
    temporary = f"{place}/last.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(name)
    os.rename(temporary, f"{place}/last")


def last_used() -> str:
    """The box entered last, or ''."""
    try:
        with open(paths.state_home() + "/last", encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return ""
