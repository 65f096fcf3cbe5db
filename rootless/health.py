"""Health checks, run by the container's own monitor (docker's HEALTHCHECK; podman-healthcheck(1)).

One check at a time is a process in the container, like `exec`'s. Its result changes the status after as many failures in
a row as `retries` says, or at once for the better.
"""

from __future__ import annotations

import select
import time

from rootless import container_exec
from rootless import state as state_module
from rootless import system as os
from rootless.errors import PtbError
from rootless.monitor_plan import Health, Startup
from rootless.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.status import Status

_KEPT = 5
_LONGEST_OUTPUT = 500


def command_of(test: tuple[str, ...]) -> tuple[str, ...]:
    """The command of a test as images have it: CMD and CMD-SHELL (docker, HEALTHCHECK)."""
    if test[:1] == ("CMD",):
        return test[1:]
    if test[:1] == ("CMD-SHELL",):
        return ("/bin/sh", "-c", " ".join(test[1:]))
    return test


class Checks:
    """The checks of one running container."""

    def __init__(self, health: Health, root: str, identity: str) -> None:
        self._health = health
        self._root = root
        self._identity = identity
        self._began = time.monotonic()
        self._startup: Startup | None = None
        self._successes = self._failures = 0
        self.gave_up = False
        """Whether the container has not come up in as many checks as it was given."""
        self._next: float | None = None
        self._process = -1
        self._pid = 0
        self._output = -1
        self._said = b""
        self._since = 0
        self._due = 0.0

    def begin(self, status: Status) -> Status:
        """The container has just started."""
        self._began = time.monotonic()
        self._startup, self._successes, self._failures = self._health.startup, 0, 0
        self._next = self._began + self._pace(status)
        return replace(status, health="starting", health_streak=0, health_log=())

    def _check(self) -> Health | Startup:
        return self._startup or self._health

    def _pace(self, status: Status) -> float:
        if self._startup is not None:
            return self._startup.interval
        starting = status.health in ("", "starting") and time.monotonic() - self._began < self._health.start_period
        return min(self._health.start_interval, self._health.interval) if starting else self._health.interval

    def deadline(self) -> float | None:
        """When `advance` is due, by the monotonic clock; None while there is nothing to do."""
        return self._due if self._pid else self._next

    def descriptors(self) -> tuple[int, ...]:
        """What to watch besides: readable means that `advance` is due."""
        return tuple(fd for fd in (self._process, self._output) if fd >= 0)

    def advance(self, status: Status) -> Status | None:
        """Do what is due; the new status if a check has ended."""
        now = time.monotonic()
        if not self._pid:
            if self._next is not None and now >= self._next:
                self._begin_check(now)
            return None
        self._read()
        ended = self._ended()
        if not ended and now < self._due:
            return None
        if not ended:
            os.kill(self._pid, 9)
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._read()
        self._forget_process()
        self._next = time.monotonic() + self._pace(status)
        if not ended:
            text = f"health check took longer than {self._check().timeout:g}s"
            return self._judged(status, 1, text)
        return self._judged(status, code if code >= 0 else 128 - code, self._said.decode(errors="replace"))

    def stop(self) -> None:
        """The container has ended."""
        if self._pid:
            os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)
            self._forget_process()

    def _begin_check(self, now: float) -> None:
        self._said, self._since = b"", time.time_ns()
        read_end, write_end = os.pipe()
        saved = [os.dup(fd) for fd in (1, 2)]
        try:
            os.dup2(write_end, 1)
            os.dup2(write_end, 2)
            spec = state_module.configuration(self._root, self._identity)
            process = container_exec.process_of(spec, arguments=command_of(self._check().test))
            request = container_exec.ExecRequest(self._root, self._identity, spec, process)
            self._pid, _master = container_exec.start(request)
        except (PtbError, OSError) as error:
            os.write(write_end, str(error).encode(errors="replace")[:_LONGEST_OUTPUT])
            self._pid = os.fork()
            if self._pid == 0:
                os._exit(125)
        finally:
            for place, fd in zip((1, 2), saved, strict=True):
                os.dup2(fd, place)
                os.close(fd)
            os.close(write_end)
        os.set_blocking(read_end, False)
        self._output = read_end
        self._process = os.pidfd_open(self._pid)
        self._due = now + self._check().timeout

    def _read(self) -> None:
        while self._output >= 0:
            try:
                data = os.read(self._output, 4096)
            except BlockingIOError:
                return
            if not data:
                os.close(self._output)
                self._output = -1
            elif len(self._said) < _LONGEST_OUTPUT:
                self._said = (self._said + data)[:_LONGEST_OUTPUT]

    def _ended(self) -> bool:
        poll = select.poll()
        poll.register(self._process, select.POLLIN)
        return bool(poll.poll(0))

    def _forget_process(self) -> None:
        for fd in self.descriptors():
            os.close(fd)
        self._process = self._output = -1
        self._pid = 0

    def _judged(self, status: Status, code: int, text: str) -> Status:
        entry = (self._since, time.time_ns(), code, text)
        log = (*status.health_log, entry)[-_KEPT:]
        if self._startup is not None:
            self._judge_startup(self._startup, code)
            return replace(status, health_log=log)
        if code == 0:
            return replace(status, health="healthy", health_streak=0, health_log=log)
        in_grace = time.monotonic() - self._began < self._health.start_period and status.health == "starting"
        streak = status.health_streak + (0 if in_grace else 1)
        health = "unhealthy" if streak >= self._health.retries else status.health
        return replace(status, health=health, health_streak=streak, health_log=log)

    def _judge_startup(self, startup: Startup, code: int) -> None:
        if code == 0:
            self._successes += 1
            if self._successes >= startup.success:
                self._startup = None
                self._next = time.monotonic()
        else:
            self._successes = 0
            self._failures += 1
            self.gave_up = bool(startup.retries) and self._failures >= startup.retries
