"""placeholder"""

from __future__ import annotations
from typing import Any


def plan(spec: Any, identity: str, *, systemd: bool) -> dict[str, Any]:
    return {}


def make(plan: dict[str, Any], spec: Any) -> None: ...
def enter(plan: dict[str, Any], spec: Any, pid: int) -> None: ...
def remove(plan: dict[str, Any]) -> None: ...
def kill(plan: dict[str, Any]) -> None: ...
def freeze(plan: dict[str, Any], *, frozen: bool) -> None: ...
def is_frozen(plan: dict[str, Any]) -> bool:
    return False


def process_ids(plan: dict[str, Any]) -> list[int] | None:
    return None


def attach(plan: dict[str, Any], pid: int, below: str = "") -> None: ...
