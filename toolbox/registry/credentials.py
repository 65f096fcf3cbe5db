"""Who we are to a registry: containers-auth.json(5), docker's config.json and the `docker-credential-*` helpers.

Credentials are only looked up when a registry asks for them, so a slow key ring costs nothing on public images.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Iterator
from typing import Any

from rootless.errors import InvalidDocument, PtbError
from rootless.record import record
from toolbox import paths
from toolbox.reference import DOCKER_HUB

_FILES_HELPER = "containers-auth.json"
_HELPER_NAME = re.compile(r"[A-Za-z0-9._-]+")
_HELPER_PATIENCE = 120
"""Seconds for a credential helper to answer: it may be asking its user to unlock a key ring."""


@record
class Credentials:
    """A user name with a password, or an identity token (OAuth2 refresh token) instead of both."""

    username: str
    password: str
    identity_token: str = ""


def find(host: str, repository: str, helpers: tuple[str, ...] = ()) -> Credentials | None:
    """The credentials for `repository` at `host` (the name as configured: docker.io, not its API host), if any.

    `helpers` is `credential-helpers` of registries.conf(5); without it the files are asked. The first file that knows
    the host, or the most specific part of host/repository, wins. Raises InvalidDocument for a file that does not parse
    and PtbError for a helper that fails.
    """
    for helper in helpers or (_FILES_HELPER,):
        if helper != _FILES_HELPER:
            found = _ask_helper(helper, host)
        else:
            found = next(filter(None, (_in_file(path, host, repository) for path in files())), None)
        if found is not None:
            return found
    return None


def files() -> list[str]:
    """The files that may hold credentials, the first to be asked first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}"
    configuration = os.path.dirname(paths.config_home())
    docker = os.environ.get("DOCKER_CONFIG") or f"{paths.home()}/.docker"
    return [
        os.environ.get("REGISTRY_AUTH_FILE") or f"{runtime}/containers/auth.json",
        f"{configuration}/containers/auth.json",
        f"{docker}/config.json",
    ]


def _in_file(path: str, host: str, repository: str) -> Credentials | None:
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidDocument(f"{path}: not a JSON object")
    per_host = _table(document, "credHelpers")
    for key in _names_of_host(host):
        if isinstance(helper := per_host.get(key), str):
            return _ask_helper(helper, key)
    entries = {_normal_key(key): value for key, value in _table(document, "auths").items()}
    for key in _keys(host, repository):
        if isinstance(entry := entries.get(key), dict) and (found := _decoded(path, key, entry)) is not None:
            return found
    if isinstance(store := document.get("credsStore"), str) and store:
        for key in _names_of_host(host):
            if (found := _ask_helper(store, key)) is not None:
                return found
    return None


def _keys(host: str, repository: str) -> Iterator[str]:
    """`host/a/b`, `host/a`, `host` (containers-auth.json(5): the longest match wins)."""
    key = f"{host}/{repository}"
    while "/" in key:
        yield key
        key = key.rpartition("/")[0]
    yield key


def _names_of_host(host: str) -> tuple[str, ...]:
    """docker login files its own hub under the address of its version 1 API."""
    return (host, f"https://index.{DOCKER_HUB}/v1/") if host == DOCKER_HUB else (host,)


def _normal_key(key: str) -> str:
    """docker writes some keys as addresses: `https://index.docker.io/v1/` is docker.io."""
    if "://" in key:
        key = key.partition("://")[2]
        for suffix in ("/v1/", "/v2/", "/v1", "/v2"):
            key = key.removesuffix(suffix)
    key = key.rstrip("/")
    return DOCKER_HUB if key in (f"index.{DOCKER_HUB}", f"registry-1.{DOCKER_HUB}") else key


def _decoded(path: str, key: str, entry: dict[str, Any]) -> Credentials | None:
    token = entry.get("identitytoken")
    username, password = entry.get("username"), entry.get("password")
    if isinstance(packed := entry.get("auth"), str) and packed:
        try:
            text = base64.b64decode(packed, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            text = ""
        username, colon, password = text.partition(":")
        if not colon:
            raise InvalidDocument(f'{path}: auth of "{key}" is not base64 of user:password')
        password = password.rstrip("\0")
    if isinstance(token, str) and token:
        return Credentials(username if isinstance(username, str) else "", "", token)
    if isinstance(username, str) and isinstance(password, str) and username:
        return Credentials(username, password)
    return None


def _ask_helper(helper: str, host: str) -> Credentials | None:
    """`docker-credential-HELPER get` (docker-credential-helpers): host on stdin, JSON on stdout."""
    if not _HELPER_NAME.fullmatch(helper):
        raise InvalidDocument(f'credential helper "{helper}" is not a name')
    program = f"docker-credential-{helper}"
    try:
        answer = subprocess.run(
            [program, "get"], input=host.encode(), capture_output=True, timeout=_HELPER_PATIENCE, check=False
        )
    except (FileNotFoundError, PermissionError):
        # Permission is denied where PATH has a directory of somebody else's.
        # docker desktop leaves `credsStore` behind when it goes; what is public must still be pullable.
        return None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PtbError(f'credential helper "{program}" failed for "{host}": {error}') from error
    said = (answer.stdout or answer.stderr).decode(errors="replace").strip()
    if answer.returncode != 0:
        if "not found" in said.lower():
            return None
        lines = [line for line in said.splitlines() if line.isprintable()] or ["no reason given"]
        raise PtbError(f'credential helper "{program}" failed for "{host}": {lines[0]}')
    try:
        document = json.loads(answer.stdout)
        username, secret = document["Username"], document["Secret"]
    except (ValueError, KeyError, TypeError) as error:
        raise PtbError(f'credential helper "{program}" gave no JSON with Username and Secret for "{host}"') from error
    if username == "<token>":
        return Credentials("", "", str(secret))
    return Credentials(str(username), str(secret)) if username or secret else None


def _table(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}
