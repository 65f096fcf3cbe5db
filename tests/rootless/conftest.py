"""The account that a test uses, and the registry with the images that tests enter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rootless import environment, images
from tests.rootless.containers import Engine, await_end
from tests.rootless.environment import UserEnvironment
from tests.rootless.images import ImageRegistry


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.getuid() == 0 and items:
        pytest.exit("these tests run as an ordinary user: sh packaging/test", returncode=2)


@pytest.fixture
def user_env(tmp_path: Path) -> Iterator[UserEnvironment]:
    """An account for one test. When the test is over, removing everything must leave nothing."""
    account = environment.make(tmp_path / "home")
    yield account
    account.end_all()
    account.ptb("rm", "--all", "--force", "--volumes", "--time", "0", check=True)
    account.ptb("toolbox", "rm", "--all", "--force", check=True)
    account.ptb("rmi", "--all", "--force", check=True)
    left = [path for place in (account.boxes, account.layers) if place.exists() for path in place.iterdir()]
    assert left == []
    for process in _processes(account):
        await_end(process)  # a monitor tells of the end before its own


def _processes(account: UserEnvironment) -> list[int]:
    """The processes that still serve an overlay of this account's, or stand by one of its containers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name, place = (process / "comm").read_text().strip(), (process / "cwd").readlink()
            environ = (process / "environ").read_bytes()
        except OSError:
            continue
        ours = place.is_relative_to(account.home) or f"HOME={account.home}\0".encode() in environ
        if ours and (name in ("fuse-overlayfs", "slirp4netns", "pasta") or name.startswith("ptb-")):
            found.append(int(process.name))
    return found


@pytest.fixture(scope="session")
def image_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRegistry]:
    """Debian's docker-registry on this machine, empty at first."""
    with images.serving(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="session")
def debian(image_registry: ImageRegistry) -> str:
    """A whole Debian with sudo."""
    return image_registry.add_debian("test/debian:12")


@pytest.fixture(scope="session")
def busybox(image_registry: ImageRegistry) -> str:
    """busybox and its links in /bin, and nothing else."""
    return image_registry.add("test/busybox:1", [images.busybox_layer()])


@pytest.fixture
def engine(user_env: UserEnvironment, tools: str) -> Engine:
    """`ptb` with a busybox image that has most of its applets, /etc and /tmp."""
    user_env.ptb("pull", "-q", tools, check=True)
    return Engine(user_env, tools)


@pytest.fixture(scope="session")
def tools(image_registry: ImageRegistry) -> str:
    """busybox with what scripts in containers use."""
    return image_registry.add("test/tools:1", [images.busybox_layer(*images.TOOLS), images.base_layer()])
