"""Seccomp profiles as docker writes them (archMap, includes and excludes), turned into linux.seccomp of the OCI."""

from __future__ import annotations

import os

from rootless.errors import InvalidDocument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def from_docker(document: Any, capabilities: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The profile for this machine and these capabilities. Raises InvalidDocument."""
    if not isinstance(document, dict) or not isinstance(document.get("defaultAction"), str):
        raise InvalidDocument("the seccomp profile has no defaultAction")
    machine = _NAMES.get(os.uname().machine, os.uname().machine)
    rules = []
    for rule in document.get("syscalls") or ():
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if not _fits(includes, machine, capabilities, wanted=True) or not _fits(
            excludes, machine, capabilities, wanted=False
        ):
            continue
        names = rule.get("names") or ([rule["name"]] if "name" in rule else [])
        kept = {
            key: value for key, value in rule.items() if key in ("action", "args", "errnoRet") and value is not None
        }
        rules.append({**kept, "names": names})
    made: dict[str, Any] = {"defaultAction": document["defaultAction"], "syscalls": rules}
    for key in ("defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"):
        if document.get(key) is not None:
            made[key] = document[key]
    architectures = list(document.get("architectures") or ())
    for entry in document.get("archMap") or ():
        architectures += [entry["architecture"], *(entry.get("subArchitectures") or ())] if not architectures else []
    if document.get("architectures"):
        made["architectures"] = architectures
    return made


def _fits(condition: dict[str, Any], machine: str, capabilities: frozenset[str], *, wanted: bool) -> bool:
    arches, caps = condition.get("arches") or (), condition.get("caps") or ()
    if wanted:
        return (not arches or machine in arches) and all(name in capabilities for name in caps)
    return machine not in arches and not any(name in capabilities for name in caps)
