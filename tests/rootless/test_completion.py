"""Completion as the shells do it: what a TAB offers in bash, zsh and fish."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tests.rootless.environment import REPOSITORY, UserEnvironment

Offers = Callable[[str], set[str]]


@pytest.fixture
def account(user_env: UserEnvironment, tmp_path: Path, busybox: str) -> UserEnvironment:
    """An account with `ptb` on its PATH, an image and two boxes."""
    program = tmp_path / "bin/ptb"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {user_env.command} "$@"\n')
    program.chmod(0o755)
    user_env.environ["PATH"] = f"{program.parent}:{user_env.environ['PATH']}"
    user_env.ptb("enter", "--name", "alpha", "host", "--", "true", check=True)
    user_env.ptb("enter", "--name", "beta", busybox, "--", "true", check=True)
    return user_env


def _bash(account: UserEnvironment, line: str) -> set[str]:
    script = (
        f"source {REPOSITORY}/completions/ptb.bash; COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}}; "
        '_ptb; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script], env=account.environ, cwd=account.home, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def _fish(account: UserEnvironment, line: str) -> set[str]:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    script = f"source {REPOSITORY}/completions/ptb.fish; complete -C {shlex.quote(line)}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env=account.environ,
        cwd=account.home,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return {offered.split("\t")[0] for offered in done.stdout.splitlines()}


@pytest.fixture(params=[_bash, _fish], ids=["bash", "fish"])
def offers(request: pytest.FixtureRequest, account: UserEnvironment) -> Offers:
    return lambda line: request.param(account, line)


def test_commands_and_options(offers: Offers) -> None:
    assert {"enter", "list", "ls", "rm", "pull", "toolbox", "version"} <= offers("ptb ")
    assert offers("ptb en") == {"enter"}
    assert offers("ptb toolbox r") == {"run", "rm", "rmi"}
    assert {"--name", "--volume", "--root", "--help"} <= offers("ptb enter --")
    assert offers("ptb pull --policy ") == {"always", "missing", "never"}
    assert offers("ptb no-such-command ") == set()


def test_boxes_and_images(offers: Offers, busybox: str) -> None:
    assert offers("ptb rm ") == {"alpha", "beta"}
    assert offers("ptb rm alpha ") == {"beta"}
    assert {"alpha", "beta", "host"} <= offers("ptb enter ")
    assert offers("ptb enter --root al") == {"alpha"}
    assert offers("ptb toolbox run -c b") == {"beta"}
    assert len(offers("ptb rmi ")) == 1


def test_names_with_colons(account: UserEnvironment, busybox: str) -> None:
    """bash has put the part before the last colon on the line already."""
    host, port, _rest = busybox.split(":")
    assert _bash(account, f"ptb rmi {host}:{port[:2]}") == {busybox.removeprefix(f"{host}:")}


def test_directories(offers: Offers, account: UserEnvironment) -> None:
    (account.home / "some-directory").mkdir()
    (account.home / "some-file").touch()
    assert {name.rstrip("/") for name in offers("ptb enter --home some")} == {"some-directory"}


def test_zsh(account: UserEnvironment) -> None:
    """zsh completes only where somebody types."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    child = pexpect.spawn("zsh", ["-f", "-i"], env=account.environ, cwd=str(account.home), encoding="utf-8", timeout=30)
    setup = f"fpath=({REPOSITORY}/completions $fpath); autoload -U compinit; compinit -u -D"
    child.sendline(f"PS1='zsh> '; {setup}; echo set-$((1+1))")
    child.expect("set-2")
    child.expect("zsh> ")
    child.send("ptb rm al\t")
    child.expect("ptb rm al.*pha")
    child.send("\x15ptb toolbox cr\t")
    child.expect("eate")
    child.sendline("\x15exit")
    child.expect(pexpect.EOF)
    child.close()
