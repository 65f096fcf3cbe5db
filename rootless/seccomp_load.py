"""Compiled filters, kept by the hash of what they were compiled from: reading one back costs a tenth of a millisecond."""

from __future__ import annotations

from rootless import json_text
from rootless import system as os
from rootless.errors import InvalidDocument
from rootless.hashing import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VERSION = 2
"""seccomp.COMPILER_VERSION, repeated so that a hit need not import the compiler; a test holds them together."""


FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
NEW_LISTENER = 8


def filter_flags(profile: dict[str, Any]) -> int:
    """The flags to load the profile's filter with (seccomp(2)). Raises InvalidDocument."""
    bits = 0
    for index, name in enumerate(profile.get("flags") or ()):
        if name not in FLAGS:
            raise InvalidDocument(f'linux.seccomp.flags[{index}]: "{name}" is not one of {", ".join(FLAGS)}')
        bits |= FLAGS[name]
    notifies = any(rule.get("action") == "SCMP_ACT_NOTIFY" for rule in profile.get("syscalls") or ())
    if notifies or profile.get("listenerPath"):
        bits |= NEW_LISTENER
    if profile.get("defaultAction") == "SCMP_ACT_NOTIFY":
        raise InvalidDocument("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY would wait for an answer to every call")
    if profile.get("listenerMetadata") and not profile.get("listenerPath"):
        raise InvalidDocument("linux.seccomp.listenerMetadata is given without listenerPath")
    return bits


def cache_directory() -> str | None:
    """Where compiled filters are kept (XDG Base Directory Specification); None without a home of the caller's own.

    Root of a user namespace has one: it is its maker's. Root by sudo may be in somebody else's.
    """
    cache, home = os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("HOME", "")
    base = cache if cache.startswith("/") else home
    if not base.startswith("/") or not _is_own(base):
        return None
    return f"{base}/ptb/seccomp" if base == cache else f"{base}/.cache/ptb/seccomp"


def _is_own(path: str) -> bool:
    try:
        return os.stat(path).st_uid == os.geteuid()
    except FileNotFoundError:
        return True  # it will be
    except OSError:
        return False


def cached_program(profile: dict[str, Any], machine: str, directory: str | None) -> bytes:
    """The compiled `profile`, from `directory` if it is there and the caller's own. Raises InvalidDocument."""
    key = sha256(f"{_VERSION}\0{machine}\0{json_text.dump(profile)}".encode(errors="surrogateescape"))
    if directory is not None:
        program = _read(f"{directory}/{key}")
        if program is not None:
            return program
    from rootless import seccomp

    program = seccomp.compile_profile(profile, machine)
    if directory is not None:
        _keep(directory, key, program)
    return program


def _read(path: str) -> bytes | None:
    """The program in the file at `path`, checked against the digest it ends with; None if it is not to be trusted."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid() or status.st_mode & 0o170022 != 0o100000:
            return None
        data = os.read(fd, 1 << 20)
    finally:
        os.close(fd)
    program, digest = data[:-64], data[-64:]
    if not program or len(program) % 8 or digest != sha256(program).encode():
        return None
    return program


def _keep(directory: str, key: str, program: bytes) -> None:
    """Write the program for the next time; where that cannot be done it is compiled again."""
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        temporary = f"{directory}/.{key}.{os.getpid()}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, program + sha256(program).encode())
        finally:
            os.close(fd)
        os.rename(temporary, f"{directory}/{key}")
    except OSError:
        return
