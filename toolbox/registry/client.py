"""Reading from one repository of one registry: manifests and blobs of the OCI distribution-spec 1.1.

Everything that is handed out has been compared with the digest and size it was asked by. Only `pull` (section
"Pull" of the specification) is here.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable

from fuse_overlay import digest as digests
from fuse_overlay import oci
from rootless.errors import IntegrityError, NotFound, RegistryError
from rootless.record import record
from toolbox.reference import DOCKER_HUB
from toolbox.registry import auth
from toolbox.registry.credentials import Credentials
from toolbox.registry.registries_conf import Endpoint
from toolbox.registry.transport import (
    Cancelled,
    Patience,
    Response,
    Temporary,
    Transport,
    Unreachable,
    host_of,
    is_loopback,
    origin,
    shown,
)

DOCKER_HUB_API = "registry-1.docker.io"
MANIFEST_LIMIT = 4 << 20
"""Bytes; the distribution-spec asks registries to take manifests of at least 4 MiB, and clients need take no more."""

BLOB_LIMIT = 32 << 20
"""Bytes of a blob that is read into memory (image configurations)."""

_PROGRESS = 1 << 16
"""Bytes after which a download counts as going on, so that its earlier failures are forgiven."""

ACCEPTED = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


@record
class Document:
    """A manifest or index as the registry sent it."""

    data: bytes
    media_type: str
    digest: str


class Repository:
    """One repository, open for reading from any number of threads.

    `credentials` is asked once, when the registry first wants to know who we are. `lenient` tells which other hosts
    (token services) may lack valid TLS. `stop` makes every call end soon with Cancelled.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        credentials: Callable[[], Credentials | None],
        lenient: Callable[[str], bool] = is_loopback,
        patience: Patience | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._insecure = endpoint.insecure or lenient(endpoint.host)
        self._lenient = lambda host: (host == endpoint.host and endpoint.insecure) or lenient(host)
        self._find_credentials = credentials
        self._stop = stop or threading.Event()
        self._transport = Transport(patience or Patience(), self._stop)
        self._base = ""
        self._challenge = ""
        self._authorization: auth.Authorization | None = None
        self._lock = threading.RLock()
        self._open: set[Response] = set()

    def __str__(self) -> str:
        return f"{self.endpoint.host}/{self.endpoint.repository}"

    def manifest(self, wanted: str, *, size: int | None = None) -> Document:
        """The manifest or index that a tag or digest names; `size` is what an index says of it.

        Raises NotFound, RegistryError (refused, too large, schema 1) and IntegrityError.
        """
        return self._transport.patiently(lambda: self._manifest(wanted, size))

    def blob(self, descriptor: oci.Descriptor) -> bytes:
        """A small blob, whole. Raises NotFound, RegistryError and IntegrityError."""
        if descriptor.size > BLOB_LIMIT:
            raise RegistryError(f'blob "{descriptor.digest}" is {descriptor.size} bytes, too large for a configuration')
        data = bytearray()
        self.stream(descriptor, data.extend)
        return bytes(data)

    def stream(self, descriptor: oci.Descriptor, sink: Callable[[bytes], object]) -> None:
        """Hand the bytes of a blob to `sink` as they come, once each and in order.

        A connection that is cut or falls silent is taken up again where it stopped (Range, RFC 9110 section 14.2), also
        at a registry that knows no ranges. Returns only if digest and size were right; what `sink` was given before an
        exception is worthless. Raises NotFound, RegistryError, IntegrityError, and what `sink` raises.
        """
        download = _Download(descriptor, sink)
        failed = 0
        while not download.complete:
            before = download.received
            try:
                self._continue(download)
            except (Temporary, Unreachable) as error:
                if isinstance(error, Unreachable) and not before:
                    raise
                failed = 1 if download.received - before >= _PROGRESS else failed + 1
                self._transport.pause(failed, Temporary(error.message, retry_after=getattr(error, "retry_after", None)))
        download.verify()

    def interrupt(self) -> None:
        """Make the reads of other threads end now; `stop` must be set already."""
        with self._lock:
            for response in self._open:
                response.interrupt()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _manifest(self, wanted: str, size: int | None) -> Document:
        response = self._get(f"manifests/{wanted}", {"Accept": ACCEPTED})
        try:
            if response.status != 200:
                raise self._refusal(response, f'image "{self._named(wanted)}"')
            length = response.number("content-length")
            if max(length or 0, size or 0) > MANIFEST_LIMIT:
                raise RegistryError(
                    f'the manifest of "{self._named(wanted)}" is larger than {MANIFEST_LIMIT >> 20} MiB'
                )
            data = response.body(MANIFEST_LIMIT)
        finally:
            response.close()
        media_type = _media_type(response.header("content-type"), data)
        if media_type.startswith("application/vnd.docker.distribution.manifest.v1"):
            raise RegistryError(
                f'"{self._named(wanted)}" is stored as docker schema 1, which has been out of use since 2017',
                hint="push it again with a current docker, podman or skopeo",
            )
        digest = digests.of(data)
        claimed = wanted if wanted.startswith("sha256:") else response.header("docker-content-digest")
        if claimed.startswith("sha256:") and claimed != digest:
            raise IntegrityError(f'the manifest of "{self._named(wanted)}" is {digest}, not {shown(claimed)}')
        if size is not None and len(data) != size:
            raise IntegrityError(f'the manifest "{digest}" of "{self}" is {len(data)} bytes, not {size}')
        return Document(data, media_type, digest)

    def _continue(self, download: _Download) -> None:
        start = download.received
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = self._get(f"blobs/{download.digest}", headers)
        with self._lock:
            self._open.add(response)
        try:
            if response.status == 206 and start:
                position = _range_start(response.header("content-range"))
            elif response.status == 200:
                position = 0
                length = response.number("content-length")
                if length is not None and length != download.size:
                    raise IntegrityError(
                        f'blob "{download.digest}" of "{self}" is {length} bytes, the manifest says {download.size}'
                    )
            elif response.status == 416:
                raise IntegrityError(
                    f'blob "{download.digest}" of "{self}" ends after {start} of {download.size} bytes'
                )
            else:
                raise self._refusal(response, f'blob "{download.digest}" of "{self}"')
            if self._stop.is_set():
                raise Cancelled("stopped")
            for chunk in response.chunks():
                position = download.take(position, chunk)
            if self._stop.is_set():
                raise Cancelled("stopped")
        finally:
            with self._lock:
                self._open.discard(response)
            response.close()
        if not download.complete:
            if download.received == start:
                raise IntegrityError(
                    f'blob "{download.digest}" of "{self}" ends after {start} of {download.size} bytes'
                )
            raise Temporary(f'registry "{self.endpoint.host}" cut the connection')

    def _get(self, path: str, headers: dict[str, str]) -> Response:
        """GET, answering a challenge at most once with an authorization newer than the one that was refused."""
        url = f"{self._start()}/v2/{self.endpoint.repository}/{path}"
        authorization = self._current()
        response = self._send(url, headers, authorization)
        if response.status != 401 or origin(response.url) != origin(url):
            return response
        asked = response.header("www-authenticate")
        response.close()
        fresh = self._renew(asked, authorization)
        if fresh is None:
            raise self._denied(401, "")
        return self._send(url, headers, fresh)

    def _send(self, url: str, headers: dict[str, str], authorization: auth.Authorization | None) -> Response:
        if authorization is not None:
            headers = headers | {"Authorization": authorization.header}
        return self._transport.send("GET", url, headers, verify=not self._insecure)

    def _current(self) -> auth.Authorization | None:
        with self._lock:
            known = self._authorization
            if known is not None and known.expires <= time.monotonic():
                return self._renew(self._challenge, known)
            return known

    def _renew(self, challenge: str, refused: auth.Authorization | None) -> auth.Authorization | None:
        with self._lock:
            if self._authorization is not None and self._authorization is not refused:
                return self._authorization  # another thread was faster
            scope = f"repository:{self.endpoint.repository}:pull"
            try:
                fresh = auth.authorize(self._transport, challenge, self._find_credentials(), scope, self._lenient)
            except RegistryError as error:
                if error.status in (400, 401, 403):
                    raise self._denied(error.status, error.message) from error
                raise
            self._challenge, self._authorization = challenge, fresh
            return fresh

    def _start(self) -> str:
        """Scheme and host: https, and where it may be lacking, http if https does not work."""
        with self._lock:
            if not self._base:
                host = DOCKER_HUB_API if self.endpoint.host == DOCKER_HUB else self.endpoint.host
                self._base = f"https://{host}"
                if self._insecure and not self._speaks_https():
                    self._base = f"http://{host}"
            return self._base

    def _speaks_https(self) -> bool:
        try:
            self._transport.send("GET", f"{self._base}/v2/", {}, verify=False).close()
        except Cancelled:
            raise
        except (Unreachable, Temporary) as error:
            return error.status != 0
        return True

    def _named(self, wanted: str) -> str:
        return f"{self}@{wanted}" if ":" in wanted else f"{self}:{wanted}"

    def _refusal(self, response: Response, what: str) -> NotFound | RegistryError:
        said = _reasons(response)
        host = host_of(response.url)
        if response.status == 404:
            return NotFound(f'{what} does not exist in registry "{host}"', hint="check the name and the tag")
        if response.status in (401, 403) and origin(response.url) == origin(self._base):
            return self._denied(response.status, said)
        reason = f": {said}" if said else ""
        return RegistryError(f'registry "{host}" answers {response.status} for {what}{reason}', status=response.status)

    def _denied(self, status: int, said: str) -> RegistryError:
        reason = f": {said}" if said else ""
        return RegistryError(
            f'"{self}" does not exist or needs a login{reason}',
            status=status,
            hint=f"check the name, or log in: podman login {self.endpoint.host} (or docker login)",
        )


class _Download:
    """How far a blob has come, over any number of connections."""

    def __init__(self, descriptor: oci.Descriptor, sink: Callable[[bytes], object]) -> None:
        self.digest = descriptor.digest
        self.size = descriptor.size
        self.received = 0
        self._sink = sink
        self._hash = hashlib.sha256()

    @property
    def complete(self) -> bool:
        return self.received == self.size

    def take(self, position: int, chunk: bytes) -> int:
        """Use what is new in a chunk that starts at `position`; returns where the next one starts."""
        end = position + len(chunk)
        if not 0 <= position <= self.received:
            raise RegistryError(f'blob "{self.digest}" goes on at byte {position}, asked for byte {self.received}')
        if end > self.size:
            raise IntegrityError(f'blob "{self.digest}" is longer than the {self.size} bytes the manifest says')
        if end > self.received:
            fresh = chunk[self.received - position :]
            self._hash.update(fresh)
            self._sink(fresh)
            self.received = end
        return end

    def verify(self) -> None:
        found = f"sha256:{self._hash.hexdigest()}"
        if found != self.digest:
            raise IntegrityError(f'blob "{self.digest}" arrived as {found}')


def _range_start(header: str) -> int:
    """`bytes 100-199/200` as 100; -1 when it is not that (RFC 9110, section 14.4)."""
    unit, _space, rest = header.partition(" ")
    first = rest.partition("-")[0]
    return int(first) if unit == "bytes" and first.isascii() and first.isdecimal() and len(first) < 20 else -1


def _media_type(header: str, data: bytes) -> str:
    """What the registry says, or for a registry that only says JSON what the document says of itself."""
    declared = header.partition(";")[0].strip()
    if declared.startswith("application/vnd."):
        return declared
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return declared
    if isinstance(document, dict):
        if document.get("schemaVersion") == 1:
            return "application/vnd.docker.distribution.manifest.v1+json"
        own = document.get("mediaType")
        if isinstance(own, str):
            return own
        if "manifests" in document:
            return "application/vnd.oci.image.index.v1+json"
        if "layers" in document:
            return "application/vnd.oci.image.manifest.v1+json"
    return declared


def _reasons(response: Response) -> str:
    """What the registry gives as its reason (distribution-spec, "Error codes"), "" if it gives none."""
    try:
        document = json.loads(response.body(1 << 16))
        return shown("; ".join(str(error.get("message") or error["code"]) for error in document["errors"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RegistryError):
        return ""
