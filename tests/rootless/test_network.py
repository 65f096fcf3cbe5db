"""Network namespaces with slirp4netns and pasta, made as a container's monitor makes them. Traffic stays on this machine."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rootless import channel, default_spec, kernel, userns
from rootless.channel import Channel
from rootless.errors import HostUnfit, InUse, NotFound, PtbError
from rootless.ids import subordinates
from rootless.network import hosts, namespace, pasta, ports, slirp
from rootless.network.pasta import PastaOptions
from rootless.network.ports import PublishedPort
from rootless.network.slirp import SlirpOptions
from tests.bundles import Bundle, environment
from tests.rootless.environment import PATIENCE

HOST = hosts.first_address()
Options = SlirpOptions | PastaOptions

needs_pasta = pytest.mark.skipif(shutil.which("pasta") is None, reason="pasta is not installed")
either = pytest.mark.parametrize("options", [SlirpOptions(), pytest.param(PastaOptions(), marks=needs_pasta)])


class Monitor:
    """A process where a container's monitor is: in a user and a mount namespace of its own and in the host's network."""

    def __init__(self, pid: int, to: Channel) -> None:
        self.pid = pid
        self._to = to
        self.helpers: list[int] = []
        self.ports: tuple[PublishedPort, ...] = ()
        self.path = ""

    def await_network(self) -> Monitor:
        """Wait until its helper is ready."""
        self.helpers, self.path, published = json.loads(self._to.expect("ready"))
        self.ports = tuple(PublishedPort(*port) for port in published)
        return self

    def ask(self, word: str, *values: Any) -> Any:
        """Have it do something and answer."""
        self.begin(word, *values)
        return self.answer()

    def begin(self, word: str, *values: Any) -> None:
        self._to.send(word, json.dumps(values))

    def answer(self) -> Any:
        return json.loads(self._to.expect("answer"))


@contextmanager
def monitoring(work: Callable[[Channel], None], *, swapped: bool = False) -> Iterator[Monitor]:
    """Run `work` where a monitor is; it and all that it started are gone afterwards."""
    here, there = channel.pair()
    here._socket.settimeout(PATIENCE)

    def run() -> int:
        here.close()
        try:
            work(there)
        except (PtbError, OSError) as error:
            there.fail(error)
        except BaseException:  # noqa: BLE001 # the test reads it
            there.send(traceback.format_exc())
        return 0

    who = subordinates()
    pid = userns.fork_with_maps(who, who.swap_maps() if swapped else who.default_maps(), run, flags=kernel.CLONE_NEWNS)
    there.close()
    try:
        yield Monitor(pid, here)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        here.close()


def networked(
    place: Path, options: Options, wanted: tuple[PublishedPort, ...] = (), *, swapped: bool = False
) -> AbstractContextManager[Monitor]:
    """A monitor with a network namespace and a helper, that then does as it is told."""

    def work(there: Channel) -> None:
        fd = namespace.make()
        directory = os.open(place, os.O_PATH | os.O_DIRECTORY)
        module: Any = slirp if isinstance(options, SlirpOptions) else pasta
        helper = module.start(fd, options, wanted, directory)
        published = module.wait_ready(helper)
        pids = [helper.pid, *([helper.relay.pid] if helper.relay and helper.relay.pid else [])]
        there.send("ready", json.dumps([pids, namespace.path(fd), [port_values(port) for port in published]]))
        while True:
            word, text, _fd = there.receive()
            values = json.loads(text or "[]")
            if word == "inside":
                answer = inside(fd, *values)
            elif word == "add":
                added = slirp.add_ports(helper, [PublishedPort(*port) for port in values])
                answer = [port_values(port) for port in added]
            elif word == "remove":
                answer = slirp.remove_port(helper, PublishedPort(*values))
            elif word == "run":
                answer = subprocess.run(*values, env=environment(), check=False, capture_output=True, text=True).stdout
            else:
                return
            there.send("answer", json.dumps(answer))

    return monitoring(work, swapped=swapped)


def port_values(port: PublishedPort) -> tuple[Any, ...]:
    return port.host_ip, port.host_port, port.container_port, port.protocol


def inside(fd: int, name: str, *values: Any) -> Any:
    """Run a function of this module in the network namespace; what it says first is the answer."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        try:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            kernel.setns(fd, kernel.CLONE_NEWNET)
            globals()[name](lambda text: os.write(write_end, text.encode() + b"\n"), *values)
        except BaseException:  # noqa: BLE001 # the fork must not return
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as stream:
        return stream.readline().strip()


def fetch(say: Callable[[str], None], address: str, port: int) -> None:
    """Say what a server sends, or how it refuses."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect((address, port))
            say(client.recv(100).decode() or "nothing")
        except OSError as error:
            say(f"refused: {error}")


def serve(say: Callable[[str], None], protocol: str, address: str, port: int) -> None:
    """Answer one connection, or every datagram."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as server:
        server.bind((address, port))
        if protocol == "udp":
            say("listening")
            while True:
                data, client = server.recvfrom(100)
                server.sendto(b"inside heard " + data, client)
        server.listen()
        say("listening")
        connection, _address = server.accept()
        with connection:
            connection.sendall(b"inside heard " + connection.recv(100))


def await_global_address(say: Callable[[str], None]) -> None:
    """Wait for the IPv6 address that a router announces."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as changes:
        changes.bind((0, 0x100))  # RTMGRP_IPV6_IFADDR
        changes.settimeout(PATIENCE)
        while not any(
            line.startswith("fd") for line in Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
        ):
            changes.recv(65536)
    say("there")


def read(say: Callable[[str], None], path: str) -> None:
    """Say what a file says, on one line."""
    say(" ".join(Path(path).read_text().split()))


def mtu(say: Callable[[str], None], interface: str) -> None:
    """Say the largest packet of an interface, in bytes."""
    with socket.socket() as any_socket:
        request = fcntl.ioctl(any_socket, 0x8921, struct.pack("16si20x", interface.encode(), 0))  # SIOCGIFMTU
    say(str(struct.unpack("16si20x", request)[1]))


def call(port: PublishedPort, address: str = "127.0.0.1") -> bytes:
    """What the host hears when it says hello to a published port."""
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as client:
        client.settimeout(PATIENCE)
        client.connect((address, port.host_port))
        client.sendall(b"hello")
        return client.recv(100)


@pytest.fixture(params=["127.0.0.1", HOST], ids=["loopback", "address"])
def server(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A server on the host; what it is asked, a test answers."""
    with socket.create_server((request.param, 0)) as made:
        made.settimeout(PATIENCE)
        yield made


def greet(server: socket.socket) -> None:
    connection, _address = server.accept()
    with connection:
        connection.sendall(b"host")


def has_ipv6() -> bool:
    return (
        Path("/proc/net/if_inet6").exists()
        and "00000000000000000000000000000001" in Path("/proc/net/if_inet6").read_text()
    )


def test_a_new_namespace_has_only_loopback() -> None:
    def work(there: Channel) -> None:
        fd = namespace.make()
        assert not os.get_inheritable(fd)
        assert os.stat(namespace.path(fd)).st_ino == os.fstat(fd).st_ino != os.stat("/proc/self/ns/net").st_ino
        there.send(
            "answer", json.dumps([inside(fd, "read", "/proc/thread-self/net/dev"), inside(fd, "fetch", "127.0.0.1", 1)])
        )
        there.receive()

    with monitoring(work) as monitor:
        devices, refusal = monitor.answer()
    assert "lo:" in devices
    assert devices.count(":") == 1
    assert "Connection refused" in refusal


def test_the_container_reaches_the_hosts_address_and_not_its_loopback(tmp_path: Path, server: socket.socket) -> None:
    address, port = server.getsockname()
    with networked(tmp_path, SlirpOptions()) as monitor:
        monitor.await_network()
        if address == HOST:
            monitor.begin("inside", "fetch", HOST, port)
            greet(server)
            assert monitor.answer() == "host"
        else:
            assert "refused: " in monitor.ask("inside", "fetch", "10.0.2.2", port)


def test_the_hosts_loopback_is_behind_the_gateway_where_that_is_allowed(tmp_path: Path) -> None:
    options = slirp.parse("allow_host_loopback=true,cidr=10.77.0.0/24")
    with socket.create_server(("127.0.0.1", 0)) as server, networked(tmp_path, options) as monitor:
        monitor.await_network()
        monitor.begin("inside", "fetch", slirp.addresses(options).gateway, server.getsockname()[1])
        greet(server)
        assert monitor.answer() == "host"


def test_ipv6(tmp_path: Path) -> None:
    if not has_ipv6():
        return
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as server,
        networked(tmp_path, SlirpOptions(allow_host_loopback=True)) as monitor,
    ):
        monitor.await_network()
        assert monitor.ask("inside", "await_global_address") == "there"
        monitor.begin("inside", "fetch", "fd00::2", server.getsockname()[1])
        greet(server)
        assert monitor.answer() == "host"


def test_without_ipv6_and_with_small_packets(tmp_path: Path) -> None:
    with networked(tmp_path, SlirpOptions(enable_ipv6=False, mtu=1500)) as monitor:
        monitor.await_network()
        assert "refused: " in monitor.ask("inside", "fetch", "fd00::2", 80)
        assert monitor.ask("inside", "mtu", "tap0") == "1500"
        assert (
            monitor.ask("inside", "read", "/sys/class/net/tap0/mtu") if os.path.exists("/sys/class/net/tap0") else True
        )


@either
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_published_ports_answer(tmp_path: Path, options: Options, protocol: str) -> None:
    inner = [8080, 8081]
    if protocol == "udp" and isinstance(options, PastaOptions):
        # Debian 12's pasta loses datagrams to a port of another number.
        inner = [free_port(), free_port()]
    outer = inner if inner[0] != 8080 else [0, 0]
    wanted = tuple(PublishedPort(*port, protocol) for port in zip(("", "127.0.0.1"), outer, inner, strict=True))
    with networked(tmp_path, options, wanted) as monitor:
        monitor.await_network()
        assert [port.container_port for port in monitor.ports] == inner
        for port in monitor.ports:
            assert port.host_port
            assert monitor.ask("inside", "serve", protocol, "0.0.0.0", port.container_port) == "listening"
            assert call(port) == b"inside heard hello"


def free_port() -> int:
    held = ports.Held(PublishedPort("", 0, 1, "udp"))
    held.release()
    return held.port.host_port


def test_udp_clients_on_loopback_and_elsewhere(tmp_path: Path) -> None:
    addresses = ("", "::1") if has_ipv6() else ("",)
    wanted = tuple(PublishedPort(address, 0, 53, "udp") for address in addresses)
    with networked(tmp_path, SlirpOptions(), wanted) as monitor:
        everywhere, *rest = monitor.await_network().ports
        assert monitor.ask("inside", "serve", "udp", "0.0.0.0", 53) == "listening"
        for port, address in ((everywhere, "127.0.0.1"), (everywhere, HOST), *((six, "::1") for six in rest)):
            assert call(port, address) == b"inside heard hello"
        with pytest.raises(InUse):
            ports.check([PublishedPort("127.0.0.1", everywhere.host_port, 53, "udp")])
        monitor.ask("remove", *port_values(everywhere))
        ports.check([everywhere, PublishedPort("127.0.0.1", everywhere.host_port, 53, "udp")])


def test_more_udp_clients_than_are_remembered(tmp_path: Path) -> None:
    with networked(tmp_path, SlirpOptions(), (PublishedPort("127.0.0.1", 0, 53, "udp"),)) as monitor:
        port = monitor.await_network().ports[0]
        for _client in range(300):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"nobody is there", ("127.0.0.1", port.host_port))
        assert monitor.ask("inside", "serve", "udp", "0.0.0.0", 53) == "listening"
        assert call(port) == b"inside heard hello"


@needs_pasta
def test_pasta_publishes_on_ipv6(tmp_path: Path) -> None:
    if not has_ipv6():
        return
    with networked(tmp_path, PastaOptions(), (PublishedPort("::1", 0, 8080),)) as monitor:
        monitor.await_network()
        assert monitor.ask("inside", "serve", "tcp", "::", 8080) == "listening"
        assert call(monitor.ports[0], "::1") == b"inside heard hello"


def test_slirp_says_that_it_does_not_publish_on_ipv6(tmp_path: Path) -> None:
    if not has_ipv6():
        return
    with networked(tmp_path, SlirpOptions(enable_ipv6=False), (PublishedPort("::1", 0, 8080),)) as monitor:
        with pytest.raises(HostUnfit, match="forwards from IPv4 addresses only") as caught:
            monitor.await_network()
        assert "--network pasta" in str(caught.value.hint)


@either
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_that_another_container_has(tmp_path: Path, options: Options, protocol: str) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with networked(first, options, (PublishedPort("", 0, 80, protocol),)) as monitor:
        taken = monitor.await_network().ports[0]
        with networked(second, options, (taken,)) as other, pytest.raises(InUse, match=f"{taken} is in use") as caught:
            other.await_network()
        assert "another port" in str(caught.value.hint)
        if isinstance(options, SlirpOptions):
            with pytest.raises(InUse, match=rf'is in use by "slirp4netns" \(process {monitor.helpers[0]}\)'):
                ports.check([taken])
            with pytest.raises(InUse, match="is in use by web"):
                ports.check([taken], lambda _pid: "web")


def test_a_port_that_a_bystander_has(tmp_path: Path, server: socket.socket) -> None:
    address, number = server.getsockname()
    with networked(tmp_path, SlirpOptions()) as monitor:
        monitor.await_network()
        monitor.begin("add", ("127.0.0.1", 0, 80, "tcp"), (address, number, 80, "tcp"))
        with pytest.raises(InUse, match=f"port {number} on {address} is in use"):
            monitor.answer()
    ports.check([PublishedPort("127.0.0.1", 0, 80)])


def test_a_port_that_is_roots() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first < 2:
        return
    with pytest.raises(HostUnfit, match=f"port 1 on 0.0.0.0 cannot be published: ports below {first}") as caught:
        ports.check([PublishedPort("", 1, 80)])
    assert caught.value.hint == "sudo sysctl net.ipv4.ip_unprivileged_port_start=1, or publish another port"


def test_an_address_that_is_not_the_hosts() -> None:
    with pytest.raises(PtbError, match="on 203.0.113.9 cannot be published: Cannot assign requested address"):
        ports.check([PublishedPort("203.0.113.9", 8080, 80)])


def test_ports_come_and_go(tmp_path: Path) -> None:
    with networked(tmp_path, SlirpOptions()) as monitor:
        monitor.await_network()
        tcp, udp = (
            PublishedPort(*port) for port in monitor.ask("add", ("", 0, 80, "tcp"), ("127.0.0.1", 0, 80, "udp"))
        )
        assert monitor.ask("inside", "serve", "tcp", "0.0.0.0", 80) == "listening"
        assert call(tcp) == b"inside heard hello"
        for port in (tcp, udp):
            monitor.ask("remove", *port_values(port))
            ports.check([port])
        monitor.begin("remove", *port_values(tcp))
        with pytest.raises(NotFound, match="is not published"):
            monitor.answer()


@either
@pytest.mark.parametrize("swapped", [False, True], ids=["default map", "swap map"])
def test_helpers_die_with_their_monitor(tmp_path: Path, options: Options, *, swapped: bool) -> None:
    with networked(tmp_path, options, (PublishedPort("", 0, 53, "udp"),), swapped=swapped) as monitor:
        watches = [os.pidfd_open(pid) for pid in monitor.await_network().helpers]
        assert len(watches) == (2 if isinstance(options, SlirpOptions) else 1)
        os.kill(monitor.pid, signal.SIGKILL)
        for watch in watches:
            assert select.select([watch], [], [], PATIENCE)[0]
            os.close(watch)


def test_the_socket_may_be_far_down(tmp_path: Path) -> None:
    place = tmp_path / ("x" * 120)
    place.mkdir()
    with networked(place, SlirpOptions(), (PublishedPort("127.0.0.1", 0, 80),)) as monitor:
        assert monitor.await_network().ports
        assert [entry.name for entry in place.iterdir()] == ["slirp.sock"]


def test_slirp_leaves_no_mount_behind(tmp_path: Path) -> None:
    def work(there: Channel) -> None:
        before = Path("/proc/self/mountinfo").read_text()
        helper = slirp.start(namespace.make(), SlirpOptions(), (), os.open(tmp_path, os.O_PATH))
        slirp.wait_ready(helper)
        same = before == Path("/proc/self/mountinfo").read_text()
        slirp.helpers.stop(helper)
        there.send("answer", json.dumps(same))
        there.receive()

    with monitoring(work) as monitor:
        assert monitor.answer() is True


@either
def test_a_helper_that_is_not_installed(tmp_path: Path, options: Options) -> None:
    def work(there: Channel) -> None:
        os.environ["PATH"] = str(tmp_path)
        module: Any = slirp if isinstance(options, SlirpOptions) else pasta
        module.start(-1, options, (), -1)

    program, package = ("slirp4netns", "slirp4netns") if isinstance(options, SlirpOptions) else ("pasta", "passt")
    with monitoring(work) as monitor, pytest.raises(HostUnfit, match=f"{program} is not installed") as caught:
        monitor.answer()
    assert str(caught.value.hint).startswith(f"sudo apt install {package}")


@either
def test_a_host_without_tap_interfaces(tmp_path: Path, options: Options) -> None:
    def work(there: Channel) -> None:
        kernel.mount("none", "/dev/net", "tmpfs", 0)
        module: Any = slirp if isinstance(options, SlirpOptions) else pasta
        module.wait_ready(module.start(namespace.make(), options, (), os.open(tmp_path, os.O_PATH)))

    with monitoring(work) as monitor, pytest.raises(HostUnfit, match='"/dev/net/tun" cannot be opened') as caught:
        monitor.answer()
    assert caught.value.hint == "sudo modprobe tun"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (SlirpOptions(outbound_addr="nowhere0"), "slirp4netns ended: .*nowhere0|slirp4netns ended: .*outbound"),
        pytest.param(PastaOptions(("--no-such-thing",)), "pasta is too old: .*--no-such-thing", marks=needs_pasta),
    ],
)
def test_what_the_helper_says_when_it_fails(tmp_path: Path, options: Options, complaint: str) -> None:
    with networked(tmp_path, options) as monitor, pytest.raises(PtbError, match=complaint):
        monitor.await_network()


@needs_pasta
def test_pasta_reaches_the_hosts_loopback_only_through_its_gateway(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, networked(tmp_path, pasta.parse("--map-gw")) as monitor:
        monitor.await_network()
        gateway = pasta._gateway()
        if gateway:
            monitor.begin("inside", "fetch", gateway, server.getsockname()[1])
            greet(server)
            assert monitor.answer() == "host"
    with socket.create_server(("127.0.0.1", 0)) as server, networked(tmp_path, PastaOptions()) as monitor:
        monitor.await_network()
        assert "refused: " in monitor.ask("inside", "fetch", "127.0.0.1", server.getsockname()[1])


def test_an_oci_runtime_puts_a_container_there(tmp_path: Path, bundle: Bundle) -> None:
    with networked(tmp_path, SlirpOptions()) as monitor:
        monitor.await_network()
        bundle.spec = default_spec.document(rootless=False)
        bundle.spec["process"]["terminal"] = False
        bundle.command("/bin/cat", "/proc/net/dev")
        for entry in bundle.linux["namespaces"]:
            if entry["type"] == "network":
                entry["path"] = monitor.path
        bundle.write()
        run = [
            sys.executable,
            "-m",
            "rootless",
            "--root",
            str(tmp_path / "state"),
            "run",
            "-b",
            str(bundle.path),
            "one",
        ]
        assert "tap0:" in monitor.ask("run", run)
