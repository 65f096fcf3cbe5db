"""`alias toolbox='ptb toolbox'`: toolbox's users find what they type."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.rootless.environment import UserEnvironment
from tests.rootless.images import ImageRegistry, busybox_layer


@pytest.fixture
def configured(user_env: UserEnvironment, busybox: str) -> UserEnvironment:
    """An account whose toolbox.conf names an image that is to be had here."""
    place = user_env.config / "containers"
    place.mkdir(parents=True)
    (place / "toolbox.conf").write_text(f'[general]\nimage = "{busybox}"\n')
    return user_env


def test_create_run_list_and_remove(configured: UserEnvironment, busybox: str) -> None:
    made = configured.ptb("toolbox", "-y", "create")
    assert (made.status, made.stdout) == (0, "Created box: busybox-1\nEnter with: ptb enter busybox-1\n"), made.stderr
    again = configured.ptb("toolbox", "create")
    assert again.status == 125
    assert 'box "busybox-1" exists' in again.stderr
    run = configured.ptb("toolbox", "run", "sh", "-c", "id -u; exit 4")
    assert (run.status, run.stdout) == (4, f"{os.getuid()}\n")
    listing = configured.ptb("toolbox", "list").stdout
    assert busybox.rpartition(":")[0] in listing
    assert "busybox-1   " in listing
    assert "IMAGE ID" not in configured.ptb("toolbox", "list", "-c").stdout
    assert "busybox-1   " not in configured.ptb("toolbox", "list", "--images").stdout
    assert configured.ptb("toolbox", "rmi", busybox).status == 125, "a box uses it"
    assert configured.ptb("toolbox", "rm", "busybox-1").stdout == "busybox-1\n"
    assert configured.ptb("toolbox", "rmi", busybox).status == 0
    assert configured.ptb("list", "-q").stdout == ""


def test_options_after_the_command_are_the_commands(configured: UserEnvironment) -> None:
    configured.ptb("toolbox", "create", "mine", check=True)
    run = configured.ptb("toolbox", "run", "--container", "mine", "ls", "-d", "--", "/bin")
    assert (run.status, run.stdout) == (0, "/bin\n")
    assert configured.ptb("toolbox", "run", "-c", "mine", "no-such-command").status == 127
    missing = configured.ptb("toolbox", "run", "-c", "other", "true")
    assert (missing.status, 'box "other" does not exist' in missing.stderr) == (125, True)


def test_without_a_name_the_only_box_is_meant(configured: UserEnvironment) -> None:
    configured.ptb("toolbox", "create", "mine", check=True)
    run = configured.ptb("toolbox", "run", "echo", "hello")
    assert run.stdout == "hello\n"
    assert 'using "mine"' in run.stderr


def test_enter_makes_the_default_box(configured: UserEnvironment) -> None:
    assert configured.ptb("toolbox", "enter", input="echo in a shell\n").stdout == "in a shell\n"
    assert configured.ptb("toolbox", input="echo again\n").stdout == "again\n"
    assert configured.ptb("list", "-q").stdout == "busybox-1\n"


def test_open_descriptors_reach_the_command(configured: UserEnvironment) -> None:
    configured.ptb("toolbox", "create", check=True)
    line = f"{configured.command} toolbox run --preserve-fds 1 sh -c 'echo three >&3' 3>&1 >/dev/null"
    done = subprocess.run(["sh", "-c", line], env=configured.environ, capture_output=True, text=True, check=True)
    assert done.stdout == "three\n"


def test_an_image_that_is_named(user_env: UserEnvironment, image_registry: ImageRegistry) -> None:
    name = image_registry.add("test/tools:9", [busybox_layer()])
    user_env.ptb("toolbox", "create", "--image", name, check=True)
    assert user_env.ptb("toolbox", "run", "-c", "tools-9", "echo", "x").stdout == "x\n"
