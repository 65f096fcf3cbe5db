"""`run`, and being attached: start a container and be its terminal until it ends."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket

from rootless import attachment
from rootless import system as os
from rootless.errors import PtbError
from toolbox.containers import process_options, start, store
from toolbox.containers.record import ContainerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless import terminal_relay
    from rootless.attach_client import End
    from rootless.monitor_spawn import Waiting

_AT_ONCE = b"9,0"
_ENDING = frozenset((1, 2, 15))
"""HUP, INT, TERM."""

DETACH_KEYS = b"\x10\x11"
"""ctrl-p ctrl-q, as docker and podman have it."""


def attached(
    container: ContainerRecord,
    *,
    stdin: bool,
    detach_keys: bytes = DETACH_KEYS,
    sig_proxy: bool = True,
    outputs: tuple[bool, bool] = (True, True),
    waiting: Waiting | None = None,
    preserved: int = 0,
) -> int:
    """Start the container with the caller's streams as its own; returns its exit status, 0 where the user detached.

    `waiting` and `preserved` are as for `start.begin`.
    """
    held = store.lock(container)
    try:
        connection = start.begin(container, waiting, preserved)
        from rootless import terminal_relay  # while the monitor makes the container

        signals = terminal_relay.catch_signals() if sig_proxy or container.terminal else None
        attachment.tell(connection, attachment.ATTACH)
        attachment.tell(connection, attachment.GO)
        start.await_running(container, connection)
        if signals is not None and not _ENDING.isdisjoint(signals.pending):
            # Who interrupts what has not begun does not want it; its first process could not have heard of that yet.
            attachment.tell(connection, attachment.STOP, _AT_ONCE)
    finally:
        os.close(held)
    return finish(container, follow(container, connection, stdin, detach_keys, signals, outputs))


def follow(
    container: ContainerRecord,
    connection: _socket.socket,
    stdin: bool,
    detach_keys: bytes,
    signals: terminal_relay.Signals | None,
    outputs: tuple[bool, bool],
) -> End:
    """Be attached until the end."""
    from rootless import attach_client

    return attach_client.follow(
        connection,
        terminal=container.terminal,
        stdin=stdin,
        detach_keys=detach_keys,
        signals=signals,
        outputs=outputs,
    )


def finish(container: ContainerRecord, end: End) -> int:
    """The exit status that an end means. Raises what the monitor told of."""
    if end.word == attachment.EXIT:
        return int(end.data)
    if end.word == attachment.FAILED:
        if end.data:
            raise start.failure(container, end.data)
        raise PtbError(f'the monitor of container "{container.name}" died, and the container with it')
    return 0


def detached(container: ContainerRecord, waiting: Waiting | None = None, preserved: int = 0) -> None:
    """Start the container and leave it to its monitor. Raises PtbError, and KeyboardInterrupt once it has ended again.

    Afterwards an interrupt does nothing: the container goes on and the caller has only to say so.
    """
    held = store.lock(container)
    interrupts = _note_interrupts()
    try:
        connection = start.begin(container, waiting, preserved)
        attachment.tell(connection, attachment.GO)
        start.await_running(container, connection)
        if interrupts:
            attachment.tell(connection, attachment.STOP, _AT_ONCE)
            while attachment.hear(connection)[0] not in (attachment.EXIT, b""):
                pass
            raise KeyboardInterrupt
        connection.close()
    finally:
        os.close(held)


def _note_interrupts() -> list[int]:
    """The interrupts from now on; the second one raises KeyboardInterrupt."""
    noted: list[int] = []

    def note(number: int, _frame: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    if _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, note)
    return noted


def run(given: dict[str, Any], waiting: Waiting | None) -> int:
    """`run` with its options by their parameters' names; returns the exit status, 0 with --detach.

    `waiting` is a monitor that was forked for it (see `early`).
    """
    try:
        from toolbox.containers import create

        keys_ = keys(given.get("detach_keys") or "")
        container = create.create(given)
    except BaseException:
        if waiting is not None:
            waiting.abandon()
        raise
    try:
        if given.get("detach"):
            detached(container, waiting, given.get("preserve_fds") or 0)
            if given.get("conmon_pidfile"):
                from rootless import starting

                starting.write_pid_file(os.path.abspath(given["conmon_pidfile"]), store.status(container).monitor)
            print(container.id)
            return 0
        streams = _streams(given, container)
        return attached(
            container,
            stdin=container.open_stdin and streams[0],
            detach_keys=keys_,
            sig_proxy=is_on(given.get("sig_proxy") or "true"),
            outputs=streams[1:],
            waiting=waiting,
            preserved=given.get("preserve_fds") or 0,
        )
    except BaseException:
        if container.remove:
            _remove_unstarted(container)
        raise
    finally:
        if given.get("rmi") and not given.get("detach"):
            _remove_image(container)


def create(given: dict[str, Any]) -> int:
    """`create`: prints the id."""
    from toolbox.containers import create

    print(create.create(given).id)
    return 0


def _streams(given: dict[str, Any], container: ContainerRecord) -> tuple[bool, bool, bool]:
    """Which of standard input, output and error --attach asks for; all without it."""
    wanted = [word.lower() for word in given.get("attach") or ()]
    for word in wanted:
        if word not in ("stdin", "stdout", "stderr"):
            raise PtbError(f'--attach takes stdin, stdout or stderr, not "{word}"')
    if not wanted:
        return True, True, True
    return "stdin" in wanted, "stdout" in wanted, "stderr" in wanted


def _remove_unstarted(container: ContainerRecord) -> None:
    """What --rm means for a container whose start failed or was interrupted; its monitor may have done it already."""
    from toolbox.containers import remove

    if store.status(container).state == "created":
        try:
            remove.remove_one(container, force=True, with_volumes=True, seconds=0)
        except PtbError:
            return  # what went wrong first is what must be told


def _remove_image(container: ContainerRecord) -> None:
    from toolbox.images import remove

    if not any(other.image_id == container.image_id for other in store.everything()):
        remove.remove([container.image], all=False, force=False)


def keys(text: str) -> bytes:
    """The detach keys that `--detach-keys` means; the usual ones where it is not given."""
    return process_options.detach_keys(text) if text else DETACH_KEYS


def is_on(text: str) -> bool:
    """What an option that is on or off says."""
    return text.lower() not in ("false", "0", "f")
