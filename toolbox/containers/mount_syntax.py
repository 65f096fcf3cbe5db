"""What is to be mounted in a container: `-v`, `--mount`, `--tmpfs` and `--volumes-from` as docker and podman take them."""

from __future__ import annotations

import os

from rootless.errors import NotFound, UsageError
from toolbox.containers import store, volumes
from toolbox.containers.record import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_VOLUME_OPTIONS = frozenset(
    (
        *("ro", "rw", "z", "Z", "U", "O", "nocopy", "copy", "exec", "noexec", "suid", "nosuid", "dev", "nodev"),
        *("bind", "rbind", "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"),
        *("cached", "delegated", "consistent", "idmap"),
    )
)
_IGNORED = frozenset(("z", "Z", "cached", "delegated", "consistent", "copy"))
"""Accepted and without effect: there is no SELinux to label for, or it was a hint for other systems."""

_TRUE = ("", "true", "1")


def mounts(
    volume: Iterable[str], mount: Iterable[str], tmpfs: Iterable[str], volumes_from: Iterable[str]
) -> tuple[Mount, ...]:
    """All mounts that the options ask for, in order; later ones of --volumes-from give way. Raises UsageError, NotFound.

    Directories of the host that are missing are made, for `-v` only, as docker does.
    """
    found: dict[str, Mount] = {}
    for made in (
        *(_volume(text) for text in volume),
        *(_mount(text) for text in mount),
        *(_tmpfs(text) for text in tmpfs),
    ):
        if made.target in found:
            raise UsageError(f'"{made.target}" is mounted on twice')
        found[made.target] = made
    for text in volumes_from:
        for made in _from(text):
            found.setdefault(made.target, made)
    return tuple(found.values())


def _target(text: str, whole: str) -> str:
    if not text.startswith("/"):
        raise UsageError(f'"{whole}": "{text}" must be an absolute path in the container')
    path = os.path.normpath("/" + text.lstrip("/"))
    if path == "/":
        raise UsageError(f'"{whole}" would cover the whole container', hint="name a directory below /")
    return path


def _volume(text: str) -> Mount:
    parts = text.split(":")
    if len(parts) > 3 or not all(parts[:2]):
        raise UsageError(f'-v "{text}" is not [SOURCE:]TARGET[:OPTIONS]')
    if len(parts) == 1:
        return _anonymous(_target(parts[0], text), ())
    source, target = parts[0], _target(parts[1], text)
    options = _checked(parts[2].split(",") if len(parts) == 3 else [], text)
    if "/" not in source and source not in (".", ".."):
        return Mount("volume", target, name=volumes.check_name(source), options=options)
    path = os.path.abspath(source)
    if not os.path.lexists(path):
        try:
            os.makedirs(path)
        except OSError as error:
            raise NotFound(f'"{path}" is not there and cannot be made: {os.strerror(error.errno or 0)}') from error
    return Mount("bind", target, path, options=options)


def _checked(options: list[str], whole: str) -> tuple[str, ...]:
    for option in options:
        name = option.partition("=")[0]
        if name not in _VOLUME_OPTIONS and name not in ("upperdir", "workdir", "idmap"):
            raise UsageError(
                f'"{whole}": there is no option "{option}"', hint="options are ro, rw, U, O, nocopy, rslave, …"
            )
        if name == "idmap":
            raise UsageError(f'"{whole}": idmap needs the real root: an ordinary user cannot map the ids of a mount')
    return tuple(option for option in options if option and option not in _IGNORED)


def _anonymous(target: str, options: tuple[str, ...]) -> Mount:
    return Mount("volume", target, name=os.urandom(32).hex(), options=options, anonymous=True)


def image_volumes(targets: Iterable[str], mode: str, taken: Iterable[str]) -> tuple[Mount, ...]:
    """The image's own volumes, where nothing else is mounted. Raises UsageError."""
    if mode not in ("", "anonymous", "bind", "tmpfs", "ignore"):
        raise UsageError(f'--image-volume takes anonymous, tmpfs or ignore, not "{mode}"')
    if mode == "ignore":
        return ()
    free = [os.path.normpath(target) for target in targets if os.path.normpath(target) not in set(taken)]
    if mode == "tmpfs":
        return tuple(Mount("tmpfs", target) for target in free)
    return tuple(_anonymous(target, ()) for target in free if target.startswith("/") and target != "/")


def _tmpfs(text: str) -> Mount:
    target, _colon, options = text.partition(":")
    return Mount("tmpfs", _target(target, text), options=tuple(option for option in options.split(",") if option))


def _from(text: str) -> list[Mount]:
    name, _colon, given = text.partition(":")
    options = _checked(given.split(",") if given else [], text)
    found = []
    for mount in store.need(name).mounts:
        if mount.kind in ("bind", "volume"):
            kept = tuple(
                option for option in mount.options if option not in ("ro", "rw") or not {"ro", "rw"} & set(options)
            )
            found.append(Mount(mount.kind, mount.target, mount.source, mount.name, (*kept, *options), mount.anonymous))
    return found


_KEYS = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "readonly": "ro",
    "volume-nocopy": "nocopy",
    "volume-subpath": "subpath",
    "bind-nonrecursive": "bind",
    "chown": "U",
    "tmpfs-size": "size",
    "tmpfs-mode": "mode",
}


def _mount(text: str) -> Mount:
    kind, source, target, subpath = "volume", "", "", ""
    options: list[str] = []
    for part in text.split(","):
        key, _equals, value = part.partition("=")
        key = _KEYS.get(key, key)
        if key == "type":
            kind = value
        elif key == "source":
            source = value
        elif key == "target":
            target = _target(value, text)
        elif key == "subpath":
            subpath = _below(value, text)
        elif key in ("ro", "rw", "nocopy", "bind", "U", "tmpcopyup", "notmpcopyup"):
            if value.lower() in _TRUE:
                options.append(key)
            elif key in ("ro", "rw"):
                options.append("rw" if key == "ro" else "ro")
        elif key == "bind-propagation":
            options += _checked([value], text)
        elif key in ("size", "mode"):
            options.append(f"{key}={value}")
        elif key in ("relabel", "consistency", "volume-driver", "volume-label", "volume-opt", "glob"):
            continue
        elif key in ("noexec", "nosuid", "nodev", "exec", "suid", "dev"):
            options.append(key)
        elif key == "idmap":
            _checked(["idmap"], text)
        else:
            raise UsageError(f'--mount "{text}": there is no key "{key}"')
    return _of_kind(kind, source, target, subpath, tuple(options), text)


def _below(path: str, whole: str) -> str:
    normal = os.path.normpath(path)
    if normal.startswith(("/", "..")):
        raise UsageError(f'--mount "{whole}": subpath "{path}" leads out of the volume')
    return normal


def _of_kind(kind: str, source: str, target: str, subpath: str, options: tuple[str, ...], text: str) -> Mount:
    if not target:
        raise UsageError(f'--mount "{text}" has no target')
    if kind == "volume":
        if not source:
            return _anonymous(target, options)
        return Mount("volume", target, name=volumes.check_name(source), options=options, subpath=subpath)
    if kind == "bind":
        path = os.path.abspath(source) if source else ""
        if not path or not os.path.lexists(path):
            raise NotFound(f'--mount "{text}": "{path}" is not there', hint=f"mkdir -p {path}")
        return Mount("bind", target, path, options=options, subpath=subpath)
    if kind in ("tmpfs", "ramfs", "devpts"):
        if source:
            raise UsageError(f'--mount "{text}": a {kind} has no source')
        return Mount("devpts" if kind == "devpts" else "tmpfs", target, options=options)
    raise UsageError(f'--mount "{text}": type is bind, volume, tmpfs or devpts, not "{kind}"')
