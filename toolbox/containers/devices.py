"""Devices of the host's in a container: bound from the host's /dev, since an ordinary user cannot make any."""

from __future__ import annotations

import stat

from rootless import system as os
from rootless.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from toolbox.containers.record import ContainerRecord

_NOT_PASSED_ON = ("console", "full", "null", "ptmx", "random", "tty", "urandom", "zero")
"""What every container has of its own."""


def mounts(container: ContainerRecord) -> list[dict[str, Any]]:
    """What binds the devices; a privileged container gets all that its owner can use. Raises NotFound."""
    wanted = {device.target: (device.source, device.access) for device in container.devices}
    if container.security.privileged:
        for path in _usable():
            wanted.setdefault(path, (path, "rwm"))
    found = []
    for target, (source, access) in wanted.items():
        if not os.path.exists(source):
            raise NotFound(f'device "{source}" is not there any more')
        options = ["bind", "rprivate", *([] if "w" in access else ["ro"])]
        found.append({"destination": target, "type": "bind", "source": source, "options": options})
    return found


def _usable() -> list[str]:
    found = []
    for name in sorted(os.listdir("/dev")):
        path = f"/dev/{name}"
        if name in _NOT_PASSED_ON or name.startswith("tty"):
            continue
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            continue
        if (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and os.access(path, os.R_OK | os.W_OK):
            found.append(path)
    return found
