"""What `list`, `ps` and `events` print."""

from __future__ import annotations

import os

from rootless import json_text
from rootless import state as state_module
from rootless.errors import CommandNotFound, HostUnfit, InUse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.state import State

_COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")


def table(containers: list[dict[str, object]]) -> str:
    """Containers in columns, as runc lists them."""
    rows = [[name.upper() for name in _COLUMNS], *([str(entry[name]) for name in _COLUMNS] for entry in containers)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(_COLUMNS))]
    return "\n".join(
        "   ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def processes_table(pids: list[int], options: list[str]) -> str:
    """What ps(1) says of `pids`, with its own options (default: -ef). Raises CommandNotFound where there is no ps."""
    import subprocess

    try:
        said = subprocess.run(["ps", *(options or ["-ef"])], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        raise CommandNotFound("ps is not installed", hint="--format json needs none") from None
    lines = said.splitlines()
    header = lines[0].split() if lines else []
    if "PID" not in header:
        raise InUse("these ps options show no PID column, by which the container's processes are told")
    column = header.index("PID")
    wanted = {str(pid) for pid in pids}
    return "\n".join([*lines[:1], *(line for line in lines[1:] if line.split()[column : column + 1][0] in wanted)])


def events(state: State, *, interval: float, once: bool) -> Iterator[str]:
    """JSON lines: statistics every `interval` seconds, and one when the container runs out of memory; till it stops.

    Raises HostUnfit where the container has no cgroup to ask.
    """
    import select

    from rootless import container_cgroup

    process = state_module.open_process(state)
    if process is None:
        raise InUse(f'container "{state.id}" is not running')
    if not state.cgroup:
        raise HostUnfit(
            f'container "{state.id}" has no cgroup of its own, so nothing is counted',
            hint="cgroup v2 with a systemd user session gives it one",
        )
    kills = container_cgroup.out_of_memory_kills(state.cgroup)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    try:
        while True:
            data = container_cgroup.statistics(state.cgroup)
            yield json_text.dump({"type": "stats", "id": state.id, "data": data})
            if once or poll.poll(interval * 1000):
                return
            now = container_cgroup.out_of_memory_kills(state.cgroup)
            if now > kills:
                yield json_text.dump({"type": "oom", "id": state.id})
            kills = now
    finally:
        os.close(process)
