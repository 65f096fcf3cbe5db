"""The container's hosts and resolv.conf, as podman writes them."""

from __future__ import annotations

import pytest

from rootless.errors import UsageError
from rootless.network import hosts
from rootless.network.hosts import Names, Resolver

OWN = (Names("10.0.2.100", ("c0ffee", "web")),)


def test_hosts_of_an_ordinary_host() -> None:
    base = "# mine\n127.0.0.1 localhost  # loop\n::1 localhost ip6-localhost\n192.168.1.5 printer printer.lan\n\n10.1.1.1\n"
    assert hosts.hosts(base, OWN, host="192.168.1.2") == (
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n192.168.1.5\tprinter printer.lan\n"
        "192.168.1.2\thost.containers.internal host.docker.internal\n10.0.2.100\tc0ffee web\n"
    )


def test_hosts_without_a_base() -> None:
    assert hosts.hosts("", OWN) == "127.0.0.1\tlocalhost\n::1\tlocalhost\n10.0.2.100\tc0ffee web\n"


def test_added_hosts_come_first_and_win() -> None:
    added = hosts.parse_added(["db;db.lan:10.1.1.7", "web:10.1.1.8", "up:host-gateway", "v6:[fd00::7]"], "10.9.9.9")
    assert hosts.hosts("127.0.0.1 localhost\n", OWN, added) == (
        "10.1.1.7\tdb db.lan\n10.1.1.8\tweb\n10.9.9.9\tup\nfd00::7\tv6\n127.0.0.1\tlocalhost\n10.0.2.100\tc0ffee\n"
    )


def test_the_containers_own_name_is_not_its_hosts_loopback() -> None:
    base = "127.0.1.1 web desk\n127.0.0.1 localhost\n"
    assert hosts.hosts(base, OWN) == "127.0.1.1\tdesk\n127.0.0.1\tlocalhost\n10.0.2.100\tc0ffee web\n"


def test_who_the_hosts_host_is_does_not_matter() -> None:
    base = "10.5.5.5 host.docker.internal\n10.5.5.6 host.containers.internal other\n127.0.0.1 localhost\n"
    assert hosts.hosts(base, (), host="10.9.9.9") == (
        "10.5.5.6\tother\n127.0.0.1\tlocalhost\n10.9.9.9\thost.containers.internal host.docker.internal\n"
    )


@pytest.mark.parametrize("entry", ["web", ":1.2.3.4", "web:", "web:one", "a;;b:1.2.3.4", "up:host-gateway"])
def test_added_hosts_that_are_none(entry: str) -> None:
    with pytest.raises(UsageError, match="add a host|not an IP address|no address"):
        hosts.parse_added([entry], "")


HOST = "# by hand\ndomain lan\nsearch home.lan lan\nnameserver 127.0.0.1\nnameserver 192.168.1.1\nnameserver fd00::1\n"


def test_resolv_conf_of_slirp() -> None:
    text = hosts.resolv_conf(
        HOST + "nameserver fe80::1%eth0\noptions edns0\noptions trust-ad\n", Resolver(), forwarder="10.0.2.3"
    )
    assert text == (
        "search home.lan lan\nnameserver 10.0.2.3\nnameserver 192.168.1.1\nnameserver fd00::1\noptions edns0 trust-ad\n"
    )


def test_resolv_conf_without_ipv6() -> None:
    assert "fd00" not in hosts.resolv_conf(HOST, Resolver(), forwarder="10.0.2.3", ipv6=False)


def test_resolv_conf_as_wanted() -> None:
    wanted = Resolver(("10.7.7.7", "fd00::7"), ("corp.lan", "lan"), ("ndots:2",))
    assert hosts.resolv_conf(HOST, wanted, forwarder="10.0.2.3", ipv6=False) == (
        "search corp.lan lan\nnameserver 10.7.7.7\nnameserver fd00::7\noptions ndots:2\n"
    )


def test_a_dot_searches_nowhere() -> None:
    assert "search" not in hosts.resolv_conf(HOST, Resolver(searches=(".",)))


def test_domain_is_an_old_search() -> None:
    assert hosts.resolv_conf("domain lan\n", Resolver(), forwarder="10.0.2.3") == "search lan\nnameserver 10.0.2.3\n"


def test_resolv_conf_in_the_hosts_network() -> None:
    assert hosts.resolv_conf(HOST, Resolver(), private=False) == HOST
    assert hosts.resolv_conf(HOST, Resolver(options=("ndots:2",)), private=False) == (
        "search home.lan lan\nnameserver 127.0.0.1\nnameserver 192.168.1.1\nnameserver fd00::1\noptions ndots:2\n"
    )


def test_the_hosts_own_address_is_not_its_loopback() -> None:
    assert hosts.first_address("10.0.2.2") != "127.0.0.1"
