"""Containers in tests: an account with an image in it, and the usual ways to look at what runs."""

from __future__ import annotations

import json
import os
import select
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rootless.environment import PATIENCE, Result, UserEnvironment


@dataclass(frozen=True)
class Engine:
    """`ptb` in an account, with the name of a busybox image that is there."""

    account: UserEnvironment
    image: str

    def __call__(self, *arguments: str, **options: Any) -> Result:
        return self.account.ptb(*arguments, **options)

    def ok(self, *arguments: str, **options: Any) -> str:
        """What a command that must succeed prints."""
        return self.account.ptb(*arguments, check=True, **options).stdout

    def run(self, *arguments: str, network: str = "none", **options: Any) -> Result:
        """`run --rm`, without a network unless one is named; the image is put before the first word that is no option."""
        return self("run", "--rm", "--network", network, *arguments, **options)

    def detached(self, *arguments: str, name: str, network: str = "none") -> str:
        """Start a container that goes on; its id."""
        return self.ok("run", "-d", "--name", name, "--network", network, *arguments).strip()

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ok("inspect", name))[0]
        return found

    def state(self, name: str) -> str:
        return str(self.inspect(name)["State"]["Status"])

    def pid(self, name: str) -> int:
        return int(self.inspect(name)["State"]["Pid"])

    def monitor(self, name: str) -> int:
        return int(self.inspect(name)["State"]["ConmonPid"])


def await_end(pid: int) -> None:
    """Wait until a process is gone."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], PATIENCE)[0], f"process {pid} goes on"
    finally:
        os.close(fd)


def helpers_of(monitor: int) -> dict[str, int]:
    """The processes that a monitor has started, by name."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == monitor:
                found[(process / "comm").read_text().strip()] = int(process.name)
        except OSError:
            continue
    return found
