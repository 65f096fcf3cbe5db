"""Attacks on paths beneath a root file system: whatever an image's symlinks say, nothing outside is read or written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rootless import paths
from tests import races

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    place = tmp_path / "outside"
    place.mkdir()
    (place / "passwd").write_text("the host's\n")
    return place


@pytest.fixture
def image(tmp_path: Path) -> Path:
    place = tmp_path / "image"
    place.mkdir()
    return place


@pytest.fixture
def root(image: Path) -> Iterator[int]:
    fd = os.open(image, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def _tree(place: Path) -> dict[str, str]:
    return {str(path.relative_to(place)): path.read_text() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("link", ["absolute", "climbing"])
def test_writing_through_a_symlinked_directory_stays_inside(image: Path, outside: Path, root: int, link: str) -> None:
    target = str(outside) if link == "absolute" else "../../../../../../../../.." + str(outside)
    (image / "etc").symlink_to(target)
    before = _tree(outside)
    paths.write_in(root, "/etc/passwd", b"mine\n", 0o644)
    assert _tree(outside) == before
    assert (image / str(outside).lstrip("/") / "passwd").read_text() == "mine\n"


def test_a_symlinked_file_is_replaced_and_not_written_through(image: Path, outside: Path, root: int) -> None:
    (image / "etc").mkdir()
    (image / "etc/passwd").symlink_to(outside / "passwd")
    paths.write_in(root, "/etc/passwd", b"mine\n", 0o644)
    assert (outside / "passwd").read_text() == "the host's\n"
    assert (image / "etc/passwd").read_text() == "mine\n"
    assert not (image / "etc/passwd").is_symlink()


def test_reading_through_symlinks_reads_the_image_only(image: Path, outside: Path, root: int) -> None:
    (image / "passwd").symlink_to(outside / "passwd")
    (image / "magic").symlink_to("/proc/self/root" + str(outside / "passwd"))
    assert paths.read_in(root, "/passwd") is None
    assert paths.read_in(root, "/magic") is None


def test_a_fifo_or_device_in_the_place_of_a_file_does_not_hang_the_reader(image: Path, root: int) -> None:
    os.mkfifo(image / "passwd")
    assert paths.read_in(root, "/passwd") is None


def test_a_leftover_of_our_temporary_name_is_not_followed(image: Path, outside: Path, root: int) -> None:
    (image / ".passwd.ptb").symlink_to(outside / "passwd")
    paths.write_in(root, "/passwd", b"mine\n", 0o600)
    assert (outside / "passwd").read_text() == "the host's\n"
    assert (image / "passwd").stat().st_mode & 0o7777 == 0o600


def test_a_dangling_link_on_the_way_is_made_inside(image: Path, root: int) -> None:
    """Images whose /home is a link to a /var/home that only exists on a booted system."""
    (image / "home").symlink_to("/var/home")
    os.close(paths.make_directories(root, "/home/ann"))
    assert (image / "var/home/ann").is_dir()
    assert (image / "home").is_symlink()


def test_links_in_a_circle_end_in_an_error(image: Path, root: int) -> None:
    (image / "a").symlink_to("b")
    (image / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        paths.make_directories(root, "/a/x")


def test_a_mount_point_for_a_file_never_opens_what_a_link_names(image: Path, outside: Path, root: int) -> None:
    (image / "resolv.conf").symlink_to(outside / "created-by-attack")
    os.close(paths.make_mount_point(root, "/resolv.conf", directory=False))
    assert not (outside / "created-by-attack").exists()


def test_a_second_write_of_the_same_touches_nothing(image: Path, root: int) -> None:
    paths.write_in(root, "/f", b"x", 0o640)
    before = (image / "f").stat()
    paths.write_in(root, "/f", b"x", 0o640)
    assert (image / "f").stat().st_ino == before.st_ino


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["a", "/b", "../c", "..", "/", "a/b", "/a/../../b"])),
        max_size=6,
    )
)
def test_no_set_of_links_lets_a_write_out(tmp_path: Path, links: list[tuple[str, str]]) -> None:
    place = tmp_path / os.urandom(6).hex()
    image = place / "image"
    image.mkdir(parents=True)
    for number, (name, target) in enumerate(links):
        parent = image if number % 2 else image / "a"
        if (
            parent.is_dir()
            and not parent.is_symlink()
            and not (parent / name).is_symlink()
            and not (parent / name).exists()
        ):
            (parent / name).symlink_to(target)
        elif not parent.exists() and not parent.is_symlink():
            parent.mkdir()
    fd = os.open(image, os.O_RDONLY | os.O_DIRECTORY)
    try:
        paths.write_in(fd, "/a/b/file", b"x", 0o644)
    except OSError:
        pass
    finally:
        os.close(fd)
    assert sorted(entry.name for entry in place.iterdir()) == ["image"]


def test_removing_a_tree_follows_no_link_and_copes_with_any_depth(tmp_path: Path, outside: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(outside)
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    for _level in range(3000):
        os.mkdir("deep", dir_fd=fd)
        below = os.open("deep", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    (tree / "closed").mkdir(mode=0o000)
    parent = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    paths.remove_tree(parent, "tree")
    paths.remove_tree(parent, "tree")
    os.close(parent)
    assert not tree.exists()
    assert (outside / "passwd").exists()


def test_a_new_directory_that_becomes_a_link_is_not_followed() -> None:
    """CVE-2024-45310's kind: between making a directory and setting its mode, a link to the host's is in its place.

    In memory, where a name changes within the microseconds that there are: in one of ten to sixty attempts.
    """
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        image, outside = Path(made, "image"), Path(made, "outside")
        image.mkdir()
        outside.mkdir(mode=0o700)
        root = os.open(image, os.O_RDONLY | os.O_DIRECTORY)
        with races.exchanging((image / "new", image / "link")):
            for _attempt in range(3000):
                for entry in (image / "new", image / "link"):
                    with contextlib.suppress(OSError):
                        entry.unlink() if entry.is_symlink() else entry.rmdir()
                with contextlib.suppress(OSError):
                    (image / "link").symlink_to(outside)
                    os.close(paths.make_directories(root, "/new"))
                assert outside.stat().st_mode & 0o7777 == 0o700
        os.close(root)
