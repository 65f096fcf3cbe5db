"""What the commands that people wait for import, in all their processes: the command, the monitor, the container's init."""

from __future__ import annotations

import sys

import pytest

from tests.rootless.containers import Engine
from tests.rootless.environment import REPOSITORY

HEAVY = {
    "os",
    "re",
    "json",
    "typing",
    "dataclasses",
    "enum",
    "subprocess",
    "pathlib",
    "socket",
    "signal",
    "ctypes",
    "struct",
}


def imported(engine: Engine, *arguments: str) -> set[str]:
    """Every module that a command line imports, as the launcher starts it."""
    launcher = f"{sys.executable} -ISXimporttime {REPOSITORY}/packaging/launcher"
    command, engine.account.command = engine.account.command, launcher
    try:
        said = engine.account.ptb(*arguments, check=True).stderr
    finally:
        engine.account.command = command
    return {line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize("network", ["none", "host", "slirp4netns"])
def test_run(engine: Engine, network: str) -> None:
    engine.run(engine.image, "true")  # which compiles the filter of system calls
    found = imported(engine, "run", "--rm", "--network", network, engine.image, "true")
    assert {"rootless.monitor", "rootless.container_init", "toolbox.containers.create"} <= found
    assert not found & (HEAVY | {"rootless.seccomp"})


def test_run_loads_only_what_its_options_ask_for(engine: Engine) -> None:
    found = imported(engine, "run", "--rm", "--network", "none", engine.image, "true")
    assert not found & {
        "rootless.health",
        "rootless.network.pasta",
        "rootless.network.slirp",
        "rootless.container_exec",
        "toolbox.containers.secrets",
        "toolbox.containers.volumes",
        "toolbox.containers.devices",
        "toolbox.images.pull",
        "toolbox.gotemplate",
    }


@pytest.mark.parametrize("command", [("exec", "box", "true"), ("ps",), ("stop", "-t", "0", "box"), ("rm", "-f", "box")])
def test_what_is_done_to_a_container(engine: Engine, command: tuple[str, ...]) -> None:
    engine.detached(engine.image, "sleep", "1000", name="box")
    assert not imported(engine, *command) & HEAVY


def test_a_box_that_is_entered_again(engine: Engine) -> None:
    engine.ok("enter", engine.image, "true")
    try:
        assert not imported(engine, "enter", engine.image, "true") & HEAVY
    finally:
        engine.ok("toolbox", "rm", "-af")
