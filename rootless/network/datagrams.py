"""Published UDP ports on the host's loopback, which slirp4netns without the host's loopback leaves unanswered.

slirp4netns shows a client at 127.0.0.1 to the container as the gateway, and with --disable-host-loopback it drops what
the container sends there, be it an answer. So a process of our own takes the datagrams that arrive on loopback: its
sockets for the clients are in the host's network, those for the container in the container's. The container sees its
own address as the sender.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import fcntl
import select

from rootless import kernel, processes
from rootless import system as os
from rootless.channel import Channel
from rootless.network.ports import Held, PublishedPort

Address = tuple[str | int, ...]
_MOST_CLIENTS = 256
"""With more of them at a time, who was silent for longest is forgotten; an answer that comes later is lost."""
_LARGEST_DATAGRAM = 1 << 16
_CONTROL_FD = 3


class Relay:
    """The process that relays for one network namespace; it starts with the first port and dies with the monitor."""

    def __init__(self, netns_fd: int, address: str) -> None:
        """`address` is the container's in the namespace; `netns_fd` stays open as long as ports are added."""
        self.pid = 0
        self._address = address
        self._netns_fd = netns_fd
        self._control: Channel | None = None
        self._ports: set[PublishedPort] = set()

    def add(self, port: PublishedPort, address: str = "", *, shared: bool = False) -> PublishedPort:
        """Relay from a port of the host to one of `address`, or of the container, and return it with its number.

        `shared`: although slirp4netns has it for all addresses. Raises PtbError with what stands in the way.
        """
        held = Held(port, shared=shared)
        if self._control is None:
            self._control = self._start()
        self._control.send("add", f"{held.port}\t{address or self._address}\t{port.container_port}", held.fileno())
        held.release()
        self._control.expect("done")
        self._ports.add(held.port)
        return held.port

    def remove(self, port: PublishedPort) -> bool:
        """Give a port back; returns whether it was relayed. Raises PtbError."""
        if port not in self._ports or self._control is None:
            return False
        self._ports.remove(port)
        self._control.send("remove", str(port))
        self._control.expect("done")
        return True

    def stop(self) -> None:
        """End the process and wait for it."""
        if self._control is not None:
            processes.end_child(self.pid)
            self._control.close()
            self._control = None

    def _start(self) -> Channel:
        monitor = os.getpid()
        here, there = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid:
            there.close()
            return Channel(here)
        try:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, _signal.SIGKILL)
            if os.getppid() == monitor:
                kernel.set_process_name(b"ptb-datagrams")
                kernel.setns(self._netns_fd, kernel.CLONE_NEWNET)
                _keep_only(there)
                _Exchange(Channel(_socket.socket(fileno=_CONTROL_FD)), _CONTROL_FD).serve()
        finally:
            os._exit(1)


def _keep_only(control: _socket.socket) -> None:
    """Have `control` as _CONTROL_FD and nothing else of the monitor's: what is open here stays open as long as here."""
    null = os.open("/dev/null", os.O_RDWR)
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, _CONTROL_FD + 1) for fd in (null, null, null, control.fileno())]
    for number, fd in enumerate(high):
        os.dup2(fd, number)
    kernel.close_range(_CONTROL_FD + 1, 0xFFFFFFFF, 0)


class _Exchange:
    """The sockets: one for each published port, and one for each client that sent something there."""

    def __init__(self, control: Channel, control_fd: int) -> None:
        self._control = control
        self._control_fd = control_fd
        self._poll = select.poll()
        self._poll.register(control_fd, select.POLLIN)
        self._ports: dict[int, tuple[_socket.socket, str, Address]] = {}
        self._clients: dict[tuple[int, Address], _socket.socket] = {}
        """By the descriptor of the port and the client's address; who was silent for longest comes first."""
        self._answers: dict[int, tuple[int, Address]] = {}
        """By the descriptor of a client's socket, its key among the clients."""

    def serve(self) -> None:
        """Relay until the monitor closes its end of the control channel."""
        while True:
            for fd, _events in self._poll.poll():
                if fd == self._control_fd:
                    if not self._obey():
                        return
                    continue
                try:
                    if fd in self._ports:
                        self._to_container(fd)
                    elif fd in self._answers:
                        self._to_client(fd)
                except OSError:
                    continue  # nobody listens (ECONNREFUSED) or it is too much: datagrams are lost

    def _obey(self) -> bool:
        word, text, fd = self._control.receive()
        if word == "add":
            name, address, number = text.split("\t")
            port = _socket.socket(fileno=fd)
            port.setblocking(False)
            self._ports[fd] = (port, name, (address, int(number)))
            self._poll.register(fd, select.POLLIN)
        elif word == "remove":
            for fd in [fd for fd, (_port, name, _target) in self._ports.items() if name == text]:
                for key in [key for key in self._clients if key[0] == fd]:
                    self._forget(key)
                self._poll.unregister(fd)
                self._ports.pop(fd)[0].close()
        else:
            return False
        self._control.send("done")
        return True

    def _to_container(self, fd: int) -> None:
        port, _name, target = self._ports[fd]
        data, client = port.recvfrom(_LARGEST_DATAGRAM)
        key = (fd, client)
        inner = self._clients.pop(key, None)
        if inner is None:
            if len(self._clients) == _MOST_CLIENTS:
                self._forget(next(iter(self._clients)))
            inner = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
            inner.setblocking(False)
            inner.connect(target)
            self._answers[inner.fileno()] = key
            self._poll.register(inner.fileno(), select.POLLIN)
        self._clients[key] = inner
        inner.send(data)

    def _to_client(self, fd: int) -> None:
        key = self._answers[fd]
        self._ports[key[0]][0].sendto(self._clients[key].recv(_LARGEST_DATAGRAM), key[1])

    def _forget(self, key: tuple[int, Address]) -> None:
        inner = self._clients.pop(key)
        self._poll.unregister(inner.fileno())
        del self._answers[inner.fileno()]
        inner.close()
