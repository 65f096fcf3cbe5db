"""Forking a container's monitor. Apart from the monitor, which is loaded in the fork while its ids are being mapped."""

from __future__ import annotations

import _socket

from rootless import attachment, kernel, processes, userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.ids import IdMaps, Subordinates
    from rootless.monitor_plan import Callbacks, Plan


def spawn(
    plan: Plan,
    callbacks: Callbacks,
    who: Subordinates,
    maps: IdMaps,
    *,
    joined: int | None = None,
    load: Callable[[], None],
) -> _socket.socket:
    """Fork the monitor; returns a connection to it (see `attachment`), over which it says what failed.

    With `joined`, a pidfd, it lives in the user namespace of that process, whose other namespaces a container can share
    only so. `load` imports what the callbacks need. The caller has one thread. Raises HostUnfit where there can be no
    user namespace.
    """
    here, there = attachment.pair()

    def prepare() -> None:
        from rootless import monitor  # noqa: F401 # for `child`, at a time when nothing waits for it

        load()

    def child() -> int:
        from rootless import monitor

        kept = range(3, 3 + plan.preserve_fds)
        processes.close_all_but((*kept, there.fileno()))
        return monitor.main(plan, callbacks, there)

    try:
        if joined is None:
            userns.fork_with_maps(who, maps, child, flags=kernel.CLONE_NEWNS, meanwhile=prepare)
        else:
            userns.fork_joined(joined, child, flags=kernel.CLONE_NEWNS)
    finally:
        there.close()
    return here
