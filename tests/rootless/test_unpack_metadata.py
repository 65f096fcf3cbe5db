"""Layers that come out of the real unpacker: owners, times, directories nobody named, and all of it against GNU tar."""

from __future__ import annotations

import io
import os
import random
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuse_overlay import layers
from rootless import ids
from rootless.errors import HostUnfit
from tests import tar_writer as tar
from tests.rootless import layer_store
from tests.rootless.layer_store import Seen, Store, diff_id_of, inside, walk

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


# --- owners ---


def test_owners_are_those_of_the_user_namespace(store: Store) -> None:
    owners = [
        (0, 0),
        (1, 2),
        (999, 1001),
        (1000, 1000),
        (os.getuid(), os.getgid()),
        (65534, 65534),
        (65535, 65535),
        (0, 65535),
    ]
    members: list[bytes] = []
    for uid, gid in owners:
        both = {"uid": uid, "gid": gid}
        name = b"%d-%d" % (uid, gid)
        members += [
            tar.file(b"f" + name, **both),
            tar.directory(b"d" + name, **both),
            tar.symlink(b"l" + name, b"/", **both),
        ]
    diff_id = store.unpack(tar.archive(*members))
    tree = store.tree(diff_id)
    for uid, gid in owners:
        assert {tree[kind + b"%d-%d" % (uid, gid)].owner for kind in (b"f", b"d", b"l")} == {(uid, gid)}
    root = layers.path(str(store.place), diff_id)
    assert os.lstat(f"{root}/f0-0").st_uid == os.getuid()  # container root's files are the user's own
    first, _count = ids.subordinates().uid_ranges[0]
    assert os.lstat(f"{root}/f1-2").st_uid == first


@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "fifo"])
@pytest.mark.parametrize("who", ["user", "group"])
def test_an_owner_without_a_place_in_the_user_namespace(store: Store, kind: str, who: str) -> None:
    whose = ids.subordinates()
    number = 1 + sum(count for _first, count in (whose.uid_ranges if who == "user" else whose.gid_ranges))
    make = {"file": tar.file, "directory": tar.directory, "fifo": lambda name, **owner: tar.member(name, b"6", **owner)}
    owner = {"uid" if who == "user" else "gid": number}
    one = tar.symlink(b"opt/thing", b"x", **owner) if kind == "symlink" else make[kind](b"opt/thing", **owner)
    with pytest.raises(HostUnfit, match=rf'"opt/thing" belongs to {who} id {number}, which has no place') as caught:
        store.unpack(tar.archive(tar.file(b"before"), one))
    assert caught.value.hint is not None
    assert f"/etc/sub{who[0]}id" in caught.value.hint
    assert store.names() == []


def test_a_colossal_owner(store: Store) -> None:
    with pytest.raises(HostUnfit, match=r"user id 4294967294, which has no place"):
        store.unpack(tar.archive(tar.file(b"f", uid=(1 << 32) - 2)))


# --- times ---


@pytest.mark.parametrize("nanoseconds", [0, 1, -1, 1_234_567_890_123_456_789, -86_400 * SECOND, 5_000_000_000 * SECOND])
def test_times_of_everything(store: Store, nanoseconds: int) -> None:
    sign, (whole, below) = b"-" if nanoseconds < 0 else b"", divmod(abs(nanoseconds), SECOND)
    pax = {"pax": {b"mtime": b"%b%d.%09d" % (sign, whole, below)}}
    tree = unpacked(
        store,
        tar.directory(b"./", **pax),
        tar.directory(b"dir/", **pax),
        tar.file(b"dir/file", b"x", **pax),
        tar.symlink(b"dir/link", b"file", **pax),
        tar.hard_link(b"dir/hard", b"dir/file", mtime=99),
        tar.member(b"dir/fifo", b"6", **pax),
        tar.directory(b"dir/sub/", **pax),
        tar.file(b"dir/sub/.wh.gone"),
        tar.file(b"dir/.wh.gone"),
        tar.file(b"dir/sub/.wh..wh..opq"),
    )
    for path in (b".", b"dir", b"dir/file", b"dir/link", b"dir/fifo", b"dir/sub", b"dir/hard"):
        assert tree[path].mtime == nanoseconds, path


def test_times_of_directories_that_are_replaced_or_filled_later(store: Store) -> None:
    tree = unpacked(
        store,
        tar.directory(b"gone/", mtime=1),
        tar.directory(b"gone/below/", mtime=1),
        tar.directory(b"link/", mtime=1),
        tar.directory(b"filled/", mtime=5),
        tar.file(b"gone", b"", mtime=2),
        tar.symlink(b"link", b"filled", mtime=3),
        tar.file(b"filled/file"),
        tar.symlink(b"loop", b"loop", mtime=4),
        tar.directory(b"again/below/", mtime=1),
        tar.symlink(b"again", b"loop", mtime=4),
    )
    found = {path: seen.mtime // SECOND for path, seen in tree.items()}
    assert [found[path] for path in (b"gone", b"link", b"filled", b"again")] == [2, 3, 5, 4]


# --- directories that nobody names, or names too late ---


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_directories_that_are_only_implied(store: Store, umask: int) -> None:
    before = os.umask(umask)
    try:
        tree = unpacked(
            store,
            tar.file(b"a/b/c", mode=0o600, uid=9, gid=9),
            tar.symlink(b"dangling", b"far/away"),
            tar.file(b"dangling/x"),
            tar.directory(b"setgid/", 0o2775, gid=7),
            tar.file(b"setgid/new/f"),
        )
    finally:
        os.umask(before)
    for path in (b".", b"a", b"a/b", b"far", b"far/away", b"setgid/new"):
        assert (tree[path].kind, tree[path].mode, tree[path].owner) == ("directory", 0o755, (0, 0)), path
    assert (tree[b"setgid"].mode, tree[b"a/b/c"].mode, b"far/away/x" in tree) == (0o2775, 0o600, True)


@pytest.mark.parametrize("depth", [2, 41, 200, 1000])
def test_many_directories_that_are_only_implied(store: Store, depth: int) -> None:
    tree = unpacked(store, tar.file(b"d/" * depth + b"f", b"x"))
    assert tree[b"d/" * depth + b"f"].content == b"x"


def test_a_directory_may_be_named_after_what_is_in_it(store: Store) -> None:
    tree = unpacked(
        store,
        tar.file(b"usr/bin/tool", b"x"),
        tar.directory(b"usr/bin/", 0o700, uid=4, mtime=8),
        tar.directory(b"usr/", 0o711, mtime=9),
        tar.directory(b"./", 0o555, uid=3, mtime=7),
    )
    assert (tree[b"usr/bin"].mode, tree[b"usr/bin"].owner, tree[b"usr/bin"].mtime) == (0o700, (4, 0), 8 * SECOND)
    assert (tree[b"usr"].mode, tree[b"usr"].mtime) == (0o711, 9 * SECOND)
    assert (tree[b"."].mode, tree[b"."].owner, tree[b"."].mtime) == (0o555, (3, 0), 7 * SECOND)


@pytest.mark.parametrize("mode", [0, 0o555, 0o111])
def test_children_of_directories_that_may_not_be_written_to(store: Store, mode: int) -> None:
    tree = unpacked(
        store,
        tar.directory(b"./", mode, uid=5),
        tar.directory(b"d/", mode, uid=5, mtime=3),
        tar.file(b"d/f", b"x", mode=mode),
        tar.directory(b"d/e/", mode, uid=6),
        tar.symlink(b"d/e/l", b"x"),
        tar.hard_link(b"d/e/h", b"d/f"),
        tar.file(b"d/f", b"y", mode=mode),
        tar.file(b"d/e/.wh.g"),
    )
    assert (tree[b"d/f"].content, tree[b"d/e/h"].content, tree[b"d/e/g"].kind) == (b"y", b"x", "whiteout")
    assert [tree[path].mode for path in (b".", b"d", b"d/e", b"d/f")] == [mode] * 4
    assert tree[b"d"].mtime == 3 * SECOND


# --- against another program ---

PART = st.sampled_from(["a", "b", "c", "d e", "é", "n" * 130])
PATHS = st.lists(PART, min_size=1, max_size=4).map("/".join)
THINGS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["file", "file", "directory", "directory", "symlink", "fifo", "hard link"]),
        "mode": st.sampled_from([0o644, 0o755, 0o4755, 0o2750, 0o1777, 0o500, 0]),
        "uid": st.sampled_from([0, 1, 1000, 65535]),
        "gid": st.sampled_from([0, 5, 65535]),
        "mtime": st.integers(0, 1 << 33),
        "size": st.sampled_from([0, 1, 511, 512, 513, 40_000]),
    }
)


def tar_of(things: dict[str, dict[str, Any]], order: random.Random, kind: int) -> bytes:
    """An archive of things that do not contradict each other: what has something below it is a directory."""
    buffer = io.BytesIO()
    files: list[str] = []
    paths = list(things)
    order.shuffle(paths)
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for path in paths:
            thing = things[path]
            info = tarfile.TarInfo(path)
            info.mode, info.uid, info.gid, info.mtime = (thing[key] for key in ("mode", "uid", "gid", "mtime"))
            what = "directory" if any(other.startswith(path + "/") for other in things) else thing["kind"]
            if what == "hard link" and files:
                info.type, info.linkname = tarfile.LNKTYPE, order.choice(files)
            elif what == "directory":
                info.type = tarfile.DIRTYPE
            elif what == "symlink":
                info.type, info.linkname = tarfile.SYMTYPE, "not/there"
            elif what == "fifo":
                info.type = tarfile.FIFOTYPE
            else:
                info.size = thing["size"]
                files.append(path)
            archive.addfile(info, io.BytesIO(order.randbytes(info.size)))
    return buffer.getvalue()


def comparable(tree: dict[bytes, Seen]) -> dict[bytes, Any]:
    """What two copies of a tree have in common; files that are one have the same number."""
    numbers: dict[int, bytes] = {}
    for path in sorted(tree):
        numbers.setdefault(tree[path].inode, path)
    return {
        path: (seen.kind, seen.mode, seen.owner, seen.mtime, seen.content, seen.xattrs, numbers[seen.inode])
        for path, seen in tree.items()
        if path != b"."
    }


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    things=st.dictionaries(PATHS, THINGS, min_size=1, max_size=14),
    seed=st.integers(0, 1 << 32),
    kind=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_the_same_tree_as_gnu_tar_makes(store: Store, things: dict[str, dict[str, Any]], seed: int, kind: int) -> None:
    for path in list(things):  # GNU tar gives directories that nobody names other modes than docker does: name them all
        for count in range(1, path.count("/") + 1):
            parent = "/".join(path.split("/")[:count])
            things.setdefault(parent, {"kind": "directory", "mode": 0o755, "uid": 0, "gid": 0, "mtime": 1, "size": 0})
    plain = tar_of(things, random.Random(seed), kind)
    diff_id = diff_id_of(plain)
    if not layers.present(str(store.place), diff_id):
        store.unpack(plain)

    def other() -> dict[bytes, Seen]:
        place = f"{store.place}/gnu"
        os.mkdir(place)
        command = ["tar", "-xpf", "-", "--numeric-owner", "--delay-directory-restore", "-C", place]
        subprocess.run(command, input=plain, check=True)
        seen = walk(place)
        subprocess.run(["rm", "-rf", place], check=True)
        return seen

    assert comparable(store.tree(diff_id)) == comparable(inside(other))
