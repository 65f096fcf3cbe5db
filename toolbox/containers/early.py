"""Forking a container's monitor as early as its id maps are known: before `run` has read its other options."""

from __future__ import annotations

from rootless import ids, monitor_spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

    from rootless.ids import IdMaps, Subordinates
    from rootless.monitor_spawn import Waiting

_DECIDING = ("userns", "uidmap", "gidmap", "subuidname", "subgidname", "network", "pid", "ipc", "uts", "cgroupns")
"""Options that may put the container into another user namespace than most have."""


def for_run(given: dict[str, Any]) -> Waiting | None:
    """A monitor for what `run` is about to make of these options; None where they leave open which ids it will have."""
    if any(_decides(given.get(name)) for name in _DECIDING):
        return None
    who = ids.subordinates()
    return fork(who, who.default_maps(), removing=bool(given.get("rm")))


def _decides(value: Any) -> bool:
    return bool(value) and value not in (["host"], ["none"], "host", "none")


def fork(who: Subordinates, maps: IdMaps, *, removing: bool, joined: int | None = None) -> Waiting:
    """Fork it with these ids, or in the user namespace of the process that `joined` means; see `rootless.monitor_spawn`."""

    def load() -> None:
        from toolbox.containers import plan  # noqa: F401 # with all that a monitor needs

        if removing:
            from toolbox.containers import remove  # noqa: F401

    def monitor(connection: _socket.socket) -> int:
        from toolbox.containers import plan

        return plan.serve(connection, who)

    return monitor_spawn.fork(who, maps, monitor, load=load, joined=joined)
