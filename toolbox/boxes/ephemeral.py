"""A box that lasts as long as one command, whatever ends it.

A watcher process holds one end of a pipe; the other end closes when the process that entered the box is done, or is
killed, and then the watcher removes the box.
"""

from __future__ import annotations

from rootless import system as os
from rootless.record import record
from toolbox.boxes.store import BoxRecord


@record
class Watcher:
    """The watching process and the pipe that keeps it waiting."""

    pid: int
    pipe: int


def watch(box: BoxRecord) -> Watcher:
    """Fork the process that removes the box when this one is done."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid:
        os.close(read_end)
        return Watcher(pid, write_end)
    status = 1
    try:
        os.close(write_end)
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.read(read_end, 1)
        from toolbox.boxes.remove import remove_one

        remove_one(box, force=True)
        status = 0
    finally:
        os._exit(status)


def finish(watcher: Watcher) -> None:
    """Let the watcher remove the box, and wait until it has."""
    os.close(watcher.pipe)
    os.waitpid(watcher.pid, 0)
