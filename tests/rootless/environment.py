"""A user's account for one test: a home of its own, and `ptb` as that user types it."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds after which something that should happen has not."""


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    status: int
    stdout: str
    stderr: str


@dataclass
class UserEnvironment:
    """The account. `command` is how a shell calls ptb."""

    home: Path
    environ: dict[str, str] = field(default_factory=dict)
    command: str = f"{sys.executable} -m toolbox"
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.home / ".local/share"

    @property
    def config(self) -> Path:
        return self.home / ".config"

    @property
    def boxes(self) -> Path:
        return self.data / "ptb/containers"

    @property
    def layers(self) -> Path:
        return self.data / "ptb/layers"

    def ptb(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002
        check: bool = False,
        cwd: Path | str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Result:
        """Run ptb to its end; with `check` it must succeed."""
        done = subprocess.run(
            [*self.command.split(), *arguments],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd or self.home,
            env={**self.environ, **(environ or {})},
            timeout=2 * PATIENCE,
        )
        assert not check or done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, stderr: int | None = None) -> subprocess.Popen[str]:
        """Start ptb and go on; it is ended with the test."""
        process = subprocess.Popen(
            [*self.command.split(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=self.home,
            env=self.environ,
            process_group=0,
        )
        self.started.append(process)
        return process

    def end_all(self) -> None:
        """End what was started and still runs."""
        for process in self.started:
            process.kill()
            process.communicate()

    def await_gone(self, directory: Path) -> None:
        """Wait until a directory is empty."""
        deadline = time.monotonic() + PATIENCE
        watch = subprocess.Popen(
            ["inotifywait", "-q", "-m", "-e", "delete,moved_from", str(directory)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        assert watch.stdout is not None
        with watch, selectors.DefaultSelector() as selector:
            selector.register(watch.stdout, selectors.EVENT_READ)
            while list(directory.iterdir()):
                assert time.monotonic() < deadline, f"{list(directory.iterdir())} are still there"
                # An event that came before the watch was set up is made up for by looking once a second.
                if selector.select(1):
                    os.read(watch.stdout.fileno(), 4096)
            watch.kill()


def make(home: Path) -> UserEnvironment:
    """An account in `home`, with nothing of the caller's but who they are and where their session's sockets are."""
    home.mkdir(parents=True)
    passed = ("PATH", "USER", "LOGNAME", "LANG", "XDG_RUNTIME_DIR", "CI", "PTB_TEST_DISK")
    environ = {name: os.environ[name] for name in passed if name in os.environ}
    environ |= {
        "HOME": str(home),
        "SHELL": "/bin/bash",
        "TERM": "xterm-256color",
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return UserEnvironment(home, environ)
