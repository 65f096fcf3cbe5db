"""HTTP to registries: connections, TLS, proxies, time limits, redirects, and which failures may pass by themselves.

The only module that imports urllib3. Nothing here knows images or tokens; an `Authorization` header handed in goes to
the host it was made for and to no other.
"""

from __future__ import annotations

import os
import random
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import TypeVar

import urllib3
from urllib3 import exceptions as failures

from rootless.errors import InvalidDocument, RegistryError
from rootless.record import record
from toolbox import paths

CHUNK = 1 << 18
"""Bytes asked of the network at a time: large enough for speed, small enough for a smooth progress bar."""

_REDIRECTS = 8
_LONGEST_PAUSE = 60.0
_BUSY = (408, 425, 429, 500, 502, 503, 504)
T = TypeVar("T")

# Whoever asked for `insecure = true` knows; a warning with our source line in it helps nobody.
urllib3.disable_warnings(failures.InsecureRequestWarning)


class Unreachable(RegistryError):
    """No connection: unknown host, refused, TLS failure."""


class Temporary(RegistryError):
    """What may go away by itself: a cut or idle connection, too many requests, a server error.

    `retry_after` is the server's wish in seconds, None where it has none.
    """

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class Cancelled(RegistryError):
    """Another part of the same work failed or was interrupted, so this one was told to stop."""


@record
class Patience:
    """How long to wait, in seconds; `tries` in a row without progress are enough; pauses double from `pause` on."""

    connect: float = 15.0
    idle: float = 60.0
    tries: int = 5
    pause: float = 0.5


class Response:
    """One answer whose body is still to be read. `url` is where it came from after redirects."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, url: str, patience: Patience) -> None:
        self._raw = raw
        self._patience = patience
        self.url = url
        self.status = raw.status

    def header(self, name: str) -> str:
        """The header's value, "" if absent."""
        return self._raw.headers.get(name, "")

    def number(self, name: str) -> int | None:
        """The header's value as a whole number, None if it is absent or not one."""
        text = self.header(name)
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes, not decoded. Raises Temporary when it ends early or nothing comes for too long."""
        while True:
            with _Explained(self.url, self._patience):
                chunk = self._raw.read(CHUNK, decode_content=False)
            if not chunk:
                return
            yield chunk

    def body(self, limit: int) -> bytes:
        """The whole body. Raises RegistryError if it is longer than `limit` bytes."""
        data = bytearray()
        for chunk in self.chunks():
            data += chunk
            if len(data) > limit:
                self.close()
                raise RegistryError(f'the answer of "{host_of(self.url)}" is longer than {limit} bytes')
        return bytes(data)

    def close(self) -> None:
        """Forget the rest. The connection is kept only if the body was read to its end."""
        self._raw.close()

    def interrupt(self) -> None:
        """Make a read that waits in another thread return now."""
        try:
            self._raw.shutdown()
        except (ValueError, RuntimeError, OSError, AttributeError):
            pass  # not connected any more, which is what was wanted


class Transport:
    """Connections to any number of hosts, for any number of threads; `stop` ends every wait between tries."""

    def __init__(self, patience: Patience, stop: threading.Event) -> None:
        self.patience = patience
        self.stop = stop
        self._pools: dict[tuple[str, str, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def send(
        self, method: str, url: str, headers: dict[str, str], *, verify: bool, body: bytes | None = None
    ) -> Response:
        """One request, redirects of GET and HEAD followed.

        `Authorization` is dropped for good at the first redirect to another scheme, host or port, and a redirect from
        https to http is refused where TLS is verified. Raises Unreachable, Temporary (also for 429 and 5xx), Cancelled.
        """
        headers = {"User-Agent": "ptb", "Accept-Encoding": "identity"} | headers
        for _hop in range(_REDIRECTS):
            response = self._once(method, url, headers, verify, body)
            location = response.header("location")
            if response.status not in (301, 302, 303, 307, 308) or not location or method not in ("GET", "HEAD"):
                break
            response.close()
            target = urllib.parse.urljoin(url, location)
            if not target.startswith(("https://", "http://")) or not host_of(target):
                raise RegistryError(f'"{host_of(url)}" redirects to "{shown(target)}", which is not a web address')
            if verify and url.startswith("https:") and target.startswith("http:"):
                raise RegistryError(f'"{host_of(url)}" redirects from https to http, to "{host_of(target)}"')
            if origin(target) != origin(url):
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            url = target
        else:
            raise RegistryError(f'"{host_of(url)}" redirects more than {_REDIRECTS} times')
        if response.status in _BUSY:
            retry_after = _seconds(response.header("retry-after"))
            reason = "too many requests" if response.status == 429 else f"server error {response.status}"
            response.close()
            raise Temporary(f'registry "{host_of(url)}": {reason}', status=response.status, retry_after=retry_after)
        return response

    def patiently(self, attempt: Callable[[], T]) -> T:
        """Call `attempt` until it raises no Temporary, at most `tries` times, with growing pauses between."""
        failed = 0
        while True:
            try:
                return attempt()
            except Temporary as error:
                failed += 1
                self.pause(failed, error)

    def pause(self, failed: int, error: Temporary) -> None:
        """Wait before the next try; raises `error` itself when `failed` tries were enough, Cancelled when stopped."""
        if failed >= self.patience.tries:
            raise error
        seconds = self.patience.pause * 2 ** (failed - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, no secret
        if error.retry_after is not None:
            if error.retry_after > _LONGEST_PAUSE:
                raise error
            seconds = max(seconds, error.retry_after)
        if self.stop.wait(min(seconds, _LONGEST_PAUSE)):
            raise Cancelled("stopped") from error

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    def _once(self, method: str, url: str, headers: dict[str, str], verify: bool, body: bytes | None) -> Response:
        if self.stop.is_set():
            raise Cancelled("stopped")
        with _Explained(url, self.patience):
            raw = self._pool(url, verify).request(
                method,
                url,
                headers=headers,
                body=body,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=self.patience.connect, read=self.patience.idle),
            )
        return Response(raw, url, self.patience)

    def _pool(self, url: str, verify: bool) -> urllib3.PoolManager:
        host = host_of(url)
        proxy = _proxy(url)
        key = (proxy, host if url.startswith("https:") else "", verify)
        with self._lock:
            if key not in self._pools:
                context = _tls(host, verify) if url.startswith("https:") else None
                if proxy:
                    self._pools[key] = urllib3.ProxyManager(proxy, ssl_context=context, maxsize=4)
                else:
                    self._pools[key] = urllib3.PoolManager(ssl_context=context, maxsize=4)
            return self._pools[key]


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials belong to (RFC 6454)."""
    parts = urllib.parse.urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, (parts.hostname or "").lower(), port or (443 if parts.scheme == "https" else 80)


def host_of(url: str) -> str:
    """`host:port` as the address has it, without user information."""
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2]


def shown(text: str) -> str:
    """Somebody else's text made fit for one line of a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)[:200]


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` is this machine by its very name: localhost, 127.0.0.0/8 or [::1]."""
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    return name in ("localhost", "::1") or name.endswith(".localhost") or _is_loopback_v4(name)


def _is_loopback_v4(name: str) -> bool:
    parts = name.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(part.isdecimal() and int(part) < 256 for part in parts)


def _tls(host: str, verify: bool) -> ssl.SSLContext:
    """System trust plus, per host, `*.crt` (authorities) and `NAME.cert` with `NAME.key` of containers-certs.d(5)."""
    if verify:
        context = ssl.create_default_context()
    else:
        # Without the system's authorities, whose reading takes 30 ms.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    user = os.path.dirname(paths.config_home())
    for folder in (
        f"/etc/docker/certs.d/{host}",
        f"/etc/containers/certs.d/{host}",
        f"{user}/containers/certs.d/{host}",
    ):
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            path = f"{folder}/{name}"
            try:
                if name.endswith(".crt"):
                    context.load_verify_locations(path)
                elif name.endswith(".cert"):
                    context.load_cert_chain(path, path.removesuffix(".cert") + ".key")
            except (ssl.SSLError, OSError) as error:
                raise InvalidDocument(f"{path}: not usable as a certificate: {error.strerror or error}") from error
    return context


def _proxy(url: str) -> str:
    """The proxy of the environment for this address (https_proxy, http_proxy, all_proxy, no_proxy), "" for none."""
    proxies = urllib.request.getproxies_environment()
    scheme = url.partition(":")[0]
    proxy = proxies.get(scheme) or proxies.get("all") or ""
    if not proxy or is_loopback(host_of(url)) or urllib.request.proxy_bypass(host_of(url)):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _seconds(text: str) -> float | None:
    """Retry-After, which is a number of seconds or a date (RFC 9110, section 10.2.3)."""
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    import datetime

    now = datetime.datetime.now(when.tzinfo)
    return max(0.0, (when - now).total_seconds())


class _Explained:
    """Turns urllib3's exceptions into ours, with the cause in words."""

    def __init__(self, url: str, patience: Patience) -> None:
        self._host = host_of(url)
        self._patience = patience

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (failures.HTTPError, OSError)):
            raise self._named(error) from error
        if isinstance(error, (ValueError, AttributeError)):
            # http.client on a connection that `interrupt` closed under it.
            raise Temporary(f'registry "{self._host}" cut the connection') from error

    def _named(self, error: BaseException) -> RegistryError:
        registry = f'registry "{self._host}"'
        if isinstance(error, failures.ProxyError):
            return Unreachable(f"{registry} cannot be reached through the proxy: {_cause(error.original_error)}")
        if isinstance(error, failures.NameResolutionError):
            return Unreachable(
                f"{registry} cannot be found: no such host", hint="check the name and the network connection"
            )
        if isinstance(error, failures.NewConnectionError):
            return Unreachable(f"{registry} cannot be reached: {_cause(error)}", hint="check that it is running")
        if isinstance(error, failures.ConnectTimeoutError):
            return Unreachable(f"{registry} does not answer: no connection within {self._patience.connect:g} seconds")
        if isinstance(error, failures.SSLError):
            return self._tls_failure(error)
        if isinstance(error, (failures.ReadTimeoutError, TimeoutError)):
            return Temporary(f"{registry} sent nothing for {self._patience.idle:g} seconds")
        if isinstance(error, (failures.LocationParseError, failures.LocationValueError)):
            return Unreachable(f"{registry} is not a usable address: {_cause(error)}")
        return Temporary(f"{registry} cut the connection")

    def _tls_failure(self, error: failures.SSLError) -> RegistryError:
        text = str(error)
        hint = f"set insecure = true for {self._host} in registries.conf if that is meant"
        if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text or "HTTP_REQUEST" in text:
            return Unreachable(f'registry "{self._host}" does not speak https', hint=hint)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            why = text.partition("verify failed: ")[2].partition(" (_ssl")[0] or "verification failed"
            return Unreachable(
                f'the certificate of registry "{self._host}" is not trusted: {shown(why)}',
                hint=f"put its authority into ~/.config/containers/certs.d/{self._host}/ca.crt",
            )
        return Unreachable(f'no TLS connection to registry "{self._host}": {shown(_cause(error))}', hint=hint)


def _cause(error: BaseException) -> str:
    """The innermost reason, in the system's words where it has some."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return error.strerror.lower()
    return shown(str(error)) or type(error).__name__
