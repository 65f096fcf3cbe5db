"""The registry client against a registry that cuts, lies, stalls, redirects and asks for logins."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fuse_overlay import oci
from rootless.errors import IntegrityError, NotFound, PtbError, RegistryError
from tests.rootless import faulty_registry
from tests.rootless.faulty_registry import Registry, basic, cut, digest_of, hang_up, instead, redirect, stall
from toolbox.registry.client import MANIFEST_LIMIT, Repository
from toolbox.registry.credentials import Credentials
from toolbox.registry.registries_conf import Endpoint
from toolbox.registry.transport import Cancelled, Patience, Temporary, Unreachable

QUICK = Patience(connect=5, idle=0.3, tries=3, pause=0.001)
ME = Credentials("me", "secret")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with faulty_registry.serving() as serving:
        yield serving


@pytest.fixture
def elsewhere() -> Iterator[Registry]:
    with faulty_registry.serving() as serving:
        yield serving


def repository(registry: Registry, name: str = "test/image", **options: Any) -> Repository:
    options.setdefault("credentials", lambda: None)
    options.setdefault("patience", QUICK)
    return Repository(Endpoint(registry.host, name, False), **options)


def blob(registry: Registry, size: int = 3 << 20) -> tuple[oci.Descriptor, bytes, str]:
    data = b"".join(number.to_bytes(4, "big") for number in range(size // 4))
    described = registry.blob(data, "application/octet-stream")
    return oci.Descriptor("", described["digest"], len(data)), data, f"/v2/test/image/blobs/{described['digest']}"


def streamed(source: Repository, descriptor: oci.Descriptor) -> bytes:
    data = bytearray()
    source.stream(descriptor, data.extend)
    return bytes(data)


def refused(source: Repository, descriptor: oci.Descriptor) -> PtbError:
    with pytest.raises(PtbError) as caught:
        streamed(source, descriptor)
    assert caught.value.message.isprintable()
    return caught.value


# --- downloads that go wrong in the middle ----------------------------------------------------------------------------


def test_a_download_goes_on_where_it_was_cut(registry: Registry) -> None:
    descriptor, data, path = blob(registry)
    registry.fail(path, cut(1_000_000), cut(500_000), hang_up)
    assert streamed(repository(registry), descriptor) == data
    assert [request.headers.get("Range") for request in registry.asked(path)] == [
        None,
        "bytes=1000000-",
        "bytes=1500000-",
        "bytes=1500000-",
    ]


def test_a_registry_without_ranges_sends_it_all_again(registry: Registry) -> None:
    descriptor, data, path = blob(registry)
    registry.ranges = False
    registry.fail(path, cut(1_000_000), cut(2_000_000))
    assert streamed(repository(registry), descriptor) == data


def test_a_connection_cut_for_ever_ends_after_some_tries(registry: Registry) -> None:
    descriptor, _data, path = blob(registry)
    registry.fail(path, *[cut(1000)] * 20)
    error = refused(repository(registry), descriptor)
    assert error.message == f'registry "{registry.host}" cut the connection'
    assert len(registry.asked(path)) == QUICK.tries


def test_progress_forgives_earlier_cuts(registry: Registry) -> None:
    descriptor, data, path = blob(registry, 12 << 20)
    registry.fail(path, *[cut(2 << 20)] * 5)
    assert streamed(repository(registry), descriptor) == data


def test_silence_is_taken_for_a_cut(registry: Registry) -> None:
    descriptor, data, path = blob(registry)
    registry.fail(path, stall(1_000_000))
    assert streamed(repository(registry), descriptor) == data
    assert registry.asked(path)[1].headers["Range"] == f"bytes={3 << 18}-"


def test_lasting_silence_is_said(registry: Registry) -> None:
    descriptor, _data, path = blob(registry)
    registry.fail(path, *[stall(0)] * 9)
    error = refused(repository(registry), descriptor)
    assert error.message == f'registry "{registry.host}" sent nothing for 0.3 seconds'


def test_a_registry_that_goes_away_in_the_middle(registry: Registry) -> None:
    with faulty_registry.serving() as other:
        descriptor, _data, path = blob(other)
        other.fail(path, redirect(f"http://{registry.host}/there"))
        registry.fail("/there", instead(b"x" * 10, 500), instead(b"", 500))
        source = repository(other)
        other.fail(path, cut(100))
        gone = threading.Event()

        def sink(chunk: bytes) -> None:
            gone.set()

        other.faults[path] = [cut(100)] + [redirect("http://127.0.0.1:1/gone")] * 9
        with pytest.raises(RegistryError) as caught:
            source.stream(descriptor, sink)
    assert gone.is_set()
    assert caught.value.message == 'registry "127.0.0.1:1" cannot be reached: connection refused'


# --- wrong content ----------------------------------------------------------------------------------------------------


def test_wrong_bytes_are_noticed(registry: Registry) -> None:
    descriptor, data, path = blob(registry)
    wrong = bytes(len(data))
    registry.fail(path, instead(wrong))
    error = refused(repository(registry), descriptor)
    assert isinstance(error, IntegrityError)
    assert error.message == f'blob "{descriptor.digest}" arrived as {digest_of(wrong)}'


def test_a_short_or_long_blob_is_refused_before_it_is_read(registry: Registry) -> None:
    descriptor, data, path = blob(registry)
    for other in (data[:-1], data + b"x"):
        registry.fail(path, instead(other))
        error = refused(repository(registry), descriptor)
        assert isinstance(error, IntegrityError)
        assert f"is {len(other)} bytes, the manifest says {len(data)}" in error.message


def test_a_registry_that_has_only_the_beginning(registry: Registry) -> None:
    descriptor, data, path = blob(registry)

    def chunked(handler: faulty_registry.Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3e8\r\n" + data[:1000] + b"\r\n0\r\n\r\n")

    registry.fail(path, chunked, instead(b"", 416))
    error = refused(repository(registry), descriptor)
    assert isinstance(error, IntegrityError)
    assert f"ends after 1000 of {len(data)} bytes" in error.message


def test_an_answer_to_another_range(registry: Registry) -> None:
    descriptor, data, path = blob(registry)
    registry.fail(path, cut(1000), instead(data[2000:], 206, Content_Range=f"bytes 2000-{len(data)}/{len(data)}"))
    assert "goes on at byte 2000, asked for byte 1000" in refused(repository(registry), descriptor).message
    registry.fail(path, cut(1000), instead(data[500:], 206, Content_Range=f"bytes 500-{len(data)}/{len(data)}"))
    assert streamed(repository(registry), descriptor) == data


def test_an_empty_blob(registry: Registry) -> None:
    empty = registry.blob(b"", "x")
    assert streamed(repository(registry), oci.Descriptor("", empty["digest"], 0)) == b""
    assert isinstance(refused(repository(registry), oci.Descriptor("", digest_of(b"x"), 0)), IntegrityError)


def test_manifests_are_checked_and_limited(registry: Registry) -> None:
    registry.add("test/image", [b"x"])
    source = repository(registry)
    found = source.manifest("1")
    assert source.manifest(found.digest).data == found.data
    with pytest.raises(IntegrityError, match="bytes, not 3"):
        source.manifest(found.digest, size=3)
    path = f"/v2/test/image/manifests/{found.digest}"
    registry.fail(path, instead(b"{}", Content_Type=oci.OCI_MANIFEST))
    with pytest.raises(IntegrityError, match="not sha256:"):
        source.manifest(found.digest)
    registry.fail("/v2/test/image/manifests/1", instead(b"{}", Docker_Content_Digest=found.digest))
    with pytest.raises(IntegrityError, match="not sha256:"):
        source.manifest("1")
    registry.fail("/v2/test/image/manifests/1", instead(b" " * (MANIFEST_LIMIT + 1)))
    with pytest.raises(RegistryError, match="is larger than 4 MiB"):
        source.manifest("1")


def test_schema_1_is_refused(registry: Registry) -> None:
    old = json.dumps({"schemaVersion": 1, "fsLayers": []}).encode()
    for media_type in ("application/vnd.docker.distribution.manifest.v1+prettyjws", "application/json"):
        registry.put("test/image", "old", media_type, old)
        with pytest.raises(RegistryError, match="is stored as docker schema 1"):
            repository(registry).manifest("old")


# --- a registry that is busy, absent or odd ---------------------------------------------------------------------------


def test_too_many_requests_and_server_errors_pass(registry: Registry) -> None:
    registry.add("test/image", [b"x"])
    path = "/v2/test/image/manifests/1"
    registry.fail(path, instead(b"", 429, Retry_After="0"), instead(b"", 503))
    assert repository(registry).manifest("1").media_type == oci.OCI_MANIFEST
    registry.fail(path, *[instead(b"", 500)] * 3)
    with pytest.raises(Temporary) as caught:
        repository(registry).manifest("1")
    assert caught.value.message == f'registry "{registry.host}": server error 500'
    assert caught.value.status == 500


def test_a_wish_to_wait_too_long_is_not_waited_for(registry: Registry) -> None:
    registry.fail("/v2/test/image/manifests/1", instead(b"", 429, Retry_After="3600"))
    with pytest.raises(Temporary, match="too many requests"):
        repository(registry).manifest("1")


def test_not_found(registry: Registry) -> None:
    with pytest.raises(NotFound) as caught:
        repository(registry).manifest("nope")
    assert (
        caught.value.message == f'image "{registry.host}/test/image:nope" does not exist in registry "{registry.host}"'
    )


def test_what_a_registry_says_reaches_the_terminal_clean(registry: Registry) -> None:
    said = json.dumps({"errors": [{"code": "DENIED", "message": "\x1b]0;evil\x07go away\nnow"}]}).encode()
    registry.fail("/v2/test/image/manifests/1", instead(said, 418))
    with pytest.raises(RegistryError) as caught:
        repository(registry).manifest("1")
    assert caught.value.message.endswith(f'answers 418 for image "{registry.host}/test/image:1": ?]0;evil?go away?now')


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    absent = Registry()
    absent.host = f"127.0.0.1:{port}"
    with pytest.raises(Unreachable) as caught:
        repository(absent).manifest("1")
    assert caught.value.message == f'registry "127.0.0.1:{port}" cannot be reached: connection refused'
    absent.host = "registry.invalid"
    with pytest.raises(Unreachable) as caught:
        repository(absent).manifest("1")
    assert caught.value.message == 'registry "registry.invalid" cannot be found: no such host'


def test_stop_ends_a_read_that_waits(registry: Registry) -> None:
    descriptor, _data, path = blob(registry)
    registry.fail(path, stall(100_000))
    stop = threading.Event()
    source = repository(registry, patience=Patience(connect=5, idle=600, tries=3, pause=60), stop=stop)
    begun = threading.Event()
    caught: list[BaseException] = []

    def work() -> None:
        try:
            source.stream(descriptor, lambda chunk: None)
        except Cancelled as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not registry.asked(path):
        begun.wait(0.01)
    stop.set()
    while thread.is_alive():
        source.interrupt()
        thread.join(0.05)
    assert caught


# --- redirects --------------------------------------------------------------------------------------------------------


def test_a_blob_may_live_elsewhere_but_the_password_stays(registry: Registry, elsewhere: Registry) -> None:
    descriptor, data, path = blob(registry)
    elsewhere.blobs = registry.blobs
    registry.challenge, registry.accepted = 'Basic realm="x"', {basic("me", "secret")}
    source = repository(registry, credentials=lambda: ME)

    def send_away(handler: faulty_registry.Handler) -> None:
        assert handler.headers["Authorization"] == basic("me", "secret")
        redirect(f"http://{elsewhere.host}/x/blobs/{descriptor.digest}")(handler)

    registry.add("test/image", [b"x"])
    source.manifest("1")
    registry.fail(path, send_away)
    assert streamed(source, descriptor) == data
    assert [request.headers.get("Authorization") for request in elsewhere.requests] == [None]


def test_a_redirect_back_home_does_not_get_the_password_again(registry: Registry, elsewhere: Registry) -> None:
    descriptor, _data, path = blob(registry)
    registry.challenge, registry.accepted = 'Basic realm="x"', {basic("me", "secret")}
    source = repository(registry, credentials=lambda: ME)
    registry.add("test/image", [b"x"])
    source.manifest("1")
    registry.fail(path, redirect(f"http://{elsewhere.host}/back"))
    elsewhere.fail("/back", redirect(f"http://{registry.host}/collect"))
    registry.fail("/collect", instead(b"", 404))
    refused(source, descriptor)
    assert "Authorization" not in registry.asked("/collect")[0].headers


def test_another_host_that_asks_for_a_login_gets_none(registry: Registry, elsewhere: Registry) -> None:
    descriptor, _data, path = blob(registry)
    elsewhere.challenge = 'Basic realm="give it to me"'
    registry.fail(path, redirect(f"http://{elsewhere.host}/v2/x"))
    error = refused(repository(registry, credentials=lambda: ME), descriptor)
    assert f'registry "{elsewhere.host}" answers 401' in error.message
    assert [request.headers.get("Authorization") for request in elsewhere.requests] == [None]


def test_redirects_that_lead_nowhere(registry: Registry) -> None:
    descriptor, _data, path = blob(registry)
    registry.fail(path, *[redirect(path)] * 20)
    assert "redirects more than 8 times" in refused(repository(registry), descriptor).message
    registry.faults[path] = [redirect("file:///etc/passwd")]
    assert "is not a web address" in refused(repository(registry), descriptor).message


# --- logins -----------------------------------------------------------------------------------------------------------


def test_basic_login(registry: Registry) -> None:
    registry.add("test/image", [b"x"])
    registry.challenge, registry.accepted = 'Basic realm="x"', {basic("me", "secret")}
    assert repository(registry, credentials=lambda: ME).manifest("1")
    for who in (None, Credentials("me", "wrong")):
        with pytest.raises(RegistryError) as caught:
            repository(registry, credentials=lambda who=who: who).manifest("1")
        assert caught.value.status == 401
        assert f'"{registry.host}/test/image" does not exist or needs a login' in caught.value.message
        assert "login" in str(caught.value.hint)


def test_anonymous_token(registry: Registry) -> None:
    registry.add("test/image", [b"x"])
    registry.challenge = f'Bearer realm="http://{registry.host}/token",service="reg"'
    registry.tokens = [{"token": "abc", "expires_in": 300}]
    source = repository(registry)
    assert source.manifest("1")
    assert source.manifest("1")
    asked = registry.asked("/token")
    assert [request.path for request in asked] == ["/token?scope=repository%3Atest%2Fimage%3Apull&service=reg"]
    assert "Authorization" not in asked[0].headers


def test_token_with_a_login_and_the_scope_of_the_challenge(registry: Registry) -> None:
    registry.add("test/image", [b"x"])
    registry.challenge = f'Bearer realm="http://{registry.host}/token?a=b",scope="repository:other:pull"'
    registry.tokens = [{"access_token": "abc"}]
    assert repository(registry, credentials=lambda: ME).manifest("1")
    asked = registry.asked("/token")[0]
    assert asked.path == "/token?a=b&scope=repository%3Aother%3Apull&account=me"
    assert asked.headers["Authorization"] == basic("me", "secret")


def test_identity_token(registry: Registry) -> None:
    registry.add("test/image", [b"x"])
    registry.challenge = f'Bearer realm="http://{registry.host}/token",service="reg"'
    registry.tokens = [{"access_token": "abc"}]
    assert repository(registry, credentials=lambda: Credentials("", "", "refresh-me")).manifest("1")
    asked = registry.asked("/token")[0]
    assert asked.method == "POST"
    assert "grant_type=refresh_token&refresh_token=refresh-me" in asked.path


def test_a_token_that_ran_out_is_renewed(registry: Registry) -> None:
    descriptor, data, path = blob(registry)
    registry.add("test/image", [b"x"])
    registry.challenge = f'Bearer realm="http://{registry.host}/token"'
    registry.tokens = [{"token": "one", "expires_in": 300}, {"token": "two", "expires_in": 300}]
    source = repository(registry)
    assert source.manifest("1")
    registry.accepted = set()
    assert streamed(source, descriptor) == data
    assert [request.headers.get("Authorization") for request in registry.asked(path)] == ["Bearer one", "Bearer two"]


def test_a_token_service_that_refuses_or_is_no_good(registry: Registry) -> None:
    registry.challenge = f'Bearer realm="http://{registry.host}/token"'
    with pytest.raises(RegistryError, match='refuses the login of "me"'):
        repository(registry, credentials=lambda: ME).manifest("1")
    with pytest.raises(RegistryError, match="refuses an anonymous token"):
        repository(registry).manifest("1")
    registry.tokens = [{"token": "a\r\nX-Evil: 1"}]
    with pytest.raises(RegistryError, match="gives no usable token"):
        repository(registry).manifest("1")
    registry.challenge = 'Bearer realm="http://token.invalid/"'
    with pytest.raises(RegistryError, match='the token service "token.invalid" does not use https'):
        repository(registry, credentials=lambda: ME).manifest("1")
    registry.challenge = "Negotiate"
    with pytest.raises(RegistryError, match='unknown kind of login: "Negotiate"'):
        repository(registry).manifest("1")


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tls_registry(tmp_path: Path) -> Iterator[tuple[Registry, Path]]:
    """A registry with a certificate of its own making, for 127.0.0.1 and localhost."""
    certificate, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
        + ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with faulty_registry.serving(context) as serving:
        serving.add("test/image", [b"x"])
        yield serving, certificate


def strict(registry: Registry, **options: Any) -> Repository:
    """As if the host were not this machine: nothing is forgiven."""
    return repository(registry, lenient=lambda host: False, **options)


def test_an_unknown_certificate_is_refused(tls_registry: tuple[Registry, Path]) -> None:
    registry, _certificate = tls_registry
    with pytest.raises(Unreachable) as caught:
        strict(registry).manifest("1")
    assert caught.value.message == (
        f'the certificate of registry "{registry.host}" is not trusted: self-signed certificate'
    )


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_insecure_takes_any_certificate(tls_registry: tuple[Registry, Path]) -> None:
    registry, _certificate = tls_registry
    source = Repository(
        Endpoint(registry.host, "test/image", True), credentials=lambda: None, lenient=lambda host: False
    )
    assert source.manifest("1")


def test_a_certificate_directory_makes_it_trusted(
    tls_registry: tuple[Registry, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, certificate = tls_registry
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    place = tmp_path / "containers/certs.d" / registry.host
    place.mkdir(parents=True)
    (place / "ca.crt").write_bytes(certificate.read_bytes())
    assert strict(registry).manifest("1")
    descriptor, data, path = blob(registry)
    registry.fail(path, cut(1_000_000))
    assert streamed(strict(registry), descriptor) == data


def test_https_does_not_fall_to_http(
    tls_registry: tuple[Registry, Path], registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure, certificate = tls_registry
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    place = tmp_path / "containers/certs.d" / secure.host
    place.mkdir(parents=True)
    (place / "ca.crt").write_bytes(certificate.read_bytes())
    descriptor, _data, path = blob(secure)
    secure.fail(path, redirect(f"http://{registry.host}{path}"))
    assert "redirects from https to http" in refused(strict(secure), descriptor).message
    assert registry.requests == []


def test_http_only_where_that_is_allowed(registry: Registry) -> None:
    registry.add("test/image", [b"x"])
    with pytest.raises(Unreachable) as caught:
        strict(registry, credentials=lambda: ME).manifest("1")
    assert caught.value.message == f'registry "{registry.host}" does not speak https'
    assert "insecure = true" in str(caught.value.hint)
    assert repository(registry).manifest("1")
