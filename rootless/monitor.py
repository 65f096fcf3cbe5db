"""A container's monitor: the one process that starts it, stands by it, and cleans up after it.

It is forked by the command that starts the container and lives in the container's user namespace and in a mount
namespace of its own, where the root file system is mounted. In order:

    caller                                  monitor
    fork, id maps ────────────────────────▶ network namespace and its helper, root file system
                                            pipes or terminal, log, socket
                                            OCI runtime: create; warden
    go ───────────────────────────────────▶ OCI runtime: start
    ◀──────────────────────────── running ─ streams, signals, health, until the container has ended
                                            OCI runtime: delete; status written
                                            again from the pipes on if it is to restart
    ◀─────────────────────────────── exit ─ what must go is removed

Whatever ends the monitor ends the container: its warden sees to that.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import fcntl
import select
import time

from rootless import (
    attachment,
    container_log,
    json_text,
    kernel,
    launch,
    notification,
    oci_runtime,
    overlay,
    processes,
    warden,
)
from rootless import system as os
from rootless.errors import PtbError
from rootless.network import connection
from rootless.status import Status
from rootless.stdio_hub import Client, Hub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.health import Checks
    from rootless.monitor_plan import Callbacks, Plan
    from rootless.spec import Spec

_TIOCGPTPEER = 0x5441
_LONGEST_BACKOFF = 60.0
_STEADY = 10.0
"""Seconds after which a container that ran is no longer one that fails at once."""


def main(plan: Plan, callbacks: Callbacks, caller: _socket.socket, network: int = -1) -> int:
    """Be the monitor; returns its exit status. See `monitor_spawn`; `network` is a namespace made for it, or -1."""
    kernel.set_process_name(b"ptb-monitor")
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    monitor = _Monitor(plan, callbacks, caller)
    try:
        monitor.set_up(network)
        monitor.live()
    except (PtbError, OSError) as error:
        monitor.fail(error)
        return 1
    finally:
        monitor.leave_network()
    return 0


def _hand_over(streams: list[int], configuration: dict[str, Any]) -> None:
    """Make the container's streams its user's, where that has ids of its own: or it could not open /dev/stdout again."""
    found = []
    for kind in ("uid", "gid"):
        wanted = configuration["process"]["user"].get(kind, 0)
        ranges = configuration["linux"].get(f"{kind}Mappings") or ()
        inside = [part for part in ranges if 0 <= wanted - part["containerID"] < part["size"]]
        found += [part["hostID"] + wanted - part["containerID"] for part in inside]
    if len(found) == 2:
        for fd in streams:
            if os.fstat(fd).st_mode & 0o170000 == 0o010000:
                os.fchown(fd, *found)


class _Monitor:
    """The monitor's state; `live` is its life."""

    def __init__(self, plan: Plan, callbacks: Callbacks, caller: _socket.socket) -> None:
        self.plan = plan
        self.callbacks = callbacks
        self.caller: _socket.socket | None = caller
        self.poll = select.poll()
        self.log = container_log.open_log("none", plan.directory)
        self.hub = Hub(self.poll, self._write_log, on_message=self._message)
        self.wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.signals: list[int] = []
        self.listener: _socket.socket | None = None
        self.notifier: _socket.socket | None = None
        self.network: connection.Running | None = None
        self.ports: tuple[tuple[str, int, int, str], ...] | None = None
        self.deadlines: dict[str, float] = {}
        self.container = -1
        self.slave = -1
        self.ended = False
        self.stopping = False
        self.restart_wanted = False
        self.restarts = 0
        self.restarts_in_a_row = 0
        self.wants_output = False
        self.status = Status.initial()
        self.checks: Checks | None = None
        self.started = False
        _signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (_signal.SIGTERM, _signal.SIGUSR1):
            _signal.signal(number, lambda found, _frame: self.signals.append(found))
        for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGPIPE):
            _signal.signal(number, _signal.SIG_IGN)

    # --- before and after ---

    def set_up(self, network: int) -> None:
        """Everything that lasts over restarts."""
        plan = self.plan
        os.makedirs(plan.runtime_directory, 0o700, exist_ok=True)
        self.network = connection.start(plan.network, plan.runtime_directory, network)
        if plan.overlay is not None:
            overlay.mount(plan.overlay, plan.rootfs)
        self.log = container_log.open_log(
            plan.log.driver,
            plan.directory,
            max_size=plan.log.max_size,
            max_files=plan.log.max_files,
            tag=plan.log.tag,
            identity=plan.id,
            name=plan.name,
        )
        self.listener = attachment.listen(f"{plan.runtime_directory}/attach")
        self.poll.register(self.wake, select.POLLIN)
        self.poll.register(self.listener.fileno(), select.POLLIN)
        if plan.ready_by == "container" and notification.wanted():
            self.notifier = notification.listen(plan.runtime_directory)
            self.poll.register(self.notifier.fileno(), select.POLLIN)

    def fail(self, error: PtbError | OSError) -> None:
        """Say what went wrong to whoever is there and leave nothing behind."""
        if isinstance(error, PtbError):
            text, code = f"{type(error).__name__}\0{error.message}\0{error.hint or ''}", error.exit_status
        else:
            subject = f'"{error.filename}": ' if error.filename else ""
            text, code = f"PtbError\0{subject}{error.strerror or error}\0", 125
        message = text.split("\0")[1]
        if self.started:
            self._save(self.status.ended_with(code, error=message))
        else:
            self._save(self.status.never_started(code, error=message))
        self._finish()
        if self.caller is not None:
            attachment.tell(self.caller, attachment.FAILED, text.encode(errors="replace")[:60000])
        self.hub.say_goodbye(attachment.FAILED, text.encode(errors="replace")[:60000])

    def live(self) -> None:
        """Start, stand by, and start again as long as the restart policy wants it."""
        while True:
            began = time.monotonic()
            self._run_once()
            if not self._goes_on():
                break
            if time.monotonic() - began > _STEADY:
                self.restarts_in_a_row = 0
            self._back_off()
            if self.stopping:
                self._save(self.status.not_again())
                break
        self._finish()
        self.hub.say_goodbye(attachment.EXIT, str(self.status.exit_code).encode())

    def _finish(self) -> None:
        if self.network is not None:
            connection.end(self.network)
            if self.ports:
                self.leave_network()  # who is told of the end may want the ports
        self.log.close()
        if self.listener is not None:
            self.listener.close()
            try:
                os.unlink(f"{self.plan.runtime_directory}/attach")
            except FileNotFoundError:
                pass
        if self.plan.overlay is not None:
            try:
                kernel.umount2(self.plan.rootfs, kernel.MNT_DETACH)
            except OSError:
                pass  # it was never mounted
        self.callbacks.ended(self.status)

    def leave_network(self) -> None:
        """Wait until the network's helper has ended."""
        if self.network is not None:
            connection.stop(self.network)
            self.network = None

    def _goes_on(self) -> bool:
        policy, tries = self.plan.restart.policy, self.plan.restart.tries
        if self.restart_wanted and not self.stopping:
            self.restart_wanted = False
            return True
        if self.stopping or policy == "no":
            return False
        if policy == "on-failure":
            return self.status.exit_code != 0 and (tries == 0 or self.restarts < tries)
        return True

    def _back_off(self) -> None:
        seconds = min(_LONGEST_BACKOFF, 0.1 * 2**self.restarts_in_a_row)
        self.restarts += 1
        self.restarts_in_a_row += 1
        self._save(self.status.restarting(self.restarts))
        self.deadlines["again"] = time.monotonic() + seconds
        while "again" in self.deadlines and not self.stopping:
            self._wait_once()
        self.deadlines.pop("again", None)

    # --- one life of the container ---

    def _run_once(self) -> None:
        plan = self.plan
        assert self.network is not None  # noqa: S101 # set_up made it
        configuration = self.callbacks.prepare(self.network)
        bundle = self._write_bundle(configuration)
        outputs, standard_input, inner = self._make_streams()
        _hand_over(inner, configuration)
        saved = [os.dup(fd) for fd in (0, 1, 2)] if inner else []
        self.ended = False
        try:
            for place, fd in enumerate(inner):
                os.dup2(fd, place)
            pid, master, spec = oci_runtime.create(self._request(bundle), plan.runtime)
        finally:
            for place, fd in enumerate(saved):
                os.dup2(fd, place)
                os.close(fd)
            for fd in set(inner):
                os.close(fd)
        guard = 0
        try:
            self.container = os.pidfd_open(pid)
            self.poll.register(self.container, select.POLLIN)
            if master >= 0:
                outputs, standard_input = {master: 1}, master
                self._keep_slave(master)
            self.hub.open(outputs, standard_input, terminal=plan.terminal)
            guard = warden.start(self.container, self._last_rites)
            self._start(pid, spec)
            while not self.ended:
                self._wait_once()
        finally:
            code = self._reap(pid)
            self.hub.drain_and_close()
            if self.checks is not None:
                self.checks.stop()
                self.checks = None
            out_of_memory = oci_runtime.out_of_memory(plan.runtime_root, plan.id)
            oci_runtime.delete(plan.runtime_root, plan.id, plan.runtime, spec)
            if guard:
                os.kill(guard, _signal.SIGKILL)
                os.waitpid(guard, 0)
            self.deadlines.clear()
        self._save(self.status.ended_with(code, out_of_memory=out_of_memory))

    def _request(self, bundle: str) -> launch.Request:
        plan = self.plan
        return launch.Request(
            root=plan.runtime_root,
            id=plan.id,
            bundle=bundle,
            pid_file=plan.pid_file,
            preserve_fds=plan.preserve_fds,
            systemd_cgroup=plan.systemd_cgroup,
            cgroup_disabled=plan.cgroup_disabled,
            reaper=plan.reaper,
            keep_terminal=True,
        )

    def _write_bundle(self, configuration: dict[str, Any]) -> str:
        """The bundle, in the runtime directory: the configuration with what is known only now."""
        assert self.network is not None  # noqa: S101 # set_up made it
        linux = dict(configuration["linux"])
        linux["namespaces"] = [
            *(entry for entry in linux["namespaces"] if entry["type"] != "network"),
            *([{"type": "network", "path": self.network.path}] if self.network.path else []),
        ]
        document = {**configuration, "linux": linux, "root": {**configuration["root"], "path": self.plan.rootfs}}
        place = self.plan.runtime_directory
        with open(f"{place}/config.json", "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(json_text.dump(document))
        return place

    def _make_streams(self) -> tuple[dict[int, int], int, list[int]]:
        """(outputs to read, input to write, the container's ends); nothing for a terminal, which the runtime makes."""
        plan = self.plan
        if plan.terminal:
            return {}, -1, []
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        if plan.open_stdin:
            in_read, in_write = os.pipe()
        else:
            in_read, in_write = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), -1
        for fd in (out_read, err_read):
            try:
                fcntl.fcntl(fd, 1031, 1 << 18)  # F_SETPIPE_SZ: fewer wake-ups
            except OSError:
                pass  # the user's pipes have used up what they may
        return {out_read: 1, err_read: 2}, in_write, [in_read, out_write, err_write]

    def _keep_slave(self, master: int) -> None:
        """Hold the terminal's other end: it does not hang up while nobody in the container has it open."""
        flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
        self.slave = fcntl.ioctl(master, _TIOCGPTPEER, flags)

    def _start(self, pid: int, spec: Spec | None) -> None:
        assert self.network is not None  # noqa: S101 # set_up made it
        self._await_go()
        if self.ports is None:
            self.ports = tuple(
                (port.host_ip, port.host_port, port.container_port, port.protocol)
                for port in connection.wait_ready(self.network)
            )
        oci_runtime.start(self.plan.runtime_root, self.plan.id, self.plan.runtime, spec)
        status = self.status.running(pid, processes.start_time(pid) or 0, self.ports, self.network.address)
        if self.plan.health is not None:
            from rootless.health import Checks

            self.checks = Checks(self.plan.health, self.plan.runtime_root, self.plan.id)
            status = self.checks.begin(status)
        self._save(status)
        if self.plan.timeout:
            self.deadlines["timeout"] = time.monotonic() + self.plan.timeout
        self.callbacks.running(self.status)
        if self.plan.ready_by == "conmon":
            notification.send(f"MAINPID={os.getpid()}", "READY=1")
        elif self.plan.ready_by != "ignore":
            notification.send(f"MAINPID={os.getpid()}")
        self.started = True
        if self.caller is not None:
            client, self.caller = Client(self.caller, attached=self.wants_output), None
            self.hub.add(client)
        self.hub.tell_all(attachment.RUNNING, str(pid).encode())

    def _await_go(self) -> None:
        """The caller says whether it wants the output before anything is started; later starts have no caller."""
        if self.caller is None:
            return
        word, _data = attachment.hear(self.caller)
        if word == attachment.ATTACH:
            self.wants_output = True
            word, _data = attachment.hear(self.caller)
        if word != attachment.GO:
            raise PtbError("whoever started the container has gone")

    def _reap(self, pid: int) -> int:
        """Make sure the container's first process is gone; returns its exit status as shells have it."""
        if not self.ended:
            os.kill(pid, _signal.SIGKILL)
        if self.container >= 0:
            self.poll.unregister(self.container)
            os.close(self.container)
            self.container = -1
        _pid, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1
        return code if code >= 0 else 128 - code

    def _last_rites(self) -> None:
        """What the warden does where the monitor was killed."""
        oci_runtime.delete(self.plan.runtime_root, self.plan.id, self.plan.runtime)
        self._save(self.status.ended_with(137, error="its monitor was killed"))
        self.callbacks.ended(self.status)

    # --- events ---

    def _wait_once(self) -> None:
        """Wait for something to happen and deal with it."""
        due = min(self.deadlines.values(), default=None)
        if self.checks is not None:
            due = min((moment for moment in (due, self.checks.deadline()) if moment is not None), default=None)
        timeout = None if due is None else max(0, int((due - time.monotonic()) * 1000) + 1)
        extra = self.checks.descriptors() if self.checks is not None else ()
        for fd in extra:
            self.poll.register(fd, select.POLLIN)
        ready = self.poll.poll(timeout)
        for fd in extra:
            self.poll.unregister(fd)
        for fd, events in ready:
            if fd == self.container:
                self.ended = True
            elif fd == self.wake:
                self._handle_signals()
            elif self.listener is not None and fd == self.listener.fileno():
                self._accept()
            elif self.notifier is not None and fd == self.notifier.fileno():
                notification.relay(self.notifier)
            elif self.hub.owns(fd):
                self.hub.handle(fd, events)
        self._handle_deadlines()

    def _accept(self) -> None:
        assert self.listener is not None  # noqa: S101 # it is what woke us
        fd, _address = self.listener._accept()  # type: ignore[attr-defined] # noqa: SLF001 # what socket.accept calls
        self.hub.add(Client(_socket.socket(fileno=fd)))

    def _handle_signals(self) -> None:
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            pass
        while self.signals:
            number = self.signals.pop(0)
            if number == _signal.SIGTERM:
                self._stop(self.plan.stop_signal, self.plan.stop_timeout)

    def _handle_deadlines(self) -> None:
        now = time.monotonic()
        for name in [name for name, moment in self.deadlines.items() if moment <= now]:
            del self.deadlines[name]
            if name in ("kill", "timeout"):
                self.send_signal(_signal.SIGKILL)
        if self.checks is not None:
            changed = self.checks.advance(self.status)
            if changed is not None:
                if changed.health == "healthy" != self.status.health and self.plan.ready_by == "healthy":
                    notification.send(f"MAINPID={os.getpid()}", "READY=1")
                self._save(changed)
                self._act_on_health(self.checks)

    def _act_on_health(self, checks: Checks) -> None:
        assert self.plan.health is not None  # noqa: S101 # there are checks
        if self.stopping or self.restart_wanted or (self.status.health != "unhealthy" and not checks.gave_up):
            return
        action = "restart" if checks.gave_up else self.plan.health.on_failure
        if action == "kill":
            self.send_signal(_signal.SIGKILL)
        elif action == "stop":
            self._stop(self.plan.stop_signal, self.plan.stop_timeout)
        elif action == "restart":
            self.restart_wanted = True
            self._end(self.plan.stop_signal, self.plan.stop_timeout)

    def _message(self, word: bytes, data: bytes) -> None:
        if word == attachment.SIGNAL and data.isdigit():
            self.send_signal(int(data))
        elif word == attachment.STOP:
            signal, _comma, seconds = data.decode(errors="replace").partition(",")
            number = int(signal) if signal.isdecimal() else self.plan.stop_signal
            wait = float(seconds) if seconds.replace(".", "", 1).isdecimal() else self.plan.stop_timeout
            self._stop(number, wait)

    def _stop(self, signal: int, seconds: float) -> None:
        self.stopping = True
        self._end(signal, seconds)

    def _end(self, signal: int, seconds: float) -> None:
        if seconds <= 0 or not self._heeds(signal):
            signal, seconds = _signal.SIGKILL, 0
        self.send_signal(signal)
        self.deadlines["kill"] = time.monotonic() + seconds

    def _heeds(self, signal: int) -> bool:
        """Whether the first process does anything about the signal: PID 1 of a namespace is spared those it does not
        catch (pid_namespaces(7)), and waiting for it would be in vain. One that it blocks it may be waiting for."""
        try:
            with open(f"/proc/{self.status.pid}/status", encoding="utf-8", errors="replace") as stream:
                fields = dict(line.rstrip("\n").partition(":\t")[::2] for line in stream)
            is_init = fields["NSpid"].split("\t")[-1] == "1"
            heeded = int(fields["SigCgt"], 16) | int(fields["SigBlk"], 16)
        except (OSError, KeyError, ValueError):
            return True
        return not is_init or bool(heeded >> (signal - 1) & 1)

    def send_signal(self, number: int) -> None:
        """Send the container's first process a signal; a frozen container is let go on to get one that ends it."""
        if self.container < 0:
            return
        try:
            _signal.pidfd_send_signal(self.container, number)
        except (ProcessLookupError, ValueError, OSError):
            return
        if number in (_signal.SIGKILL, self.plan.stop_signal):
            oci_runtime.thaw(self.plan.runtime_root, self.plan.id)

    def _write_log(self, stream: int, data: bytes) -> None:
        self.log.write(stream, data)

    def _save(self, status: Status) -> None:
        self.status = status
        status.save(self.plan.directory)
