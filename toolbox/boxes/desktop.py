"""What a box shares with the host, as a list of mounts: the sets that toolbox and distrobox mount, and why.

Whatever the host lacks is left out silently. Directories are shared rather than the sockets in them, and in /run links
to /run/host are made rather than mounts: both stay right when a service restarts, a user logs in again or a disk is
plugged in, since new mounts of the host's propagate into the box.
"""

from __future__ import annotations

from rootless import system as os
from rootless.errors import InvalidDocument, NotFound
from rootless.mounts import Bind, Entry, Mount, Tmpfs
from toolbox import paths
from toolbox.boxes.store import NO_HOME, SHARED_HOME, BoxRecord, own_home

_IN_RUN = (
    ".heim_org.h5l.kcm-socket",
    "avahi-daemon",
    "cups",
    "dbus",
    "libvirt",
    "log",
    "nscd",
    "pcscd",
    "udev",
)
_IN_RUN_SYSTEMD = ("coredump", "journal", "machines", "resolve", "seats", "sessions", "system", "userdb", "users")

_SHARED_STATE = ("/var/lib/flatpak", "/var/lib/libvirt", "/var/lib/systemd/coredump", "/var/log/journal", "/var/mnt")


def mounts(box: BoxRecord, container_env: str) -> list[Mount]:
    """Everything to mount in the box, outer before inner; `container_env` is the text of /run/.containerenv.

    Raises NotFound where a directory that was asked for is missing.
    """
    wanted: list[Mount] = [
        Tmpfs("/run", _run_entries(container_env)),
        Bind("/", "/run/host"),
        Bind("/proc", "/proc"),
        Bind("/sys", "/sys"),
        Bind("/dev", "/dev"),
        Bind("/tmp", "/tmp"),  # noqa: S108 - the directory itself is shared
        Bind("/run/user", "/run/user", optional=True),
    ]
    for place in ("/run/media", "/media", "/mnt"):
        if os.path.isdir(place) and not os.path.islink(place):
            wanted.append(Bind(place, place, optional=True))
    if os.path.exists("/sys/fs/selinux/enforce"):
        wanted.append(Tmpfs("/sys/fs/selinux"))
    wanted += [Bind(place, place, optional=True) for place in _SHARED_STATE]
    wanted += _home(box)
    wanted += volumes(box.volumes)
    return wanted


def _run_entries(container_env: str) -> tuple[Entry, ...]:
    entries = [
        Entry(".containerenv", text=container_env),
        Entry(".toolboxenv", text=""),
        Entry(".toolbxenv", text=""),
        Entry("lock", mode=0o1777),
    ]
    entries += [Entry(name, target=f"/run/host/run/{name}") for name in _IN_RUN if os.path.lexists(f"/run/{name}")]
    if os.path.isdir("/run/systemd"):
        entries.append(Entry("systemd"))
        for name in _IN_RUN_SYSTEMD:
            if os.path.lexists(f"/run/systemd/{name}"):
                entries.append(Entry(f"systemd/{name}", target=f"/run/host/run/systemd/{name}"))
    if not os.path.isdir("/run/media"):
        entries.append(Entry("media", target="/run/host/run/media"))
    return tuple(entries)


def _home(box: BoxRecord) -> list[Mount]:
    home = paths.home()
    if box.home == NO_HOME:
        return [Bind(own_home(box.id), home)]
    if box.home != SHARED_HOME:
        if not os.path.isdir(box.home):
            raise NotFound(f'the home of box "{box.name}", "{box.home}", is not there', hint=f"mkdir -p {box.home}")
        return [Bind(box.home, home)]
    real = os.path.realpath(home)
    found: list[Mount] = [Bind(real, home, optional=True)]
    if real != home:
        found.append(Bind(real, real, optional=True))
    return found


def volumes(asked: tuple[str, ...]) -> list[Mount]:
    """`SOURCE:TARGET[:ro|rw]` as mounts. Raises InvalidDocument, or NotFound for a source that is missing."""
    found: list[Mount] = []
    for text in asked:
        source, target, options = parse_volume(text)
        if not os.path.exists(source):
            raise NotFound(f'volume source "{source}" is not there', hint=f"mkdir -p {source}")
        found.append(Bind(source, target, read_only="ro" in options))
    return sorted(found, key=lambda mount: mount.target.count("/"))


def parse_volume(text: str) -> tuple[str, str, list[str]]:
    """(source, target, options) of `SOURCE:TARGET[:OPTION,…]` or `PATH`; a relative source is below the current
    directory. Raises InvalidDocument."""
    parts = text.split(":")
    if len(parts) == 1:
        parts *= 2
    if len(parts) > 3 or not parts[0] or not parts[1].startswith("/"):
        raise InvalidDocument(f'volume "{text}" is not SOURCE:TARGET[:ro]', hint="both are paths; TARGET is absolute")
    source, target = parts[0], os.path.normpath(parts[1])
    if "/" not in source and not source.startswith("."):
        raise InvalidDocument(f'volume source "{source}" is not a path', hint=f"write ./{source} for a directory here")
    options = parts[2].split(",") if len(parts) == 3 else []
    unknown = [option for option in options if option not in ("ro", "rw", "rslave", "slave", "rbind", "z", "Z")]
    if unknown:
        raise InvalidDocument(f'volume option "{unknown[0]}" of "{text}" is not known', hint="ro and rw are")
    if target == "/":
        raise InvalidDocument(f'volume "{text}" would cover the whole box', hint="name a directory below /")
    return os.path.abspath(os.path.expanduser(source)), target, options
