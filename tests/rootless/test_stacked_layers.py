"""What overlays of unpacked layers show: the kernel's, and fuse-overlayfs as a box has it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fuse_overlay import layers
from tests import tar_writer as tar
from tests.rootless import layer_store
from tests.rootless.layer_store import Store, diff_id_of, walk

SECOND = 1_000_000_000
PATIENCE = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store. When the test is over, it has whole layers and nothing else."""
    with layer_store.new(tmp_path / "store") as made:
        yield made


# --- what two layers show when they are stacked ---


def names(merged: str) -> dict[bytes, str]:
    """Every path with its kind, and the content of files and links."""
    return {path: f"{seen.kind} {seen.content.decode()}".strip() for path, seen in walk(merged).items() if path != b"."}


@pytest.fixture(params=["the kernel's overlay", "fuse-overlayfs"])
def merged(request: pytest.FixtureRequest, store: Store) -> Callable[..., dict[bytes, str]]:
    """What an overlay of layers shows, each a list of members, the lowest first."""
    stack = layer_store.merged_by_kernel if request.param.endswith("overlay") else layer_store.merged_by_fuse

    def look(*stacked: list[bytes]) -> dict[bytes, str]:
        diff_ids = []
        for members in stacked:
            plain = tar.archive(*members)
            if not layers.present(str(store.place), diff_id_of(plain)):
                store.unpack(plain)
            diff_ids.append(diff_id_of(plain))
        return stack(store, diff_ids, names)

    return look


LOWER = [
    tar.directory(b"dir/"),
    tar.file(b"dir/one", b"old"),
    tar.directory(b"dir/sub/"),
    tar.file(b"dir/sub/two", b"old"),
    tar.file(b"file", b"old"),
    tar.symlink(b"link", b"dir"),
]
UNTOUCHED = {
    b"dir": "directory",
    b"dir/one": "file old",
    b"dir/sub": "directory",
    b"dir/sub/two": "file old",
    b"file": "file old",
    b"link": "symlink dir",
}


def without(*paths: bytes) -> dict[bytes, str]:
    """What is left of the lower layer without these and what is below them."""
    return {
        path: what
        for path, what in UNTOUCHED.items()
        if not any(path == gone or path.startswith(gone + b"/") for gone in paths)
    }


@pytest.mark.parametrize(
    "opaque", [b"dir/.wh..wh..opq", b"./dir/.wh..wh..opq", b"/dir//.wh..wh..opq", b"link/.wh..wh..opq"]
)
def test_an_opaque_directory_hides_what_is_below(merged: Any, opaque: bytes) -> None:
    seen = merged(
        LOWER, [tar.directory(b"dir/"), tar.symlink(b"link", b"dir"), tar.file(b"dir/new", b"new"), tar.file(opaque)]
    )
    assert seen == without(b"dir") | {b"dir": "directory", b"dir/new": "file new"}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_an_opaque_mark_counts_wherever_it_stands(merged: Any, order: tuple[int, ...]) -> None:
    upper = [tar.directory(b"dir/"), tar.file(b"dir/sub/new", b"new"), tar.file(b"dir/.wh..wh..opq")]
    seen = merged(LOWER, [upper[number] for number in order])
    assert seen == without(b"dir") | {b"dir": "directory", b"dir/sub": "directory", b"dir/sub/new": "file new"}


def test_an_opaque_root_hides_everything(store: Store) -> None:
    """In boxes. The kernel's overlay looks for the mark in directories it finds by name, of which the root is none."""
    made = [
        store.unpack(tar.archive(*members))
        for members in (LOWER, [tar.file(b".wh..wh..opq"), tar.file(b"new", b"new")])
    ]
    assert layer_store.merged_by_fuse(store, made, names) == {b"new": "file new"}


@pytest.mark.parametrize("gone", [b"dir", b"dir/one", b"dir/sub", b"dir/sub/two", b"file", b"link"])
def test_a_whiteout_hides_one_name(merged: Any, gone: bytes) -> None:
    directory, slash, base = gone.rpartition(b"/")
    assert merged(LOWER, [tar.file(directory + slash + b".wh." + base)]) == without(gone)


def test_a_whiteout_of_what_is_not_there_is_no_harm(merged: Any) -> None:
    assert merged(LOWER, [tar.file(b".wh.none"), tar.file(b"dir/.wh.none")]) == UNTOUCHED


def test_a_device_of_zeros_is_a_whiteout(merged: Any) -> None:
    assert merged(LOWER, [tar.member(b"dir/one", b"3"), tar.member(b"file", b"3")]) == without(b"dir/one", b"file")


NEW_THINGS = {
    "a file": ([tar.file(b"dir", b"new")], {b"dir": "file new"}),
    "a symlink": ([tar.symlink(b"dir", b"file")], {b"dir": "symlink file"}),
    "a directory": ([tar.directory(b"dir/")], {b"dir": "directory"}),
    "a directory with a file": (
        [tar.directory(b"dir/"), tar.file(b"dir/new", b"new")],
        {b"dir": "directory", b"dir/new": "file new"},
    ),
    "a file in a directory nobody names": (
        [tar.file(b"dir/new", b"new")],
        {b"dir": "directory", b"dir/new": "file new"},
    ),
    "a hard link": (
        [tar.file(b"other", b"new"), tar.hard_link(b"dir", b"other")],
        {b"dir": "file new", b"other": "file new"},
    ),
    "a fifo": ([tar.member(b"dir", b"6")], {b"dir": "fifo"}),
}


@pytest.mark.parametrize("what", NEW_THINGS)
@pytest.mark.parametrize("where", ["in front", "behind", "in between"])
def test_a_whiteout_and_a_thing_of_the_same_name(merged: Any, what: str, where: str) -> None:
    """The whiteout means the lower layers, so the thing is there and nothing old shows through it."""
    members, shown = NEW_THINGS[what]
    at = {"in front": 0, "behind": len(members), "in between": 1}[where]
    seen = merged(LOWER, [*members[:at], tar.file(b".wh.dir"), *members[at:]])
    assert seen == without(b"dir") | shown


@pytest.mark.parametrize("what", NEW_THINGS)
def test_a_thing_of_another_kind_takes_the_place_of_a_lower_one(merged: Any, what: str) -> None:
    members, shown = NEW_THINGS[what]
    seen = merged(LOWER, members)
    assert seen == (UNTOUCHED if "directory" in shown[b"dir"] else without(b"dir")) | shown


def test_a_directory_removed_and_made_again_is_empty(merged: Any) -> None:
    again = [tar.directory(b"dir/"), tar.file(b"dir/three", b"3")]
    seen = merged(LOWER, [tar.file(b".wh.dir")], again)
    assert seen == without(b"dir") | {b"dir": "directory", b"dir/three": "file 3"}


def test_a_directory_in_the_place_of_a_lower_symlink(merged: Any) -> None:
    seen = merged(LOWER, [tar.directory(b"link/"), tar.file(b"link/new", b"new")])
    assert seen == UNTOUCHED | {b"link": "directory", b"link/new": "file new"}


def test_marks_that_only_aufs_knows_are_left_out(merged: Any) -> None:
    upper = [
        tar.file(b".wh..wh.aufs"),
        tar.directory(b".wh..wh.plnk/"),
        tar.file(b".wh..wh.plnk/12.34", b"x" * 999),
        tar.file(b"n"),
    ]
    assert merged(LOWER, upper) == UNTOUCHED | {b"n": "file"}


def test_attributes_of_an_image_do_not_steer_the_overlay(merged: Any) -> None:
    """An image that is itself the inside of some overlay's upper directory has such attributes."""
    pax = {
        b"SCHILY.xattr." + name: b"y"
        for name in (
            b"trusted.overlay.opaque",
            b"user.overlay.opaque",
            b"user.fuseoverlayfs.opaque",
            b"user.overlay.whiteout",
        )
    }
    pax[b"SCHILY.xattr.user.containers.override_stat"] = b"5:5:0644"
    pax[b"SCHILY.xattr.user.fuseoverlayfs.override_stat"] = b"5:5:0644"
    seen = merged(LOWER, [tar.directory(b"dir/", pax=pax), tar.file(b"file", b"new", pax=pax)])
    assert seen == UNTOUCHED | {b"file": "file new"}


def test_what_is_set_on_a_file_shows_in_the_overlay(store: Store) -> None:
    """Owners, modes, times and attributes, through the ids a box exchanges."""
    owners = (0, 1, os.getuid(), 1000, 65535)
    plain = tar.archive(*(tar.file(b"%d" % uid, uid=uid, gid=uid, mode=0o4755, mtime=uid) for uid in owners))
    diff_id = store.unpack(plain)
    for stack in (layer_store.merged_by_kernel, layer_store.merged_by_fuse):
        seen = stack(store, [diff_id], walk)
        for uid in owners:
            one = seen[b"%d" % uid]
            assert (one.owner, one.mode, one.mtime) == ((uid, uid), 0o4755, uid * SECOND), stack.__name__
