"""Secrets: `$XDG_DATA_HOME/ptb/secrets/NAME`, readable by their owner alone; given to containers as files or variables."""

from __future__ import annotations

import sys
import time

from rootless import json_text
from rootless import system as os
from rootless.errors import AlreadyExists, InUse, NotFound, PtbError, UsageError
from toolbox import output, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_LARGEST = 512000
_COLUMNS = (("ID", "ID"), ("NAME", "Name"), ("DRIVER", "Driver"), ("CREATED", "CreatedAt"), ("UPDATED", "UpdatedAt"))


def _place() -> str:
    return paths.data_home() + "/secrets"


def _check_name(name: str) -> str:
    rest = name.replace("_", "").replace(".", "").replace("-", "")
    if not rest.isalnum() or not name.isascii() or not name[0].isalnum() or len(name) > 253:
        raise UsageError(f'"{name}" cannot be the name of a secret', hint="names are letters, digits, '.', '_' and '-'")
    return name


def create(name: str, source: str, *, replace: bool, labels: dict[str, str]) -> int:
    """`secret create NAME FILE|-`: prints the id."""
    _check_name(name)
    if source == "-":
        data = sys.stdin.buffer.read(_LARGEST + 1)
    else:
        try:
            with open(source, "rb") as stream:
                data = stream.read(_LARGEST + 1)
        except OSError as error:
            raise NotFound(f'"{source}": {os.strerror(error.errno or 0)}') from error
    if not 0 < len(data) <= _LARGEST:
        raise UsageError(f"a secret has 1 to {_LARGEST} bytes")
    if os.path.exists(f"{_place()}/{name}") and not replace:
        raise AlreadyExists(f'secret "{name}" exists', hint=f"ptb secret rm {name}, or --replace")
    os.makedirs(_place(), mode=0o700, exist_ok=True)
    identity = os.urandom(12).hex() + "0"
    document = {"id": identity, "created": time.time_ns(), "labels": labels, "data": data.hex()}
    temporary = f"{_place()}/.{name}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="ascii") as stream:
        stream.write(json_text.dump(document))
        stream.flush()
        os.fsync(fd)
    os.rename(temporary, f"{_place()}/{name}")
    print(identity)
    return 0


def _load(name: str) -> dict[str, Any]:
    try:
        with open(f"{_place()}/{_check_name(name)}", encoding="ascii") as stream:
            found: dict[str, Any] = json_text.parse(stream.read(), f'secret "{name}"')
    except FileNotFoundError:
        raise NotFound(f'secret "{name}" does not exist', hint=f"ptb secret create {name} FILE") from None
    return found


def _all_names() -> list[str]:
    return names()


def names() -> list[str]:
    """The names of all secrets, sorted."""
    try:
        return sorted(name for name in os.listdir(_place()) if not name.startswith("."))
    except FileNotFoundError:
        return []


def _document(name: str) -> dict[str, Any]:
    from toolbox.containers import inspect

    found = _load(name)
    return {
        "ID": found["id"],
        "CreatedAt": inspect.moment(found["created"]),
        "UpdatedAt": inspect.moment(found["created"]),
        "Spec": {"Name": name, "Driver": {"Name": "file", "Options": {}}, "Labels": found["labels"]},
    }


def show(*, format: str, noheading: bool, quiet: bool) -> int:  # noqa: A002 - the option's name
    """`secret ls`."""
    from toolbox import listing

    rows = []
    for name in names():
        document = _document(name)
        rows.append({**document, "Name": name, "Driver": "file"})
    listing.show(rows, columns=_COLUMNS, format=format, quiet="ID" if quiet else None, noheading=noheading)
    return 0


def inspect(names: list[str]) -> int:
    """`secret inspect`; what it holds is not shown."""
    output.print_json([_document(name) for name in names], indent=4)
    return 0


def remove(names: list[str], *, all: bool, ignore: bool) -> int:  # noqa: A002 - the option's name
    """`secret rm`: prints the names."""
    from toolbox.containers import store

    for name in _all_names() if all else names:
        try:
            _load(name)
        except NotFound:
            if ignore:
                continue
            raise
        users = [one.name for one in store.everything() if any(secret[0] == name for secret in one.secrets)]
        if users:
            raise InUse(f'secret "{name}" is used by container "{users[0]}"', hint=f"ptb rm {users[0]}")
        os.unlink(f"{_place()}/{name}")
        print(name)
    return 0


def exists(name: str) -> int:
    """`secret exists`."""
    return 0 if os.path.exists(f"{_place()}/{name}") else 1


# --- in containers ---


def parse(texts: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """`--secret NAME[,type=mount|env][,target=…]` as (name, type, target). Raises UsageError, NotFound."""
    found = []
    for text in texts:
        name, *options = text.split(",")
        name = name.removeprefix("source=")
        given = dict(option.partition("=")[::2] for option in options)
        unknown = set(given) - {"type", "target", "uid", "gid", "mode"}
        kind = given.get("type", "mount")
        if unknown or kind not in ("mount", "env"):
            raise UsageError(f'--secret "{text}" is not NAME[,type=mount|env][,target=…]')
        if set(given) & {"uid", "gid", "mode"}:
            raise UsageError(f'--secret "{text}": uid, gid and mode are not possible: the file is root\'s, mode 0444')
        _load(name)
        found.append((name, kind, given.get("target", name)))
    return tuple(found)


def files(secrets: tuple[tuple[str, ...], ...]) -> list[tuple[str, str]]:
    """(path, text) of the secrets that are files."""
    found = []
    for name, kind, target in secrets:
        if kind == "mount":
            path = target if target.startswith("/") else f"/run/secrets/{target}"
            found.append((path, _text(name)))
    return found


def variables(secrets: tuple[tuple[str, ...], ...]) -> list[str]:
    """The secrets that are variables, as NAME=VALUE."""
    return [f"{target}={_text(name)}" for name, kind, target in secrets if kind == "env"]


def _text(name: str) -> str:
    try:
        return bytes.fromhex(_load(name)["data"]).decode(errors="surrogateescape")
    except ValueError as error:
        raise PtbError(f'secret "{name}" is damaged on disk') from error
