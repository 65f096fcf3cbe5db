"""`run`, and being attached: start a container and be its terminal until it ends."""

from __future__ import annotations

import _socket
import os

from rootless import attach_client, attachment, terminal_relay
from rootless.attach_client import End
from rootless.errors import PtbError
from toolbox.containers import start, store
from toolbox.containers.record import ContainerRecord

DETACH_KEYS = b"\x10\x11"
"""ctrl-p ctrl-q, as docker and podman have it."""


def attached(
    container: ContainerRecord,
    *,
    stdin: bool,
    detach_keys: bytes = DETACH_KEYS,
    sig_proxy: bool = True,
    outputs: tuple[bool, bool] = (True, True),
) -> int:
    """Start the container with the caller's streams as its own; returns its exit status, 0 where the user detached."""
    held = store.lock(container)
    try:
        connection = start.begin(container, held)
        signals = terminal_relay.catch_signals() if sig_proxy or container.terminal else None
        attachment.tell(connection, attachment.ATTACH)
        attachment.tell(connection, attachment.GO)
        start.await_running(container, connection)
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


def detached(container: ContainerRecord) -> None:
    """Start the container and leave it to its monitor. Raises PtbError."""
    held = store.lock(container)
    try:
        connection = start.begin(container, held)
        attachment.tell(connection, attachment.GO)
        start.await_running(container, connection)
        connection.close()
    finally:
        os.close(held)
