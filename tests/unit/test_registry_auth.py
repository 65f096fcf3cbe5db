"""Challenges and credential files."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import InvalidDocument, PtbError
from toolbox.registry import credentials
from toolbox.registry.auth import Challenge, challenges
from toolbox.registry.credentials import Credentials


def test_challenges_of_real_registries() -> None:
    hub = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull"'
    assert challenges(hub) == [
        Challenge(
            "bearer",
            {
                "realm": "https://auth.docker.io/token",
                "service": "registry.docker.io",
                "scope": "repository:library/x:pull",
            },
        )
    ]
    assert challenges('Basic realm="Registry Realm"') == [Challenge("basic", {"realm": "Registry Realm"})]


def test_several_challenges_in_one_header() -> None:
    found = challenges('Negotiate, Basic realm="a, \\"b\\"" , Bearer realm=https://x/y , scope="a,b"')
    assert [challenge.scheme for challenge in found] == ["negotiate", "basic", "bearer"]
    assert found[1].parameters == {"realm": 'a, "b"'}
    assert found[2].parameters == {"realm": "https://x/y", "scope": "a,b"}


@given(st.text(max_size=200))
def test_any_header_can_be_read(header: str) -> None:
    challenges(header)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


def write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def packed(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_no_files_no_credentials(home: Path) -> None:
    assert credentials.find("quay.io", "a/b") is None


def test_the_first_file_and_the_longest_key_win(home: Path) -> None:
    write(home / ".docker/config.json", {"auths": {"quay.io": packed("docker", "1")}})
    assert credentials.find("quay.io", "a/b") == Credentials("docker", "1")
    write(home / ".config/containers/auth.json", {"auths": {"quay.io": packed("config", "2")}})
    assert credentials.find("quay.io", "a/b") == Credentials("config", "2")
    write(
        home / "run/containers/auth.json",
        {"auths": {"quay.io/a": packed("a", "x:y"), "quay.io/a/b": packed("ab", "4")}},
    )
    assert credentials.find("quay.io", "a/b") == Credentials("ab", "4")
    assert credentials.find("quay.io", "a/c") == Credentials("a", "x:y")
    assert credentials.find("quay.io", "c") == Credentials("config", "2")


def test_docker_hub_s_old_address_and_identity_tokens(home: Path) -> None:
    write(home / ".docker/config.json", {"auths": {"https://index.docker.io/v1/": packed("me", "p")}})
    assert credentials.find("docker.io", "library/x") == Credentials("me", "p")
    entry = packed("me", "") | {"identitytoken": "t0k"}
    write(home / ".docker/config.json", {"auths": {"https://azure.example/v2/": entry}})
    assert credentials.find("azure.example", "x") == Credentials("me", "", "t0k")


def test_a_helper_program_is_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = home / "bin/docker-credential-ring"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nread host || :\ncase "$host" in\n'
        'quay.io) echo \'{"ServerURL":"quay.io","Username":"me","Secret":"s"}\' ;;\n'
        'token.io) echo \'{"Username":"<token>","Secret":"t"}\' ;;\n'
        'broken.io) echo "ring is locked" >&2; exit 1 ;;\n'
        '*) echo "credentials not found in native keychain"; exit 1 ;;\nesac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    write(home / ".docker/config.json", {"credsStore": "ring"})
    assert credentials.find("quay.io", "a") == Credentials("me", "s")
    assert credentials.find("token.io", "a") == Credentials("", "", "t")
    assert credentials.find("unknown.io", "a") is None
    with pytest.raises(PtbError) as caught:
        credentials.find("broken.io", "a")
    assert caught.value.message == 'credential helper "docker-credential-ring" failed for "broken.io": ring is locked'
    write(
        home / ".docker/config.json",
        {"credHelpers": {"quay.io": "ring"}, "auths": {"x.io": packed("u", "v")}},
    )
    assert credentials.find("quay.io", "a") == Credentials("me", "s")
    assert credentials.find("x.io", "a") == Credentials("u", "v")
    assert credentials.find("quay.io", "a", helpers=("ring",)) == Credentials("me", "s")


def test_a_helper_that_is_gone_leaves_public_images_pullable(home: Path) -> None:
    write(home / ".docker/config.json", {"credsStore": "desktop"})
    assert credentials.find("docker.io", "library/x") is None


def test_broken_files_are_named(home: Path) -> None:
    path = home / ".docker/config.json"
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(InvalidDocument) as caught:
        credentials.find("quay.io", "a")
    assert str(path) in caught.value.message
    write(path, {"auths": {"quay.io": {"auth": "!!"}}})
    with pytest.raises(InvalidDocument) as caught:
        credentials.find("quay.io", "a")
    assert caught.value.message == f'{path}: auth of "quay.io" is not base64 of user:password'
