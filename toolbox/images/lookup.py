"""Which stored image a name means, on the way to starting a container: what `stored.find` answers, without its imports.

Full names are looked up as they are. What a short one may mean is said by registries.conf(5), which takes a TOML parser;
the answer is kept in `$XDG_CACHE_HOME/ptb/short-names` together with the state of every file it came from.
"""

from __future__ import annotations

from rootless import json_text
from rootless import system as os
from rootless.errors import InvalidDocument, PtbError
from rootless.record import record
from toolbox import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@record
class Found:
    """A stored image: its full name, the digests of its manifest and configuration, its layers and `config` section."""

    name: str
    digest: str
    image_id: str
    layers: tuple[str, ...]
    config: dict[str, Any]


def find(text: str) -> Found | None:
    """The stored image that a name or the beginning of an id means; None if it is not here or not whole.

    Raises InvalidDocument for what is no reference.
    """
    names = _names()
    for candidate in _candidates(text):
        found = _load(candidate, names[candidate]) if candidate in names else None
        if found is not None:
            return found
    start = text.removeprefix("sha256:")
    if len(start) >= 3 and set(start) <= set("0123456789abcdef"):
        by_id = {found.image_id: found for found in map(_load, names, names.values()) if found is not None}
        matching = [found for image_id, found in by_id.items() if image_id.partition(":")[2].startswith(start)]
        if len(matching) == 1:
            return matching[0]
    return None


def _names() -> dict[str, str]:
    """Every name in the store's index and the digest it stands for."""
    path = f"{paths.data_home()}/images/index.json"
    try:
        with open(path, encoding="utf-8") as stream:
            document = json_text.parse(stream.read(), path)
    except FileNotFoundError:
        return {}
    return {
        entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"]
        for entry in document["manifests"]
        if entry.get("annotations")
    }


def _load(name: str, digest: str) -> Found | None:
    try:
        manifest = json_text.parse(_blob(digest), f"manifest {digest}")
        image_id = manifest["config"]["digest"]
        config = json_text.parse(_blob(image_id), f"configuration {image_id}")
        layers = tuple(config["rootfs"]["diff_ids"])
        section = config.get("config") or {}
    except (OSError, PtbError, KeyError, TypeError, AttributeError):
        return None  # damaged on disk; pulling it again mends that
    store = paths.data_home()
    if not all(os.path.isdir(f"{store}/layers/{layer.partition(':')[2]}/diff") for layer in layers):
        return None
    return Found(name, digest, image_id, layers, section)


def _blob(digest: str) -> str:
    from fuse_overlay import digest as digests

    with open(f"{paths.data_home()}/images/blobs/sha256/{digests.encoded(digest)}", "rb") as stream:
        data = stream.read()
    if digests.of(data) != digest:
        raise InvalidDocument(f"blob {digest} is damaged on disk")
    return data.decode()


def _candidates(text: str) -> list[str]:
    """The full names to look for, in order."""
    name = text.strip().removeprefix("docker://")
    first, slash, _rest = name.partition("/")
    full = slash and ("." in first or ":" in first or first == "localhost") and first != "index.docker.io"
    if full and "@" not in name and not (first == "docker.io" and name.count("/") == 1):
        return [name if ":" in name.rpartition("/")[2] else f"{name}:latest"]
    stamp = _stamp()
    path = f"{paths.cache_home()}/short-names"
    kept: dict[str, Any] = {}
    try:
        with open(path, encoding="utf-8") as stream:
            kept = json_text.parse(stream.read(), path)
    except (OSError, PtbError):
        pass
    if kept.get("stamp") != stamp:
        kept = {"stamp": stamp, "names": {}}
    if text not in kept["names"]:
        from toolbox.images import stored

        kept["names"][text] = stored.local_names(text)
        _write(path, json_text.dump(kept))
    found: list[str] = kept["names"][text]
    return found


def _stamp() -> str:
    """What changes when any file does that registries.conf(5) names."""
    user = os.path.dirname(paths.config_home()) + "/containers"
    cache = os.path.dirname(paths.cache_home()) + "/containers"
    places = [f"{cache}/short-name-aliases.conf"]
    for directory in (user, "/etc/containers"):
        places += [f"{directory}/registries.conf", f"{directory}/registries.conf.d"]
        try:
            places += [f"{directory}/registries.conf.d/{name}" for name in sorted(os.listdir(places[-1]))]
        except OSError:
            continue
    parts = []
    for place in places:
        try:
            status = os.stat(place)
        except OSError:
            continue
        parts.append(f"{place} {status.st_mtime_ns} {status.st_size} {status.st_ino}")
    return "\n".join(parts)


def _write(path: str, text: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.rename(temporary, path)
    except OSError:
        return  # it will be worked out again
