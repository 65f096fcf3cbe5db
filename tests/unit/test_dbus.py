"""The wire format is its own inverse and the specification's, and the real bus understands it."""

from __future__ import annotations

import os
import struct
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless import dbus
from rootless.errors import HostUnfit, InvalidDocument

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTEGERS = {
    "y": (0, 2**8 - 1),
    "n": (-(2**15), 2**15 - 1),
    "q": (0, 2**16 - 1),
    "i": (-(2**31), 2**31 - 1),
    "u": (0, 2**32 - 1),
    "x": (-(2**63), 2**63 - 1),
    "t": (0, 2**64 - 1),
}
_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
_basic = st.sampled_from("ybnqiuxtdsog")
_types = st.recursive(
    _basic | st.just("v"),
    lambda inner: st.one_of(
        inner.map(lambda one: f"a{one}"),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: f"({''.join(some)})"),
        st.tuples(_basic, inner).map(lambda pair: f"a{{{pair[0]}{pair[1]}}}"),
    ),
    max_leaves=6,
)


def _values(kind: str) -> st.SearchStrategy:
    code = kind[0]
    if code in _INTEGERS:
        return st.integers(*_INTEGERS[code])
    if code == "b":
        return st.booleans()
    if code == "d":
        return st.floats(allow_nan=False)
    if code in "so":
        return _text
    if code == "g":
        return _types
    if code == "v":
        return _basic.flatmap(lambda inner: st.tuples(st.just(inner), _values(inner)))
    if kind == "ay":
        return st.binary(max_size=9)
    if kind.startswith("a{"):
        return st.dictionaries(_values(kind[2]), _values(kind[3:-1]), max_size=3)
    if code == "a":
        return st.lists(_values(kind[1:]), max_size=3)
    return st.tuples(*map(_values, dbus.split_signature(kind[1:-1])))


_messages = st.lists(_types, max_size=4).flatmap(
    lambda types: st.tuples(st.just("".join(types)), st.tuples(*map(_values, types)))
)


@given(message=_messages)
def test_what_is_marshalled_is_unmarshalled(message):
    signature, values = message
    data = dbus.marshal(signature, values)
    assert dbus.unmarshal(signature, data) == (list(values), len(data))


@given(signature=_types, data=st.binary(max_size=64))
def test_any_bytes_are_a_value_or_refused(signature, data):
    try:
        _values_read, end = dbus.unmarshal(signature, data)
    except InvalidDocument:
        return
    assert end <= len(data)


@pytest.mark.parametrize(
    ("signature", "values", "wire"),
    [
        # the specification's example of a string, and its example of an array of an int64
        ("s", ["foo"], b"\3\0\0\0foo\0"),
        ("ax", [[5]], b"\x08\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0"),
        ("yu", [1, 2], b"\1\0\0\0\2\0\0\0"),
        ("y(y)", [1, (2,)], b"\1\0\0\0\0\0\0\0\2"),
        ("v", [("b", True)], b"\1b\0\0\1\0\0\0"),
        ("a{sv}", [{}], b"\0\0\0\0\0\0\0\0"),
        ("ay", [b"\1\2"], b"\2\0\0\0\1\2"),
        ("g", ["a(ii)"], b"\5a(ii)\0"),
        ("d", [1.5], struct.pack("<d", 1.5)),
    ],
)
def test_the_wire_is_the_specification_s(signature, values, wire):
    assert dbus.marshal(signature, values) == wire
    assert dbus.unmarshal(signature, wire)[0] == list(values)


def test_big_endian_is_read():
    assert dbus.unmarshal("us", b"\0\0\0\7\0\0\0\1x\0", little=False) == ([7, "x"], 10)


@pytest.mark.parametrize(
    "signature", ["a", "(", "()", "(i", "i)", "a{vs}", "a{s}", "a{sii}", "{ss}", "h", "z", "i" * 256]
)
def test_a_signature_that_is_none_is_refused(signature):
    with pytest.raises(InvalidDocument, match="is not a signature"):
        dbus.split_signature(signature)


@pytest.mark.parametrize(
    ("signature", "values"),
    [
        ("y", [256]),
        ("b", [2]),
        ("s", ["a\0b"]),
        ("s", [1]),
        ("v", [("ii", 1)]),
        ("(ii)", [(1,)]),
        ("i", []),
        ("i", ["x"]),
    ],
)
def test_a_value_of_another_type_is_refused(signature, values):
    with pytest.raises(InvalidDocument):
        dbus.marshal(signature, values)


@pytest.mark.parametrize(
    ("signature", "wire"),
    [
        ("b", b"\2\0\0\0"),
        ("s", b"\3\0\0\0fo\0\0"),
        ("s", b"\3\0\0\0foo"),
        ("s", b"\1\0\0\0\xff\0"),
        ("yu", b"\1\0\1\0\2\0\0\0"),
        ("au", b"\5\0\0\0\0\0\0\0\0"),
        ("ay", b"\xff\xff\xff\xff"),
        ("v", b"\2ii\0\0\0\0\0"),
        ("v", b"\1v\0" * 70 + b"\1y\0\0"),
    ],
)
def test_a_broken_message_is_refused(signature, wire):
    with pytest.raises(InvalidDocument):
        dbus.unmarshal(signature, wire)


def test_addresses_are_read_with_their_escapes():
    assert dbus.parse_address("unix:path=/run/a%20b,guid=1f;tcp:host=x;unix:abstract=/tmp/%ff") == [
        b"/run/a b",
        b"\0/tmp/\xff",
    ]
    with pytest.raises(InvalidDocument, match="escapes nothing"):
        dbus.parse_address("unix:path=/a%2")


def test_systemd_is_looked_for_itself_first_then_by_its_bus(monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/a b")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    assert dbus.systemd_addresses(user=True) == [
        ("unix:path=/run/user/a%20b/systemd/private", True),
        ("unix:path=/run/user/a%20b/bus", False),
    ]
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x")
    assert dbus.systemd_addresses(user=True)[1] == ("unix:path=/x", False)


def test_nobody_to_ask_is_the_host_s_fault(tmp_path):
    with pytest.raises(HostUnfit, match="No such file or directory"):
        dbus.connect([(f"unix:path={tmp_path}/none", True)])


@contextmanager
def _bus(directory, auth: str = "") -> Iterator[str]:
    """A real dbus-daemon of our own; the address it listens on."""
    configuration = directory / "bus.conf"
    configuration.write_text(
        f"<busconfig><type>session</type><listen>unix:dir={directory}</listen>{auth}"
        '<policy context="default"><allow send_destination="*" eavesdrop="true"/>'
        '<allow eavesdrop="true"/><allow own="*"/></policy></busconfig>'
    )
    read_end, write_end = os.pipe()
    try:
        daemon = subprocess.Popen(
            ["dbus-daemon", f"--config-file={configuration}", f"--print-address={write_end}", "--nofork"],
            pass_fds=[write_end],
        )
    finally:
        os.close(write_end)
    try:
        with os.fdopen(read_end) as stream:
            yield stream.readline().strip()
    finally:
        daemon.terminate()
        daemon.wait()


def test_the_real_bus_answers_and_refuses(tmp_path):
    with _bus(tmp_path) as address, dbus.connect([(address, False)]) as bus:
        (names,) = bus.call(dbus.BUS, "ListNames")
        assert "org.freedesktop.DBus" in names
        own = next(name for name in names if name.startswith(":"))
        assert bus.call(dbus.BUS, "GetConnectionUnixUser", "s", own) == (os.getuid(),)
        with pytest.raises(dbus.CallFailed) as refusal:
            bus.call(dbus.BUS, "GetNameOwner", "s", "no.such.name")
        assert refusal.value.name == "org.freedesktop.DBus.Error.NameHasNoOwner"
        # long enough that it comes in more than one read
        long = "x" * 300_000
        with pytest.raises(dbus.CallFailed, match=long):
            bus.call(dbus.BUS, "GetNameOwner", "s", long)


def test_a_signal_of_before_the_reply_is_kept(tmp_path):
    with _bus(tmp_path) as address, dbus.connect([(address, False)]) as bus:
        bus.subscribe("type='signal',interface='org.freedesktop.DBus',member='NameOwnerChanged'")
        bus.call(dbus.BUS, "RequestName", "su", "ptb.test.One", 0)
        bus.call(dbus.BUS, "RequestName", "su", "ptb.test.Two", 0)
        body = bus.await_signal(dbus.BUS[2], "NameOwnerChanged", lambda arguments: arguments[0] == "ptb.test.Two")
        assert body[1] == ""
        assert body[2].startswith(":")


def test_a_bus_that_does_not_take_external_is_named(tmp_path):
    with _bus(tmp_path, "<auth>ANONYMOUS</auth>") as address, pytest.raises(HostUnfit, match="did not accept user"):
        dbus.connect([(address, False)])


def test_the_bus_knows_the_caller_from_within_a_user_namespace(tmp_path):
    script = (
        "import sys; from rootless import dbus\n"
        "with dbus.connect([(sys.argv[1], False)]) as bus:\n"
        "    names = bus.call(dbus.BUS, 'ListNames')[0]\n"
        "    print(bus.call(dbus.BUS, 'GetConnectionUnixUser', 's', [n for n in names if n[0] == ':'][0])[0])\n"
        "    print(dbus.host_uid())\n"
    )
    with _bus(tmp_path) as address:
        command = ["unshare", "--user", "--map-root-user", "python3", "-c", script, address]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(os.getuid())] * 2
