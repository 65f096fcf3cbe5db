"""Reading a container's log back, from its files or the journal, and showing it as `podman logs` does.

A file is read in blocks and by whole records only, so memory does not grow with the log, and a record that is just being
written, or was left torn by a machine that stopped, is never seen.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from functools import lru_cache

from rootless.container_log import FILE, timestamp
from rootless.errors import HostUnfit, KernelError, NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    import subprocess
    from collections.abc import Callable, Iterator

_BLOCK = 1 << 18
"""Bytes read at once; longer than any record (`container_log._MOST_RECORD`)."""

_PATIENCE = 1000
"""Milliseconds after which `alive` is asked again though nothing happened."""

_STREAMS = {b"stdout": 1, b"stderr": 2}
_JSON_STREAMS = {"stdout": 1, "stderr": 2}

_COLORS = (37, 31, 33, 34, 35, 36, 32)
"""SGR codes in podman's order."""


class LogLine:
    """One record: when (nanoseconds since 1970), standard output (1) or error (2), and the text without its newline.

    A partial one has none: its line goes on in the next record of the same stream. A partial one without text says that
    there is nothing more for now.
    """

    # There are millions of them, and a @record takes ten times as long to make.
    __slots__ = ("partial", "stream", "text", "time_ns")

    def __init__(self, time_ns: int, stream: int, partial: bool, text: bytes) -> None:
        self.time_ns = time_ns
        self.stream = stream
        self.partial = partial
        self.text = text


def read(
    directory: str,
    driver: str,
    *,
    tail: int | None = None,
    since: float | None = None,
    until: float | None = None,
    identity: str = "",
) -> Iterator[LogLine]:
    """What the log has now: the last `tail` lines (None: all), of these the ones between two moments, in seconds since 1970.

    `directory` is that of the files; the journal is asked for the container whose full id is `identity`. Of the journal
    each record counts as a line. A log that does not exist is empty. Raises NotFound for the driver `none`, UsageError for
    another, HostUnfit without journalctl.
    """
    if driver == "journald":
        return _between(_read_journal(identity, tail), since, until)
    return _between(_read_files(directory, _parser(driver), tail), since, until)


def follow(
    directory: str,
    driver: str,
    alive: Callable[[], bool],
    *,
    tail: int | None = None,
    since: float | None = None,
    until: float | None = None,
    identity: str = "",
    wake: int = -1,
) -> Iterator[LogLine]:
    """As `read`, then what is added, across rotation, until the container is not `alive` or the moment `until` has come.

    `alive` is asked before each reading and at least once a second; the descriptor `wake`, such as a pidfd of the monitor,
    has it asked as soon as it is readable. Once `alive` says no, what was written until then is read, and that is all. Also
    raises KernelError where the directory cannot be watched.
    """

    def goes_on() -> bool:
        return alive() and (until is None or time.time() < until)

    if driver == "journald":
        return _between(_follow_journal(identity, tail, goes_on, wake), since, until)
    return _between(_follow_files(directory, _parser(driver), tail, goes_on, wake), since, until)


def show(lines: Iterator[LogLine], *, timestamps: bool = False, name: str = "", color: int | None = None) -> None:
    """Write the lines of each stream to the descriptor of its number, as they are.

    Before each line goes `name`, if there is one, and with `timestamps` its moment in the local zone; with `color`, any
    number, the whole is one of podman's colors. Ends quietly when nobody reads any more.
    """
    begin, reset = (b"\033[%dm" % _COLORS[color % len(_COLORS)], b"\033[0m") if color is not None else (b"", b"")
    prefix = name.encode() + b" " if name else b""
    within: set[int] = set()  # the streams that are in the middle of a line
    stream = 1
    pending: list[bytes] = []
    size = 0
    try:
        for line in lines:
            idle = line.partial and not line.text
            if idle or size > _BLOCK or line.stream != stream:
                _write(stream, b"".join(pending))
                pending.clear()
                size = 0
                if idle:
                    continue
            stream = line.stream
            text = line.text
            if stream not in within:
                text = prefix + (_zoned(line.time_ns) if timestamps else b"") + text
            if line.partial:
                within.add(stream)
                end = reset
            else:
                within.discard(stream)
                end = reset + b"\n"
            pending += (begin, text, end)
            size += len(text)
        _write(stream, b"".join(pending))
    except BrokenPipeError:
        pass


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


@lru_cache(maxsize=8)
def _zoned(time_ns: int) -> bytes:
    return timestamp(time_ns, local=True).replace(b"+00:00", b"Z") + b" "


def _between(lines: Iterator[LogLine], since: float | None, until: float | None) -> Iterator[LogLine]:
    if since is None and until is None:
        return lines
    after = int((since or 0) * 1e9)
    before = int(until * 1e9) if until is not None else 1 << 63
    return (line for line in lines if after < line.time_ns < before)


# --- files ---


def _read_files(directory: str, parse: Callable[[bytes], Iterator[LogLine]], tail: int | None) -> Iterator[LogLine]:
    files = _Files(directory, parse, tail)
    try:
        yield from files.lines()
    finally:
        files.close()


def _follow_files(
    directory: str,
    parse: Callable[[bytes], Iterator[LogLine]],
    tail: int | None,
    goes_on: Callable[[], bool],
    wake: int,
) -> Iterator[LogLine]:
    watch = _watch(directory)
    files = _Files(directory, parse, tail)
    try:
        poll = _poll(watch, wake)
        over = False
        while not over:
            over = not goes_on()
            yield from files.lines()
            while files.renew():
                yield from files.lines()
            if not over:
                yield _nothing_more()
                if watch in _ready(poll, wake):
                    os.read(watch, _BLOCK)
    finally:
        files.close()
        os.close(watch)


class _Files:
    """The files of a log from the one being read on to the newest."""

    def __init__(self, directory: str, parse: Callable[[bytes], Iterator[LogLine]], tail: int | None) -> None:
        self._directory = directory
        self._parse = parse
        self._fds = list(_open_files(directory).values())  # the newest first, the one being read last
        self._offset = 0
        if tail is not None:
            self._seek(tail)

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())

    def lines(self) -> Iterator[LogLine]:
        """Read on to the present end of the newest file."""
        while self._fds:
            fd = self._fds[-1]
            end = os.fstat(fd).st_size
            self._offset = min(self._offset, end)  # on a full disk, what did not fit is taken back
            while data := os.pread(fd, min(_BLOCK, end - self._offset), self._offset):
                whole = data.rfind(b"\n") + 1
                if not whole:
                    if len(data) < _BLOCK:
                        break
                    whole = len(data)  # damage: no record is that long
                self._offset += whole
                yield from self._parse(data[:whole])
            if len(self._fds) == 1:
                return
            os.close(self._fds.pop())
            self._offset = 0

    def renew(self) -> bool:
        """Whether the newest file was rotated away since; the newer ones are then read next, after the rest of that one."""
        try:
            newest = os.stat(f"{self._directory}/{FILE}").st_ino
        except FileNotFoundError:
            return False
        own = os.fstat(self._fds[-1]).st_ino if self._fds else 0
        while newest != own:
            found = _open_files(self._directory)
            fds = list(found.values())
            if own in found:
                newer = list(found).index(own)
                for fd in fds[newer:]:
                    os.close(fd)
                self._fds = fds[:newer] + self._fds
                return newer > 0
            if not self._fds or not os.fstat(self._fds[-1]).st_nlink:  # there was none, or it was the oldest and went
                self._fds = fds + self._fds
                return bool(fds)
            for fd in fds:  # rotation overtook the search
                os.close(fd)
        return False

    def _seek(self, tail: int) -> None:
        """Go to where the last `tail` lines begin; a line counts where it ends, and at the end of the log if it has not."""
        wanted = tail
        last = True
        for index, fd in enumerate(self._fds):
            for offset, text in _backwards(fd):
                line = next(self._parse(text), None)
                if line is None:
                    continue
                if last or not line.partial:
                    if not wanted:
                        self._offset = offset
                        while len(self._fds) > index + 1:
                            os.close(self._fds.pop())
                        return
                    wanted -= 1
                    last = False


def _open_files(directory: str) -> dict[int, int]:
    """Descriptors of the log's files by inode, the newest first.

    Rotation moves files the way this goes, so that one can be met twice but not missed, and is where it was met last;
    while it is under way one name in the middle is free.
    """
    fds: dict[int, int] = {}
    number = missing = 0
    while missing < 2:
        path = f"{directory}/{FILE}.{number}" if number else f"{directory}/{FILE}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            missing += 1
        else:
            missing = 0
            inode = os.fstat(fd).st_ino
            if inode in fds:
                os.close(fds.pop(inode))
            fds[inode] = fd
        number += 1
    return fds


def _backwards(fd: int) -> Iterator[tuple[int, bytes]]:
    """The records of a file from the last to the first, each with the offset of what follows it."""
    start = os.fstat(fd).st_size
    head = b""  # of the record that goes on at `start`
    torn = True  # until the last newline was met
    while start:
        length = min(_BLOCK, start)
        start -= length
        block = os.pread(fd, length, start) + head
        end = start + len(block)
        head, *records = block.split(b"\n")
        if torn and records:
            end -= len(records.pop()) + 1
            torn = False
        for text in reversed(records):
            yield end + 1, text
            end -= len(text) + 1
    if not torn:
        yield len(head) + 1, head


# --- formats ---


def _parser(driver: str) -> Callable[[bytes], Iterator[LogLine]]:
    """What makes lines of whole records; damaged ones are passed over."""
    if driver == "k8s-file":
        return _parse_k8s
    if driver == "json-file":
        return _parse_json
    if driver == "none":
        raise NotFound('a container with the log driver "none" has no log')
    raise UsageError(f'logs of the driver "{driver}" cannot be read')


def _parse_k8s(records: bytes) -> Iterator[LogLine]:
    for text in records.split(b"\n"):
        try:
            stamp, stream, flag, text = text.split(b" ", 3)
            line = LogLine(_nanoseconds(stamp.decode()), _STREAMS[stream], flag == b"P", text)
        except (ValueError, KeyError):
            continue
        yield line


def _parse_json(records: bytes) -> Iterator[LogLine]:
    from json import JSONDecoder

    decode = JSONDecoder().raw_decode
    for text in records.decode(errors="replace").split("\n"):
        try:
            entry, _end = decode(text)
            log = entry["log"]
            ended = log.endswith("\n")
            line = LogLine(
                _nanoseconds(entry["time"]),
                _JSON_STREAMS[entry["stream"]],
                not ended,
                (log[:-1] if ended else log).encode(errors="replace"),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        yield line


@lru_cache(maxsize=8)
def _nanoseconds(stamp: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 timestamp with any number of digits. Raises ValueError."""
    from datetime import datetime

    zone = -1 if stamp.endswith("Z") else -6
    fraction = stamp[19:zone].removeprefix(".")
    seconds = int(datetime.fromisoformat(stamp[:19] + stamp[zone:].replace("Z", "+00:00")).timestamp())
    return seconds * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))


# --- the journal ---


def _read_journal(identity: str, tail: int | None) -> Iterator[LogLine]:
    for entry in _entries(identity, f"--lines={'all' if tail is None else tail}"):
        yield _line(entry)


def _follow_journal(identity: str, tail: int | None, goes_on: Callable[[], bool], wake: int) -> Iterator[LogLine]:
    cursor = ""
    # One entry is asked for even if none is wanted, to know where the journal stands.
    for entry in _entries(identity, f"--lines={'all' if tail is None else max(tail, 1)}"):
        cursor = entry[b"__CURSOR"].decode()
        if tail != 0:
            yield _line(entry)
    with _journalctl(identity, "--follow", *_after(cursor)) as (process, fd):
        poll = _poll(fd, wake)
        buffer = bytearray()
        try:
            while goes_on():
                yield _nothing_more()
                if fd not in _ready(poll, wake):
                    continue
                data = os.read(fd, _BLOCK)
                if not data:
                    break
                buffer += data
                for entry in _take_entries(buffer):
                    cursor = entry[b"__CURSOR"].decode()
                    yield _line(entry)
        finally:
            process.kill()
    for entry in _entries(identity, *_after(cursor)):
        yield _line(entry)


def _after(cursor: str) -> tuple[str, ...]:
    return ("--lines=all", f"--after-cursor={cursor}") if cursor else ("--lines=all",)


@contextmanager
def _journalctl(identity: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """journalctl and a descriptor of what it prints. Raises HostUnfit if there is none, and in the end if it failed."""
    import subprocess

    fields = "--output-fields=MESSAGE,PRIORITY,CONTAINER_PARTIAL_MESSAGE"
    command = ["journalctl", "--quiet", "--all", "--output=export", fields, *arguments, f"CONTAINER_ID_FULL={identity}"]
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=write_end, stderr=subprocess.PIPE)
    except FileNotFoundError:
        os.close(read_end)
        raise HostUnfit("journalctl is not installed", hint="install systemd, or use --log-driver k8s-file") from None
    finally:
        os.close(write_end)
    try:
        yield process, read_end
    finally:
        os.close(read_end)
        complaint = process.communicate()[1].decode(errors="replace").strip()
    if process.returncode > 0:
        raise HostUnfit(f"journalctl: {complaint.splitlines()[-1] if complaint else 'it failed'}")


def _entries(identity: str, *arguments: str) -> Iterator[dict[bytes, bytes]]:
    """What journalctl finds, each as its fields."""
    with _journalctl(identity, *arguments) as (_process, fd):
        buffer = bytearray()
        while data := os.read(fd, _BLOCK):
            buffer += data
            yield from _take_entries(buffer)


def _take_entries(buffer: bytearray) -> Iterator[dict[bytes, bytes]]:
    """Take the complete entries out of the buffer (Journal Export Format)."""
    while True:
        fields: dict[bytes, bytes] = {}
        position = 0
        while (end := buffer.find(b"\n", position)) != position:
            if end < 0:
                return
            key, equals, value = bytes(buffer[position:end]).partition(b"=")
            position = end + 1
            if not equals:
                begin = position + 8
                position = begin + int.from_bytes(buffer[end + 1 : begin], "little") + 1
                if position > len(buffer):
                    return
                value = bytes(buffer[begin : position - 1])
            fields[key] = value
        del buffer[: end + 1]
        yield fields


def _line(entry: dict[bytes, bytes]) -> LogLine:
    return LogLine(
        int(entry[b"__REALTIME_TIMESTAMP"]) * 1000,
        2 if entry.get(b"PRIORITY") == b"3" else 1,
        b"CONTAINER_PARTIAL_MESSAGE" in entry,
        entry.get(b"MESSAGE", b""),
    )


# --- waiting ---


def _nothing_more() -> LogLine:
    return LogLine(time.time_ns(), 1, partial=True, text=b"")


def _watch(directory: str) -> int:
    """An inotify descriptor of what happens to the files in a directory."""
    from rootless import kernel

    try:
        fd = kernel.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        hint = "sysctl fs.inotify.max_user_instances=1024"
        raise KernelError("inotify_init1", "", error.errno or 0, hint=hint) from None
    try:
        mask = kernel.IN_MODIFY | kernel.IN_CLOSE_WRITE | kernel.IN_MOVED_TO | kernel.IN_CREATE
        kernel.inotify_add_watch(fd, directory, mask)
    except OSError as error:
        os.close(fd)
        raise KernelError("inotify_add_watch", f'"{directory}"', error.errno or 0) from None
    return fd


def _poll(fd: int, wake: int) -> select.poll:
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if wake >= 0:
        poll.register(wake, select.POLLIN)
    return poll


def _ready(poll: select.poll, wake: int) -> set[int]:
    """The descriptors that can be read now, or soon; `wake` once only, for it stays so."""
    ready = {fd for fd, _events in poll.poll(_PATIENCE)}
    if wake in ready:
        poll.unregister(wake)
    return ready
