"""The images of a store: an OCI image layout in `<store>/images` (image-spec, image-layout.md).

`index.json` names the images, `blobs/sha256` has their manifests and configurations. Layers are not kept as blobs: they
live unpacked in `<store>/layers`. Writers hold an exclusive flock of the directory itself; readers need none, because
every file appears whole, by rename. A blob that no image reaches is removed with the last image that reached it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fuse_overlay import digest, oci
from rootless.errors import IntegrityError, InvalidDocument, NotFound

_REF_NAME = "org.opencontainers.image.ref.name"
_TEMPORARY = ".tmp"


def put_blob(store: str, data: bytes) -> str:
    """Keep `data`; returns its digest. A blob that no image names yet goes when the next image is removed: see `add`."""
    with _locked(store) as directory:
        return _put(directory, data)


def get_blob(store: str, wanted: str) -> bytes:
    """The content of a blob; raises NotFound, or IntegrityError when the file is not what its name says."""
    try:
        with open(_blob_path(f"{store}/images", wanted), "rb") as stream:
            data = stream.read()
    except FileNotFoundError:
        raise NotFound(f"blob {wanted} is not in the store") from None
    if digest.of(data) != wanted:
        raise IntegrityError(f"blob {wanted} is damaged on disk")
    return data


def add(store: str, name: str, media_type: str, manifest: bytes, config: bytes) -> str:
    """Keep both documents and let `name` mean them, in one step; returns the manifest's digest."""
    with _locked(store) as directory:
        _put(directory, config)
        manifest_digest = _put(directory, manifest)
        _point(directory, name, manifest_digest, media_type, len(manifest))
    return manifest_digest


def tag(store: str, name: str, manifest_digest: str, media_type: str, size: int) -> None:
    """Let `name`, a fully qualified reference, mean a stored manifest; what it meant before is let go.

    Raises NotFound when the manifest is not stored.
    """
    with _locked(store) as directory:
        if not os.path.exists(_blob_path(directory, manifest_digest)):
            raise NotFound(f"manifest {manifest_digest} is not in the store")
        _point(directory, name, manifest_digest, media_type, size)


def untag(store: str, name: str) -> bool:
    """Forget `name` and the blobs that no other name needs; False when it is not known."""
    with _locked(store) as directory:
        entries = _entries(directory)
        kept = [entry for entry in entries if _name(entry) != name]
        if len(kept) == len(entries):
            return False
        _write_index(directory, kept)
        _remove_unreachable(directory, kept)
    return True


def resolve(store: str, name: str) -> str | None:
    """The digest of the manifest that `name` means."""
    for known, manifest_digest in names(store):
        if known == name:
            return manifest_digest
    return None


def names(store: str) -> list[tuple[str, str]]:
    """Every (name, manifest digest), in the order they came."""
    return [(_name(entry), entry["digest"]) for entry in _entries(f"{store}/images")]


def load(store: str, name: str) -> oci.Image | None:
    """The image that `name` means, both documents verified; None when it is not known."""
    manifest_digest = resolve(store, name)
    if manifest_digest is None:
        return None
    manifest = get_blob(store, manifest_digest)
    return oci.image(name, manifest, get_blob(store, oci.parse_manifest(manifest).config.digest))


@contextmanager
def _locked(store: str) -> Iterator[str]:
    directory = f"{store}/images"
    os.makedirs(f"{directory}/blobs/sha256", exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not os.path.exists(f"{directory}/oci-layout"):
            _write(f"{directory}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}\n')
        if not os.path.exists(f"{directory}/index.json"):
            _write_index(directory, [])
        yield directory
    finally:
        os.close(descriptor)


def _blob_path(directory: str, wanted: str) -> str:
    return f"{directory}/blobs/sha256/{digest.encoded(wanted)}"


def _put(directory: str, data: bytes) -> str:
    found = digest.of(data)
    path = _blob_path(directory, found)
    try:
        with open(path, "rb") as stream:
            if stream.read() == data:
                return found
    except FileNotFoundError:
        pass
    _write(path, data)
    return found


def _write(path: str, data: bytes) -> None:
    """Replace the file in one step that survives a crash. The lock makes the temporary name ours alone."""
    temporary = path + _TEMPORARY
    try:
        with open(temporary, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    parent = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _entries(directory: str) -> list[dict[str, Any]]:
    """The descriptors of index.json that carry a name."""
    path = f"{directory}/index.json"
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError:
        return []
    try:
        oci.parse_index(data)
    except InvalidDocument as error:
        raise InvalidDocument(f'"{path}": {error.message}', hint=f'mv "{path}" "{path}.broken"') from error
    return [entry for entry in json.loads(data).get("manifests") or [] if _name(entry)]


def _name(entry: dict[str, Any]) -> str:
    annotations = entry.get("annotations")
    name = annotations.get(_REF_NAME) if isinstance(annotations, dict) else None
    return name if isinstance(name, str) else ""


def _write_index(directory: str, entries: list[dict[str, Any]]) -> None:
    document = {"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": entries}
    _write(f"{directory}/index.json", json.dumps(document, indent=1).encode() + b"\n")


def _point(directory: str, name: str, manifest_digest: str, media_type: str, size: int) -> None:
    before = _entries(directory)
    kept = [entry for entry in before if _name(entry) != name]
    new = {
        "mediaType": media_type,
        "digest": digest.check(manifest_digest),
        "size": size,
        "annotations": {_REF_NAME: name},
    }
    if new in before:
        return
    _write_index(directory, [*kept, new])
    if len(kept) < len(before):
        _remove_unreachable(directory, [*kept, new])


def _remove_unreachable(directory: str, entries: list[dict[str, Any]]) -> None:
    """Remove every blob that is neither the manifest of an entry nor its configuration, and leftovers of crashes."""
    needed = set()
    for entry in entries:
        try:
            path = _blob_path(directory, entry["digest"])
            needed.add(os.path.basename(path))
            with open(path, "rb") as stream:
                needed.add(digest.encoded(oci.parse_manifest(stream.read()).config.digest))
        except (FileNotFoundError, InvalidDocument):
            continue
    for found in os.listdir(f"{directory}/blobs/sha256"):
        if found not in needed:
            os.unlink(f"{directory}/blobs/sha256/{found}")
