"""The process that ends a container whose monitor was killed.

PR_SET_PDEATHSIG is not enough: the kernel forgets it when the container's first process changes its user, as servers do.
The warden is a fork of the monitor that shares its memory, waits for its end, and has nothing else to do.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import select

from rootless import kernel, processes
from rootless import system as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def start(container: int, last_rites: Callable[[], None]) -> int:
    """Fork the warden of the process that the pidfd `container` means; returns its pid.

    If the caller dies first, the container is killed and `last_rites` is called once it is gone. If the container ends
    first, the warden just ends.
    """
    monitor = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid:
        os.close(monitor)
        return pid
    try:
        os.setsid()
        kernel.set_process_name(b"ptb-warden")
        for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
            _signal.signal(number, _signal.SIG_IGN)
        processes.close_all_but((container, monitor))
        poll = select.poll()
        poll.register(monitor, select.POLLIN)
        poll.register(container, select.POLLIN)
        ready = [fd for fd, _events in poll.poll()]
        if monitor in ready:
            _end(container)
            last_rites()
    finally:
        os._exit(0)


def _end(container: int) -> None:
    try:
        _signal.pidfd_send_signal(container, _signal.SIGKILL)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(container, select.POLLIN)
    poll.poll()
