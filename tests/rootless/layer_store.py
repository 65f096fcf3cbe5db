"""A store for tests of layers: archives go in through the real Unpacker, and what is on disk is looked at as their root.

The files of a layer belong to subordinate ids, so whoever looks at them or removes them does so in a user namespace.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fuse_overlay import layers
from fuse_overlay.unpacker import Unpacker
from rootless import anchor, ids, kernel, paths, processes, userns
from rootless.errors import PtbError

T = TypeVar("T")
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True)
class Seen:
    """A file as the root of a user namespace sees it. `content` is a file's first MiB or a symlink's target."""

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime: int
    size: int
    content: bytes
    xattrs: dict[str, bytes]
    links: int
    inode: int
    on_disk: int


@dataclass(frozen=True)
class Store:
    """A store in a directory of its own."""

    place: Path

    def __fspath__(self) -> str:
        return str(self.place)

    @property
    def layers(self) -> Path:
        return self.place / "layers"

    def unpack(self, plain: bytes, blob: bytes | None = None, *, diff_id: str = "", media_type: str = "") -> str:
        """Unpack an archive that arrives as `blob`; returns its diff id, the true one unless another is claimed."""
        diff_id = diff_id or diff_id_of(plain)
        with Unpacker(str(self.place)) as unpacker:
            pipe = unpacker.begin(diff_id, media_type)
            assert pipe is not None, "the layer is there already"
            feed(pipe, plain if blob is None else blob)
            unpacker.commit()
        return diff_id

    def tree(self, diff_id: str) -> dict[bytes, Seen]:
        """Everything in a layer by its path; the root of the layer is b"."."""
        return inside(lambda: walk(layers.path(str(self.place), diff_id)))

    def names(self) -> list[str]:
        """What there is in the directory of layers, finished or not."""
        return sorted(os.listdir(self.layers)) if self.layers.exists() else []

    def remove(self) -> None:
        """Remove the store and all in it."""
        parent = os.open(self.place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            userns.run_mapped(lambda: paths.remove_tree(parent, self.place.name))
        finally:
            os.close(parent)


@contextlib.contextmanager
def new(place: Path) -> Iterator[Store]:
    """An empty store. In the end it must have whole layers and nothing else; then it is removed."""
    made = Store(place)
    place.mkdir()
    yield made
    try:
        assert [name for name in made.names() if len(name) != 64] == []
        assert all(os.path.exists(made.layers / name / "size") for name in made.names())
    finally:
        made.remove()


def diff_id_of(plain: bytes) -> str:
    """The diff id of an archive."""
    return f"sha256:{hashlib.sha256(plain).hexdigest()}"


def feed(pipe: int, blob: bytes) -> None:
    """Write all of `blob`, or as much as the unpacker wants."""
    view = memoryview(blob)
    try:
        while view:
            view = view[os.write(pipe, view[: 1 << 20]) :]
    except BrokenPipeError:
        pass


def inside(task: Callable[[], T]) -> T:
    """What `task` returns when container root runs it; what it raises is raised here."""
    answer = os.memfd_create("answer")
    pid = userns.fork_mapped(lambda: _answer(answer, task))
    os.waitpid(pid, 0)
    return _result(answer)


def on_small_disk(store: Store, options: str, task: Callable[[], T]) -> T:
    """What `task` returns, run as oneself where the store is a tmpfs of its own, mounted with `options`."""
    who = ids.subordinates()
    answer = os.memfd_create("answer")

    def mounted() -> int:
        kernel.mount("tmpfs", str(store.place), "tmpfs", 0, options)
        kernel.raise_ambient_capabilities()  # for newuidmap, which is not setuid where the real root has no id
        return _answer(answer, task)

    # Every id is itself, so that the user namespaces of the unpacker find theirs below this one.
    maps = ids.IdMaps(
        (ids.IdRange(who.uid, who.uid, 1), *(ids.IdRange(first, first, count) for first, count in who.uid_ranges)),
        (ids.IdRange(who.gid, who.gid, 1), *(ids.IdRange(first, first, count) for first, count in who.gid_ranges)),
    )
    pid = userns.fork_with_maps(who, maps, mounted, flags=kernel.CLONE_NEWNS)
    os.waitpid(pid, 0)
    return _result(answer)


def merged_by_kernel(store: Store, diff_ids: list[str], task: Callable[[str], T]) -> T:
    """What `task` returns, run by container root, for the kernel's overlay of these layers, the lowest first."""
    answer = os.memfd_create("answer")
    point = _new(store.place / "kernel")
    lower = ":".join(layers.path(str(store.place), diff_id) for diff_id in reversed(diff_ids))
    options = f"userxattr,lowerdir={lower},upperdir={_new(point / 'upper')},workdir={_new(point / 'work')}"
    merged = str(_new(point / "merged"))

    def mounted() -> int:
        userns.become_root()
        kernel.mount("overlay", merged, "overlay", 0, options)
        return _answer(answer, lambda: task(merged))

    who = ids.subordinates()
    pid = userns.fork_with_maps(who, who.default_maps(), mounted, flags=kernel.CLONE_NEWNS)
    os.waitpid(pid, 0)
    return _result(answer)


def merged_by_fuse(store: Store, diff_ids: list[str], task: Callable[[str], T]) -> T:
    """The same with fuse-overlayfs, as a box has it: ids 0 and the user's own are exchanged."""
    answer = os.memfd_create("answer")
    point = _new(store.place / "fuse")
    who = ids.subordinates()
    lower = ":".join(layers.path(str(store.place), diff_id) for diff_id in reversed(diff_ids))
    options = (
        f"lowerdir={lower},upperdir={_new(point / 'upper')},workdir={_new(point / 'work')}"
        f",uidmapping={ids.overlay_mapping(who.uid, list(who.uid_ranges))}"
        f",gidmapping={ids.overlay_mapping(who.gid, list(who.gid_ranges))}"
    )
    overlay = anchor.Overlay(str(store.place), options, str(point / "log"))
    lock = os.open(point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def populate(root: int) -> None:
        _answer(answer, lambda: task(f"/proc/self/fd/{root}"))

    try:
        started = anchor.start(who, who.swap_maps(), overlay, str(_new(point / "merged")), [], populate, lock)
        pidfd = processes.open_process(started.pid, started.started)
        assert pidfd is not None, (point / "log").read_text()
        processes.kill_and_wait(pidfd)
        os.close(pidfd)
    finally:
        os.close(lock)
    return _result(answer)


def walk(top: str) -> dict[bytes, Seen]:
    """Everything below `top` by its path."""
    root = os.fsencode(top)
    found = {b".": look(root + b"/.")}
    todo = [b""]
    while todo:
        directory = todo.pop()
        for name in os.listdir(root + b"/" + directory):
            path = directory + name
            found[path] = look(root + b"/" + path)
            if found[path].kind == "directory":
                todo.append(path + b"/")
    return found


def look(path: bytes) -> Seen:
    """One file."""
    status = os.lstat(path)
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    if kind == "device" and status.st_rdev == 0:
        kind = "whiteout"
    content = b""
    if kind == "symlink":
        content = os.readlink(path)
    elif kind == "file":
        with open(path, "rb") as stream:
            content = stream.read(1 << 20)
    names = os.listxattr(path, follow_symlinks=False)
    return Seen(
        kind,
        stat.S_IMODE(status.st_mode),
        (status.st_uid, status.st_gid),
        status.st_mtime_ns,
        status.st_size,
        content,
        {name: os.getxattr(path, name, follow_symlinks=False) for name in names},
        status.st_nlink,
        status.st_ino,
        status.st_blocks * 512,
    )


def _new(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory


def _answer(answer: int, task: Callable[[], Any]) -> int:
    try:
        result = (True, task())
    except BaseException as error:  # noqa: BLE001 - raised again where it is read
        if isinstance(error, PtbError):
            error = AssertionError(f"{type(error).__name__}: {error.message}")
        result = (False, error)
    with open(answer, "wb", closefd=False) as stream:
        pickle.dump(result, stream)
    return 0


def _result(answer: int) -> Any:
    with open(answer, "rb") as stream:
        stream.seek(0)
        said = stream.read()
    assert said, "the process in the user namespace died"
    good, value = pickle.loads(said)
    if not good:
        raise value
    return value
