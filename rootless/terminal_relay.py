"""Standing between the caller's terminal and a container's, for `run` and `exec` in the foreground.

The caller's terminal is raw while the process runs and restored whatever happens; its size is passed on, and so are
signals where there is no terminal to pass them.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import select

from rootless import system as os
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CHUNK = 65536
_FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGWINCH")


@record
class Signals:
    """The numbers of the signals caught so far; `wake` becomes readable with each."""

    wake: int
    pending: list[int]


def catch_signals() -> Signals:
    """Catch what is to be passed on from now on: before there is a process, so that it never goes on without us."""
    wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    pending: list[int] = []

    def note(number: int, _frame: object) -> None:
        pending.append(number)

    _signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for name in _FORWARDED:
        _signal.signal(getattr(_signal, name), note)
    return Signals(wake, pending)


def wait(pid: int, master: int, signals: Signals) -> int:
    """Wait for the child `pid` and return its exit status as shells have it.

    `master` is its terminal or -1; `signals` are passed on to it.
    """
    process = os.pidfd_open(pid)
    saved = make_raw(0) if master >= 0 else None
    try:
        if master >= 0:
            _copy_size(master)
        _relay(process, master, signals)
    finally:
        if saved is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, saved)
        os.close(process)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if status >= 0 else 128 - status


def make_raw(fd: int) -> list[Any] | None:
    """Switch the terminal `fd` to raw mode (termios(3), cfmakeraw); None if it is none."""
    import termios

    try:
        saved = termios.tcgetattr(fd)
    except termios.error:
        return None
    mode = termios.tcgetattr(fd)
    mode[0] &= ~(termios.BRKINT | termios.ICRNL | termios.INPCK | termios.ISTRIP | termios.IXON | termios.IGNBRK)
    mode[1] &= ~termios.OPOST
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG | termios.ECHONL)
    termios.tcsetattr(fd, termios.TCSADRAIN, mode)
    return saved


def _relay(process: int, master: int, signals: Signals) -> None:
    poll = select.poll()
    for fd in (process, signals.wake):
        poll.register(fd, select.POLLIN)
    if master >= 0:
        poll.register(master, select.POLLIN)
        poll.register(0, select.POLLIN)
    ended = False
    while True:
        ready = dict(poll.poll(0 if ended else None))
        if signals.wake in ready:
            drain(signals.wake)
        while signals.pending:
            number = signals.pending.pop(0)
            if number == _signal.SIGWINCH and master >= 0:
                _copy_size(master)
            else:
                _send(process, number)
        if 0 in ready and master >= 0:
            typed = _read(0)
            if typed:
                _write(master, typed)
            else:
                poll.unregister(0)
                _write(master, b"\x04")
        if master >= 0 and master in ready:
            shown = _read(master)
            if shown:
                _write(1, shown)
            else:
                poll.unregister(master)
                master = -1
        elif ended:
            return
        if process in ready:
            ended = True
            if master < 0:
                return


def _copy_size(master: int) -> None:
    from rootless import tty

    tty.copy_size(0, master)


def _send(process: int, number: int) -> None:
    try:
        _signal.pidfd_send_signal(process, number)
    except ProcessLookupError:
        return


def drain(fd: int) -> None:
    try:
        os.read(fd, 4096)
    except BlockingIOError:
        return


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except OSError:
        return b""  # EIO: the last slave is closed (ioctl_tty(2))


def _write(fd: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        return
