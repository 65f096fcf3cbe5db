"""The layers of a store: `<store>/layers/<64 hex digits of the diff id>/diff`, each there once and whole or not at all.

Beside `diff` is a file `size`: how many bytes the plain archive had.

A layer grows in `<hex>.partial`, is written to disk, and is renamed into place. Every state is told by name and by flock
of the directory itself, which ends with its process: exclusive means that somebody builds or removes it, shared that
somebody is about to use it. What a crash leaves has a name of its own and no lock, and goes with the next one who looks.
All functions but `path`, `present`, `size` and `known` run as the root of the user namespace, to whom the files belong.
"""

from __future__ import annotations

import os

from fuse_overlay import digest
from rootless import kernel, paths
from rootless.errors import InUse, PtbError
from rootless.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_PARTIAL = ".partial"
_REMOVING = ".removing"
_DIFF = "diff"
_SIZE = "size"
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@record
class Partial:
    """A layer that is being made: an exclusive lock on its directory, and the empty directory for its files."""

    diff_id: str
    store_fd: int
    lock_fd: int
    diff_fd: int


def path(store: str, diff_id: str) -> str:
    """The directory with the files of a layer, whether it is there or not."""
    return f"{store}/layers/{digest.encoded(diff_id)}/{_DIFF}"


def present(store: str, diff_id: str) -> bool:
    """Whether the layer is there."""
    return os.path.isdir(path(store, diff_id))


def size(store: str, diff_id: str) -> int:
    """The bytes of the layer as a plain tar; 0 where the layer is not there."""
    try:
        with open(f"{store}/layers/{digest.encoded(diff_id)}/{_SIZE}", "rb") as file:
            return int(file.read())
    except FileNotFoundError:
        return 0


def known(store: str) -> list[str]:
    """The diff ids of all layers that are there."""
    try:
        names = os.listdir(f"{store}/layers")
    except FileNotFoundError:
        return []
    return sorted(f"sha256:{name}" for name in names if "." not in name)


def unused(store: str, used: AbstractSet[str]) -> list[str]:
    """The diff ids of the layers that are there and not in `used`."""
    return [diff_id for diff_id in known(store) if diff_id not in used]


def claim(store: str, diff_id: str) -> Partial | int:
    """The right to make a layer; or, where it is there already, a descriptor that keeps it from being removed.

    Waits as long as another process is making it. What a dead one left is wiped.
    """
    import fcntl

    name = digest.encoded(diff_id)
    os.makedirs(f"{store}/layers", exist_ok=True)
    store_fd = os.open(f"{store}/layers", _OPEN)
    try:
        while True:
            held = _hold(store_fd, name)
            if held is not None:
                return held
            try:
                os.mkdir(name + _PARTIAL, 0o755, dir_fd=store_fd)
            except FileExistsError:
                pass
            lock = _locked(store_fd, name + _PARTIAL)
            if lock is not None:
                # Whoever had the lock before may have finished the layer since we looked.
                held = _hold(store_fd, name)
                if held is None:
                    break
                _wipe(store_fd, name + _PARTIAL, lock)
                return held
            # Somebody else makes it. Wait for the lock to be let go or turned into a shared one, then look again.
            try:
                waiting = os.open(name + _PARTIAL, _OPEN, dir_fd=store_fd)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(waiting, fcntl.LOCK_SH)
            finally:
                os.close(waiting)
        try:
            _empty(lock)
            os.mkdir(_DIFF, 0o755, dir_fd=lock)
            os.chmod(_DIFF, 0o755, dir_fd=lock)  # noqa: S103 - whatever the umask was
            return Partial(diff_id, os.dup(store_fd), lock, os.open(_DIFF, _OPEN, dir_fd=lock))
        except BaseException:
            os.close(lock)
            raise
    finally:
        os.close(store_fd)


def begin(store: str) -> Partial:
    """A layer whose digest nobody knows yet: see `adopt`."""
    made = claim(store, f"sha256:{os.urandom(32).hex()}")
    assert not isinstance(made, int)  # noqa: S101 # nobody else can have drawn that
    return made


def adopt(partial: Partial, diff_id: str, archive_size: int) -> int:
    """Put a layer begun without a digest in the place of this one, unless it is there; returns a descriptor as `commit`."""
    name = digest.encoded(diff_id)
    held = _hold(partial.store_fd, name)
    if held is not None:
        discard(partial)
        return held
    before = digest.encoded(partial.diff_id) + _PARTIAL
    try:
        os.rename(before, name + _PARTIAL, src_dir_fd=partial.store_fd, dst_dir_fd=partial.store_fd)
    except OSError:
        # Somebody is making the very same layer just now: wait for it.
        discard(partial)
        found = claim(os.readlink(f"/proc/self/fd/{partial.store_fd}").removesuffix("/layers"), diff_id)
        if isinstance(found, int):
            return found
        discard(found)
        raise PtbError(f"layer {diff_id} was given up by another process", hint="try again") from None
    return commit(replace(partial, diff_id=diff_id), archive_size)


def commit(partial: Partial, archive_size: int) -> int:
    """Write the layer to disk and put it in its place; returns a descriptor that keeps it from being removed."""
    import fcntl

    name = digest.encoded(partial.diff_id)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(_SIZE, flags, 0o644, dir_fd=partial.lock_fd), "wb") as file:
        file.write(b"%d\n" % archive_size)
    kernel.syncfs(partial.lock_fd)
    os.rename(name + _PARTIAL, name, src_dir_fd=partial.store_fd, dst_dir_fd=partial.store_fd)
    os.fsync(partial.store_fd)
    fcntl.flock(partial.lock_fd, fcntl.LOCK_SH)
    # flock lets go of one lock before it takes another: in between, somebody may have found the layer unused.
    if not _is_named(partial.store_fd, name, partial.lock_fd):
        raise PtbError(f"layer {partial.diff_id} was removed by another process")
    os.close(partial.diff_fd)
    os.close(partial.store_fd)
    return partial.lock_fd


def discard(partial: Partial) -> None:
    """Remove what there is of a layer that cannot be finished."""
    try:
        os.close(partial.diff_fd)
        name = digest.encoded(partial.diff_id) + _PARTIAL
        if _is_named(partial.store_fd, name, partial.lock_fd):  # or else it is in its place already, or gone
            _empty(partial.lock_fd)
            os.rmdir(name, dir_fd=partial.store_fd)
    finally:
        os.close(partial.lock_fd)
        os.close(partial.store_fd)


def remove(store: str, diff_id: str) -> bool:
    """Remove a layer; False when it is not there. Raises InUse while somebody holds it, as a pull does."""
    import fcntl

    name = digest.encoded(diff_id)
    try:
        store_fd = os.open(f"{store}/layers", _OPEN)
    except FileNotFoundError:
        return False
    try:
        try:
            lock = os.open(name, _OPEN, dir_fd=store_fd)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_named(store_fd, name, lock):
                return False
            going = f"{name}.{os.urandom(8).hex()}{_REMOVING}"
            os.rename(name, going, src_dir_fd=store_fd, dst_dir_fd=store_fd)
            _empty(lock)
            os.rmdir(going, dir_fd=store_fd)
        except BlockingIOError:
            raise InUse(f"layer {diff_id} is being used by another process") from None
        finally:
            os.close(lock)
    finally:
        os.close(store_fd)
    return True


def unfinished(store: str) -> list[str]:
    """What is being made or removed just now, or was when its process was killed."""
    try:
        return [name for name in os.listdir(f"{store}/layers") if name.endswith((_PARTIAL, _REMOVING))]
    except FileNotFoundError:
        return []


def sweep(store: str) -> None:
    """Remove what killed processes left: layers half made or half removed that nobody has a lock on."""
    names = unfinished(store)
    if not names:
        return
    store_fd = os.open(f"{store}/layers", _OPEN)
    try:
        for name in names:
            lock = _locked(store_fd, name)
            if lock is not None:
                _wipe(store_fd, name, lock)
    finally:
        os.close(store_fd)


def _hold(store_fd: int, name: str) -> int | None:
    """A descriptor with a shared lock of a finished layer; None where there is none."""
    import fcntl

    try:
        descriptor = os.open(name, _OPEN, dir_fd=store_fd)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    if _is_named(store_fd, name, descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _locked(store_fd: int, name: str) -> int | None:
    """A descriptor with the exclusive lock of a directory that has this name still; None if there is none to be had."""
    import fcntl

    try:
        descriptor = os.open(name, _OPEN, dir_fd=store_fd)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_named(store_fd, name, descriptor):
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _is_named(store_fd: int, name: str, descriptor: int) -> bool:
    """Whether `name` is the very directory that is open: it may have been renamed or replaced before it was locked."""
    try:
        return os.path.samestat(os.stat(name, dir_fd=store_fd, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _wipe(store_fd: int, name: str, lock: int) -> None:
    """Remove the directory `name` that is open and locked as `lock`, and let go of it."""
    try:
        _empty(lock)
        os.rmdir(name, dir_fd=store_fd)
    finally:
        os.close(lock)


def _empty(directory: int) -> None:
    for name in os.listdir(directory):
        paths.remove_tree(directory, name)
