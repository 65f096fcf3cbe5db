"""You, in the box: the lines of passwd(5), group(5), shadow(5) and sudoers(5) that make you and root known there.

Pure functions over the files' text. Every other line is kept as it is. Nothing is executed in the box.
"""

from __future__ import annotations

from rootless.record import record


@record
class Identity:
    """The user as the box shall know them; `shell` is a path that exists there."""

    name: str
    uid: int
    group: str
    gid: int
    gecos: str
    home: str
    shell: str


def passwd(text: str, who: Identity) -> str:
    """The passwd file with `who` in it, first among those with their uid, and with a root."""
    own = f"{who.name}:x:{who.uid}:{who.gid}:{who.gecos}:{who.home}:{who.shell}"
    kept = [line for line in text.splitlines() if line.strip() and line.split(":")[0] != who.name]
    if not any(line.split(":")[0] == "root" for line in kept) and who.name != "root":
        kept.insert(0, "root:x:0:0:root:/root:/bin/sh")
    lines = [_shadowed(line) if line.split(":")[0] == "root" else line for line in kept]
    place = next((index for index, line in enumerate(lines) if _field(line, 2) == str(who.uid)), len(lines))
    lines.insert(place, own)
    return "\n".join(lines) + "\n"


def group(text: str, who: Identity) -> str:
    """The group file with the user's own group and the user in the groups that grant sudo."""
    kept = [line for line in text.splitlines() if line.strip()]
    lines = []
    for line in kept:
        fields = line.split(":")
        if fields[0] == who.group and _field(line, 2) != str(who.gid):
            continue
        if fields[0] in ("sudo", "wheel") and len(fields) == 4:
            members = [member for member in fields[3].split(",") if member]
            if who.name not in members:
                members.append(who.name)
            line = ":".join([*fields[:3], ",".join(members)])
        lines.append(line)
    if not any(line.split(":")[0] == "root" for line in lines) and who.gid != 0:
        lines.insert(0, "root:x:0:")
    if not any(line.split(":")[0] == who.group for line in lines):
        place = next((index for index, line in enumerate(lines) if _field(line, 2) == str(who.gid)), len(lines))
        lines.insert(place, f"{who.group}:x:{who.gid}:")
    return "\n".join(lines) + "\n"


def shadow(text: str, who: Identity) -> str:
    """The shadow file in which root and the user need no password, as nobody can reach the box but its owner."""
    lines = []
    missing = ["root"] if who.name == "root" else ["root", who.name]
    for line in text.splitlines():
        fields = line.split(":")
        if fields[0] in missing and len(fields) > 1:
            missing.remove(fields[0])
            line = ":".join([fields[0], "", *fields[2:]])
        if line.strip():
            lines.append(line)
    lines += [f"{name}::19000:0:99999:7:::" for name in missing]
    return "\n".join(lines) + "\n"


def sudoers(who: Identity) -> str:
    """A sudoers.d file; the uid is used since a name may hold characters that sudoers(5) gives a meaning."""
    return f"# made by ptb\n#{who.uid} ALL=(ALL:ALL) NOPASSWD: ALL\n"


def _field(line: str, index: int) -> str:
    fields = line.split(":")
    return fields[index] if len(fields) > index else ""


def _shadowed(line: str) -> str:
    fields = line.split(":")
    return ":".join([fields[0], "x", *fields[2:]]) if len(fields) > 2 else line
