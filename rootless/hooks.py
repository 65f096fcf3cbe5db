"""Hooks: programs that run at fixed points of a container's life with its state on stdin (config.md, POSIX-platform hooks).

All that run before `start` are told that it is created: they are steps after that of the lifecycle (runtime.md).
"""

from __future__ import annotations

import select

from rootless import json_text
from rootless import system as os
from rootless.errors import PtbError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.spec import Hook


class HookFailed(PtbError):
    """A hook could not be run, ended with another status than 0, or took too long."""


def run_all(name: str, hooks: tuple[Hook, ...], state: dict[str, object], environment: dict[str, str]) -> None:
    """Run the hooks of one kind in order with `state` as JSON on stdin.

    `environment` is theirs where the configuration gives them none. Raises HookFailed at the first that fails.
    """
    for hook in hooks:
        _run(name, hook, json_text.dump(state), environment)


def _run(name: str, hook: Hook, state: str, environment: dict[str, str]) -> None:
    stdin = os.memfd_create("state", os.MFD_CLOEXEC)
    os.write(stdin, state.encode(errors="surrogateescape"))
    os.lseek(stdin, 0, 0)
    variables = environment
    if hook.environment is not None:
        variables = dict(entry.partition("=")[::2] for entry in hook.environment)
    where = f'{name} hook "{hook.path}"'
    try:
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0)]
        pid = os.posix_spawn(hook.path, hook.arguments or (hook.path,), variables, file_actions=actions)
    except OSError as error:
        raise HookFailed(f"{where} cannot be run: {os.strerror(error.errno or 0)}") from error
    finally:
        os.close(stdin)
    if hook.timeout is not None and not _ends_within(pid, hook.timeout):
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise HookFailed(f"{where} took longer than {hook.timeout} s")
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status > 0:
        raise HookFailed(f"{where} failed with status {status}")
    if status < 0:
        raise HookFailed(f"{where} was killed by signal {-status}")


def _ends_within(pid: int, seconds: int) -> bool:
    process = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(process)
