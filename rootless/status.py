"""What is true of a container: `status.json` in its directory, written by its monitor and believed only while that lives.

The file is replaced by rename and never synced: what it says of a container that runs is void after a reboot anyway.
"""

from __future__ import annotations

import time

from rootless import json_text, kernel, processes
from rootless import system as os
from rootless.errors import InvalidDocument
from rootless.record import record, replace, values_of

_FILE = "status.json"
_ENOSPC = 28


@record
class Status:
    """The state of a container in podman's words: created, running, paused, restarting, exited.

    Times are nanoseconds since 1970, 0 for never. `ports` are (host address, host port, container port, protocol).
    `health` is "" without a check, else starting, healthy or unhealthy.
    """

    state: str
    monitor: int = 0
    monitor_started: int = 0
    boot: str = ""
    pid: int = 0
    pid_started: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    out_of_memory: bool = False
    restarts: int = 0
    error: str = ""
    ports: tuple[tuple[str, int, int, str], ...] = ()
    address: str = ""
    health: str = ""
    health_streak: int = 0
    health_log: tuple[tuple[int, int, int, str], ...] = ()
    stopped_by_user: bool = False

    @staticmethod
    def initial() -> Status:
        """Of a container that its monitor, the caller, is about to start."""
        me = os.getpid()
        return Status("starting", monitor=me, monitor_started=processes.start_time(me) or 0, boot=processes.boot_id())

    def running(self, pid: int, started: int, ports: tuple[tuple[str, int, int, str], ...], address: str) -> Status:
        """It runs now."""
        changes = {"pid": pid, "pid_started": started, "started_at": time.time_ns(), "finished_at": 0, "exit_code": 0}
        return replace(self, state="running", ports=ports, address=address, error="", out_of_memory=False, **changes)

    def ended_with(self, code: int, *, out_of_memory: bool = False, error: str = "") -> Status:
        """Its first process has ended; `code` as shells have it."""
        return replace(
            self,
            state="exited",
            pid=0,
            pid_started=0,
            finished_at=time.time_ns(),
            exit_code=code,
            out_of_memory=out_of_memory,
            error=error,
            health="",
        )

    def never_started(self, code: int, error: str) -> Status:
        """Starting it failed."""
        state = "exited" if self.started_at else "created"
        return replace(self, state=state, pid=0, pid_started=0, exit_code=code, error=error)

    def restarting(self, times: int) -> Status:
        """It waits to be started again."""
        return replace(self, state="restarting", restarts=times)

    def not_again(self) -> Status:
        """It was stopped while it waited for that."""
        return replace(self, state="exited")

    def save(self, directory: str) -> None:
        """Write it to the container's directory; a full disk, or a directory that is gone, is not the container's end."""
        temporary = f"{directory}/.{_FILE}.{os.getpid()}"
        text = json_text.dump(values_of(self)).encode(errors="surrogateescape")
        try:
            try:
                _write(temporary, os.O_CREAT | os.O_TRUNC, text)
                os.rename(temporary, f"{directory}/{_FILE}")
            except OSError as error:
                if error.errno != _ENOSPC:
                    raise
                os.unlink(temporary)
                # What is there takes up a block already; JSON bears blanks at its end.
                size = os.stat(f"{directory}/{_FILE}").st_size
                _write(f"{directory}/{_FILE}", 0, text.ljust(size))
        except OSError:
            return


def _write(path: str, flags: int, text: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
    try:
        os.write(fd, text)
    finally:
        os.close(fd)


CREATED = Status("created")


def load(directory: str) -> Status:
    """What is true of the container in `directory` now."""
    try:
        with open(f"{directory}/{_FILE}", encoding="utf-8", errors="surrogateescape") as stream:
            fields = json_text.parse(stream.read(), f"{directory}/{_FILE}")
        for key in ("ports", "health_log"):
            fields[key] = tuple(tuple(entry) for entry in fields[key])
        found = Status(**fields)
    except (FileNotFoundError, InvalidDocument, TypeError, KeyError):
        return CREATED
    if found.state in ("created", "exited") or is_alive(found):
        return found
    if found.pid:
        _end_orphan(found)
    if not found.started_at:
        return replace(found, state="created", pid=0)
    # Its monitor was killed together with its warden, or the machine went down.
    code = found.exit_code if found.finished_at > found.started_at else 137
    finished = found.finished_at or found.started_at
    return replace(found, state="exited", pid=0, exit_code=code, finished_at=finished, health="")


def watch(directory: str) -> int:
    """A descriptor that becomes readable whenever the status in `directory` is written from now on (inotify(7))."""
    fd = kernel.inotify_init1(os.O_CLOEXEC)
    kernel.inotify_add_watch(fd, directory, kernel.IN_MOVED_TO)
    return fd


def is_alive(status: Status) -> bool:
    """Whether the monitor lives."""
    if not status.monitor or status.boot != processes.boot_id():
        return False
    fd = processes.open_process(status.monitor, status.monitor_started)
    if fd is None:
        return False
    os.close(fd)
    return True


def _end_orphan(status: Status) -> None:
    """A container without its monitor must not go on."""
    if status.boot != processes.boot_id():
        return
    fd = processes.open_process(status.pid, status.pid_started)
    if fd is not None:
        processes.kill_and_wait(fd)
        os.close(fd)
