"""Images made for tests and the real registry they are pulled from: Debian's docker-registry, fed by skopeo."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backports import zstd

Filling = Callable[[tarfile.TarFile], None]
"""Adds the entries of one layer to its archive."""


@dataclass(frozen=True)
class ImageRegistry:
    """A running docker-registry."""

    host: str
    place: Path

    def add(self, name: str, layers: list[Filling | Path], *, compress: str = "gzip", env: tuple[str, ...] = ()) -> str:
        """Push an image of these layers; returns its full reference. `compress` is gzip, zstd or none."""
        layout = self.place / name.replace("/", "_").replace(":", "_")
        shutil.rmtree(layout, ignore_errors=True)
        (layout / "blobs/sha256").mkdir(parents=True)
        diff_ids, descriptors = zip(*(_store_layer(layout, layer, compress) for layer in layers), strict=True)
        config = {
            "architecture": _architecture(),
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *env]},
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _store_json(layout, config, "application/vnd.oci.image.config.v1+json"),
            "layers": list(descriptors),
        }
        entry = _store_json(layout, manifest, "application/vnd.oci.image.manifest.v1+json")
        entry["annotations"] = {"org.opencontainers.image.ref.name": "it"}
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        target = f"docker://{self.host}/{name}"
        self.skopeo("copy", "--preserve-digests", f"oci:{layout}:it", target, "--dest-tls-verify=false")
        shutil.rmtree(layout)
        return f"{self.host}/{name}"

    def add_debian(self, name: str, packages: str = "sudo,procps,libcap2-bin") -> str:
        """Push a Debian made from its packages, with these in particular."""
        archive = self.place / f"{name.replace('/', '-')}.tar"
        if not archive.exists():
            command = ["mmdebstrap", "--quiet", "--mode=unshare", "--variant=minbase", "--format=tar"]
            subprocess.run([*command, f"--include={packages}", "bookworm", str(archive)], check=True)
        return self.add(name, [archive], env=("LANG=C.UTF-8",))

    def skopeo(self, *arguments: str) -> str:
        """Run skopeo; returns what it prints."""
        command = ["skopeo", "--insecure-policy", "--tmpdir", str(self.place), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def delete(self, name: str) -> None:
        """Take an image away again."""
        self.skopeo("delete", f"docker://{self.host}/{name}", "--tls-verify=false")


@contextlib.contextmanager
def serving(place: Path, *, password: str = "") -> Iterator[ImageRegistry]:
    """Run a docker-registry that keeps its things in `place`; with a `password` line of htpasswd(1) it wants to be told."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    config = place / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
        f"storage: {{filesystem: {{rootdirectory: {place}/store}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '{host}'}}\n"
    )
    if password:
        (place / "htpasswd").write_text(f"{password}\n")
        with config.open("a") as stream:
            stream.write(f"auth: {{htpasswd: {{realm: tests, path: {place}/htpasswd}}}}\n")
    with subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _await_answer(f"http://{host}/v2/", process)
            yield ImageRegistry(host, place)
        finally:
            process.terminate()


def _await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    """The registry has no other way to say that it is ready than to answer."""
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            return  # it wants a password: it is there
        except urllib.error.URLError:
            assert process.poll() is None, "docker-registry ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def add_file(archive: tarfile.TarFile, name: str, data: bytes = b"", mode: int = 0o644, **more: Any) -> None:
    """Add a file of root's."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    for key, value in more.items():
        setattr(entry, key, value)
    archive.addfile(entry, io.BytesIO(data))


def add_directory(archive: tarfile.TarFile, name: str, mode: int = 0o755) -> None:
    """Add a directory of root's."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    archive.addfile(entry)


def add_link(archive: tarfile.TarFile, name: str, target: str) -> None:
    """Add a symbolic link."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    archive.addfile(entry)


def busybox_layer(*applets: str) -> Filling:
    """busybox with links for some applets, or for the usual ones."""
    applets = applets or ("sh", "cat", "echo", "env", "false", "id", "ls", "pwd", "sleep", "stat", "true", "touch")

    def fill(archive: tarfile.TarFile) -> None:
        add_directory(archive, "bin")
        add_file(archive, "bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
        for applet in applets:
            add_link(archive, f"bin/{applet}", "busybox")

    return fill


TOOLS = (
    *("awk", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "du", "echo", "env", "false", "find", "grep"),
    *(
        "head",
        "hostname",
        "httpd",
        "id",
        "ip",
        "kill",
        "ln",
        "ls",
        "mkdir",
        "mount",
        "mv",
        "nc",
        "nslookup",
        "ping",
        "printf",
    ),
    *(
        "ps",
        "pwd",
        "readlink",
        "rm",
        "sed",
        "seq",
        "setsid",
        "sh",
        "sha256sum",
        "sleep",
        "sort",
        "stat",
        "stty",
        "sync",
    ),
    *("tail", "tar", "tee", "test", "touch", "tr", "true", "tty", "uname", "usleep", "vi", "wc", "wget", "yes"),
)
"""Applets of busybox for containers that run scripts."""


def base_layer() -> Filling:
    """The directories and the accounts of a small distribution."""

    def fill(archive: tarfile.TarFile) -> None:
        for name, mode in (
            ("etc", 0o755),
            ("home", 0o755),
            ("root", 0o700),
            ("tmp", 0o1777),
            ("run", 0o755),
            ("var", 0o755),
        ):
            add_directory(archive, name, mode)
        add_file(archive, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
        add_file(archive, "etc/group", b"root:x:0:\nwheel:x:10:user\nuser:x:1000:\n")

    return fill


_ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("+gzip", lambda data: gzip.compress(data, 1)),
    "zstd": ("+zstd", zstd.compress),
    "none": ("", lambda data: data),
}


def _store_layer(layout: Path, layer: Filling | Path, compress: str) -> tuple[str, dict[str, Any]]:
    """The layer's diff id and its descriptor."""
    if isinstance(layer, Path):
        plain = layer.read_bytes()
    else:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            layer(archive)
        plain = buffer.getvalue()
    suffix, encode = _ENCODERS[compress]
    digest, size = _store_blob(layout, encode(plain))
    media_type = f"application/vnd.oci.image.layer.v1.tar{suffix}"
    return f"sha256:{hashlib.sha256(plain).hexdigest()}", {"mediaType": media_type, "digest": digest, "size": size}


def _store_json(layout: Path, value: dict[str, Any], media_type: str) -> dict[str, Any]:
    digest, size = _store_blob(layout, json.dumps(value).encode())
    return {"mediaType": media_type, "digest": digest, "size": size}


def _store_blob(layout: Path, data: bytes) -> tuple[str, int]:
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return f"sha256:{digest}", len(data)


def _architecture() -> str:
    machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
