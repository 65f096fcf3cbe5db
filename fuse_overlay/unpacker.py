"""A process of its own, root in a user namespace, that unpacks the layers a pull feeds it through a pipe.

    puller                                 worker
    begin(diff id), read end of a pipe ──▶ claims the layer: "present", or "ready"
    archive into the pipe              ──▶ decompresses, hashes and unpacks
    commit                             ──▶ compares the digest, renames: "done", or the error
    abort, or the puller's end         ──▶ removes what there is

Both ends of everything are closed by the kernel when a process dies, so the worker outlives its puller only to clean up.
It keeps a lock on every layer it made or met until the pull is over, and with it whoever would remove unused layers away.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import queue
import signal
import socket
import threading
from types import TracebackType
from typing import Self

from fuse_overlay import apply, compress, digest, layers
from fuse_overlay.tarstream import TarReader
from rootless import errors, kernel
from rootless.errors import IntegrityError, PtbError
from rootless.userns import fork_mapped

_PIPE_SIZE = 1 << 20
_MESSAGE_SIZE = 32 << 10
_BLOCK_SIZE = 1 << 20
_BLOCKS = 4


class Unpacker:
    """A worker and the line to it. Start it before any thread; then one thread may use it at a time.

    Keep it open until the image that has the layers is stored: until then nobody can remove them.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._diff_id = ""
        self._pipe = -1

    def __enter__(self) -> Self:
        """Raises HostUnfit where user namespaces or subordinate ids are missing."""
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._worker = fork_mapped(lambda: _work(self._store, theirs))
        except BaseException:
            self._line.close()
            raise
        finally:
            theirs.close()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._close_pipe()
        # Wakes a thread of ours that waits for an answer, and the worker, unless it waits for a lock: see `_claim`.
        self._line.shutdown(socket.SHUT_RDWR)
        os.kill(self._worker, signal.SIGTERM)
        os.waitpid(self._worker, 0)
        self._line.close()

    def begin(self, diff_id: str, media_type: str) -> int | None:
        """The write end of the pipe that takes the layer as it was downloaded; None when the layer is there already.

        Waits while another process unpacks it. The descriptor is closed by `commit` and `abort`, by nobody else. A write
        that fails with EPIPE means that the layer cannot be unpacked: `commit` says why.
        """
        self._diff_id = digest.check(diff_id)
        theirs, self._pipe = os.pipe()
        try:
            try:
                fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
            except PermissionError:
                pass  # the user has many pipes (pipe(7), pipe-user-pages-soft): a smaller one is merely slower
            request = json.dumps(["begin", diff_id, media_type]).encode()
            try:
                socket.send_fds(self._line, [request], [theirs])
            except OSError as error:
                raise self._dead() from error
            finally:
                os.close(theirs)
            if self._answer() == "present":
                self._close_pipe()
                return None
            return self._pipe
        except BaseException:
            self._close_pipe()
            raise

    def commit(self) -> None:
        """The whole layer is written: have it verified and put in its place.

        Raises IntegrityError when it is not what `begin` named, InvalidDocument, HostUnfit or PtbError when it cannot be
        unpacked. Nothing of it is left then.
        """
        self._close_pipe()
        self._ask("commit")
        self._answer()

    def abort(self) -> None:
        """The layer will not be finished: have what there is of it removed."""
        self._close_pipe()
        self._ask("abort")
        self._answer()

    def _close_pipe(self) -> None:
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            os.close(pipe)

    def _ask(self, word: str) -> None:
        try:
            self._line.send(json.dumps([word]).encode())
        except OSError as error:
            raise self._dead() from error

    def _answer(self) -> str:
        try:
            answer = self._line.recv(_MESSAGE_SIZE)
        except OSError:
            answer = b""
        if not answer:
            raise self._dead()
        word, *failure = json.loads(answer)
        if failure:
            raise _error(*failure)
        return str(word)

    def _dead(self) -> PtbError:
        return PtbError(f"the process that unpacks layer {self._diff_id} died")


def _error(name: str, message: str, hint: str | None, number: int) -> PtbError:
    kind = getattr(errors, name, PtbError)
    error: PtbError = kind.__new__(kind)
    PtbError.__init__(error, message, hint=hint)
    if isinstance(error, errors.KernelError):
        error.errno = number
    return error


# --- the worker ---


def _work(store: str, line: socket.socket) -> int:
    """Serve until the puller is gone."""
    # A terminal's signals go to the puller, which tells us by closing the line.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGTERM)
    kernel.set_process_name(b"ptb-unpack")
    # Lines of other workers, pipes and files of the puller: none of them may stay open because of us.
    os.closerange(3, line.fileno())
    os.closerange(line.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    os.umask(0o022)
    try:
        layers.sweep(store)
    except OSError:
        pass  # what is in the way of a layer is found again, and named, when that layer is claimed
    while True:
        request, descriptors, _flags, _address = socket.recv_fds(line, _MESSAGE_SIZE, 1)
        if not request:
            return 0
        word, *arguments = json.loads(request)
        try:
            if word == "begin":
                with open(descriptors[0], "rb", buffering=0) as source:
                    answer = _one_layer(store, line, source, *arguments)
            else:
                answer = ["idle"]
        except (PtbError, OSError) as error:
            answer = _failure(error, store, arguments[0])
        if answer:
            line.send(json.dumps(answer).encode())


def _one_layer(store: str, line: socket.socket, source: io.FileIO, diff_id: str, media_type: str) -> list[object]:
    """Unpack one layer; returns what to answer. When it fails, nothing of the layer is left."""
    partial = _claim(store, diff_id)
    if isinstance(partial, int):
        return ["present"]
    committed = False
    try:
        line.send(json.dumps(["ready"]).encode())
        failure: PtbError | OSError | None = None
        size = 0
        try:
            found, size = _unpack(partial, media_type, source)
            if found != diff_id:
                failure = IntegrityError(f"its content has the digest {found}")
        except (PtbError, OSError) as error:
            failure = error
        if failure:
            source.close()  # the puller's next write fails, and it asks why
        word, *_rest = json.loads(line.recv(_MESSAGE_SIZE) or '[""]')
        if word != "commit":
            return ["idle"] if word else []
        if failure:
            raise failure
        layers.commit(partial, size)
        committed = True
        return ["done"]
    finally:
        if not committed:
            layers.discard(partial)


def make_layer(store: str, source: io.FileIO, media_type: str) -> tuple[str, int]:
    """Unpack a layer that nobody has named yet, as root of the user namespace; its digest and the bytes of its plain tar.

    Raises what unpacking raises; nothing is left then.
    """
    partial = layers.begin(store)
    try:
        found, size = _unpack(partial, media_type, source)
    except BaseException:
        layers.discard(partial)
        raise
    os.close(layers.adopt(partial, found, size))
    return found, size


def _claim(store: str, diff_id: str) -> layers.Partial | int:
    """Claim the layer, and die of the puller's end or SIGTERM while another process has it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        return layers.claim(store, diff_id)
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _unpack(partial: layers.Partial, media_type: str, source: io.FileIO) -> tuple[str, int]:
    """Unpack what comes out of `source`; returns the digest and the size of the plain archive."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open("times", flags, 0o600, dir_fd=partial.lock_fd), "w+b") as scratch:
        os.unlink("times", dir_fd=partial.lock_fd)
        blocks = _Blocks(compress.reader(media_type, source))
        try:
            apply.apply(partial.diff_fd, TarReader(blocks.next), scratch)
            while blocks.next():
                pass
        finally:
            blocks.stop()
    return blocks.digest(), blocks.size


class _Blocks:
    """Archive blocks, decompressed and hashed by a thread while their predecessors are written out.

    The buffers go round: filled, used, filled again. None of the work on them holds the interpreter's lock.
    """

    def __init__(self, stream: io.RawIOBase) -> None:
        self.size = 0
        self._stream = stream
        self._hash = hashlib.sha256()
        self._free: queue.SimpleQueue[bytearray | None] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[bytearray, int] | PtbError | OSError | None] = queue.SimpleQueue()
        self._used: bytearray | None = None
        self._ended = self._stopped = False
        for _ in range(_BLOCKS):
            self._free.put(bytearray(_BLOCK_SIZE))
        self._thread = threading.Thread(target=self._fill)
        self._thread.start()

    def next(self) -> memoryview:
        """The next block, in place of the last one; an empty one at the end. Raises what the thread met."""
        if self._used is not None:
            self._free.put(self._used)
            self._used = None
        got = None if self._ended else self._full.get()
        if isinstance(got, tuple):
            self._used, count = got
            return memoryview(self._used)[:count]
        self._ended = True
        if got is not None:
            raise got
        return memoryview(b"")

    def stop(self) -> None:
        """Have the thread end, as soon as what it reads from has something or nothing more to say."""
        self._stopped = True
        self._free.put(None)
        self._thread.join()

    def digest(self) -> str:
        """The digest of everything, at the end."""
        return f"sha256:{self._hash.hexdigest()}"

    def _fill(self) -> None:
        try:
            while (buffer := self._free.get()) is not None and not self._stopped:
                view = memoryview(buffer)
                count = 0
                while count < len(view) and (got := self._stream.readinto(view[count:])):
                    count += got
                self._hash.update(view[:count])
                self.size += count
                if count:
                    self._full.put((buffer, count))
                if count < len(view):
                    return
        except (PtbError, OSError) as error:
            self._full.put(error)
        finally:
            self._full.put(None)


def _failure(error: PtbError | OSError, store: str, diff_id: str) -> list[object]:
    """The answer that carries an error to the puller, with the layer's name to it."""
    hint, number = None, 0
    kind = "PtbError"
    if isinstance(error, PtbError):
        kind, message, hint = type(error).__name__, error.message, error.hint
        number = getattr(error, "errno", 0)
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = f'no space left on "{store}"'
    else:
        kind, number = "KernelError", error.errno or errno.EIO
        message = f'unpacking in "{store}": {os.strerror(number)}'
    return ["failed", kind, f"layer {digest.encoded(diff_id)[:12]}: {message[:8000]}", hint, number]
