"""Joining a box that runs, and becoming a command in it: two setns(2) and one execve(2), with nothing to wait for."""

from __future__ import annotations

from rootless import kernel
from rootless import system as os
from rootless.errors import CommandNotFound, CommandNotRunnable, PtbError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

NAMESPACE_FD = 4
"""The anchor's descriptor of the box's mount namespace: /proc/ANCHOR/fd/4."""

_ENOENT, _EACCES, _ENOTDIR = 2, 13, 20


def join(anchor_pid: int, anchor: int, name: str) -> None:
    """Enter the user and mount namespaces of the box `name`, of whose anchor `anchor` is a pidfd.

    The process keeps its ids and supplementary groups and has all capabilities until it executes something. It must
    have one thread, and can import nothing afterwards: its root has changed. Raises PtbError.
    """
    try:
        namespace = os.open(f"/proc/{anchor_pid}/fd/{NAMESPACE_FD}", os.O_RDONLY | os.O_CLOEXEC)
        kernel.setns(anchor, kernel.CLONE_NEWUSER)
        kernel.setns(namespace, kernel.CLONE_NEWNS)
    except OSError as error:
        raise PtbError(f'box "{name}" cannot be joined: {os.strerror(error.errno or 0)}', hint="try again") from error


def execute(program: str, arguments: list[str], variables: dict[str, str], name: str) -> NoReturn:
    """Replace this process by `program`, searched for in the PATH of `variables` (execve(2)).

    Raises CommandNotFound or CommandNotRunnable, which name the box `name`.
    """
    if "/" in program:
        candidates = [program]
    else:
        candidates = [f"{place or '.'}/{program}" for place in variables["PATH"].split(":")]
    kernel.restore_signals()
    failure = _ENOENT
    for path in candidates:
        try:
            os.execve(path, arguments, variables)
        except OSError as error:
            if error.errno not in (_ENOENT, _ENOTDIR) and failure != _EACCES:
                failure = error.errno or _EACCES
    if failure == _ENOENT:
        raise CommandNotFound(f'"{program}" is not in box "{name}"')
    raise CommandNotRunnable(f'"{program}" cannot be executed in box "{name}": {os.strerror(failure)}')
