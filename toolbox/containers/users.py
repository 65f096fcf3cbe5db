"""Who a container's process is: names and groups looked up in the image's own files, as podman and docker do.

The files are hostile: they are read beneath the root, up to a size, and broken lines are skipped.
"""

from __future__ import annotations

import pwd

from rootless import paths
from rootless import system as os
from rootless.errors import NotFound
from rootless.record import record

_LARGEST_ID = (1 << 32) - 2


@record
class User:
    """Numbers for the kernel, and the home directory that HOME is set to."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    name: str = ""


def resolve(root_fd: int, text: str, groups: tuple[str, ...] = ()) -> User:
    """The user that `USER[:GROUP]` means in the root file system, names or numbers, with `groups` added.

    Without a group it is the user's own, with the groups that /etc/group lists the user in. Raises NotFound.
    """
    user, colon, group = text.partition(":")
    accounts, group_lines = _lines(root_fd, "/etc/passwd"), _lines(root_fd, "/etc/group")
    entry = _account(accounts, user or "0")
    if entry is not None:
        uid, gid, home, name = int(entry[2]), int(entry[3]), entry[5] or "/", entry[0]
    elif _is_id(user or "0"):
        uid, gid, home, name = int(user or "0"), 0, "/root" if (user or "0") == "0" else "/", ""
    else:
        raise NotFound(f'user "{user}" is not in the container\'s /etc/passwd', hint="give a number, as in --user 1000")
    extra: list[int] = []
    if colon and group:
        gid = _group(group_lines, group)
    elif name:
        extra = [int(line[2]) for line in group_lines if _is_id(line[2]) and name in line[3].split(",")]
    for added in groups:
        if added != "keep-groups":
            extra.append(_group(group_lines, added))
    return User(uid, gid, tuple(dict.fromkeys(number for number in extra if number != gid)), home, name)


def add_account(root_fd: int, user: User) -> None:
    """Give a user without a name a line in the image's /etc/passwd, as podman does for one who keeps their id."""
    if user.name or user.uid == 0:
        return
    try:
        text = (paths.read_in(root_fd, "/etc/passwd") or b"").decode(errors="surrogateescape")
        if text and not text.endswith("\n"):
            text += "\n"
        name = pwd.getpwuid(user.uid).pw_name if user.uid == os.getuid() else f"user{user.uid}"
        if any(line.startswith(f"{name}:") for line in text.splitlines()):
            name = f"user{user.uid}"
        line = f"{name}:*:{user.uid}:{user.gid}:{name}:{user.home}:/bin/sh\n"
        paths.write_in(root_fd, "/etc/passwd", (text + line).encode(errors="surrogateescape"), 0o644)
    except (OSError, KeyError):
        return  # an image without /etc, or one that cannot be written to


def _lines(root_fd: int, path: str) -> list[list[str]]:
    try:
        data = paths.read_in(root_fd, path) or b""
    except OSError:
        return []
    least = 7 if path.endswith("passwd") else 4
    split = [line.split(":") for line in data.decode(errors="replace").splitlines()]
    return [fields for fields in split if len(fields) >= least]


def _account(lines: list[list[str]], wanted: str) -> list[str] | None:
    for fields in lines:
        named = fields[0] == wanted or (wanted.isdecimal() and fields[2] == wanted)
        if named and _is_id(fields[2]) and _is_id(fields[3]):
            return fields
    return None


def _group(lines: list[list[str]], wanted: str) -> int:
    for fields in lines:
        if fields[0] == wanted and _is_id(fields[2]):
            return int(fields[2])
    if _is_id(wanted):
        return int(wanted)
    raise NotFound(f'group "{wanted}" is not in the container\'s /etc/group', hint="give a number")


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) <= _LARGEST_ID
