"""toolbox's way of naming boxes: by distribution and release, with toolbox.conf(5) and the machine's own as defaults.

https://containertoolbx.org: the image names, the precedence and the rules for releases are its own.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib

from rootless.errors import InvalidDocument, UsageError
from rootless.record import record
from toolbox import paths
from toolbox.boxes import create as boxes_create
from toolbox.boxes import enter, store

_FALLBACK = ("fedora", "44")


@record
class Distribution:
    """Where a distribution's images are (`{release}` in the repository's or the tag's place) and what its releases look like."""

    image: str
    release: re.Pattern[str]
    example: str


_DISTRIBUTIONS = {
    "arch": Distribution("quay.io/toolbx/arch-toolbox:{release}", re.compile(r"latest|rolling|"), "latest"),
    "fedora": Distribution("registry.fedoraproject.org/fedora-toolbox:{release}", re.compile(r"[1-9]\d{0,2}"), "44"),
    "rhel": Distribution("registry.access.redhat.com/ubi{major}/toolbox:{release}", re.compile(r"\d+\.\d+"), "9.4"),
    "ubuntu": Distribution("quay.io/toolbx/ubuntu-toolbox:{release}", re.compile(r"\d{1,2}\.\d\d"), "24.04"),
}


def create(container: str, *, image: str, distro: str, release: str, authfile: str) -> int:
    """`toolbox create`: make the box and say how to enter it. Raises UsageError, and what making a box raises."""
    if authfile:
        os.environ["REGISTRY_AUTH_FILE"] = os.path.abspath(authfile)
    name, image = resolve(container, image=image, distro=distro, release=release)
    box = boxes_create.create(image, name=name)
    print(f"Created box: {box.name}\nEnter with: ptb enter {box.name}")
    return 0


def run(container: str, command: list[str], *, distro: str, release: str) -> int:
    """`toolbox enter` and `toolbox run`: in the named box, in the one that is meant by default, or in the only one there is."""
    name, image = resolve(container, image="", distro=distro, release=release)
    if container or store.id_of(name) is not None:
        return enter.enter_existing(name, command)
    existing = store.names()
    if not (distro or release) and len(existing) == 1:
        print(f'ptb: there is no box "{name}": using "{existing[0]}"', file=sys.stderr)
        return enter.enter_existing(existing[0], command)
    return enter.enter(image, command, name=name)


def show(*, containers: bool, images: bool) -> int:
    """`toolbox list`: images, then boxes; with one of the two options only those."""
    both = containers == images
    if images or both:
        from toolbox.images import listing as images_listing

        images_listing.show(format="table", quiet=False)
    if both:
        print()
    if containers or both:
        from toolbox.boxes import listing

        listing.show(format="table", quiet=False)
    return 0


def resolve(container: str, *, image: str, distro: str, release: str) -> tuple[str, str]:
    """The name and the image of the box that is meant. Raises UsageError, or InvalidDocument for a broken toolbox.conf."""
    if image and (distro or release):
        raise UsageError("--image does not go with --distro or --release")
    if not image and not distro and not release:
        image = _configured().get("image", "")
    if not image:
        image = image_of(*_distribution(distro, release))
    return container or store.name_for(image), image


def image_of(distro: str, release: str) -> str:
    """The image of a distribution's release. Raises UsageError."""
    known = _DISTRIBUTIONS.get(distro)
    if known is None:
        raise UsageError(
            f'distribution "{distro}" has no toolbox image',
            hint=f"--distro {'|'.join(_DISTRIBUTIONS)}, or any image with --image",
        )
    release = release.removeprefix("f").removeprefix("F") if distro == "fedora" else release
    if known.release.fullmatch(release) is None:
        raise UsageError(f'"{release}" is no release of {distro}', hint=f"--release {known.example}, for example")
    if distro == "arch":
        release = "latest"
    return known.image.format(release=release, major=release.partition(".")[0])


def _distribution(distro: str, release: str) -> tuple[str, str]:
    """Distribution and release: as asked, else as configured, else the machine's, else Fedora."""
    configured, machine = _configured(), _machine()
    for source in (configured.get("distro", ""), machine[0], _FALLBACK[0]):
        if not distro and (source in _DISTRIBUTIONS or source == configured.get("distro")):
            distro = source
    if release:
        return distro, release
    if distro == configured.get("distro") and configured.get("release"):
        return distro, configured["release"]
    if distro == machine[0]:
        return machine
    if distro == "arch":
        return distro, "latest"
    if distro == _FALLBACK[0]:
        return _FALLBACK
    raise UsageError(f"--distro {distro} needs a release", hint=f"--release {_DISTRIBUTIONS[distro].example}")


def _configured() -> dict[str, str]:
    """`[general]` of toolbox.conf, the user's over the system's."""
    found: dict[str, str] = {}
    user = os.path.dirname(paths.config_home())
    for path in ("/etc/containers/toolbox.conf", f"{user}/containers/toolbox.conf"):
        try:
            with open(path, "rb") as stream:
                general = tomllib.load(stream).get("general", {})
        except FileNotFoundError:
            continue
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidDocument(f'"{path}" does not parse: {error}', hint=f"mend or remove {path}") from error
        if isinstance(general, dict):
            found |= {key: str(value) for key, value in general.items()}
    return found


def _machine() -> tuple[str, str]:
    """What os-release(5) says of this machine; ("", "") without one."""
    fields = {}
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8") as stream:
                fields = dict(line.rstrip("\n").split("=", 1) for line in stream if "=" in line)
            break
        except OSError:
            continue
    return fields.get("ID", "").strip("\"'"), fields.get("VERSION_ID", "").strip("\"'")
