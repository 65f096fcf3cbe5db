"""Layers that mean harm: nothing outside the layer changes, memory stays bounded, and what is refused leaves nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuse_overlay import layers
from fuse_overlay.unpacker import Unpacker
from rootless.errors import InvalidDocument, KernelError, PtbError
from tests import tar_writer as tar
from tests.rootless import layer_store
from tests.rootless.layer_store import Seen, Store, diff_id_of, feed, inside

GOOD = tar.archive(tar.directory(b"good/"), tar.file(b"good/file", b"text"))
UP = b"../../../.."
"""From the files of a layer to the directory that has the store and the canary."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store next to things of the user's own. Everything of theirs must be as it was, to the time of its change."""
    canary = tmp_path / "canary"
    (canary / "directory").mkdir(parents=True)
    (canary / "file").write_text("precious")
    (canary / "directory" / "file").write_text("precious")
    (canary / "link").symlink_to("directory")
    before = state(canary), host()
    with layer_store.new(tmp_path / "store") as made:
        yield made
        assert os.listdir(made.place) == (["layers"] if made.layers.exists() else [])
    assert (state(canary), host()) == before
    assert os.listdir(tmp_path) == ["canary"]


def state(top: Path) -> dict[str, Any]:
    """All there is to know of a tree, but when it was read."""
    found = {}
    for path in (top, *top.rglob("*")):
        seen = os.lstat(path)
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (
            seen.st_ino,
            seen.st_mode,
            seen.st_nlink,
            seen.st_uid,
            seen.st_mtime_ns,
            seen.st_ctime_ns,
            content,
        )
    return found


def host() -> list[Any]:
    """What a layer would like to have of the machine."""
    seen = [os.lstat(path) for path in ("/etc/passwd", "/etc", "/")]
    return [(one.st_ino, one.st_nlink, one.st_mode, one.st_uid, one.st_mtime_ns) for one in seen]


def refused(store: Store, *members: bytes) -> str:
    """Why the archive is refused. Nothing of it is left, and the same process unpacks another."""
    plain = b"".join(members) + bytes(1024)
    with Unpacker(str(store.place)) as unpacker:
        pipe = unpacker.begin(diff_id_of(plain), "")
        assert pipe is not None
        feed(pipe, plain)
        with pytest.raises(InvalidDocument) as caught:
            unpacker.commit()
        assert store.names() == []
        pipe = unpacker.begin(diff_id_of(GOOD), "")
        assert pipe is not None
        feed(pipe, GOOD)
        unpacker.commit()
    assert inside(lambda: layers.remove(str(store.place), diff_id_of(GOOD)))
    head = f"layer {diff_id_of(plain)[7:19]}: tar: "
    assert caught.value.message.startswith(head)
    assert caught.value.message.isprintable()
    return caught.value.message.removeprefix(head)


def unpacked(store: Store, *members: bytes) -> dict[bytes, Seen]:
    """The tree of a layer of these members, without its root."""
    tree = store.tree(store.unpack(tar.archive(*members)))
    tree.pop(b".")
    return tree


KINDS = {
    "file": lambda name: tar.file(name, b"mine"),
    "directory": lambda name: tar.directory(name, 0o777),
    "symlink": lambda name: tar.symlink(name, b"mine"),
    "hard link": lambda name: tar.file(b"own", b"mine") + tar.hard_link(name, b"own"),
    "fifo": lambda name: tar.member(name, b"6"),
    "whiteout": lambda name: tar.member(name, b"3"),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


# --- names that lead out ---


@EVERY_KIND
@pytest.mark.parametrize(
    "name",
    [b"..", b"../", b"../x", b"/../x", b"./../x", b"a/../../x", b"a/b/../../../x", b"//..//x", b"a/..//./../x"]
    + [UP + b"/canary/file", b"a/../" + UP + b"/canary/file", b"x/../../diff/y", b"../size", b".. /../../x"],
)
def test_names_that_climb_out(store: Store, kind: str, name: bytes) -> None:
    assert refused(store, KINDS[kind](name)).endswith("points out of the layer")


@pytest.mark.parametrize(
    "name", [b"../.wh.canary", b"../../.wh.layers", b"../.wh..wh..opq", UP + b"/canary/.wh..wh..opq"]
)
def test_whiteouts_that_climb_out(store: Store, name: bytes) -> None:
    assert refused(store, tar.file(name)).endswith("points out of the layer")


@EVERY_KIND
def test_an_absolute_name_is_one_in_the_layer(store: Store, kind: str) -> None:
    canary = os.fsencode(store.place.parent / "canary/file")
    tree = unpacked(store, KINDS[kind](canary), KINDS[kind](b"/x"), KINDS[kind](b"//y/..///z"))
    assert {tree[path].kind for path in (canary[1:], b"x", b"z")} == {"file" if kind == "hard link" else kind}


# --- symlinks, and what is written through them ---


def leads(store: Store) -> dict[str, list[bytes]]:
    """Members that make the symlink "link" lead to the canary, if followed as the host would."""
    canary = os.fsencode(store.place.parent / "canary")
    return {
        "absolute": [tar.symlink(b"link", canary)],
        "relative": [tar.symlink(b"link", UP + b"/canary")],
        "in a directory": [tar.symlink(b"a/b/c", b"../../" + UP + b"/canary"), tar.symlink(b"link", b"a/b/c")],
        "by a chain": [tar.symlink(b"link", b"two"), tar.symlink(b"two", b"./three/canary"), tar.symlink(b"three", UP)],
        "through the root": [tar.symlink(b"root", b"/"), tar.symlink(b"link", b"root" + canary)],
        "by proc": [tar.symlink(b"link", b"/proc/self/root" + canary)],
        "by a descriptor": [tar.symlink(b"link", b"/proc/self/cwd/" + UP + b"/canary")],
        "by the same name": [tar.directory(b"link"), tar.symlink(b"link", canary)],
    }


LEADS = pytest.mark.parametrize(
    "how",
    [
        "absolute",
        "relative",
        "in a directory",
        "by a chain",
        "through the root",
        "by proc",
        "by a descriptor",
        "by the same name",
    ],
)


@LEADS
@EVERY_KIND
def test_what_is_written_through_a_symlink_lands_in_the_layer(store: Store, how: str, kind: str) -> None:
    tree = unpacked(
        store, *leads(store)[how], *(KINDS[kind](b"link/" + name) for name in (b"file", b"directory/file", b"new"))
    )
    places = [path for path in tree if path.endswith((b"/file", b"/new"))]
    assert len(places) == 3
    assert tree[b"link"].kind == "symlink"
    assert {tree[path].kind for path in places} == {"file" if kind == "hard link" else kind}


@LEADS
@EVERY_KIND
def test_what_takes_the_place_of_a_symlink_is_not_written_through_it(store: Store, how: str, kind: str) -> None:
    tree = unpacked(store, *leads(store)[how], KINDS[kind](b"link"))
    assert tree[b"link"].kind == {"whiteout": "symlink", "hard link": "file"}.get(kind, kind)


@LEADS
def test_whiteouts_through_a_symlink(store: Store, how: str) -> None:
    tree = unpacked(store, *leads(store)[how], tar.file(b"link/.wh.file"), tar.file(b"link/directory/.wh..wh..opq"))
    assert [seen.kind for path, seen in tree.items() if path.endswith(b"/file")] == ["whiteout"]


@EVERY_KIND
def test_a_symlink_in_an_earlier_layer_is_not_followed(store: Store, kind: str) -> None:
    canary = os.fsencode(store.place.parent / "canary")
    unpacked(store, tar.symlink(b"link", canary), tar.symlink(b"up", UP))
    tree = unpacked(store, KINDS[kind](b"link/file"), KINDS[kind](b"up/canary/file"))
    assert tree[b"link"].kind == tree[b"up"].kind == "directory"
    assert b"link/file" in tree


def test_times_and_modes_are_not_set_through_symlinks(store: Store) -> None:
    """A directory that is a symlink when its time is set, and entries that name a symlink with a slash behind it."""
    canary = os.fsencode(store.place.parent / "canary")
    tree = unpacked(
        store,
        tar.directory(b"one/", 0o777, mtime=1),
        tar.directory(b"one/directory/", 0o777, mtime=1),
        tar.symlink(b"one", canary),
        tar.symlink(b"two", canary + b"/directory"),
        tar.directory(b"two//", 0o777, mtime=1, uid=1),
        tar.symlink(b"three", canary + b"/file"),
        tar.file(b"three/", b"mine", mode=0o777, mtime=1, uid=1),
    )
    assert [tree[name].kind for name in (b"one", b"two", b"three")] == ["symlink", "directory", "file"]


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([tar.symlink(b"loop", b"loop")], id="itself"),
        pytest.param([tar.symlink(b"loop", b"two"), tar.symlink(b"two", b"loop")], id="two"),
        pytest.param([tar.symlink(b"loop", b"./loop/loop/loop")], id="growing"),
        pytest.param([tar.symlink(b"loop", b"new/../loop/x")], id="growing and making"),
        pytest.param([tar.symlink(b"loop", b"/" + b"n/" * 500 + b"../" * 500 + b"loop")], id="making very much"),
        pytest.param(
            [
                *(tar.symlink(b"l%d" % number, b"l%d" % (number + 1)) for number in range(60)),
                tar.symlink(b"loop", b"l0"),
            ],
            id="a long chain",
        ),
        pytest.param(
            [tar.symlink(b"l0", b"."), *(tar.symlink(b"l%d" % n, b"l%d/l%d" % (n - 1, n - 1)) for n in range(1, 30))]
            + [tar.symlink(b"loop", b"l29")],
            id="doubling",
        ),
    ],
)
@EVERY_KIND
def test_symlinks_that_never_end(store: Store, members: list[bytes], kind: str) -> None:
    assert "Too many levels of symbolic links" in refused(store, *members, KINDS[kind](b"loop/file"))


# --- hard links ---


def test_hard_links_to_what_is_not_in_the_layer(store: Store) -> None:
    canary = os.fsencode(store.place.parent / "canary")
    for target in (b"/etc/passwd", b"etc/passwd", canary + b"/file", b"nothing", b"/proc/self/exe"):
        assert refused(store, tar.hard_link(b"mine", target)).endswith("which the layer does not have")
    for target in (UP + b"/canary/file", b"..", b"../../layers", b"a/../../size"):
        assert refused(store, tar.hard_link(b"mine", target)).endswith("points out of the layer")
    for target in (b".", b"./", b"/", b"", b"//", b"dir"):
        assert "is a hard link to the directory" in refused(
            store, tar.directory(b"dir"), tar.hard_link(b"mine", target)
        )
    for mark in (tar.file(b".wh.gone"), tar.member(b"gone", b"3")):
        assert refused(store, mark, tar.hard_link(b"mine", b"gone")).endswith("which the layer does not have")


@LEADS
def test_hard_links_through_symlinks(store: Store, how: str) -> None:
    """With the mode and owner of the link's own header, which a careless program would set on the canary."""
    for target in (b"link/file", b"link/directory/file"):
        why = refused(store, *leads(store)[how], tar.hard_link(b"mine", target, mode=0o777, uid=1))
        assert why.endswith("which the layer does not have")


@LEADS
def test_a_hard_link_to_a_symlink_is_not_followed_either(store: Store, how: str) -> None:
    members = [tar.hard_link(b"mine", b"link", mode=0o777, uid=1, mtime=1), tar.file(b"mine/file", b"mine")]
    tree = unpacked(store, *leads(store)[how], *members)
    assert tree[b"mine"].inode == tree[b"link"].inode
    assert len([path for path in tree if path.endswith(b"canary/file")]) == 1
    tree = unpacked(store, *leads(store)[how], members[0], tar.file(b"mine", b"mine"))
    assert (tree[b"mine"].kind, tree[b"link"].kind) == ("file", "symlink")


# --- whiteouts of nothing ---


@pytest.mark.parametrize("where", [b"", b"dir/", b"./dir//"])
@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh..."])
def test_whiteouts_of_nothing(store: Store, where: bytes, name: bytes) -> None:
    assert refused(store, tar.directory(b"dir"), tar.file(where + name)).endswith("is a whiteout of nothing")


@pytest.mark.parametrize(
    "name", [b".wh.a/b", b"x/.wh.a/b", b".wh.a/.wh.b", b".wh..wh..opq/b", b".wh.a/.wh..wh..opq", b".wh./b"]
)
def test_names_below_a_whiteout(store: Store, name: bytes) -> None:
    if b".wh..wh." in name.split(b"/")[0]:
        assert unpacked(store, tar.file(name)) == {}  # aufs's own, as what is in .wh..wh.plnk
    else:
        assert refused(store, tar.file(name)).endswith("is below a whiteout")


def test_no_mark_ever_reaches_the_disk(store: Store) -> None:
    names = [b".wh.x", b"d/.wh.x", b".wh..wh..opq", b"d/.wh..wh..opq", b".wh..wh.aufs", b".wh..wh.plnk/x", b".wh.x/"]
    members = [make(name) for name in names for make in (tar.file, tar.directory, lambda name: tar.symlink(name, b"x"))]
    members += [
        tar.file(b"own"),
        *(tar.hard_link(name, b"own") for name in names),
        tar.member(b".wh.y", b"3", device=(1, 3)),
    ]
    assert not [path for path in unpacked(store, *members) if b".wh." in path]


# --- names no file can have, and those that files can have ---


@EVERY_KIND
@pytest.mark.parametrize(
    "name",
    [
        b"n" * 256,
        b"dir/" + b"n" * 256,
        b"n" * 256 + b"/file",
        b"n" * 5000,
        b"d/" * 2500,
        b"d/" * 2047 + b"ff",
        b"nul\0byte",
    ],
)
def test_names_no_file_can_have(store: Store, kind: str, name: bytes) -> None:
    make = {"whiteout": b"3", "fifo": b"6", "file": b"0", "directory": b"5", "symlink": b"2", "hard link": b"1"}[kind]
    why = refused(store, tar.file(b"own"), tar.member(b"short", make, link=b"own", pax={b"path": name}))
    assert "too long" in why
    assert len(why) < 1500


def test_names_that_files_can_have(store: Store) -> None:
    names = [
        b"new\nline",
        b"\x1b[31mred\x07",
        b"\xff\xfe",
        b" ",
        b"-rf",
        b"~",
        b"$(reboot)",
        b"n" * 255,
        b"...",
        b"..x",
        b"a\\b",
    ]
    assert sorted(unpacked(store, *(tar.file(name) for name in names))) == sorted(names)


def test_an_error_shows_no_control_characters(store: Store) -> None:
    why = refused(store, tar.file(b"../\x1b[2J\r\n\x9b\xe2\x80\xaeevil\xff"))
    assert why == '"../\\x1b[2J\\r\\n\\x9b\\u202eevil\\xff" points out of the layer'


# --- the root ---


@EVERY_KIND
@pytest.mark.parametrize("name", [b".", b"./", b"/", b"", b"//", b"a/..", b"./.", b"/./"])
def test_the_root_is_a_directory_and_stays_one(store: Store, kind: str, name: bytes) -> None:
    if kind == "directory":
        diff_id = store.unpack(tar.archive(tar.directory(name, 0o711, uid=3), tar.file(b"f")))
        assert store.tree(diff_id)[b"."].mode == 0o711
    else:
        assert refused(store, tar.file(b"before"), KINDS[kind](name)) == "the root of the layer is not a directory"


# --- broken archives ---


@pytest.mark.parametrize(
    ("members", "why"),
    [
        pytest.param([tar.header(b"f", checksum=b"012345\0 ")], "wrong checksum", id="checksum"),
        pytest.param([b"garbage!" * 64], "wrong checksum", id="garbage"),
        pytest.param([tar.header(b"f", b"Z")], "unknown type", id="unknown type"),
        pytest.param([tar.header(b"x", b"x", size=1 << 40)], "an extended header of", id="enormous pax"),
        pytest.param(
            [tar.pax({b"SCHILY.xattr.user.x": b"x" * (1 << 20)}), tar.header(b"f")], "an extended header of", id="pax"
        ),
        pytest.param([tar.header(b"x", b"L", size=1 << 30)], "an extended header of", id="enormous name"),
        pytest.param(
            [tar.pax({b"SCHILY.xattr.user.%d" % n: b"x" * 999 for n in range(99)}, b"g")], "global headers", id="global"
        ),
        pytest.param([tar.header(b"f", size=(1 << 63) - 1)], "ends within the data", id="endless file"),
        pytest.param([tar.header(b"f", size=1 << 63)], "a size of", id="impossible size"),
        pytest.param([bytes(512), tar.file(b"hidden")], "lone record of zeros", id="zeros"),
    ],
)
def test_broken_archives(store: Store, members: list[bytes], why: str) -> None:
    assert why in refused(store, tar.file(b"before", b"x" * 99), *members)


def test_many_large_headers_and_attributes(store: Store) -> None:
    """As large as they may be, again and again: each is forgotten with its member."""
    large = tar.pax({b"comment": b"c" * 1_000_000, b"SCHILY.xattr.user.a": b"a" * 3000}) + tar.header(b"f")
    assert memory_of(store, [large] * 100) - memory_of(store, crowd(5)) < 16 << 20


# --- memory ---


def memory_of(store: Store, members: Iterable[bytes]) -> int:
    """Bytes of memory the unpacker had in use at most while these streamed through it, which it then forgets."""
    with Unpacker(str(store.place)) as unpacker:
        pipe = unpacker.begin(diff_id_of(b"none of it"), "")
        assert pipe is not None
        with open(pipe, "wb", buffering=1 << 20, closefd=False) as stream:
            stream.writelines(members)
        lines = Path(f"/proc/{unpacker._worker}/status").read_text().splitlines()
        [most] = [int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")]
        unpacker.abort()
    assert store.names() == []
    return most


def crowd(count: int) -> Iterator[bytes]:
    """Members of every kind, with names of their own; an honest layer of this size has as many directories as files."""
    yield tar.file(b"target")
    for number in range(count // 5):
        yield tar.directory(b"%08d/" % number)
        yield tar.file(b"%08d/f" % number)
        yield tar.symlink(b"%08d/l" % number, b"nowhere")
        yield tar.file(b"%08d/.wh.gone" % number)
        yield tar.hard_link(b"%08d/h" % number, b"%08d/f" % number)


def test_memory_does_not_grow_with_the_number_of_members(store: Store) -> None:
    assert memory_of(store, crowd(150_000)) - memory_of(store, crowd(5_000)) < 2 << 20


def test_a_sparse_map_of_very_many_pieces(store: Store) -> None:
    count = 131_072
    table = tar.padded(b"%d\n" % count + b"".join(b"%d\n1\n" % (2 * number) for number in range(count)))
    pax = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"%d" % (2 * count)}
    one = tar.file(b"f", table + b"x" * count, pax=pax)
    assert memory_of(store, [one] * 3) - memory_of(store, crowd(5)) < 64 << 20


# --- numbers to the limit ---

HUGE = (1 << 63) - 1
SPARSE = {b"GNU.sparse.major": b"0", b"GNU.sparse.minor": b"1", b"GNU.sparse.name": b"f"}


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(tar.file(b"f", mtime=HUGE), id="late"),
        pytest.param(tar.file(b"f", mtime=-HUGE), id="early"),
        pytest.param(tar.directory(b"f", pax={b"mtime": b"9" * 99}), id="never"),
        pytest.param(tar.directory(b"f", pax={b"mtime": b"-" + b"9" * 50 + b".999999999"}), id="before everything"),
        pytest.param(tar.symlink(b"f", b"x", mtime=HUGE), id="late symlink"),
        pytest.param(tar.member(b"f", b"6", mode=0o7777777, mtime=HUGE), id="mode"),
        pytest.param(tar.member(b"f", b"3", device=(1 << 40, 1 << 40)), id="device"),
        pytest.param(tar.file(b"f", pax={b"SCHILY.xattr.user.\xff\n": b"\0\xff"}), id="attribute"),
        pytest.param(tar.file(b"f", pax={**SPARSE, b"GNU.sparse.size": b"99999", b"GNU.sparse.map": b""}), id="hole"),
    ],
)
def test_numbers_that_are_taken_as_far_as_they_go(store: Store, member: bytes) -> None:
    assert list(unpacked(store, member, tar.directory(b"f"))) in ([b"f"], [])


def test_an_owner_beyond_every_map(store: Store) -> None:
    with pytest.raises(PtbError, match=r'^layer [0-9a-f]{12}: .*"f"'):
        store.unpack(tar.archive(tar.file(b"f", uid=(1 << 32) - 2)))
    assert store.names() == []


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(
            tar.file(b"f", pax={**SPARSE, b"GNU.sparse.size": b"%d" % HUGE, b"GNU.sparse.map": b""}), id="hole"
        ),
        pytest.param(
            tar.file(
                b"f", b"x", pax={**SPARSE, b"GNU.sparse.size": b"%d" % HUGE, b"GNU.sparse.map": b"%d,1" % (HUGE - 1)}
            ),
            id="offset",
        ),
        pytest.param(
            tar.header(b"f", b"S", prefix=bytes(41 + 96 + 1) + tar.base256((1 << 63) - 1, 12)), id="as large as can be"
        ),
    ],
)
def test_sizes_that_not_every_file_system_takes(store: Store, member: bytes) -> None:
    try:
        tree = unpacked(store, member)
    except KernelError as error:
        assert error.message.endswith('"f": File too large')
        assert store.names() == []
    else:
        assert tree[b"f"].on_disk < 1 << 20


# --- anything at all ---

PARTS = [b"..", b".", b"", b"a", b"b", b"link", b".wh.a", b".wh..wh..opq", b".wh.", b"canary", b"file", b"n" * 256]
NAMES = st.lists(st.sampled_from(PARTS), max_size=5).map(b"/".join)
TARGETS = NAMES | st.sampled_from(
    [UP + b"/canary", UP + b"/canary/file", b"/", b"CANARY", b"CANARY/file", b"..", b"link"]
)
MEMBERS = st.tuples(
    st.sampled_from([b"0", b"5", b"2", b"2", b"1", b"6", b"3"]),
    st.lists(st.sampled_from([b"a", b"b", b"link", b"file", b"canary"]), min_size=1, max_size=3).map(b"/".join) | NAMES,
    TARGETS,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=st.lists(MEMBERS, min_size=1, max_size=10))
def test_whatever_a_layer_says_it_is_unpacked_or_refused(
    store: Store, members: list[tuple[bytes, bytes, bytes]]
) -> None:
    canary = os.fsencode(store.place.parent / "canary")
    plain = tar.archive(
        *(
            tar.member(
                name, kind, b"mine" if kind == b"0" else b"", link=link.replace(b"CANARY", canary), mode=0o7777, uid=1
            )
            for kind, name, link in members
        )
    )
    before = state(store.place.parent / "canary")
    try:
        store.unpack(plain)
    except InvalidDocument:
        assert store.names() == []
    else:
        assert store.names() == [diff_id_of(plain)[7:]]
        assert inside(lambda: layers.remove(str(store.place), diff_id_of(plain)))
    assert state(store.place.parent / "canary") == before
