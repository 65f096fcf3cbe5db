"""What users write: published ports, and the options of slirp4netns and pasta."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rootless.errors import UsageError
from rootless.network import pasta, ports, slirp
from rootless.network.pasta import PastaOptions
from rootless.network.ports import PublishedPort
from rootless.network.slirp import SlirpOptions


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("80", [("", 0, 80, "tcp")]),
        ("8080:80", [("", 8080, 80, "tcp")]),
        ("8080:80/tcp", [("", 8080, 80, "tcp")]),
        ("5353:53/UDP", [("", 5353, 53, "udp")]),
        ("127.0.0.1:8080:80", [("127.0.0.1", 8080, 80, "tcp")]),
        ("127.0.0.1::80", [("127.0.0.1", 0, 80, "tcp")]),
        ("[::1]:8080:80", [("::1", 8080, 80, "tcp")]),
        ("[::1]::80/udp", [("::1", 0, 80, "udp")]),
        ("8000-8001:80-81", [("", 8000, 80, "tcp"), ("", 8001, 81, "tcp")]),
        ("80-81", [("", 0, 80, "tcp"), ("", 0, 81, "tcp")]),
    ],
)
def test_published_ports(text: str, published: list[tuple[str, int, int, str]]) -> None:
    assert ports.parse(text) == tuple(PublishedPort(*each) for each in published)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", '"" is not a port'),
        ("http", '"http" is not a port'),
        ("0", '"0" is not a port'),
        ("65536", '"65536" is not a port'),
        ("81-80", '"81-80" is not a port'),
        ("8080:80:90:100", '"8080:80" is not an IP address'),
        ("127.0.0.1:80", '"127.0.0.1" is not a port'),
        ("localhost:8080:80", '"localhost" is not an IP address'),
        ("8000-8002:80-81", "3 host ports for 2 container ports"),
        ("80/sctp", '"sctp" cannot be published'),
    ],
)
def test_ports_that_are_none(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        ports.parse(text)


def test_options_of_slirp() -> None:
    assert slirp.parse("") == SlirpOptions()
    text = "allow_host_loopback=true,enable_ipv6=false,mtu=1500,cidr=10.5.0.0/16,outbound_addr=eth0,port_handler=rootlesskit"
    assert slirp.parse(text) == SlirpOptions(
        allow_host_loopback=True, enable_ipv6=False, mtu=1500, cidr="10.5.0.0/16", outbound_addr="eth0"
    )


@pytest.mark.parametrize(
    "text", ["mtu=67", "mtu=65522", "mtu=big", "cidr=10.0.0.0", "cidr=10.0.0.0/26", "cidr=fd00::/64", "colour=red"]
    + ["allow_host_loopback=yes", "enable_ipv6", "outbound_addr=", "port_handler=carrier-pigeon"],
)  # fmt: skip
def test_options_that_slirp_has_not(text: str) -> None:
    with pytest.raises(UsageError, match=f'"{text}" is not one of its options'):
        slirp.parse(text)


def test_addresses_of_slirp() -> None:
    assert slirp.addresses(SlirpOptions()) == slirp.Addresses("10.0.2.100", "10.0.2.2", "10.0.2.3")
    assert slirp.addresses(SlirpOptions(cidr="10.5.1.7/16")) == slirp.Addresses("10.5.0.100", "10.5.0.2", "10.5.0.3")


def test_options_of_pasta() -> None:
    options = pasta.parse("--map-gw,-T,8080,--dns-forward=10.1.1.1")
    assert options == PastaOptions(("--map-gw", "-T", "8080", "--dns-forward=10.1.1.1"))
    assert pasta.name_server(options) == "10.1.1.1"
    assert pasta.name_server(pasta.parse("--dns-forward,10.2.2.2")) == "10.2.2.2"
    assert pasta.name_server(PastaOptions()) == pasta.NAME_SERVER


def test_options_that_are_not_the_users() -> None:
    with pytest.raises(UsageError, match='"--netns" cannot be given'):
        pasta.parse("--netns=/proc/1/ns/net")


def test_what_a_monitor_loads_is_light() -> None:
    script = "import rootless.network.slirp, rootless.network.pasta, rootless.network.hosts, sys; print(*sys.modules)"
    run = [sys.executable, "-S", "-c", script]
    loaded = subprocess.run(
        run, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"json", "re", "typing", "socket", "signal", "subprocess", "asyncio", "logging", "enum"}.isdisjoint(loaded)
