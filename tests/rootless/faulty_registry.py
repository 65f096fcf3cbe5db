"""A registry that misbehaves on demand: a small, honest server of the distribution-spec on loopback, and ways to break it.

docker-registry cannot be asked to cut a connection, lie about a digest or send a client elsewhere; this peer can. It
keeps images in memory, answers Range requests, can ask for basic or token logins, and writes down every request.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import ssl
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OCI = "application/vnd.oci.image"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer_of(files: dict[str, bytes]) -> bytes:
    """A plain tar with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o755
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


class Request:
    """One request as it came."""

    def __init__(self, method: str, path: str, headers: dict[str, str]) -> None:
        self.method = method
        self.path = path
        self.headers = headers


Fault = Callable[["Handler"], None]
"""Answers one request in place of the honest answer."""


class Registry:
    """Images in memory, `faults` per path (each is used once, in order), and the `requests` that came."""

    def __init__(self) -> None:
        self.host = ""
        self.scheme = "http"
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.requests: list[Request] = []
        self.ranges = True
        self.challenge = ""
        self.accepted: set[str] = set()
        self.tokens: list[dict[str, Any]] = []
        self.closing = threading.Event()

    def add(self, name: str, layers: list[bytes], *, tag: str = "1", **changes: Any) -> dict[str, Any]:
        """Store an image with these plain tars as layers; `changes` replace parts of its manifest. Gives the manifest."""
        packed = [gzip.compress(layer, 1) for layer in layers]
        config = json.dumps(
            {
                "architecture": changes.pop("architecture", "amd64"),
                "os": changes.pop("os", "linux"),
                "created": "2026-01-02T03:04:05.678901234Z",
                "config": {"Env": ["PATH=/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
            }
        ).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self.blob(config, f"{OCI}.config.v1+json"),
            "layers": [self.blob(data, f"{OCI}.layer.v1.tar+gzip") for data in packed],
        } | changes
        self.put(name, tag, str(manifest["mediaType"]), json.dumps(manifest).encode())
        return manifest

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        self.blobs[digest_of(data)] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    def put(self, name: str, tag: str, media_type: str, data: bytes) -> str:
        for reference in (tag, digest_of(data)):
            self.manifests[f"/v2/{name}/manifests/{reference}"] = (media_type, data)
        return digest_of(data)

    def fail(self, path: str, *faults: Fault) -> None:
        self.faults.setdefault(path, []).extend(faults)

    def asked(self, path: str) -> list[Request]:
        """The requests for exactly this path."""
        return [request for request in self.requests if request.path.partition("?")[0] == path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.registry.requests.append(Request("GET", self.path, dict(self.headers.items())))
        waiting = self.registry.faults.get(path)
        if waiting:
            waiting.pop(0)(self)
        elif path == "/token":
            self._token()
        elif self.registry.challenge and self.headers.get("Authorization", "") not in self.registry.accepted:
            self.answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}', challenge=True)
        else:
            self.honest()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length).decode()
        self.registry.requests.append(Request("POST", f"{self.path}?{body}", dict(self.headers.items())))
        self._token()

    def honest(self) -> None:
        """What a good registry answers."""
        path = self.path.partition("?")[0]
        if path == "/v2/":
            self.answer(200, b"{}")
        elif path in self.registry.manifests:
            media_type, data = self.registry.manifests[path]
            self.answer(200, data, {"Content-Type": media_type, "Docker-Content-Digest": digest_of(data)})
        elif "/blobs/" in path and (blob := self.registry.blobs.get(path.rpartition("/")[2])) is not None:
            self.send_blob(blob)
        else:
            self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')

    def send_blob(self, data: bytes) -> None:
        asked = self.headers.get("Range", "")
        if asked and self.registry.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            where = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
            self.answer(206, data[start:], where)
        else:
            self.answer(200, data)

    def answer(
        self, status: int, data: bytes, headers: dict[str, str] | None = None, *, challenge: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if challenge:
            self.send_header("WWW-Authenticate", self.registry.challenge)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _token(self) -> None:
        if not self.registry.tokens:
            self.answer(401, b"{}")
            return
        token = self.registry.tokens.pop(0)
        self.registry.accepted = {f"Bearer {token.get('token') or token.get('access_token')}"}
        self.answer(200, json.dumps(token).encode(), {"Content-Type": "application/json"})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        return None


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def cut(after: int) -> Fault:
    """Promise everything, send `after` bytes, hang up."""

    def fault(handler: Handler) -> None:
        data = handler.registry.blobs[handler.path.rpartition("/")[2]]
        start = 0
        if (asked := handler.headers.get("Range")) and handler.registry.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start : start + after])
        handler.wfile.flush()
        handler.close_connection = True

    return fault


def stall(after: int) -> Fault:
    """Send `after` bytes and nothing more until the server is closed."""

    def fault(handler: Handler) -> None:
        data = handler.registry.blobs[handler.path.rpartition("/")[2]]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:after])
        handler.wfile.flush()
        handler.registry.closing.wait()
        handler.close_connection = True

    return fault


def instead(data: bytes, status: int = 200, **headers: str) -> Fault:
    """Answer with these bytes."""

    def fault(handler: Handler) -> None:
        handler.answer(status, data, {name.replace("_", "-"): value for name, value in headers.items()})

    return fault


def redirect(address: str, status: int = 307) -> Fault:
    return instead(b"", status, Location=address)


def hang_up(handler: Handler) -> None:
    """Close the connection without a word."""
    handler.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up early is what some tests are about."""


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Registry]:
    """A registry on a free port of 127.0.0.1."""
    registry = Registry()
    handler = type("BoundHandler", (Handler,), {"registry": registry})
    server = _Server(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        registry.scheme = "https"
    registry.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        registry.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
