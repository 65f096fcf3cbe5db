"""Unpacking that fails, is killed or meets others: an error that says why, nothing left, and the next try works."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuse_overlay import layers
from fuse_overlay.unpacker import Unpacker
from rootless import userns
from rootless.errors import IntegrityError, InUse, InvalidDocument, PtbError
from tests import tar_writer as tar
from tests.rootless import layer_store
from tests.rootless.layer_store import Store, diff_id_of, feed, inside

SECOND = 1_000_000_000
PATIENCE = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store. When the test is over, it has whole layers and nothing else."""
    with layer_store.new(tmp_path / "store") as made:
        yield made


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


# --- failures: an error that says why, and nothing left ---


@pytest.mark.parametrize("how", BLOBS)
def test_a_layer_with_other_content_than_promised(store: Store, how: str) -> None:
    promised = diff_id_of(SOME)
    other = tar.archive(tar.file(b"other"))
    with pytest.raises(
        IntegrityError, match=rf"layer {promised[7:19]}: its content has the digest {diff_id_of(other)}"
    ):
        store.unpack(other, BLOBS[how](other), diff_id=promised)
    assert store.names() == []
    assert store.unpack(SOME, BLOBS[how](SOME)) == promised


def test_what_follows_the_end_of_the_archive_counts_for_the_digest(store: Store) -> None:
    """Whole blocks of it, more than one buffer holds: none may be left unread."""
    plain = SOME + bytes(10 << 20) + b"trailing"
    with pytest.raises(IntegrityError):
        store.unpack(plain[:-1], diff_id=diff_id_of(plain))
    assert layers.size(str(store.place), store.unpack(plain)) == len(plain)


@pytest.mark.parametrize("how", ["gzip", "gzip members", "zstd", "zstd frames"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_stream_that_ends_early(store: Store, how: str, part: float) -> None:
    plain = tar.archive(*(tar.file(b"f%d" % number, random.Random(number).randbytes(30_000)) for number in range(99)))
    blob = BLOBS[how](plain)
    with pytest.raises(InvalidDocument, match=f"the {how.split(maxsplit=1)[0]} stream of the layer ends early"):
        store.unpack(plain, blob[: int(len(blob) * part)])
    assert store.names() == []
    store.unpack(plain, blob)


@pytest.mark.parametrize("cut", [1, 100, 511, 512, 700, 1024, 1500])
def test_a_plain_archive_that_ends_early(store: Store, cut: int) -> None:
    plain = tar.archive(tar.file(b"a", b"x" * 500), tar.file(b"b", b"x" * 500))
    with pytest.raises((InvalidDocument, IntegrityError)):
        store.unpack(plain[:cut], diff_id=diff_id_of(plain))
    assert store.names() == []
    store.unpack(plain)


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        pytest.param(gzip.compress(SOME) + b"trailing garbage", "gzip stream of the layer is broken", id="behind gzip"),
        pytest.param(zstd.compress(SOME) + b"trailing garbage", "zstd stream of the layer is broken", id="behind zstd"),
        pytest.param(b"\x1f\x8b" + b"garbage" * 99, "gzip stream of the layer is broken", id="gzip"),
        pytest.param(b"\x28\xb5\x2f\xfd" + b"garbage" * 99, "zstd stream of the layer is broken", id="zstd"),
        pytest.param(b"<html><body>Not here</body></html>" * 99, "no tar archive", id="html"),
        pytest.param(b"BZh91AY&SY" + bytes(99), "compressed with bzip2", id="bzip2"),
        pytest.param(b"\xfd7zXZ\0" + bytes(99), "compressed with xz", id="xz"),
    ],
)
def test_a_blob_that_is_no_layer(store: Store, blob: bytes, why: str) -> None:
    with pytest.raises(InvalidDocument, match=rf"^layer {diff_id_of(SOME)[7:19]}: .*{why}"):
        store.unpack(SOME, blob)
    assert store.names() == []
    store.unpack(SOME)


def test_an_encrypted_layer(store: Store) -> None:
    with pytest.raises(InvalidDocument, match="encrypted"):
        store.unpack(SOME, media_type="application/vnd.oci.image.layer.v1.tar+encrypted")
    assert store.names() == []


def test_no_layer_without_a_digest(store: Store) -> None:
    for wrong in ("", "sha256:../../etc", "sha512:" + "0" * 128, "sha256:" + "G" * 64):
        with Unpacker(str(store.place)) as unpacker, pytest.raises(InvalidDocument):
            unpacker.begin(wrong, "")
    assert store.names() == []


def test_a_store_that_may_not_be_written_to(store: Store) -> None:
    store.layers.mkdir()
    with pytest.raises(PtbError, match=r'unpacking in ".*": Not a directory'):
        Store(Path("/proc/version")).unpack(SOME)


FILLERS = {
    "one large file": lambda: [tar.file(b"f", b"x" * (8 << 20))],
    "many small files": lambda: [tar.file(b"f%d" % number, b"x" * 3000) for number in range(3000)],
    "many empty directories": lambda: [tar.directory(b"%b/%d" % (b"d" * 90, number)) for number in range(20_000)],
    "many symlinks": lambda: [tar.symlink(b"l%d" % number, b"t" * 99) for number in range(20_000)],
    "a sparse file": lambda: [
        tar.header(
            b"s",
            b"S",
            size=8 << 20,
            prefix=bytes(41) + tar.octal(0, 12) + tar.octal(8 << 20, 12) + bytes(73) + tar.octal(1 << 30, 12),
        )
        + bytes(8 << 20)
    ],
}


@pytest.mark.parametrize("what", FILLERS)
def test_a_full_disk(store: Store, what: str) -> None:
    """Of four MiB, and five hundred inodes."""
    plain = tar.archive(*FILLERS[what]())

    def fill() -> tuple[str, list[str], list[str]]:
        before = os.statvfs(store.place)
        with pytest.raises(PtbError) as caught:
            store.unpack(plain, gzip.compress(plain, 1))
        left = store.names()
        after = os.statvfs(store.place)
        # All but the directory of layers itself is free again.
        assert before.f_bfree - after.f_bfree <= 1
        assert before.f_ffree - after.f_ffree <= 1
        store.unpack(SOME)
        return caught.value.message, left, store.names()

    message, left, then = layer_store.on_small_disk(store, "size=4m,nr_inodes=500", fill)
    assert message == f'layer {diff_id_of(plain)[7:19]}: no space left on "{store.place}"'
    assert (left, then) == ([], [diff_id_of(SOME)[7:]])


def test_a_full_disk_stops_the_download(store: Store) -> None:
    """Whoever feeds the pipe learns at once that the rest is not wanted."""

    def fill() -> int:
        with Unpacker(str(store.place)) as unpacker:
            pipe = unpacker.begin(diff_id_of(b"whatever"), "")
            assert pipe is not None
            written = 0
            with pytest.raises(BrokenPipeError):
                for number in range(1000):
                    written += os.write(pipe, tar.file(b"%d" % number, b"x" * (1 << 20)))
            with pytest.raises(PtbError, match="no space left"):
                unpacker.commit()
            return written

    assert layer_store.on_small_disk(store, "size=4m", fill) < 20 << 20


# --- more than one at once, and deaths ---


def half(plain: bytes) -> tuple[bytes, bytes]:
    return plain[: len(plain) // 2], plain[len(plain) // 2 :]


LARGE = tar.archive(*(tar.file(b"d%d/f%d" % (number % 7, number), b"x" * 40_000) for number in range(200)))


def await_waiting(path: Path) -> None:
    """Until somebody waits for a lock on `path`; the kernel has no event for that (proc_locks(5))."""
    number = f":{path.stat().st_ino} "
    deadline = time.monotonic() + PATIENCE
    while not any("->" in line and number in line for line in Path("/proc/locks").read_text().splitlines()):
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextlib.contextmanager
def waiting(second: Unpacker, store: Store, plain: bytes) -> Iterator[list[Any]]:
    """While the second waits to begin what another is unpacking; then what it got is in the list."""
    got: list[Any] = []

    def begin() -> None:
        try:
            got.append(second.begin(diff_id_of(plain), ""))
        except PtbError as error:
            got.append(error)

    thread = threading.Thread(target=begin)
    thread.start()
    try:
        await_waiting(store.layers / f"{diff_id_of(plain)[7:]}.partial")
        assert got == []
        yield got
    finally:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_of_two_one_unpacks_and_the_other_waits(store: Store) -> None:
    head, tail = half(LARGE)
    with Unpacker(str(store.place)) as first, Unpacker(str(store.place)) as second:
        pipe = first.begin(diff_id_of(LARGE), "")
        assert pipe is not None
        feed(pipe, head)
        with waiting(second, store, LARGE) as got:
            feed(pipe, tail)
            first.commit()
        assert got == [None]
    assert len(store.tree(diff_id_of(LARGE))) == 208


@pytest.mark.parametrize("how", ["abort", "wrong content", "killed"])
def test_when_the_first_fails_the_second_does_it(store: Store, how: str) -> None:
    head, _tail = half(LARGE)
    with Unpacker(str(store.place)) as first, Unpacker(str(store.place)) as second:
        pipe = first.begin(diff_id_of(LARGE), "")
        assert pipe is not None
        feed(pipe, head)
        with waiting(second, store, LARGE) as got:
            if how == "abort":
                first.abort()
            elif how == "killed":
                os.kill(first._worker, signal.SIGKILL)
            else:
                with pytest.raises(PtbError):
                    first.commit()
        [pipe] = got
        feed(pipe, LARGE)
        second.commit()
    assert len(store.tree(diff_id_of(LARGE))) == 208


def test_whoever_waits_can_be_interrupted(store: Store) -> None:
    second = Unpacker(str(store.place))
    with Unpacker(str(store.place)) as first:
        assert first.begin(diff_id_of(LARGE), "") is not None
        second.__enter__()
        with waiting(second, store, LARGE) as got:
            second.__exit__(None, None, None)
    assert isinstance(got[0], PtbError)


def test_a_crowd_makes_every_layer_once(store: Store) -> None:
    made = [tar.archive(tar.file(b"f%d" % number)) for number in range(40)]
    counts = [0] * len(made)

    def work(unpacker: Unpacker) -> None:
        for number, plain in enumerate(made):
            pipe = unpacker.begin(diff_id_of(plain), "")
            if pipe is not None:
                counts[number] += 1
                feed(pipe, plain)
                unpacker.commit()

    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(Unpacker(str(store.place))) for _ in range(4)]
        failures: list[BaseException] = []

        def guarded(unpacker: Unpacker) -> None:
            try:
                work(unpacker)
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)

        threads = [threading.Thread(target=guarded, args=(unpacker,)) for unpacker in crowd]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert failures == []
    assert counts == [1] * len(made)
    assert len(store.names()) == len(made)


def test_who_comes_just_as_a_layer_is_finished_finds_it(store: Store) -> None:
    """Processes on each other's heels, over layers of nothing: nobody makes a second time what has just been made."""

    def work() -> int:
        for number in range(3000):
            found = layers.claim(str(store.place), f"sha256:{number:064x}")
            os.close(found if isinstance(found, int) else layers.commit(found, 0))
        return 0

    crowd = [userns.fork_mapped(work) for _ in range(4)]
    assert [os.waitpid(pid, 0)[1] for pid in crowd] == [0] * 4
    assert len(store.names()) == 3000


def test_a_worker_killed_in_the_middle(store: Store) -> None:
    head, tail = half(LARGE)
    with Unpacker(str(store.place)) as unpacker:
        pipe = unpacker.begin(diff_id_of(LARGE), "")
        assert pipe is not None
        feed(pipe, head)
        os.kill(unpacker._worker, signal.SIGKILL)
        feed(pipe, tail * 100)  # more than the pipe holds: only its end can end this
        with pytest.raises(PtbError, match="the process that unpacks layer .* died"):
            unpacker.commit()
        with pytest.raises(PtbError, match="died"):
            unpacker.begin(diff_id_of(SOME), "")
    assert store.names() == [f"{diff_id_of(LARGE)[7:]}.partial"]
    store.unpack(SOME)
    assert store.names() == [diff_id_of(SOME)[7:]], "the next one cleans up, whatever it unpacks"
    store.unpack(LARGE)


PULLER = """
import sys, time
from fuse_overlay.unpacker import Unpacker
with Unpacker(sys.argv[1]) as unpacker, open(sys.argv[3], "rb") as archive:
    pipe = unpacker.begin(sys.argv[2], "")
    with open(pipe, "wb", buffering=0, closefd=False) as stream:
        stream.write(archive.read(int(sys.argv[4])))
    print(unpacker._worker, flush=True)
    sys.stdin.read()
    unpacker.commit()
    print("done", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("size", [0, len(LARGE) // 2, len(LARGE)])
def test_a_puller_killed_in_the_middle(store: Store, tmp_path: Path, number: signal.Signals, size: int) -> None:
    (tmp_path / "archive").write_bytes(LARGE)
    arguments = [str(store.place), diff_id_of(LARGE), str(tmp_path / "archive"), str(size)]
    with subprocess.Popen(
        [sys.executable, "-c", PULLER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ) | {"PYTHONPATH": os.getcwd()},
        text=True,
    ) as puller:
        assert puller.stdout is not None
        worker = os.pidfd_open(int(puller.stdout.readline()))
        puller.send_signal(number)
        puller.wait(PATIENCE)
        poll = select.poll()
        poll.register(worker, select.POLLIN)
        assert poll.poll(PATIENCE * 1000), "the worker outlives its puller"
        os.close(worker)
    assert store.names() == []
    store.unpack(LARGE)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(after=st.floats(0, 0.05))
def test_killed_at_any_moment_a_layer_is_whole_or_not_there(store: Store, after: float) -> None:
    with Unpacker(str(store.place)) as unpacker:
        timer = threading.Timer(after, os.kill, (unpacker._worker, signal.SIGKILL))
        pipe = unpacker.begin(diff_id_of(LARGE), "")
        if pipe is not None:
            timer.start()
            try:
                feed(pipe, LARGE)
                unpacker.commit()
            except PtbError as error:
                assert "died" in error.message
            timer.join()
    if layers.present(str(store.place), diff_id_of(LARGE)):
        assert len(store.tree(diff_id_of(LARGE))) == 208
        assert inside(lambda: layers.remove(str(store.place), diff_id_of(LARGE)))
    inside(lambda: layers.sweep(str(store.place)))
    assert store.names() == []


# --- removal ---


def test_a_layer_is_removed_whole(store: Store) -> None:
    diff_id = store.unpack(LARGE)
    assert inside(lambda: layers.remove(str(store.place), diff_id)) is True
    assert inside(lambda: layers.remove(str(store.place), diff_id)) is False
    assert (store.names(), layers.size(str(store.place), diff_id)) == ([], 0)
    store.unpack(LARGE)


@pytest.mark.parametrize("how", ["made", "met"])
def test_a_layer_in_use_is_not_removed(store: Store, how: str) -> None:
    diff_id = diff_id_of(SOME)
    if how == "met":
        store.unpack(SOME)

    def remove() -> str:
        try:
            layers.remove(str(store.place), diff_id)
        except InUse as error:
            return error.message
        return "removed"

    with Unpacker(str(store.place)) as unpacker:
        pipe = unpacker.begin(diff_id, "")
        if pipe is not None:
            feed(pipe, SOME)
            unpacker.commit()
        assert inside(remove) == f"layer {diff_id} is being used by another process"
        assert len(store.tree(diff_id)) == 4
    assert inside(remove) == "removed"


def test_a_layer_that_is_being_made_is_neither_removed_nor_swept(store: Store) -> None:
    head, tail = half(LARGE)
    with Unpacker(str(store.place)) as unpacker:
        pipe = unpacker.begin(diff_id_of(LARGE), "")
        assert pipe is not None
        feed(pipe, head)
        assert inside(lambda: layers.remove(str(store.place), diff_id_of(LARGE))) is False
        inside(lambda: layers.sweep(str(store.place)))
        store.unpack(SOME)
        feed(pipe, tail)
        unpacker.commit()
    assert len(store.tree(diff_id_of(LARGE))) == 208


def test_what_a_killed_removal_leaves_is_swept(store: Store) -> None:
    diff_id = store.unpack(LARGE)
    left = store.layers / f"{diff_id[7:]}.0123456789abcdef.removing"
    (store.layers / diff_id[7:]).rename(left)
    assert layers.known(str(store.place)) == []
    lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    inside(lambda: layers.sweep(str(store.place)))
    assert store.names() == [left.name], "somebody is removing it"
    os.close(lock)
    inside(lambda: layers.sweep(str(store.place)))
    assert store.names() == []


def test_removals_while_others_come_to_use_the_layer(store: Store) -> None:
    """Three and three, over a layer of nothing: who has got it can rely on it."""
    place, diff_id = str(store.place), diff_id_of(SOME)
    stop_read, stop_write = os.pipe()

    def remove() -> int:
        os.close(stop_write)
        while not select.select([stop_read], [], [], 0)[0]:
            with contextlib.suppress(InUse):
                layers.remove(place, diff_id)
        return 0

    def use() -> int:
        times = 0
        for _ in range(12_000):
            try:
                found = layers.claim(place, diff_id)
                held = found if isinstance(found, int) else layers.commit(found, 0)
            except PtbError as error:
                assert "was removed by another process" in error.message
                continue
            assert layers.present(place, diff_id)
            times += 1
            os.close(held)
        return 0 if times else 1

    removers = [userns.fork_mapped(remove) for _ in range(3)]
    users = [userns.fork_mapped(use) for _ in range(3)]
    ends = [os.waitpid(pid, 0)[1] for pid in users]
    os.close(stop_write)
    ends += [os.waitpid(pid, 0)[1] for pid in removers]
    os.close(stop_read)
    assert ends == [0] * 6
