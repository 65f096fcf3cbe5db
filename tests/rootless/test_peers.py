"""toolbox and distrobox from Debian's packages, unmodified, over ptb under the name podman."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rootless.environment import REPOSITORY, UserEnvironment

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def client(user_env: UserEnvironment, debian: str, tmp_path: Path) -> Iterator[Program]:
    """Runs a program that finds ptb as podman, and a bus where it looks for the system's."""
    programs = tmp_path / "bin"
    programs.mkdir()
    launcher = f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m toolbox "$@"\n'
    (programs / "podman").write_text(launcher)
    (programs / "podman").chmod(0o755)
    user_env.ptb("pull", "-q", debian, check=True)
    address = f"unix:path={tmp_path}/bus"
    command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1", f"--address={address}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bus:
        assert bus.stdout is not None
        assert bus.stdout.readline().startswith(address)
        environ = {
            **user_env.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "DBUS_SYSTEM_BUS_ADDRESS": address,
            "DBUS_SESSION_BUS_ADDRESS": address,
            "DBX_CONTAINER_MANAGER": "podman",
            "USER": os.environ.get("USER", "ptb"),
        }

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                arguments, env=environ, cwd=user_env.home, capture_output=True, text=True, check=False, timeout=180
            )

        yield run
        user_env.ptb("rm", "-a", "-f", "-t", "0", check=True)
        bus.terminate()


@pytest.mark.skipif(not shutil.which("toolbox"), reason="Debian has toolbox as podman-toolbox")
def test_toolbox(client: Program, user_env: UserEnvironment, debian: str) -> None:
    created = client("toolbox", "--log-level", "debug", "create", "-y", "--image", debian, "tb")
    assert created.returncode == 0, created.stderr
    ran = client("toolbox", "run", "-c", "tb", "sh", "-c", "id -u; sudo -S id -u; exit 3")
    assert (ran.returncode, ran.stdout.split()) == (3, [str(os.getuid()), "0"]), ran.stderr
    assert "tb" in client("toolbox", "list", "-c").stdout
    removed = client("toolbox", "rm", "-f", "tb")
    assert removed.returncode == 0, removed.stderr
    assert user_env.ptb("ps", "-aq").stdout == ""


@pytest.mark.skipif(not shutil.which("distrobox"), reason="distrobox is not installed")
def test_distrobox(client: Program, user_env: UserEnvironment, debian: str) -> None:
    (user_env.home / "bin").mkdir()
    created = client("distrobox", "create", "-Y", "--image", debian, "--name", "db")
    assert created.returncode == 0, created.stderr
    entered = client("distrobox", "enter", "db", "--", "sh", "-c", "id -u; pwd; echo text >~/from-the-box")
    assert entered.returncode == 0, entered.stderr
    assert entered.stdout.split()[-2:] == [str(os.getuid()), str(user_env.home)], entered.stdout
    assert (user_env.home / "from-the-box").read_text() == "text\n"
    exported = ("distrobox-export", "--bin", "/usr/bin/sudo", "--export-path", f"{user_env.home}/bin")
    export = client("distrobox", "enter", "db", "--", *exported)
    assert export.returncode == 0, export.stdout + export.stderr
    assert "db" in client("distrobox", "list").stdout
    removed = client("distrobox", "rm", "-f", "db")
    assert removed.returncode == 0, removed.stderr
    brief = client("distrobox", "ephemeral", "--image", debian, "-Y", "--", "true")
    assert brief.returncode == 0, brief.stdout + brief.stderr
    assert user_env.ptb("ps", "-aq").stdout == ""
