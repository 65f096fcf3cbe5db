"""toolbox's names: distribution and release as options, toolbox.conf and the machine say."""

from __future__ import annotations

from pathlib import Path

import pytest

from rootless.errors import InvalidDocument, UsageError
from toolbox.boxes import toolbx


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "containers").mkdir()
    return tmp_path / "containers/toolbox.conf"


@pytest.mark.parametrize(
    ("distro", "release", "image", "name"),
    [
        ("fedora", "44", "registry.fedoraproject.org/fedora-toolbox:44", "fedora-toolbox-44"),
        ("fedora", "f44", "registry.fedoraproject.org/fedora-toolbox:44", "fedora-toolbox-44"),
        ("ubuntu", "24.04", "quay.io/toolbx/ubuntu-toolbox:24.04", "ubuntu-toolbox-24.04"),
        ("rhel", "9.4", "registry.access.redhat.com/ubi9/toolbox:9.4", "toolbox-9.4"),
        ("arch", "", "quay.io/toolbx/arch-toolbox:latest", "arch-toolbox-latest"),
        ("arch", "rolling", "quay.io/toolbx/arch-toolbox:latest", "arch-toolbox-latest"),
    ],
)
def test_images_of_distributions(distro: str, release: str, image: str, name: str) -> None:
    assert toolbx.resolve("", image="", distro=distro, release=release) == (name, image)
    assert toolbx.resolve("mine", image="", distro=distro, release=release) == ("mine", image)


@pytest.mark.parametrize(
    ("distro", "release"), [("ubuntu", ""), ("rhel", "9"), ("fedora", "rawhide"), ("plan9", "4"), ("ubuntu", "24.4")]
)
def test_what_there_is_not(distro: str, release: str) -> None:
    with pytest.raises(UsageError):
        toolbx.resolve("", image="", distro=distro, release=release)


def test_the_configuration_is_the_default(config: Path) -> None:
    config.write_text('[general]\ndistro = "ubuntu"\nrelease = "24.04"\n')
    assert toolbx.resolve("", image="", distro="", release="")[1] == "quay.io/toolbx/ubuntu-toolbox:24.04"
    assert toolbx.resolve("", image="", distro="fedora", release="41")[1].endswith("fedora-toolbox:41")
    assert toolbx.resolve("", image="x/y:1", distro="", release="") == ("y-1", "x/y:1")
    config.write_text('[general]\nimage = "example.org/own:3"\n')
    assert toolbx.resolve("", image="", distro="", release="") == ("own-3", "example.org/own:3")


def test_a_broken_configuration_is_named(config: Path) -> None:
    config.write_text("[general\n")
    with pytest.raises(InvalidDocument, match="toolbox.conf"):
        toolbx.resolve("", image="", distro="", release="")
