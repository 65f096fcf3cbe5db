"""Messages between processes, one of which may be gone by the time the other listens."""

from __future__ import annotations

import socket

import pytest

from rootless import attachment, channel
from rootless.errors import NotFound


def test_the_last_words_of_a_monitor_that_did_not_hear_us_out():
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    attachment.tell(here, attachment.GO)
    attachment.tell_failure(there, NotFound("it is gone", hint="look"))
    there.close()
    assert attachment.hear(here) == (attachment.FAILED, b"NotFound\0it is gone\0look")
    assert attachment.hear(here) == (b"", b"")
    here.close()


def test_the_last_words_of_an_init_that_did_not_hear_us_out():
    here, there = channel.pair()
    here.send("go")
    there.fail(NotFound("it is gone", hint="look"))
    there.close()
    with pytest.raises(NotFound, match="it is gone"):
        here.receive()
    assert here.receive() == ("", "", -1)
    here.close()
