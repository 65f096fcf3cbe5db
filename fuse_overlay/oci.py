"""Manifests, indexes and image configurations, read from bytes that nobody vouches for.

The OCI image specification (manifest.md, image-index.md, config.md) and Docker's image manifest version 2, schema 2,
which differ in their media types only. Everything that is used is checked for its type here, so that nothing behind
this module meets a number where it expects a name. What is not used is ignored, as the specification asks.
"""

from __future__ import annotations

import json
import os
from typing import Any

from fuse_overlay import digest
from rootless.errors import InvalidDocument
from rootless.record import record

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"

INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "riscv64": ("riscv64", ""),
    "s390x": ("s390x", ""),
}
_DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7"}


@record
class Platform:
    """What a manifest of an index is for, in Go's words (image-index.md)."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@record
class Descriptor:
    """Where content is and what it is (descriptor.md); `size` in bytes, `urls` other places to fetch it from."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    urls: tuple[str, ...] = ()


@record
class Manifest:
    """One image for one platform: its configuration and its layers, lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@record
class ImageConfig:
    """How to run an image (config.md). `diff_ids` are the digests of the plain tars, lowest first; `raw` is the whole."""

    architecture: str
    os: str
    diff_ids: tuple[str, ...]
    env: tuple[str, ...]
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    user: str
    working_dir: str
    created: str
    raw: bytes


@record
class Image:
    """A stored image: its full name, the digest of its manifest, and both documents."""

    name: str
    digest: str
    manifest: Manifest
    config: ImageConfig


def parse_index(data: bytes) -> tuple[Descriptor, ...]:
    """The manifests of an index or manifest list in order; raises InvalidDocument."""
    document = _document(data, "image index")
    if "layers" in document or "config" in document:
        raise InvalidDocument("image index: it claims to be a manifest as well")
    return tuple(_descriptor(item, "image index") for item in _list(document, "manifests", "image index"))


def parse_manifest(data: bytes) -> Manifest:
    """An OCI manifest or one of Docker's schema 2; raises InvalidDocument."""
    document = _document(data, "image manifest")
    if document.get("schemaVersion") == 1:
        raise InvalidDocument("image manifest: schema 1 has been obsolete since 2017 and is not supported")
    if "manifests" in document:
        raise InvalidDocument("image manifest: it claims to be an index as well")
    return Manifest(
        media_type=_text(document, "mediaType", "image manifest") or OCI_MANIFEST,
        config=_descriptor(document.get("config"), "image manifest"),
        layers=tuple(_descriptor(item, "image manifest") for item in _list(document, "layers", "image manifest")),
    )


def parse_config(data: bytes) -> ImageConfig:
    """An image configuration; raises InvalidDocument."""
    what = "image configuration"
    document = _document(data, what)
    root = _object(document, "rootfs", what)
    process = _object(document, "config", what)
    return ImageConfig(
        architecture=_text(document, "architecture", what),
        os=_text(document, "os", what),
        diff_ids=tuple(digest.check(item) for item in _texts(root, "diff_ids", what)),
        env=_texts(process, "Env", what),
        entrypoint=_texts(process, "Entrypoint", what),
        cmd=_texts(process, "Cmd", what),
        user=_text(process, "User", what),
        working_dir=_text(process, "WorkingDir", what),
        created=_text(document, "created", what),
        raw=data,
    )


def image(name: str, manifest: bytes, config: bytes) -> Image:
    """The image that these two documents describe; raises InvalidDocument where they contradict each other."""
    parsed, configured = parse_manifest(manifest), parse_config(config)
    if len(parsed.layers) != len(configured.diff_ids):
        raise InvalidDocument(
            f'image "{name}": {len(parsed.layers)} layers in the manifest, {len(configured.diff_ids)} in the configuration'
        )
    return Image(name, digest.of(manifest), parsed, configured)


def parse_platform(text: str) -> Platform:
    """`os/architecture[/variant]` as `--platform` takes it; raises InvalidDocument."""
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(part and part.isprintable() and " " not in part for part in parts):
        raise InvalidDocument(f'platform "{text[:100]}": not of the form os/architecture[/variant]')
    return Platform(*parts)


def host_platform() -> Platform:
    """The platform of this machine."""
    machine = os.uname().machine
    return Platform("linux", *_ARCHITECTURES.get(machine, (machine, "")))


def select(manifests: tuple[Descriptor, ...], wanted: Platform) -> Descriptor | None:
    """The manifest of an index to use on `wanted`: the first that fits, one of the very same variant before others."""
    fitting = [
        item
        for item in manifests
        if item.platform and (item.platform.os, item.platform.architecture) == (wanted.os, wanted.architecture)
    ]
    usual = _DEFAULT_VARIANTS.get(wanted.architecture, "")
    variant = wanted.variant or usual
    for item in fitting:
        if item.platform and (item.platform.variant or usual) == variant:
            return item
    lower = [item for item in fitting if item.platform and item.platform.variant < variant]
    return max(lower, key=lambda item: item.platform.variant if item.platform else "") if lower else None


def _document(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "not JSON"
        raise InvalidDocument(f"{what}: {reason}") from error
    if not isinstance(document, dict):
        raise InvalidDocument(f"{what}: not a JSON object")
    return document


def _object(document: dict[str, Any], key: str, what: str) -> dict[str, Any]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidDocument(f'{what}: "{key}" is not an object')
    return value


def _list(document: dict[str, Any], key: str, what: str) -> list[Any]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidDocument(f'{what}: "{key}" is not a list')
    return value


def _checked_text(value: object, key: str, what: str) -> str:
    # A NUL would cut the string short in every system call it reaches; a lone surrogate cannot be written out.
    if not isinstance(value, str) or "\0" in value:
        raise InvalidDocument(f'{what}: "{key}" is not a string')
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidDocument(f'{what}: "{key}" is not valid Unicode') from None
    return value


def _text(document: dict[str, Any], key: str, what: str) -> str:
    value = document.get(key)
    return "" if value is None else _checked_text(value, key, what)


def _texts(document: dict[str, Any], key: str, what: str) -> tuple[str, ...]:
    return tuple(_checked_text(item, key, what) for item in _list(document, key, what))


def _descriptor(value: object, what: str) -> Descriptor:
    if not isinstance(value, dict):
        raise InvalidDocument(f"{what}: a descriptor is missing or not an object")
    size = value.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        raise InvalidDocument(f'{what}: "size" is not a number of bytes')
    platform = None
    if value.get("platform") is not None:
        fields = _object(value, "platform", what)
        platform = Platform(
            _text(fields, "os", what), _text(fields, "architecture", what), _text(fields, "variant", what)
        )
    return Descriptor(
        media_type=_text(value, "mediaType", what),
        digest=digest.check(_text(value, "digest", what)),
        size=size,
        platform=platform,
        urls=_texts(value, "urls", what),
    )
