"""Layers that come out of the real unpacker: what is on disk afterwards."""

from __future__ import annotations

import functools
import gzip
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backports import zstd

from fuse_overlay import layers
from fuse_overlay.unpacker import Unpacker
from rootless.errors import KernelError
from tests import tar_writer as tar
from tests.rootless import layer_store
from tests.rootless.layer_store import Seen, Store, diff_id_of, feed, inside

SECOND = 1_000_000_000
PATIENCE = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store. When the test is over, it has whole layers and nothing else."""
    with layer_store.new(tmp_path / "store") as made:
        yield made


def unpacked(store: Store, *members: bytes) -> dict[bytes, Seen]:
    """The tree of a layer of these members."""
    return store.tree(store.unpack(tar.archive(*members)))


# --- how layers arrive ---

SOME = tar.archive(
    tar.directory(b"./"),
    tar.directory(b"dir/", 0o750),
    tar.file(b"dir/file", b"text" * 1000),
    tar.symlink(b"link", b"dir"),
)
BLOBS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip members": lambda plain: gzip.compress(plain[:700]) + gzip.compress(plain[700:]),
    "zstd": zstd.compress,
    "zstd frames": lambda plain: zstd.compress(plain[:700]) + zstd.compress(plain[700:]),
}


@pytest.mark.parametrize("how", BLOBS)
def test_however_a_layer_is_compressed(store: Store, how: str) -> None:
    diff_id = store.unpack(SOME, BLOBS[how](SOME), media_type="application/vnd.oci.image.layer.v1.tar")
    tree = store.tree(diff_id)
    assert sorted(tree) == [b".", b"dir", b"dir/file", b"link"]
    assert (tree[b"dir/file"].content, tree[b"link"].content, tree[b"dir"].mode) == (b"text" * 1000, b"dir", 0o750)
    assert layers.present(str(store.place), diff_id)
    assert layers.size(str(store.place), diff_id) == len(SOME)
    assert layers.known(str(store.place)) == [diff_id]


def test_a_layer_of_nothing(store: Store) -> None:
    assert list(unpacked(store)) == [b"."]


def test_a_layer_that_is_there_is_not_asked_for_again(store: Store) -> None:
    diff_id = store.unpack(SOME)
    with Unpacker(str(store.place)) as unpacker:
        assert unpacker.begin(diff_id, "") is None
        pipe = unpacker.begin(diff_id_of(b""), "")
        assert pipe is not None
        unpacker.abort()
        assert unpacker.begin(diff_id, "") is None
    assert store.names() == [diff_id.removeprefix("sha256:")]


def test_many_layers_through_one_unpacker(store: Store) -> None:
    made = [tar.archive(tar.file(b"f%d" % number, b"x" * number * 9999)) for number in range(20)]
    with Unpacker(str(store.place)) as unpacker:
        for number, plain in enumerate(made):
            pipe = unpacker.begin(diff_id_of(plain), "")
            assert pipe is not None
            feed(pipe, plain[: len(plain) // 2])
            if number % 3 == 0:
                unpacker.abort()
            else:
                feed(pipe, plain[len(plain) // 2 :])
                unpacker.commit()
    whole = {diff_id_of(plain) for number, plain in enumerate(made) if number % 3}
    assert set(layers.known(str(store.place))) == whole


# --- links ---


def test_hard_links_are_one_file(store: Store) -> None:
    tree = unpacked(
        store, tar.file(b"a/file", b"text"), tar.hard_link(b"b/link", b"a/file"), tar.hard_link(b"c", b"./b/../b//link")
    )
    assert tree[b"a/file"].inode == tree[b"b/link"].inode == tree[b"c"].inode
    assert (tree[b"c"].links, tree[b"c"].content) == (3, b"text")


def test_a_hard_link_keeps_what_it_links_to_when_that_is_replaced(store: Store) -> None:
    tree = unpacked(store, tar.file(b"file", b"old"), tar.hard_link(b"link", b"file"), tar.file(b"file", b"new"))
    assert (tree[b"file"].content, tree[b"link"].content) == (b"new", b"old")
    assert (tree[b"file"].links, tree[b"link"].links) == (1, 1)


def test_a_hard_link_in_the_place_of_something(store: Store) -> None:
    tree = unpacked(
        store,
        tar.file(b"file", b"text"),
        tar.directory(b"dir/"),
        tar.file(b"dir/below", b"gone"),
        tar.hard_link(b"dir", b"file"),
        tar.symlink(b"link", b"/etc"),
        tar.hard_link(b"link", b"file"),
        tar.hard_link(b"link", b"file"),
        tar.hard_link(b"file", b"file"),
    )
    assert sorted(tree) == [b".", b"dir", b"file", b"link"]
    assert {tree[name].inode for name in (b"dir", b"file", b"link")} == {tree[b"file"].inode}


def test_a_hard_link_to_a_symlink_is_a_second_name_of_the_symlink(store: Store) -> None:
    tree = unpacked(store, tar.symlink(b"link", b"nowhere"), tar.hard_link(b"same", b"link"))
    assert (tree[b"same"].kind, tree[b"same"].content) == ("symlink", b"nowhere")
    assert tree[b"same"].inode == tree[b"link"].inode


def test_links_with_long_and_strange_targets(store: Store) -> None:
    targets = [b"t" * 4095, b"../../../../etc/passwd", b"/absolute", b"new\nline", b"\xff\xfe", b" "]
    tree = unpacked(store, *(tar.symlink(b"%d" % number, target) for number, target in enumerate(targets)))
    assert [tree[b"%d" % number].content for number in range(len(targets))] == targets


# --- files ---


def test_sparse_files_stay_sparse(store: Store) -> None:
    """Ten GiB of nothing with a word at each end, as GNU tar writes it and as pax does."""
    size = 10 << 30
    prefix = (
        bytes(41)
        + b"".join(tar.octal(number, 12) for number in (0, 4, size - 4, 4, size, 0))
        + bytes(25)
        + tar.base256(size, 12)
    )
    old = tar.header(b"old", b"S", size=8, prefix=prefix) + tar.padded(b"headtail")
    pax = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"%d" % size}
    table = tar.padded(b"2\n0\n4\n%d\n4\n" % (size - 4))
    new = tar.file(b"GNUSparseFile.0/new", table + b"headtail", pax=pax | {b"GNU.sparse.name": b"new"})
    diff_id = store.unpack(tar.archive(old, new))
    tree = store.tree(diff_id)

    def ends(name: str) -> tuple[bytes, bytes]:
        with open(f"{layers.path(str(store.place), diff_id)}/{name}", "rb") as file:
            head = file.read(8)
            file.seek(-8, os.SEEK_END)
            return head, file.read()

    for name in ("old", "new"):
        assert tree[name.encode()].size == size
        assert tree[name.encode()].on_disk <= 64 << 10
        assert inside(functools.partial(ends, name)) == (b"head\0\0\0\0", b"\0\0\0\0tail")


def test_sparse_files_of_gnu_tar(store: Store, tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        file.truncate(100 << 20)
        for number in range(100):
            os.pwrite(file.fileno(), b"island %d" % number, number * 1_000_000)
    for version in (
        ["--format=gnu"],
        *(["--format=posix", f"--sparse-version={one}"] for one in ("0.0", "0.1", "1.0")),
    ):
        command = ["tar", "-S", *version, "--owner=0", "--group=0", "-cf", "-", "file"]
        plain = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout
        assert len(plain) < 2 << 20
        diff_id = store.unpack(plain)
        assert store.tree(diff_id)[b"file"].on_disk < 2 << 20
        place = layers.path(str(store.place), diff_id)
        inside(lambda: subprocess.run(["cmp", f"{tmp_path}/file", f"{place}/file"], check=True))  # noqa: B023


def test_special_bits_survive_the_change_of_owner(store: Store) -> None:
    modes = [0o4755, 0o2755, 0o6711, 0o1644, 0o7777, 0]
    members = [tar.file(b"f%o" % mode, b"x", mode=mode, uid=7, gid=9) for mode in modes]
    members += [tar.directory(b"d%o" % mode, mode, uid=7, gid=9) for mode in modes]
    members += [tar.member(b"p%o" % mode, b"6", mode=mode, uid=7, gid=9) for mode in modes]
    tree = unpacked(store, *members)
    for kind, mode in itertools.product("fdp", modes):
        seen = tree[b"%b%o" % (kind.encode(), mode)]
        assert (seen.mode, seen.owner) == (mode, (7, 9)), (kind, oct(mode))


def test_extended_attributes(store: Store) -> None:
    capability = bytes.fromhex(
        "0100000200040000000000000000000000000000"
    )  # cap_net_bind_service... permitted, effective
    many = {b"SCHILY.xattr.user.%d" % number: bytes(range(256))[number:] for number in range(10)}
    tree = unpacked(
        store,
        tar.file(b"ping", b"\x7fELF", uid=5, mode=0o755, pax={b"SCHILY.xattr.security.capability": capability}),
        tar.file(b"many", pax=many),
        tar.directory(b"dir/", uid=5, pax={b"SCHILY.xattr.user.on": b"directory"}),
        tar.directory(b"sticky/", 0o1777, uid=5, pax={b"SCHILY.xattr.user.on": b"sticky"}),
        tar.file(b"read-only", mode=0o444, uid=5, pax={b"SCHILY.xattr.user.on": b"read-only"}),
    )
    assert tree[b"ping"].xattrs == {"security.capability": capability}
    assert tree[b"many"].xattrs == {key.decode()[13:]: value for key, value in many.items()}
    for name in (b"dir", b"sticky", b"read-only"):
        assert tree[name].xattrs == {"user.on": {b"dir": b"directory"}.get(name, name)}


def test_a_capability_works_in_the_user_namespace(store: Store) -> None:
    """It is stored for this user namespace's root (capabilities(7), "Namespaced file capabilities")."""
    plain = tar.archive(
        tar.file(
            b"id",
            Path("/bin/grep").resolve().read_bytes(),
            mode=0o755,
            pax={b"SCHILY.xattr.security.capability": bytes.fromhex("0100000200040000000000000000000000000000")},
        )
    )
    place = layers.path(str(store.place), store.unpack(plain))

    def as_somebody() -> str:
        command = [f"{place}/id", "CapPrm", "/proc/self/status"]
        return subprocess.run(command, check=True, capture_output=True, text=True, user=1, group=1).stdout

    for directory in (store.place.parent, *store.place.parent.parents):
        if directory.stat().st_uid == os.getuid():
            directory.chmod(0o755)
    assert int(inside(as_somebody).split()[1], 16) == 1 << 10


def test_attributes_that_only_the_real_root_may_set_are_left_out(store: Store) -> None:
    pax = {
        b"SCHILY.xattr." + name: b"x" for name in (b"trusted.md5", b"security.selinux", b"security.ima", b"nonsense")
    }
    assert unpacked(store, tar.file(b"f", pax={**pax, b"SCHILY.xattr.user.kept": b"1"}))[b"f"].xattrs == {
        "user.kept": b"1"
    }


@pytest.mark.parametrize(
    "pax",
    [
        pytest.param({b"user.large": b"x" * 70_000}, id="a large one"),
        pytest.param({b"user." + b"n" * 300: b""}, id="a long name"),
        pytest.param({b"user.": b"x"}, id="no name"),
        pytest.param({b"security.capability": b"garbage"}, id="no capability"),
    ],
)
def test_an_attribute_that_cannot_be_set_is_named(store: Store, pax: dict[bytes, bytes]) -> None:
    with pytest.raises(KernelError, match=r'cannot set attribute ".*" of "some/file": ') as caught:
        store.unpack(
            tar.archive(tar.file(b"some/file", pax={b"SCHILY.xattr." + key: value for key, value in pax.items()}))
        )
    assert len(caught.value.message) < 1000
    assert caught.value.errno != 0
    assert store.names() == []


def test_more_attributes_than_some_file_systems_keep(store: Store) -> None:
    pax = {b"SCHILY.xattr.user.%d" % number: b"x" * 3000 for number in range(100)}
    try:
        tree = unpacked(store, tar.file(b"f", pax=pax))
    except KernelError as error:
        assert 'cannot set attribute "user.' in error.message
        assert store.names() == []
    else:
        assert len(tree[b"f"].xattrs) == 100


def test_devices_are_left_out_and_fifos_are_not(store: Store) -> None:
    tree = unpacked(
        store,
        tar.directory(b"dev/"),
        tar.member(b"dev/null", b"3", device=(1, 3)),
        tar.member(b"dev/sda", b"4", device=(8, 0)),
        tar.member(b"dev/zero-block", b"4"),
        tar.member(b"run/fifo", b"6", mode=0o620, uid=1, gid=5, mtime=77),
    )
    assert sorted(tree) == [b".", b"dev", b"run", b"run/fifo"]
    fifo = tree[b"run/fifo"]
    assert (fifo.kind, fifo.mode, fifo.owner, fifo.mtime) == ("fifo", 0o620, (1, 5), 77 * SECOND)


def test_every_kind_of_file_in_the_place_of_every_other(store: Store) -> None:
    kinds = {
        "file": lambda name: [tar.file(name, name)],
        "directory": lambda name: [tar.directory(name), tar.file(name + b"/below", b"x")],
        "symlink": lambda name: [tar.symlink(name, b"..")],
        "fifo": lambda name: [tar.member(name, b"6")],
        "whiteout": lambda name: [tar.member(name, b"3")],
    }
    members: list[bytes] = []
    for first, second in itertools.product(kinds, kinds):
        name = f"{first}-{second}".encode()
        members += [*kinds[first](name), *kinds[second](name)]
    tree = unpacked(store, *members)
    for first, second in itertools.product(kinds, kinds):
        name = f"{first}-{second}".encode()
        # A whiteout is of what lower layers have: it takes nothing away from its own.
        assert tree[name].kind == (first if second == "whiteout" else second), name
        assert (name + b"/below" in tree) == (tree[name].kind == "directory"), name
        if tree[name].kind == "file":
            assert tree[name].content == name


def test_what_is_below_a_replaced_directory_is_gone(store: Store) -> None:
    deep = b"/".join([b"d"] * 200)
    tree = unpacked(store, tar.file(deep + b"/f"), tar.file(b"d", b"new"), tar.file(b"other"))
    assert sorted(tree) == [b".", b"d", b"other"]


def test_a_path_through_a_symlink_that_was_replaced_leads_elsewhere(store: Store) -> None:
    tree = unpacked(
        store,
        tar.directory(b"a/"),
        tar.directory(b"b/"),
        tar.symlink(b"link", b"a"),
        tar.file(b"link/one"),
        tar.symlink(b"link", b"b"),
        tar.file(b"link/two"),
        tar.symlink(b"self", b"."),
        tar.file(b"self/three"),
        tar.directory(b"self/self/"),
        tar.file(b"self/four"),
    )
    assert sorted(tree) == [b".", b"a", b"a/one", b"b", b"b/two", b"link", b"self", b"self/four", b"three"]


def test_of_duplicates_the_last_counts(store: Store) -> None:
    tree = unpacked(
        store,
        tar.file(b"f", b"one", mode=0o600, uid=1),
        tar.directory(b"d/", 0o700, mtime=5),
        tar.file(b"d/kept"),
        tar.file(b"./f", b"two", mode=0o640),
        tar.directory(b"/d", 0o711, uid=3, mtime=6),
    )
    assert (tree[b"f"].content, tree[b"f"].mode, tree[b"f"].owner) == (b"two", 0o640, (0, 0))
    assert (tree[b"d"].mode, tree[b"d"].owner, tree[b"d"].mtime) == (0o711, (3, 0), 6 * SECOND)
    assert b"d/kept" in tree
