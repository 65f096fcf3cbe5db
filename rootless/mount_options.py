"""The options of a config.json mount, sorted into what each is for: attributes, propagation, binding, or the file system.

The words are those of mount(8) and of the runtime-spec's table of Linux mount options (config.md).
"""

from __future__ import annotations

from rootless import kernel
from rootless.record import record

_ATTRIBUTES = {
    "ro": (kernel.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, kernel.MOUNT_ATTR_RDONLY),
    "nosuid": (kernel.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, kernel.MOUNT_ATTR_NOSUID),
    "nodev": (kernel.MOUNT_ATTR_NODEV, 0),
    "dev": (0, kernel.MOUNT_ATTR_NODEV),
    "noexec": (kernel.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, kernel.MOUNT_ATTR_NOEXEC),
    "nodiratime": (kernel.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, kernel.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (kernel.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, kernel.MOUNT_ATTR_NOSYMFOLLOW),
    "relatime": (0, kernel.MOUNT_ATTR__ATIME),
    "norelatime": (kernel.MOUNT_ATTR_STRICTATIME, kernel.MOUNT_ATTR__ATIME),
    "noatime": (kernel.MOUNT_ATTR_NOATIME, kernel.MOUNT_ATTR__ATIME),
    "atime": (0, kernel.MOUNT_ATTR__ATIME),
    "strictatime": (kernel.MOUNT_ATTR_STRICTATIME, kernel.MOUNT_ATTR__ATIME),
    "nostrictatime": (0, kernel.MOUNT_ATTR__ATIME),
}
"""Option: (attributes to set, attributes to clear first), see mount_setattr(2)."""

_PROPAGATIONS = {
    "private": kernel.MS_PRIVATE,
    "slave": kernel.MS_SLAVE,
    "shared": kernel.MS_SHARED,
    "unbindable": kernel.MS_UNBINDABLE,
}

_SUPERBLOCK_FLAGS = ("sync", "dirsync", "mand", "lazytime", "iversion", "silent")
_SUPERBLOCK_OFF = ("async", "nomand", "nolazytime", "noiversion", "loud", "acl", "noacl", "defaults", "remount")

KNOWN = tuple(
    sorted(
        {
            *_ATTRIBUTES,
            *(f"r{name}" for name in _ATTRIBUTES),
            *_PROPAGATIONS,
            *(f"r{name}" for name in _PROPAGATIONS),
            *_SUPERBLOCK_FLAGS,
            *_SUPERBLOCK_OFF,
            *("bind", "rbind", "tmpcopyup", "idmap", "ridmap", "copy-symlink"),
        }
    )
)
"""What `features` announces as mountOptions."""


@record
class MountOptions:
    """The options of one mount.

    `attributes` are set and `cleared` cleared on the mount itself, the `recursive_` ones on all below it too;
    `propagations` are (flag, recursive) in order; `data` are (key, value or None) for the file system.
    """

    bind: bool
    recursive_bind: bool
    attributes: int
    cleared: int
    recursive_attributes: int
    recursive_cleared: int
    propagations: tuple[tuple[int, bool], ...]
    idmap: bool
    recursive_idmap: bool
    copy_up: bool
    data: tuple[tuple[str, str | None], ...]


def parse(options: tuple[str, ...]) -> MountOptions:
    """Sort `options`; a later one overrides an earlier, and what is no one else's is the file system's."""
    found = set(options)
    sets, clears, recursive_sets, recursive_clears = 0, 0, 0, 0
    propagations: list[tuple[int, bool]] = []
    data: list[tuple[str, str | None]] = []
    for option in options:
        if option in _ATTRIBUTES:
            on, off = _ATTRIBUTES[option]
            sets, clears = sets & ~off | on, clears & ~on | off
        elif option[:1] == "r" and option[1:] in _ATTRIBUTES:
            on, off = _ATTRIBUTES[option[1:]]
            recursive_sets, recursive_clears = recursive_sets & ~off | on, recursive_clears & ~on | off
        elif option in _PROPAGATIONS:
            propagations.append((_PROPAGATIONS[option], False))
        elif option[:1] == "r" and option[1:] in _PROPAGATIONS:
            propagations.append((_PROPAGATIONS[option[1:]], True))
        elif option in _SUPERBLOCK_FLAGS:
            data.append((option, None))
        elif option not in KNOWN:
            key, equals, value = option.partition("=")
            data.append((key, value if equals else None))
    return MountOptions(
        bind=bool({"bind", "rbind"} & found),
        recursive_bind="rbind" in found,
        attributes=sets,
        cleared=clears,
        recursive_attributes=recursive_sets,
        recursive_cleared=recursive_clears,
        propagations=tuple(propagations),
        idmap=bool({"idmap", "ridmap"} & found),
        recursive_idmap="ridmap" in found,
        copy_up="tmpcopyup" in found,
        data=tuple(data),
    )
