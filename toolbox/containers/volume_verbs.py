"""`volume create`, `ls`, `inspect`, `rm`, `prune` and `exists`."""

from __future__ import annotations

import os
import sys

from rootless import userns
from rootless.errors import InUse, NotFound, PtbError, UsageError
from toolbox import output
from toolbox.containers import inspect as container_inspect
from toolbox.containers import process_options, sizes, store, volumes
from toolbox.containers.volumes import Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COLUMNS = (("DRIVER", "Driver"), ("VOLUME NAME", "Name"))
_FILTERS = ("dangling", "driver", "label", "name", "since", "until", "opt")


def create(name: str | None, *, driver: str, ignore: bool, label: list[str] | None, opt: list[str] | None) -> int:
    """`volume create`: prints the name."""
    if driver not in ("", "local"):
        raise UsageError(f'--driver "{driver}": local is the one there is')
    options = process_options.pairs(opt or (), "--opt")
    unknown = set(options) - {"type", "device", "o"}
    if unknown or any(options.values()):
        raise UsageError(f"--opt {next(iter(sorted(options)))}: mounting something as a volume needs the real root")
    labels = process_options.pairs(label or (), "--label")
    anonymous = name is None
    made = volumes.create(name or os.urandom(32).hex(), labels=labels, existing=ignore, anonymous=anonymous)
    print(made.name)
    return 0


def users_of(name: str) -> list[str]:
    """The names of the containers that have the volume."""
    return [one.name for one in store.everything() if any(mount.name == name for mount in one.mounts)]


def show(*, filters: list[str] | None, format: str, noheading: bool, quiet: bool) -> int:  # noqa: A002
    """`volume ls`."""
    from toolbox import listing

    found = _matching(volumes.everything(), filters or [])
    listing.show(
        [_row(volume) for volume in found],
        columns=_COLUMNS,
        format=format,
        quiet="Name" if quiet else None,
        noheading=noheading,
        json_rows=[document(volume) for volume in found],
    )
    return 0


def _row(volume: Volume) -> dict[str, Any]:
    labels = ",".join(f"{key}={value}" for key, value in sorted(volume.labels.items()))
    return {**document(volume), "Labels": labels}


def document(volume: Volume) -> dict[str, Any]:
    """The volume, in the fields of `podman volume inspect`."""
    return {
        "Name": volume.name,
        "Driver": "local",
        "Mountpoint": volumes.data(volume.name),
        "CreatedAt": container_inspect.moment(volume.created),
        "Labels": volume.labels,
        "Scope": "local",
        "Options": volume.options,
        "Anonymous": volume.anonymous,
        "MountCount": 0,
        "NeedsCopyUp": not os.listdir(volumes.data(volume.name)),
    }


def _matching(found: list[Volume], filters: list[str]) -> list[Volume]:
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals or key.rstrip("!") not in _FILTERS:
            raise UsageError(f'there is no filter "{text}"', hint=f"known are {', '.join(_FILTERS)}")
        found = [volume for volume in found if _holds(volume, key, value)]
    return found


def _holds(volume: Volume, key: str, value: str) -> bool:
    if key == "dangling":
        return (not users_of(volume.name)) == (value.lower() in ("true", "1"))
    if key in ("label", "label!"):
        name, equals, wanted = value.partition("=")
        has = name in volume.labels and (not equals or volume.labels[name] == wanted)
        return has == (key == "label")
    if key == "name":
        return value in volume.name
    if key == "driver":
        return value == "local"
    if key == "opt":
        return value in volume.options
    at = sizes.moment(value)
    return volume.created / 10**9 < at if key == "until" else volume.created / 10**9 > at


def _needed(name: str) -> Volume:
    found = volumes.load(name)
    if found is None:
        matching = [volume for volume in volumes.everything() if volume.name.startswith(name)] if name else []
        if len(matching) == 1:
            return matching[0]
        raise NotFound(f'no volume with name "{name}" found: no such volume', hint="ptb volume ls")
    return found


def inspect(names: list[str], *, all: bool, format: str) -> int:  # noqa: A002 - the options' names
    """`volume inspect`."""
    if not names and not all:
        raise UsageError("name the volumes to inspect, or use --all")
    found = volumes.everything() if all else [_needed(name) for name in names]
    documents = [document(volume) for volume in found]
    if format and format != "json":
        from toolbox import gotemplate

        template = gotemplate.parse(format)
        for entry in documents:
            print(gotemplate.render(template, entry))
    else:
        output.print_json(documents, indent=5)
    return 0


def remove(names: list[str], *, all: bool, force: bool, time: str) -> int:  # noqa: A002 - the options' names
    """`volume rm`: prints the names; with --force the containers that use one go first."""
    from toolbox.containers import remove as removal

    if not names and not all:
        raise UsageError("name the volumes to remove, or use --all")
    failed: PtbError | None = None
    for name in [volume.name for volume in volumes.everything()] if all else names:
        try:
            try:
                volume = _needed(name)
            except NotFound:
                if force:
                    continue
                raise
            users = users_of(volume.name)
            if users and not force:
                raise InUse(
                    f'volume "{volume.name}" is used by container "{users[0]}"', hint=f"ptb rm {users[0]}, or --force"
                )
            for user in users:
                removal.remove_one(store.need(user), force=True, seconds=float(time or 10))
            _remove(volume.name)
            print(volume.name)
        except PtbError as error:
            if failed is not None:
                print(f"ptb: {failed.message}", file=sys.stderr)
            failed = error
    if failed is not None:
        raise failed
    return 0


def prune(*, all: bool, force: bool, filters: list[str] | None) -> int:  # noqa: A002 - the option's name
    """`volume prune`: what no container uses; asks first on a terminal."""
    if not force and sys.stdin.isatty():
        print("WARNING! This will remove all volumes not used by at least one container.")
        print("Are you sure you want to continue? [y/N] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return 0
    for volume in _matching(volumes.everything(), filters or []):
        if not users_of(volume.name):
            _remove(volume.name)
            print(volume.name)
    return 0


def _remove(name: str) -> None:
    userns.run_mapped(lambda: volumes.remove(name))


def exists(name: str) -> int:
    """`volume exists`."""
    return 0 if volumes.load(name) is not None else 1
