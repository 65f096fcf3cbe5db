"""`org.systemd.property.*` annotations are read as GVariant text, and seconds become microseconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless import cgroup_annotations, dbus
from rootless.errors import InvalidDocument


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", ("b", True)),
        (" false ", ("b", False)),
        ("5", ("i", 5)),
        ("-5", ("i", -5)),
        ("0x10", ("i", 16)),
        ("uint64 123456", ("t", 123456)),
        ("int64 -1", ("x", -1)),
        ("@t 7", ("t", 7)),
        ("byte 0xff", ("y", 255)),
        ("1.5", ("d", 1.5)),
        ("double 3", ("d", 3.0)),
        ("'inactive-or-failed'", ("s", "inactive-or-failed")),
        ('"it\'s"', ("s", "it's")),
        (r"'a\'b\n\u00e9'", ("s", "a'b\né")),
        ("objectpath '/a'", ("o", "/a")),
        ("['a', 'b']", ("as", ["a", "b"])),
        ("[1, 2]", ("ai", [1, 2])),
        ("[uint32 1, 2]", ("au", [1, 2])),
        ("[1, 2.5]", ("ad", [1.0, 2.5])),
        ("@as []", ("as", [])),
        ("[byte 1, 2]", ("ay", b"\1\2")),
        ("[('/a', 'r'), ('/b', 'w')]", ("a(ss)", [("/a", "r"), ("/b", "w")])),
        ("@a(ss) []", ("a(ss)", [])),
        ("@a(st) [('/a', 5)]", ("a(st)", [("/a", 5)])),
        ("{'a': <1>, 'b': <'x'>}", ("a{sv}", {"a": ("i", 1), "b": ("s", "x")})),
        ("(1, 'a', (true,))", ("(is(b))", (1, "a", (True,)))),
        ("<uint64 1>", ("v", ("t", 1))),
    ],
)
def test_text_is_read_as_glib_reads_it(text, value):
    assert cgroup_annotations.parse(text) == value
    dbus.marshal("v", [value])


@pytest.mark.parametrize(
    "text",
    ["", "[]", "'open", "[1", "[1,,2]", "1 2", "maybe", "uint64 -1", "2147483648", "@as 5", "[1, 'a']", "@z 1", "(", "@ai ['a']",
     "[" * 40, "08x", "uint32 4294967296", "objectpath 5", "{1: 2"],
)  # fmt: skip
def test_text_that_is_no_value_is_refused(text):
    with pytest.raises(InvalidDocument, match='annotation "value"'):
        cgroup_annotations.parse(text)


@given(text=st.text("[](){}<>'\"@:,asiutv 0x1.-e\\n", max_size=24))
def test_any_text_is_a_value_or_refused(text):
    try:
        value = cgroup_annotations.parse(text)
    except InvalidDocument:
        return
    dbus.marshal("v", [value])


def test_annotations_become_properties():
    annotations = {
        "org.systemd.property.TimeoutStopSec": "uint64 2",
        "org.systemd.property.JobTimeoutSec": "1.5",
        "org.systemd.property.CollectMode": "'inactive'",
        "org.systemd.property.WatchdogUSec": "uint64 7",
        "io.podman.annotations.x": "!",
    }
    assert cgroup_annotations.properties(annotations) == [
        ("TimeoutStopUSec", ("t", 2_000_000)),
        ("JobTimeoutUSec", ("t", 1_500_000)),
        ("CollectMode", ("s", "inactive")),
        ("WatchdogUSec", ("t", 7)),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ab", "1"),
        ("Invalid_Name", "1"),
        ("Ünit", "1"),
        ("TimeoutStopSec", "'2'"),
        ("TimeoutStopSec", "-1"),
        ("Some", "?"),
    ],
)
def test_an_annotation_that_is_wrong_is_named(name, text):
    with pytest.raises(InvalidDocument, match=f'annotation "org.systemd.property.{name}"'):
        cgroup_annotations.properties({f"org.systemd.property.{name}": text})
