"""Forking a container's monitor as early as its id maps are known: before `run` has read its other options."""

from __future__ import annotations

from rootless import ids, monitor_spawn, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

    from rootless.ids import IdMaps, Subordinates
    from rootless.monitor_spawn import Waiting
    from rootless.network.namespace import Making

_DECIDING = ("userns", "uidmap", "gidmap", "subuidname", "subgidname", "network", "pid", "ipc", "uts", "cgroupns")
"""Options that may put the container into another user namespace than most have."""


def for_run(given: dict[str, Any]) -> Waiting | None:
    """A monitor for what `run` is about to make of these options; None where they leave open which ids it will have.

    Raises UsageError for descriptors that are to be passed on and are not open.
    """
    processes.check_preserved(given.get("preserve_fds") or 0)
    if any(_decides(given.get(name)) for name in _DECIDING):
        return None
    who = ids.subordinates()
    own_network = given.get("network") != ["host"]
    return fork(who, who.default_maps(), removing=bool(given.get("rm")), own_network=own_network)


def _decides(value: Any) -> bool:
    return bool(value) and value not in (["host"], ["none"], "host", "none")


def fork(
    who: Subordinates, maps: IdMaps, *, removing: bool = False, own_network: bool = False, joined: int | None = None
) -> Waiting:
    """Fork it with these ids, or in the user namespace of the process that `joined` means; see `rootless.monitor_spawn`.

    With `own_network` a network namespace is begun for it.
    """
    making: list[Making] = []

    def load() -> None:
        if own_network:
            from rootless.network import namespace

            making.append(namespace.begin())
        from rootless import container_init  # noqa: F401 # which the container's init would have to load
        from toolbox.containers import plan  # noqa: F401 # with all that a monitor needs

        if removing:
            from toolbox.containers import remove  # noqa: F401

    def monitor(connection: _socket.socket) -> int:
        from toolbox.containers import plan

        return plan.serve(connection, who, making[0] if making else None)

    return monitor_spawn.fork(who, maps, monitor, load=load, joined=joined)
