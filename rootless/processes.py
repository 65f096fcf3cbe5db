"""Which process is which: a pid with its start time and the boot it belongs to names one process for ever (proc(5))."""

from __future__ import annotations

from rootless import system as os

_SIGKILL = 9


def boot_id() -> str:
    """The random id of this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as stream:
        return stream.read().strip()


def start_time(pid: int) -> int | None:
    """When process `pid` started, in clock ticks since boot (field 22 of /proc/PID/stat); None if it is no more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def open_process(pid: int, started: int) -> int | None:
    """A pidfd of the process that has `pid` and started at `started`; None if it is no more."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    if start_time(pid) == started:
        return fd
    os.close(fd)
    return None


def kill_and_wait(pidfd: int) -> None:
    """Kill the process and wait until it is gone; one that is gone already is no error."""
    import select
    import signal

    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()


def end_child(pid: int) -> None:
    """Kill a child of the caller and wait for it; one that was waited for before is no error."""
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == 0:
            os.kill(pid, _SIGKILL)
            os.waitpid(pid, 0)
    except ChildProcessError:
        return


def in_mount_namespace(inode: int) -> list[tuple[int, str]]:
    """The (pid, command name) of the caller's own processes whose mount namespace has this inode number."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            if os.stat(f"/proc/{entry}/ns/mnt").st_ino == inode:
                with open(f"/proc/{entry}/comm", encoding="utf-8", errors="replace") as stream:
                    found.append((int(entry), stream.read().strip()))
        except OSError:
            continue
    return found


def check_preserved(count: int) -> None:
    """Raise UsageError unless `count` descriptors from 3 on are open, before any of ours could be taken for one."""
    for fd in range(3, 3 + count):
        try:
            os.fstat(fd)
        except OSError:
            from rootless.errors import UsageError

            raise UsageError(f"--preserve-fds {count}: descriptor {fd} is not open") from None


def open_or_filled(count: int) -> int:
    """How many descriptors from 3 on to pass on of at most `count`: as far as the last that is open.

    Those missing before that are made /dev/null, so that nothing of ours can be taken for one.
    """
    present = []
    for fd in range(3, 3 + count):
        try:
            os.fstat(fd)
            present.append(fd)
        except OSError:
            continue
    last = present[-1] if present else 2
    if last - 2 != len(present):
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for fd in range(3, last):
            if fd not in present and fd != null:
                os.dup2(null, fd)
        if null > last:
            os.close(null)
    return last - 2


def close_all_but(kept: tuple[int, ...]) -> None:
    """Close every descriptor from 3 on that is not among `kept`."""
    from rootless import kernel

    first = 3
    for fd in sorted(kept):
        if fd > first:
            os.closerange(first, fd)
        first = max(first, fd + 1)
    kernel.close_range(first, 0xFFFFFFFF, 0)
