"""Where ptb keeps things: the XDG base directories, read from the environment (basedir-spec 0.8).

`xdg-base-dirs` and `platformdirs` answer the same questions and cost 10 and 20 ms to import, more than a whole
`ptb enter`; a test holds this module to the same answers.
"""

from __future__ import annotations

from rootless import system as os
from rootless.errors import HostUnfit


def home() -> str:
    """The caller's home directory."""
    return os.environ.get("HOME") or os.path.expanduser("~")


def _base(variable: str, default: str) -> str:
    value = os.environ.get(variable, "")
    return value if value.startswith("/") else f"{home()}/{default}"


def data_home() -> str:
    """Images, layers, boxes."""
    return _base("XDG_DATA_HOME", ".local/share") + "/ptb"


def config_home() -> str:
    """config.toml."""
    return _base("XDG_CONFIG_HOME", ".config") + "/ptb"


def state_home() -> str:
    """What was used last."""
    return _base("XDG_STATE_HOME", ".local/state") + "/ptb"


def cache_home() -> str:
    """What can be made again."""
    return _base("XDG_CACHE_HOME", ".cache") + "/ptb"


def runtime_dir() -> str:
    """Sockets, for this login only.

    Without XDG_RUNTIME_DIR (su, cron, ssh without PAM) /run/user/UID is used where it is the caller's, else a directory
    of the caller's own in /tmp. Raises HostUnfit if somebody else owns that.
    """
    value = os.environ.get("XDG_RUNTIME_DIR", "")
    if value.startswith("/"):
        return value + "/ptb"
    uid = os.getuid()
    standard = f"/run/user/{uid}"
    if _owned(standard, uid):
        return standard + "/ptb"
    own = f"/tmp/ptb-{uid}"  # noqa: S108 - made 0700 and checked for its owner
    try:
        os.mkdir(own, 0o700)
    except FileExistsError:
        pass
    if not _owned(own, uid):
        raise HostUnfit(f'"{own}" belongs to somebody else', hint="set XDG_RUNTIME_DIR to a directory of your own")
    return own


def _owned(path: str, uid: int) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_uid == uid and status.st_mode & 0o170077 == 0o040000
