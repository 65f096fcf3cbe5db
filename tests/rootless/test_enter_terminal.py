"""Entering from a terminal: what a person sees and types."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator

import pexpect
import pytest

from tests.rootless.environment import UserEnvironment

Terminal = Callable[..., pexpect.spawn]


@pytest.fixture
def terminal(user_env: UserEnvironment) -> Iterator[Terminal]:
    """Opens a terminal, 30 by 100, on a ptb command or on another one."""
    opened: list[pexpect.spawn] = []

    def open_terminal(*arguments: str, command: str = "") -> pexpect.spawn:
        words = command.split() or [*user_env.command.split(), *arguments]
        child = pexpect.spawn(
            words[0],
            words[1:],
            env=user_env.environ,
            cwd=str(user_env.home),
            dimensions=(30, 100),
            encoding="utf-8",
            timeout=60,
        )
        opened.append(child)
        return child

    yield open_terminal
    for child in opened:
        child.close(force=True)


def _ended(child: pexpect.spawn) -> int | None:
    child.expect(pexpect.EOF)
    child.close()
    status: int | None = child.exitstatus
    return status


@pytest.fixture
def box(user_env: UserEnvironment, busybox: str) -> str:
    """A box to enter, started."""
    user_env.ptb("enter", "--name", "box", busybox, "--", "true", check=True)
    return "box"


def test_prompt_and_title_say_where_you_are(user_env: UserEnvironment, terminal: Terminal, debian: str) -> None:
    user_env.ptb("enter", "--name", "deb", debian, "--", "true", check=True)
    child = terminal("enter", "deb")
    child.expect(re.escape("\033]777;container;push;deb;ptb;"))
    child.expect(re.escape("\033]0;[deb]"))
    child.expect(r"\[deb\] .*\$ ")
    child.sendline("exit 3")
    child.expect(re.escape("\033]777;container;pop;"))
    assert _ended(child) == 3


def test_a_busybox_shell_has_a_prompt_too(terminal: Terminal, box: str) -> None:
    child = terminal("enter", box)
    child.expect(r"\[box\] \$ ")
    child.sendline("id -u; exit")
    assert _ended(child) == 0


def test_root_shell(terminal: Terminal, box: str) -> None:
    child = terminal("enter", "--root", box)
    child.expect(r"\[box\] # ")
    child.sendline("id -u; pwd; exit")
    child.expect("\n0\r\n")
    assert _ended(child) == 0


def test_window_size_follows(terminal: Terminal, user_env: UserEnvironment) -> None:
    user_env.ptb("enter", "host", "--", "true", check=True)
    child = terminal("enter", "host", "--", "sh", "-c", "trap 'stty size' WINCH; stty size; while read x; do :; done")
    child.expect("30 100")
    child.setwinsize(41, 120)
    child.expect("41 120")
    child.sendeof()
    assert _ended(child) == 0


def test_interrupt_reaches_the_command(terminal: Terminal, box: str) -> None:
    child = terminal(
        "enter", box, "--", "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 1; done"
    )
    child.expect("ready")
    child.sendintr()
    child.expect("caught")
    assert _ended(child) == 9


def test_interrupt_in_a_shell_ends_the_command_and_not_the_shell(terminal: Terminal, box: str) -> None:
    child = terminal("enter", box)
    child.expect(r"\$ ")
    child.sendline("echo go; sleep 1000")
    child.expect("\ngo")
    child.sendintr()
    child.expect(r"\$ ")
    child.sendline("echo still-here; exit 4")
    child.expect("\nstill-here")
    assert _ended(child) == 4


def _host_shell(terminal: Terminal) -> pexpect.spawn:
    child = terminal(command="bash --norc --noprofile --noediting -i")
    child.sendline("PS1='host> '")
    child.expect("\nhost> ")
    return child


def test_a_command_stops_and_continues(terminal: Terminal, user_env: UserEnvironment, box: str) -> None:
    child = _host_shell(terminal)
    child.sendline(f"{user_env.command} enter {box} -- sh -c 'echo go; exec cat'")
    child.expect("\ngo")
    child.sendcontrol("z")
    child.expect("Stopped")
    child.expect("host> ")
    child.sendline("fg")
    child.sendline("echoed")
    child.expect("echoed\r\nechoed")
    child.sendeof()
    child.expect("host> ")
    child.sendline("exit 0")
    assert _ended(child) == 0


def test_a_shell_stops_and_continues(terminal: Terminal, user_env: UserEnvironment, box: str) -> None:
    child = _host_shell(terminal)
    child.sendline(f"{user_env.command} enter {box}")
    child.expect(r"\[box\] \$ ")
    child.sendline("kill -STOP $$")
    child.expect("Stopped")
    child.expect("host> ")
    child.sendline("fg")
    child.sendline("echo back; exit 6")
    child.expect("\nback")
    child.expect("host> ")
    child.sendline("echo status $?")
    child.expect("\nstatus 6")
    child.sendline("exit 0")
    assert _ended(child) == 0


def test_hanging_up_ends_the_shell(terminal: Terminal, box: str) -> None:
    child = terminal("enter", box)
    child.expect(r"\$ ")
    child.kill(signal.SIGHUP)
    child.expect(pexpect.EOF)


def test_a_pull_on_a_terminal_shows_bars(terminal: Terminal, busybox: str) -> None:
    child = terminal("pull", busybox)
    child.expect("━|╸|/s")
    child.expect("done")
    assert _ended(child) == 0
