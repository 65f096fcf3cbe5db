"""Containers from a terminal: raw mode, window size, detaching and attaching again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pexpect
import pytest

from tests.rootless.containers import Engine

RUN_IT = ("run", "-it", "--name", "t", "--network", "none")
Terminal = Callable[..., pexpect.spawn]


@pytest.fixture
def terminal(engine: Engine) -> Iterator[Terminal]:
    """Opens a terminal, 30 by 100, on a ptb command."""
    opened: list[pexpect.spawn] = []

    def open_terminal(*arguments: str) -> pexpect.spawn:
        words = [*engine.account.command.split(), *arguments]
        child = pexpect.spawn(
            words[0],
            words[1:],
            env=engine.account.environ,
            cwd=str(engine.account.home),
            dimensions=(30, 100),
            timeout=60,
        )
        opened.append(child)
        return child

    yield open_terminal
    for child in opened:
        child.close(force=True)


def ended(child: pexpect.spawn) -> int | None:
    child.expect(pexpect.EOF)
    child.close()
    status: int | None = child.exitstatus
    return status


def test_a_shell_in_a_terminal(engine: Engine, terminal: Terminal) -> None:
    child = terminal("run", "-it", "--rm", "--name", "t", "--network", "none", engine.image, "sh")
    child.expect("# ")
    child.sendline("tty; stty size")
    child.expect("/dev/pts/0")
    child.expect("30 100")
    child.setwinsize(20, 50)
    child.sendline("stty size")
    child.expect("20 50")
    child.sendline("echo rea''dy; sleep 1000")
    child.expect("ready")
    engine.ok("exec", "t", "sh", "-c", "until ps | grep -q '[s]leep 1000'; do usleep 10000; done")
    child.sendcontrol("c")
    child.expect("# ")
    child.sendline("exit 4")
    assert ended(child) == 4


def test_detach_and_attach_again(engine: Engine, terminal: Terminal) -> None:
    child = terminal("run", "-it", "--name", "t", "--network", "none", engine.image, "sh")
    child.expect("# ")
    child.sendline("X=kept")
    child.expect("# ")
    child.sendcontrol("p")
    child.sendcontrol("q")
    assert ended(child) == 0
    assert engine.state("t") == "running"
    again = terminal("attach", "t")
    again.sendline("echo $X")
    again.expect("kept")
    second = terminal("attach", "--detach-keys", "ctrl-x", "t")
    second.sendline("echo both")
    again.expect("both")
    second.expect("both")
    second.sendcontrol("x")
    assert ended(second) == 0
    again.sendline("exit 6")
    assert ended(again) == 6


def test_the_terminal_is_restored(engine: Engine) -> None:
    """The state of the terminal is the same after a container."""
    run = [*engine.account.command.split(), "run", "-it", "--rm", "--network", "none", engine.image]
    code = (
        "import subprocess, sys, termios\n"
        "before = termios.tcgetattr(0)\n"
        f"subprocess.run({run!r} + sys.argv[1:])\n"
        "print('same' if termios.tcgetattr(0) == before else 'changed')\n"
    )
    for command in (["true"], ["nothing"]):
        child = pexpect.spawn(
            sys.executable, ["-c", code, *command], env=engine.account.environ, cwd=str(engine.account.home), timeout=60
        )
        child.expect("same")
        child.close()


def test_a_terminal_that_is_closed(engine: Engine, terminal: Terminal) -> None:
    child = terminal(*RUN_IT, engine.image, "sh", "-c", "trap '' HUP; echo up; sleep 1000")
    child.expect("up")
    child.close(force=True)
    assert engine.state("t") == "running"
    engine.ok("rm", "-f", "-t", "0", "t")


def test_exec_in_a_terminal(engine: Engine, terminal: Terminal) -> None:
    engine.detached(engine.image, "sleep", "1000", name="t")
    child = terminal("exec", "-it", "t", "sh")
    child.expect("# ")
    child.sendline("stty size; tty")
    child.expect("30 100")
    child.expect("/dev/pts/")
    child.sendline("exit 5")
    assert ended(child) == 5


def test_attach_to_pipes(engine: Engine) -> None:
    engine.ok(
        "run",
        "-d",
        "-i",
        "--name",
        "t",
        "--network",
        "none",
        engine.image,
        "sh",
        "-c",
        "while read x; do echo got $x; done",
    )
    process = subprocess.Popen(
        [*engine.account.command.split(), "attach", "t"],
        env=engine.account.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("one\n")
    process.stdin.flush()
    assert process.stdout.readline() == "got one\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert engine.state("t") == "running"
