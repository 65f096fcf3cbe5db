"""What is written to a log is what conmon and docker write, and all of it comes back, whatever happens in between."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless import container_log
from rootless.container_log import open_log
from rootless.errors import HostUnfit, KernelError, NotFound, UsageError
from toolbox.containers import log_reader
from toolbox.containers.log_reader import follow, read, show

FILES = ("k8s-file", "json-file")
IDENTITY = "0123456789abcdef" * 4

_chunks = st.lists(
    st.tuples(
        st.sampled_from([1, 2]), st.lists(st.sampled_from([b"\n", b"a", b"x" * 5000, b"\\", b'"', b"\0"])).map(b"".join)
    ),
    max_size=12,
)


def put(directory, *chunks, driver="k8s-file", **settings):
    log = open_log(driver, str(directory), **settings)
    for stream, data in chunks:
        log.write(stream, data)
    log.close()


def text_of(lines, stream):
    return b"".join(line.text + (b"" if line.partial else b"\n") for line in lines if line.stream == stream)


def texts(lines):
    return [line.text for line in lines if line.text or not line.partial]


def numbered(first, last):
    return b"".join(b"line %d\n" % number for number in range(first, last))


# --- the formats ---


def test_k8s_file_is_conmon_s(tmp_path):
    before = time.time_ns()
    put(tmp_path, (1, b"one\ntwo\nthr"), (2, b"err\n"), (1, b"ee\n"))
    lines = (tmp_path / "ctr.log").read_bytes().splitlines()
    stamp = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d "
    wanted = [b"stdout F one", b"stdout F two", b"stdout P thr", b"stderr F err", b"stdout F ee"]
    assert [re.sub(b"^" + stamp, b"", line) for line in lines] == wanted
    assert all(re.match(stamp, line) for line in lines)
    assert before <= next(read(str(tmp_path), "k8s-file")).time_ns <= time.time_ns()


def test_k8s_file_splits_long_lines_as_conmon_does(tmp_path):
    put(tmp_path, (1, b"a\n" + b"x" * 8192 + b"\n" + b"y" * 20000 + b"\nb\n"))
    lines = list(read(str(tmp_path), "k8s-file"))
    assert [(len(line.text), line.partial) for line in lines] == [
        (1, False),
        (8192, False),
        (8192, True),
        (8192, True),
        (20000 - 2 * 8192, False),
        (1, False),
    ]


@pytest.fixture
def set_zone(monkeypatch):
    def change(zone):
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield change
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "wanted"),
    [
        ("UTC", b"2026-11-25T02:00:00.123456789+00:00"),
        ("EST-5:30", b"2026-11-25T07:30:00.123456789+05:30"),
        ("EST3", b"2026-11-24T23:00:00.123456789-03:00"),
    ],
)
def test_timestamps_are_in_the_local_zone(set_zone, zone, wanted):
    set_zone(zone)
    moment = 1_795_572_000_123_456_789
    assert container_log.timestamp(moment, local=True) == wanted
    assert container_log.timestamp(moment, local=False) == b"2026-11-25T02:00:00.123456789Z"
    for local in (True, False):
        assert log_reader._nanoseconds(container_log.timestamp(moment, local=local).decode()) == moment


@pytest.mark.parametrize(
    ("stamp", "wanted"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T01:00:00.000000001+01:00", 1),
    ],
)
def test_timestamps_of_others_are_read(stamp, wanted):
    assert log_reader._nanoseconds(stamp) == wanted


def test_json_file_is_docker_s(tmp_path):
    put(
        tmp_path, (1, b'say "hi"\\\t\r\x01<&>\nhal'), (2, b"bad \xff\xc3(\n"), (1, "f é\n".encode()), driver="json-file"
    )
    entries = [json.loads(line) for line in (tmp_path / "ctr.log").read_bytes().splitlines()]
    assert [(entry["log"], entry["stream"]) for entry in entries] == [
        ('say "hi"\\\t\r\x01<&>\n', "stdout"),
        ("bad \ufffd\ufffd(\n", "stderr"),
        ("half é\n", "stdout"),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", entry["time"]) for entry in entries)


def test_json_file_splits_long_lines_between_characters(tmp_path):
    text = "é€😀".encode() * 5000
    put(tmp_path, *((1, text[start : start + 1000]) for start in range(0, len(text), 1000)), driver="json-file")
    lines = list(read(str(tmp_path), "json-file"))
    assert b"".join(line.text for line in lines) == text
    assert all(line.partial and len(line.text) > 16380 for line in lines[:-1])
    assert lines[-1].partial


@pytest.mark.parametrize("driver", FILES)
@given(chunks=_chunks)
def test_what_is_written_is_read(driver, chunks):
    with tempfile.TemporaryDirectory() as directory:
        put(directory, *chunks, driver=driver)
        lines = list(read(directory, driver))
    for stream in (1, 2):
        assert text_of(lines, stream) == b"".join(data for number, data in chunks if number == stream)


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300)))
def test_any_bytes_in_any_chunks_come_back_from_k8s_file(data, cuts):
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    with tempfile.TemporaryDirectory() as directory:
        put(directory, *((1, data[start:end]) for start, end in itertools.pairwise(bounds)))
        assert text_of(read(directory, "k8s-file"), 1) == data


@given(text=st.text(st.characters(exclude_categories=["Cs"])), cuts=st.lists(st.integers(0, 300)))
def test_any_text_in_any_chunks_comes_back_from_json_file(text, cuts):
    data = text.encode()
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    with tempfile.TemporaryDirectory() as directory:
        put(
            directory,
            *((2, data[start:end]) for start, end in itertools.pairwise(bounds)),
            driver="json-file",
        )
        assert text_of(read(directory, "json-file"), 2) == data


@given(data=st.binary())
def test_json_file_is_json_whatever_is_written(data):
    with tempfile.TemporaryDirectory() as directory:
        put(directory, (1, data), driver="json-file")
        lines = list(read(directory, "json-file"))
    assert text_of(lines, 1).decode() == data.decode(errors="replace")


def test_none_keeps_nothing_and_has_nothing(tmp_path):
    put(tmp_path, (1, b"x\n"), driver="none")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotFound, match="has no log"):
        read(str(tmp_path), "none")


@pytest.mark.parametrize("driver", ["passthrough", "syslog", ""])
def test_another_driver_is_refused(tmp_path, driver):
    with pytest.raises(UsageError, match="is not supported"):
        open_log(driver, str(tmp_path))
    with pytest.raises(UsageError, match="cannot be read"):
        read(str(tmp_path), driver)


def test_a_file_that_does_not_open_is_named(tmp_path):
    with pytest.raises(KernelError, match=r'open ".*/none/ctr.log": No such file'):
        open_log("k8s-file", str(tmp_path / "none"))


@pytest.mark.parametrize("driver", [*FILES, "none"])
def test_memory_does_not_grow_with_a_line_that_does_not_end(tmp_path, driver):
    log = open_log(driver, str(tmp_path), max_size=1 << 20)
    chunk = b"x" * 65536
    log.write(1, chunk)
    tracemalloc.start()
    try:
        for _ in range(500):
            log.write(1, chunk)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    log.close()


def test_the_monitor_loads_next_to_nothing():
    script = (
        "import sys; before = set(sys.modules)\n"
        "from rootless.container_log import open_log\n"
        "open_log('k8s-file', sys.argv[1]).write(1, b'x')\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-SIc", f"import sys; sys.path.insert(0, {os.getcwd()!r})\n" + script, directory]
        loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) <= {"__future__", "rootless", "rootless.container_log", "rootless.errors", "rootless.system"}


# --- rotation ---


@pytest.mark.parametrize("driver", FILES)
@pytest.mark.parametrize("chunk", [1, 10, 1000])
def test_rotation_keeps_every_line_whole_and_in_order(tmp_path, driver, chunk):
    log = open_log(driver, str(tmp_path), max_size=1000, max_files=1000)
    for first in range(0, 1000, chunk):
        log.write(1, numbered(first, first + chunk))
    log.close()
    files = list(tmp_path.glob("ctr.log*"))
    assert len(files) > 40
    assert all(500 < file.stat().st_size <= 1000 for file in files if file.name != "ctr.log")
    assert text_of(read(str(tmp_path), driver), 1) == numbered(0, 1000)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_so_many_files_are_kept(tmp_path, most):
    put(tmp_path, *((1, numbered(number, number + 1)) for number in range(100)), max_size=200, max_files=most)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ctr.log", "ctr.log.1", "ctr.log.2"][:most]
    kept = texts(read(str(tmp_path), "k8s-file"))
    assert b"\n".join(kept) + b"\n" == numbered(100 - len(kept), 100)


def test_a_record_larger_than_a_file_has_one_of_its_own(tmp_path):
    put(tmp_path, (1, b"a\n" + b"x" * 500 + b"\nb\n"), max_size=100, max_files=5)
    assert [len(text) for text in texts(read(str(tmp_path), "k8s-file"))] == [1, 500, 1]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_log_goes_on_after_a_restart_without_what_was_torn(tmp_path):
    put(tmp_path, (1, b"one\n"))
    with (tmp_path / "ctr.log").open("ab") as stream:
        stream.write(b"2026-11-25T02:00")
    assert texts(read(str(tmp_path), "k8s-file")) == [b"one"]
    put(tmp_path, (1, b"two\n"))
    assert texts(read(str(tmp_path), "k8s-file")) == [b"one", b"two"]


def test_a_rotation_cut_short_is_taken_up(tmp_path):
    put(tmp_path, (1, numbered(0, 10)), max_size=200, max_files=4)
    (tmp_path / "ctr.log.1").rename(tmp_path / "ctr.log.2")
    assert texts(read(str(tmp_path), "k8s-file"))[-1] == b"line 9"
    (tmp_path / "ctr.log").rename(tmp_path / "ctr.log.1")
    (tmp_path / "ctr.log.new").touch()
    put(tmp_path, (1, numbered(10, 12)), max_size=200, max_files=4)
    assert texts(read(str(tmp_path), "k8s-file"))[-3:] == [b"line 9", b"line 10", b"line 11"]


def test_a_file_that_cannot_be_rotated_is_written_on(tmp_path):
    (tmp_path / "ctr.log.new").mkdir()
    put(tmp_path, (1, numbered(0, 10)), max_size=200, max_files=2)
    assert text_of(read(str(tmp_path), "k8s-file"), 1) == numbered(0, 10)


# --- a full disk ---


@pytest.mark.parametrize("driver", FILES)
def test_a_full_disk_loses_lines_and_says_so_once(driver):
    """The disk is a small one of the test set-up's."""
    disk = Path(os.environ.get("PTB_TEST_DISK", "/run/ptb-test-disk"))
    if not disk.is_mount():
        pytest.skip(f"{disk} is no file system of its own: sh packaging/test makes it one")
    with tempfile.TemporaryDirectory(dir=disk) as directory:
        log = open_log(driver, directory)
        log.write(1, numbered(0, 10))
        ballast = Path(directory, "ballast")
        with ballast.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
            while True:
                stream.write(bytes(65536))
        for first in range(10, 5010, 100):
            log.write(1, numbered(first, first + 100))
        assert Path(directory, "ctr.log").read_bytes().endswith(b"\n")
        ballast.unlink()
        log.write(1, b"again\n")
        log.write(1, b"and again\n")
        log.close()
        lines = list(read(directory, driver))
    kept = [line.text for line in lines if line.text.startswith(b"line ")]
    assert b"\n".join(kept) + b"\n" == numbered(0, len(kept))
    assert 10 <= len(kept) < 5010
    (notice,) = (line.text for line in lines if line.stream == 2)
    assert notice == b"ptb: lines of this log that were lost: %d: No space left on device" % (5010 - len(kept))
    assert [line.text for line in lines[-3:]] == [notice, b"again", b"and again"]


def test_a_loss_at_the_end_is_told_on_closing(tmp_path):
    """RLIMIT_FSIZE stands in for the disk, in a process of its own."""
    script = (
        "import resource, sys; from rootless.container_log import open_log\n"
        "log = open_log('k8s-file', sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 10000))\n"
        "log.write(1, b'one\\n'); log.write(1, b'x' * 100 + b'\\n'); log.write(1, b'two\\n')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))\n"
        "log.close()"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert texts(read(str(tmp_path), "k8s-file")) == [
        b"one",
        b"ptb: lines of this log that were lost: 2: File too large",
    ]


# --- reading ---


@pytest.mark.parametrize("driver", FILES)
@pytest.mark.parametrize("block", [1 << 18, 300])
@pytest.mark.parametrize("tail", [0, 1, 2, 9, 10, 11, 99, 100, 101, None])
def test_tail(tmp_path, monkeypatch, driver, block, tail):
    monkeypatch.setattr(log_reader, "_BLOCK", block)
    put(
        tmp_path,
        *((1, numbered(number, number + 1)) for number in range(100)),
        driver=driver,
        max_size=900,
        max_files=99,
    )
    lines = list(read(str(tmp_path), driver, tail=tail))
    assert text_of(lines, 1) == numbered(100 - min(100, 100 if tail is None else tail), 100)


@pytest.mark.parametrize("torn", [b"", b"2026-", b"x" * 1000])
def test_tail_passes_over_what_is_torn(tmp_path, monkeypatch, torn):
    monkeypatch.setattr(log_reader, "_BLOCK", 300)
    put(tmp_path, (1, numbered(0, 20)))
    with (tmp_path / "ctr.log").open("ab") as stream:
        stream.write(torn)
    assert texts(read(str(tmp_path), "k8s-file", tail=2)) == [b"line 18", b"line 19"]


def test_tail_counts_a_line_in_pieces_once_and_an_unfinished_one_too(tmp_path):
    put(tmp_path, (1, b"first\n"), (1, b"sec"), (1, b"o"), (1, b"nd\n"), (1, b"thi"))
    for tail, wanted in ((1, b"thi"), (2, b"second\nthi"), (3, b"first\nsecond\nthi"), (4, b"first\nsecond\nthi")):
        assert text_of(read(str(tmp_path), "k8s-file", tail=tail), 1) == wanted


def test_tail_of_an_empty_log(tmp_path):
    assert list(read(str(tmp_path), "k8s-file", tail=3)) == []
    put(tmp_path)
    assert list(read(str(tmp_path), "k8s-file", tail=3)) == []


def test_tail_of_a_large_log_is_read_in_little_memory(tmp_path):
    with (tmp_path / "ctr.log").open("wb") as stream:
        stream.write(b"2026-11-25T02:00:00.123456789+00:00 stdout F text\n" * 100_000)
    tracemalloc.start()
    try:
        assert sum(1 for _line in read(str(tmp_path), "k8s-file", tail=75_000)) == 75_000
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_since_and_until_are_moments_in_between(tmp_path):
    stamp = "2026-11-25T02:00:{:02}.000000000+00:00 stdout F {}\n"
    (tmp_path / "ctr.log").write_text("".join(stamp.format(second, second) for second in range(10)))
    start = 1_795_572_000
    for bounds, wanted in (
        ({"since": start + 7}, [b"8", b"9"]),
        ({"until": start + 2}, [b"0", b"1"]),
        ({"since": start + 3.5, "until": start + 5.5}, [b"4", b"5"]),
        ({"since": start + 7, "tail": 1}, [b"9"]),
        ({"until": start + 9, "tail": 2}, [b"8"]),
    ):
        assert texts(read(str(tmp_path), "k8s-file", **bounds)) == wanted


@pytest.mark.parametrize(
    ("driver", "damage"),
    [
        ("k8s-file", b"\n\0\0\0\nfoo\n2026-13-45T99:00:00.0+00:00 stdout F x\n2026-11-25T02:00:00Z stdin F x\n"),
        (
            "json-file",
            b'\n\0\n{}\n[]\n{"log":1}\n{"log":"x\\n","stream":"stdin","time":"2026-11-25T02:00:00Z"}\n{"log":"\n',
        ),
        ("k8s-file", bytes(700) + b"\n"),
    ],
)
def test_damage_is_passed_over(tmp_path, monkeypatch, driver, damage):
    monkeypatch.setattr(log_reader, "_BLOCK", 300)
    put(tmp_path, (1, b"one\n"), driver=driver)
    with (tmp_path / "ctr.log").open("ab") as stream:
        stream.write(damage)
    put(tmp_path, (1, b"two\n"), driver=driver)
    assert texts(read(str(tmp_path), driver)) == [b"one", b"two"]
    assert texts(read(str(tmp_path), driver, tail=2)) == [b"one", b"two"]


# --- following ---


class Follower:
    """A thread that follows; `await_text` returns once so much was read. Its end is told through a pipe, as a pidfd's is."""

    def __init__(self, directory, driver="k8s-file", **options):
        self.got = []
        self.alive = True
        self.changed = threading.Condition()
        self.wake, self.wake_write = os.pipe()
        lines = follow(str(directory), driver, lambda: self.alive, wake=self.wake, **options)
        self.thread = threading.Thread(target=self._run, args=(lines,))
        self.thread.start()

    def _run(self, lines):
        for line in lines:
            with self.changed:
                self.got.append(line)
                self.changed.notify_all()

    def await_text(self, wanted):
        with self.changed:
            assert self.changed.wait_for(lambda: text_of(self.got, 1) == wanted, timeout=20), text_of(self.got, 1)

    def await_idle(self):
        with self.changed:
            assert self.changed.wait_for(
                lambda: self.got and self.got[-1].partial and not self.got[-1].text, timeout=20
            )

    def end(self):
        self.alive = False
        os.close(self.wake_write)
        self.thread.join(20)
        os.close(self.wake)
        assert not self.thread.is_alive()
        return text_of(self.got, 1)


@pytest.mark.parametrize("driver", FILES)
@pytest.mark.parametrize("max_files", [1, 3])
def test_follow_across_rotation(tmp_path, driver, max_files):
    log = open_log(driver, str(tmp_path), max_size=400, max_files=max_files)
    follower = Follower(tmp_path, driver)
    for number in range(100):
        log.write(1, numbered(number, number + 1))
        follower.await_text(numbered(0, number + 1))
    log.write(1, b"last\n")
    log.close()
    assert follower.end() == numbered(0, 100) + b"last\n"


def test_follow_catches_up_with_rotations_it_did_not_see(tmp_path):
    log = open_log("k8s-file", str(tmp_path), max_size=400, max_files=100)
    log.write(1, numbered(0, 1))
    lines = follow(str(tmp_path), "k8s-file", lambda: True)
    assert next(lines).text == b"line 0"
    log.write(1, numbered(1, 200))
    assert texts(next(lines) for _ in range(199)) == numbered(1, 200).splitlines()
    lines.close()
    log.close()


@pytest.mark.parametrize("driver", FILES)
def test_follow_loses_nothing_to_a_writer_that_never_waits(tmp_path, driver):
    script = (
        "import sys; from rootless.container_log import open_log\n"
        "log = open_log(sys.argv[1], sys.argv[2], max_size=5000, max_files=1000)\n"
        "for first in range(0, 20000, 8):\n"
        "    log.write(1, b''.join(b'line %d\\n' % number for number in range(first, first + 8)))\n"
        "log.close()"
    )
    with subprocess.Popen([sys.executable, "-c", script, driver, str(tmp_path)]) as process:
        pidfd = os.pidfd_open(process.pid)
        lines = follow(str(tmp_path), driver, lambda: process.poll() is None, wake=pidfd)
        assert text_of(lines, 1) == numbered(0, 20000)
        os.close(pidfd)


def test_follow_begins_with_the_tail_and_waits_for_a_log(tmp_path):
    follower = Follower(tmp_path)
    follower.await_idle()
    put(tmp_path, (1, numbered(0, 10)))
    follower.await_text(numbered(0, 10))
    assert follower.end() == numbered(0, 10)
    follower = Follower(tmp_path, tail=2)
    follower.await_text(numbered(8, 10))
    put(tmp_path, (1, numbered(10, 11)))
    assert follower.end() == numbered(8, 11)


def test_follow_ends_at_once_with_everything_read(tmp_path):
    put(tmp_path, (1, numbered(0, 10)))
    assert text_of(follow(str(tmp_path), "k8s-file", lambda: False), 1) == numbered(0, 10)
    assert text_of(follow(str(tmp_path), "k8s-file", lambda: True, until=time.time()), 1) == numbered(0, 10)


def test_follow_names_the_directory_that_is_not_there(tmp_path):
    with pytest.raises(KernelError, match=r'inotify_add_watch ".*/none": No such file'):
        next(follow(str(tmp_path / "none"), "k8s-file", lambda: True))


def test_reading_leaves_no_descriptor_open(tmp_path):
    put(tmp_path, (1, numbered(0, 100)), max_size=400, max_files=5)
    before = os.listdir("/proc/self/fd")
    lines = follow(str(tmp_path), "k8s-file", lambda: True, tail=20)
    next(lines)
    lines.close()
    lines = read(str(tmp_path), "k8s-file", tail=1)
    assert len(list(lines)) == 1
    assert os.listdir("/proc/self/fd") == before


# --- showing ---


def test_show_keeps_streams_apart_and_bytes_as_they_are(tmp_path, capfdbinary):
    put(tmp_path, (1, b"a\xff\0"), (1, b"b\n\n"), (2, b"error\n"), (1, b"$ "))
    show(read(str(tmp_path), "k8s-file"))
    assert capfdbinary.readouterr() == (b"a\xff\0b\n\n$ ", b"error\n")


def test_show_puts_a_prefix_before_each_line_once(tmp_path, capfd, set_zone):
    stamp = "2026-11-25T02:00:00.123456789+00:00 {}\n"
    (tmp_path / "ctr.log").write_text(
        "".join(map(stamp.format, ("stdout P on", "stderr F e", "stdout F e", "stdout F ")))
    )
    for zone, moment in (("UTC", "T02:00:00.123456789Z"), ("EST-1", "T03:00:00.123456789+01:00")):
        set_zone(zone)
        log_reader._zoned.cache_clear()
        show(read(str(tmp_path), "k8s-file"), timestamps=True, name="web")
        head = f"web 2026-11-25{moment} "
        assert capfd.readouterr() == (f"{head}one\n{head}\n", f"{head}e\n")
    log_reader._zoned.cache_clear()


def test_show_colors(tmp_path, capfd):
    put(tmp_path, (1, b"x\n"))
    show(read(str(tmp_path), "k8s-file"), name="web", color=8)
    assert capfd.readouterr().out == "\033[31mweb x\033[0m\n"


def test_show_what_is_followed_at_once(tmp_path):
    """In a process of its own; its output must be there before the log ends."""
    script = (
        "import sys; from toolbox.containers.log_reader import follow, show\n"
        "show(follow(sys.argv[1], 'k8s-file', lambda: True))"
    )
    put(tmp_path, (1, b"one\n"))
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        put(tmp_path, (1, b"two\n"))
        assert process.stdout.readline() == b"two\n"
        # and it ends quietly when nobody reads any more
        process.stdout.close()
        put(tmp_path, (1, b"three\n"))
        assert process.wait(20) == 0


# --- the journal ---


class Receiver:
    """A socket in journald's place; the path of a socket has little room."""

    def __init__(self, directory):
        self.path = f"{directory}/socket"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(20)

    def receive(self):
        return self.socket.recv(1 << 20)


@pytest.fixture
def receiver():
    with tempfile.TemporaryDirectory() as directory:
        made = Receiver(directory)
        with made.socket:
            yield made


def test_journald_s_wire(receiver):
    log = open_log("journald", "/nowhere", identity=IDENTITY, name="web", tag="shop", journal=receiver.path)
    assert receiver.receive() == b""
    head = (
        f"CONTAINER_ID_FULL={IDENTITY}\nCONTAINER_ID={IDENTITY[:12]}\nCONTAINER_NAME=web\nCONTAINER_TAG=shop\n"
        "SYSLOG_IDENTIFIER=shop\n"
    ).encode()
    log.write(1, b"one\n\ntw")
    log.write(2, b"err")
    log.write(1, b"o\n" + b"x" * 10000)
    for rest in (b"PRIORITY=6\nMESSAGE=one\n", b"PRIORITY=6\nMESSAGE=\n", b"PRIORITY=6\nMESSAGE=two\n"):
        assert receiver.receive() == head + rest
    assert receiver.receive() == head + b"PRIORITY=6\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE=" + b"x" * 8192 + b"\n"
    log.close()
    assert receiver.receive() == head + b"PRIORITY=6\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE=" + b"x" * 1808 + b"\n"
    assert receiver.receive() == head + b"PRIORITY=3\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE=err\n"


@pytest.mark.parametrize(("name", "wanted"), [("web", b"web"), ("", IDENTITY[:12].encode())])
def test_who_is_named_in_the_journal(receiver, name, wanted):
    log = open_log("journald", "", identity=IDENTITY, name=name, journal=receiver.path)
    receiver.receive()
    log.write(1, b"x\n")
    log.close()
    assert b"\nSYSLOG_IDENTIFIER=%b\n" % wanted in receiver.receive()


def test_a_tag_cannot_add_fields(receiver):
    log = open_log("journald", "", identity=IDENTITY, tag="a\nPRIORITY=0", journal=receiver.path)
    receiver.receive()
    log.write(1, b"x\n")
    log.close()
    assert b"\nCONTAINER_TAG\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n" in receiver.receive()


def test_a_large_entry_comes_in_a_sealed_memfd(receiver):
    tag = "t" * 1_000_000
    log = open_log("journald", "", identity=IDENTITY, tag=tag, journal=receiver.path)
    receiver.receive()
    log.write(1, b"x\n")
    log.close()
    data, (fd,), _flags, _address = socket.recv_fds(receiver.socket, 100, 1)
    assert data == b""
    try:
        assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == 15
        entry = os.pread(fd, 1 << 22, 0)
    finally:
        os.close(fd)
    assert f"\nCONTAINER_TAG={tag}\n".encode() in entry
    assert entry.endswith(b"\nMESSAGE=x\n")


def test_no_journald_is_the_host_s_fault_and_losing_it_is_not_the_container_s(tmp_path, receiver):
    with pytest.raises(HostUnfit, match=r'no journald at ".*/none": No such file'):
        open_log("journald", "", journal=str(tmp_path / "none"))
    log = open_log("journald", "", identity=IDENTITY, journal=receiver.path)
    receiver.socket.close()
    log.write(1, b"x\n")
    log.close()


JOURNAL_SCRIPT = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
"$1" 2>/dev/null &
journald=$!
"$2" -c "$3"
kill $journald
"""

JOURNAL_USE = """
import os, subprocess, time
from rootless import kernel
from rootless.container_log import JOURNAL, open_log
from toolbox.containers.log_reader import follow, read

watch = kernel.inotify_init1(os.O_CLOEXEC)
kernel.inotify_add_watch(watch, os.path.dirname(JOURNAL), kernel.IN_CREATE)
while not os.path.exists(JOURNAL):
    os.read(watch, 4096)

def seen(lines):
    return [(line.stream, line.partial, line.text) for line in lines if line.text or not line.partial]

def sync():
    subprocess.run(["journalctl", "--sync"], check=True)

log = open_log("journald", "", identity="a" * 64, name="web", tag="t" * 500_000)
other = open_log("journald", "", identity="b" * 64)
start = time.time()
log.write(1, b"one\\n\\xff\\0binary\\n")
log.write(2, b"err\\n")
other.write(1, b"other\\n")
log.write(1, b"x" * 9000 + b"\\n")
sync()
wanted = [(1, False, b"one"), (1, False, b"\\xff\\0binary"), (2, False, b"err"), (1, True, b"x" * 8192), (1, False, b"x" * 808)]
assert seen(read("", "journald", identity="a" * 64)) == wanted
assert seen(read("", "journald", identity="a" * 64, tail=1)) == wanted[-1:]
assert seen(read("", "journald", identity="a" * 64, tail=0)) == []
assert seen(read("", "journald", identity="c" * 64)) == []
assert seen(read("", "journald", identity="a" * 64, since=start, until=time.time())) == wanted
assert seen(read("", "journald", identity="a" * 64, since=time.time())) == []

before = []
for identity, tail in (("a", 0), ("a", 1), ("d", None)):
    log = open_log("journald", "", identity=identity * 64)
    alive = [True]
    lines = follow("", "journald", lambda: alive[0], identity=identity * 64, tail=tail)
    got = []
    while not got or got[-1].text or not got[-1].partial:
        got.append(next(lines))
    log.write(1, b"more\\n")
    while not any(line.text == b"more" for line in got):
        got.append(next(lines))
    log.write(1, b"last")
    log.close()
    sync()
    alive[0] = False
    got += lines
    assert seen(got) == [*before, (1, False, b"more"), (1, True, b"last")], seen(got)
    before = [(1, True, b"last")] if identity == "a" and tail == 0 else []
"""


def test_journalctl_is_asked_for_and_its_failure_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostUnfit, match="journalctl is not installed"):
        list(read("", "journald", identity=IDENTITY))
    monkeypatch.undo()
    if shutil.which("journalctl") is None:
        pytest.skip("systemd is not installed")
    with pytest.raises(HostUnfit, match="journalctl: Failed to parse"):
        list(read("", "journald", identity=IDENTITY, tail=-1))


def test_the_real_journald():
    """One of our own, in namespaces of its own."""
    journald = next(
        filter(os.path.exists, ("/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald")), None
    )
    if journald is None or shutil.which("journalctl") is None:
        pytest.skip("systemd is not installed")
    inside = ["sh", "-c", JOURNAL_SCRIPT, "sh", journald, sys.executable, JOURNAL_USE]
    command = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", *inside]
    subprocess.run(command, check=True, timeout=60)
