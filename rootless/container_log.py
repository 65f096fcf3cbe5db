"""Writing a container's log: k8s-file as conmon does, json-file as docker does, journald as sd_journal_sendv(3) does.

For the monitor of a container, which stays small: little is imported, a chunk costs one reading of the clock and a few
operations on bytes, and of a line that does not end no more than a piece is kept. Once a log is open nothing that befalls
it reaches the container: what cannot be written is dropped, and the log says so as soon as it can.

Files are `ctr.log` and, rotated, `ctr.log.1` (the newest) to `ctr.log.N`. What is written is whole records, each of which
ends with the file's only kind of newline; a reader ignores what follows the last one.
"""

from __future__ import annotations

import time

from rootless import system as os
from rootless.errors import HostUnfit, KernelError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

FILE = "ctr.log"
JOURNAL = "/run/systemd/journal/socket"

_K8S_PIECE = 8192
_JSON_PIECE = 16384
_JOURNAL_PIECE = 8192
"""Longer lines are split, in bytes: the buffers of conmon, of docker's copier, and of conmon again."""

_MOST_RECORD = 1 << 17
"""No record is longer, in bytes: a piece of a line for json-file may grow sixfold."""

_NAMES = {1: b"stdout", 2: b"stderr"}

_ESCAPES = {
    b"\\": b"\\\\",  # the first, for the others bring more of them
    b'"': b'\\"',
    b"\t": b"\\t",
    b"\r": b"\\r",
    **{b"%c" % code: b"\\u%04x" % code for code in range(32) if code not in b"\t\n\r"},
}
_PLAIN = bytes(code for code in range(256) if b"%c" % code not in _ESCAPES)


class Log:
    """Where a container's output goes; this one, the driver `none`, keeps nothing."""

    def write(self, stream: int, data: bytes) -> None:
        """Take what was read from the container's standard output (1) or standard error (2). Raises nothing."""

    def close(self) -> None:
        """Write what was held back, and be done. Raises nothing."""


def open_log(
    driver: str,
    directory: str,
    *,
    max_size: int = 0,
    max_files: int = 1,
    tag: str = "",
    identity: str = "",
    name: str = "",
    journal: str = JOURNAL,
) -> Log:
    """The log of a container, in `directory` or, for journald, in the journal.

    A file of more than `max_size` bytes (0: any number) is not begun to be: another takes its place, and `max_files` are
    kept, that one included. `identity` and `name` are the container's, `tag` its CONTAINER_TAG; `journal` is journald's
    socket. Raises UsageError for another driver, HostUnfit without journald, KernelError for a file that does not open.
    """
    if driver == "none":
        return Log()
    if driver == "journald":
        return _Journal(journal, identity, name, tag)
    if driver == "k8s-file":
        return _K8sFile(directory, max_size, max_files)
    if driver == "json-file":
        return _JsonFile(directory, max_size, max_files)
    raise UsageError(f'log driver "{driver}" is not supported', hint="use k8s-file, json-file, journald or none")


def timestamp(time_ns: int, *, local: bool) -> bytes:
    """Nanoseconds since 1970 as RFC 3339 with nine digits, ending with the local offset from UTC, or else with Z."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    moment = time.localtime(seconds) if local else time.gmtime(seconds)
    zone = b"Z"
    if local:
        minutes = abs(moment.tm_gmtoff) // 60
        zone = b"%c%02d:%02d" % (b"-" if moment.tm_gmtoff < 0 else b"+", minutes // 60, minutes % 60)
    return b"%04d-%02d-%02dT%02d:%02d:%02d.%09d%b" % (*moment[:6], nanoseconds, zone)


def _split(data: bytes, most: int) -> tuple[list[tuple[bytes, bool]], bytes]:
    """Blocks of `data` with whether they end where a line does, and what is left: the beginning of a line.

    A block is whole lines without the last newline; or, of a line longer than `most` bytes, a piece that is no longer and
    does not end within a character of UTF-8.
    """
    blocks = []
    start = 0
    while (end := data.rfind(b"\n", start, start + most + 1)) >= 0 or len(data) - start > most:
        if end >= 0:
            blocks.append((data[start:end], True))
            start = end + 1
        else:
            end = start + most
            while end > start + most - 3 and data[end] & 0xC0 == 0x80:
                end -= 1
            blocks.append((data[start:end], False))
            start = end
    return blocks, data[start:]


class _FileLog(Log):
    """Records in files that are rotated."""

    def __init__(self, directory: str, max_size: int, max_files: int) -> None:
        self._path = f"{directory}/{FILE}"
        self._max_size = max_size
        self._max_files = max_files
        self._lost = 0
        self._reason = ""
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            size = os.fstat(self._fd).st_size
            # A machine that stopped can have left half a record.
            start = max(0, size - _MOST_RECORD)
            self._size = start + os.pread(self._fd, _MOST_RECORD, start).rfind(b"\n") + 1
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            raise KernelError("open", f'"{self._path}"', error.errno or 0) from None

    def close(self) -> None:
        if self._lost:
            self._put(b"")
        os.close(self._fd)

    def _record(self, stream: int, text: bytes) -> bytes:
        """One line as a record of now."""
        raise NotImplementedError

    def _append(self, records: bytes) -> None:
        position = 0
        while position < len(records):
            end = len(records)
            if self._max_size and self._size + end - position > self._max_size:
                room = max(0, self._max_size - self._size)
                end = records.rfind(b"\n", position, position + room) + 1
                if not end:
                    if self._size and self._rotate():
                        continue
                    end = records.index(b"\n", position) + 1
            self._put(records[position:end])
            position = end

    def _put(self, records: bytes) -> None:
        """Write the records, or as many of them as fit; after a loss all of them, and a line that tells of it, or none."""
        notice = b""
        if self._lost:
            notice = self._record(
                2, b"ptb: lines of this log that were lost: %d: %b" % (self._lost, self._reason.encode())
            )
        data = notice + records
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:] if written else data)
            self._size += written
            self._lost = 0
        except OSError as error:
            whole = 0 if notice else data.rfind(b"\n", 0, written) + 1
            self._size += whole
            self._lost += records.count(b"\n", whole)
            self._reason = error.strerror or ""
            try:
                os.ftruncate(self._fd, self._size)
            except OSError:
                pass  # a file system that broke down altogether

    def _rotate(self) -> bool:
        """Begin another file; False, and everything as it was, if that cannot be done."""
        path = self._path
        try:
            new = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            if self._max_files > 1:
                last = 1
                while last < self._max_files - 1 and os.path.lexists(f"{path}.{last}"):
                    last += 1
                for number in range(last, 1, -1):
                    os.rename(f"{path}.{number - 1}", f"{path}.{number}")
                os.rename(path, f"{path}.1")
            os.rename(f"{path}.new", path)
        except OSError:
            os.close(new)
            return False
        os.close(self._fd)
        self._fd = new
        self._size = 0
        return True


class _K8sFile(_FileLog):
    """`TIME stdout F text`, of each line; P in the place of F where the text goes on in another record."""

    def write(self, stream: int, data: bytes) -> None:
        head = b"%b %b " % (timestamp(time.time_ns(), local=True), _NAMES[stream])
        whole, part = head + b"F ", head + b"P "
        between = b"\n" + whole
        blocks, rest = _split(data, _K8S_PIECE)
        if rest:
            blocks.append((rest, False))
        records: list[bytes] = []
        for text, ended in blocks:
            records += (whole, text.replace(b"\n", between), b"\n") if ended else (part, text, b"\n")
        self._append(b"".join(records))

    def _record(self, stream: int, text: bytes) -> bytes:
        return b"%b %b F %b\n" % (timestamp(time.time_ns(), local=True), _NAMES[stream], text)


class _JsonFile(_FileLog):
    r"""`{"log":"text\n","stream":"stdout","time":"TIME"}` of each line; without \n where the line goes on in another."""

    def __init__(self, directory: str, max_size: int, max_files: int) -> None:
        super().__init__(directory, max_size, max_files)
        self._held = {1: b"", 2: b""}

    def write(self, stream: int, data: bytes) -> None:
        blocks, self._held[stream] = _split(self._held[stream] + data, _JSON_PIECE)
        self._write(stream, blocks)

    def close(self) -> None:
        for stream, held in self._held.items():
            if held:
                self._write(stream, [(held, False)])
        super().close()

    def _write(self, stream: int, blocks: list[tuple[bytes, bool]]) -> None:
        end = b'","stream":"%b","time":"%b"}\n' % (_NAMES[stream], timestamp(time.time_ns(), local=False))
        begin = b'{"log":"'
        between = b"\\n" + end + begin
        records: list[bytes] = []
        for text, ended in blocks:
            records += (begin, _escape(text).replace(b"\n", between), b"\\n" + end if ended else end)
        self._append(b"".join(records))

    def _record(self, stream: int, text: bytes) -> bytes:
        moment = timestamp(time.time_ns(), local=False)
        return b'{"log":"%b\\n","stream":"%b","time":"%b"}\n' % (_escape(text), _NAMES[stream], moment)


def _escape(text: bytes) -> bytes:
    """Lines of text as they stand in a JSON string (RFC 8259), newlines aside; what is no UTF-8 becomes U+FFFD."""
    if not text.isascii():
        text = text.decode("utf-8", "replace").encode()
    special = text.translate(None, _PLAIN)
    if special:
        for plain, escaped in _ESCAPES.items():
            if plain in special:
                text = text.replace(plain, escaped)
    return text


class _Journal(Log):
    """An entry of each line, in the protocol of systemd.journal-fields(7) and of its "Native Journal Protocol"."""

    def __init__(self, path: str, identity: str, name: str, tag: str) -> None:
        import _socket

        self._path = path
        self._held = {1: b"", 2: b""}
        fields = [
            ("CONTAINER_ID_FULL", identity),
            ("CONTAINER_ID", identity[:12]),
            ("CONTAINER_NAME", name),
            ("CONTAINER_TAG", tag),
            ("SYSLOG_IDENTIFIER", tag or name or identity[:12]),
        ]
        same = b"".join(_field(key, value.encode()) for key, value in fields if value)
        self._heads = {1: same + b"PRIORITY=6\n", 2: same + b"PRIORITY=3\n"}
        self._socket: socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            self._socket.sendto(b"", path)  # journald passes over an empty message
        except OSError as error:
            self._socket.close()
            raise HostUnfit(
                f'no journald at "{path}": {error.strerror}',
                hint="use --log-driver k8s-file where systemd does not run",
            ) from None

    def write(self, stream: int, data: bytes) -> None:
        blocks, self._held[stream] = _split(self._held[stream] + data, _JOURNAL_PIECE)
        for text, ended in blocks:
            for line in text.split(b"\n"):
                self._send(stream, line, ended=ended)

    def close(self) -> None:
        for stream, held in self._held.items():
            if held:
                self._send(stream, held, ended=False)
        self._socket.close()

    def _send(self, stream: int, text: bytes, *, ended: bool) -> None:
        partial = b"" if ended else b"CONTAINER_PARTIAL_MESSAGE=true\n"
        entry = b"%b%bMESSAGE=%b\n" % (self._heads[stream], partial, text)
        try:
            try:
                self._socket.sendto(entry, self._path)
            except OSError as error:
                from errno import EMSGSIZE, ENOBUFS

                if error.errno not in (EMSGSIZE, ENOBUFS):
                    raise
                self._send_large(entry)
        except OSError:
            pass  # journald is being restarted, or out of order

    def _send_large(self, entry: bytes) -> None:
        """Pass a descriptor of the entry, which nobody can change any more."""
        import fcntl
        from _socket import SCM_RIGHTS, SOL_SOCKET
        from sys import byteorder

        fd = os.memfd_create("ptb-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            written = 0
            while written < len(entry):
                written += os.write(fd, entry[written:])
            seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            self._socket.sendmsg([b""], [(SOL_SOCKET, SCM_RIGHTS, fd.to_bytes(4, byteorder))], 0, self._path)
        finally:
            os.close(fd)


def _field(key: str, value: bytes) -> bytes:
    if b"\n" in value:
        return b"%b\n%b%b\n" % (key.encode(), len(value).to_bytes(8, "little"), value)
    return b"%b=%b\n" % (key.encode(), value)
