"""Answering a 401: HTTP basic (RFC 7617) and the token service of the distribution project (Bearer)."""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.parse
from collections.abc import Callable

from rootless.errors import RegistryError
from rootless.record import record
from toolbox.registry.credentials import Credentials
from toolbox.registry.transport import Transport, host_of, shown

_TOKEN_LIMIT = 1 << 20
_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)(?=\s|,|$)")
_TOKEN_TEXT = re.compile(r"[\x21-\x7e]+")


@record
class Challenge:
    """One entry of WWW-Authenticate; `scheme` is lower case."""

    scheme: str
    parameters: dict[str, str]


@record
class Authorization:
    """A header value that answers a challenge, and the monotonic clock time at which it stops being good."""

    header: str
    expires: float


def challenges(header: str) -> list[Challenge]:
    """Read a WWW-Authenticate header, which may hold several challenges (RFC 9110, section 11.6.1)."""
    found: list[Challenge] = []
    position = 0
    while position < len(header):
        if header[position] in ", \t":
            position += 1
        elif (parameter := _PARAMETER.match(header, position)) and found:
            name, quoted, plain = parameter.groups()
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[-1].parameters.setdefault(name.lower(), value)
            position = parameter.end()
        elif scheme := _SCHEME.match(header, position):
            found.append(Challenge(scheme.group(1).lower(), {}))
            position = scheme.end()
        else:
            position += 1
    return found


def authorize(
    transport: Transport,
    header: str,
    credentials: Credentials | None,
    scope: str,
    lenient: Callable[[str], bool],
) -> Authorization | None:
    """An answer to the challenge in `header`, None when it needs credentials and there are none.

    `scope` is asked for when the challenge names none. `lenient` tells which hosts may lack valid TLS; no other token
    service without it is spoken to. Raises RegistryError when the token service refuses.
    """
    offered = challenges(header)
    for challenge in offered:
        if challenge.scheme == "bearer" and "realm" in challenge.parameters:
            return _token(transport, challenge, credentials, scope, lenient)
    for challenge in offered:
        if challenge.scheme == "basic":
            if credentials is None or credentials.identity_token:
                return None
            return Authorization(_basic(credentials), float("inf"))
    raise RegistryError(
        f'the registry asks for an unknown kind of login: "{shown(header) or "none named"}"', status=401
    )


def _basic(credentials: Credentials) -> str:
    packed = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    return f"Basic {packed}"


def _token(
    transport: Transport,
    challenge: Challenge,
    credentials: Credentials | None,
    scope: str,
    lenient: Callable[[str], bool],
) -> Authorization:
    realm = challenge.parameters["realm"]
    if not realm.startswith(("https://", "http://")) or not host_of(realm):
        raise RegistryError(f'the token service "{shown(realm)}" is not a web address')
    verify = not lenient(host_of(realm))
    if verify and realm.startswith("http:"):
        raise RegistryError(f'the token service "{host_of(realm)}" does not use https')
    asked = {"scope": challenge.parameters.get("scope") or scope}
    if service := challenge.parameters.get("service"):
        asked["service"] = service
    headers = {"Accept": "application/json"}
    method, url, body = "GET", "", None
    if credentials is not None and credentials.identity_token:
        # distribution/docs/spec/auth/oauth.md: a refresh token is exchanged by POST.
        asked |= {
            "grant_type": "refresh_token",
            "refresh_token": credentials.identity_token,
            "client_id": "ptb",
        }
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        method, url, body = "POST", realm, urllib.parse.urlencode(asked).encode()
    else:
        if credentials is not None:
            headers["Authorization"] = _basic(credentials)
            asked["account"] = credentials.username
        url = realm + ("&" if "?" in realm else "?") + urllib.parse.urlencode(asked)
    started = time.monotonic()
    response = transport.patiently(lambda: transport.send(method, url, headers, verify=verify, body=body))
    data = response.body(_TOKEN_LIMIT)
    if response.status in (400, 401, 403):
        raise RegistryError(
            f'the token service "{host_of(realm)}" refuses '
            + (
                f'the login of "{credentials.username or "the identity token"}"'
                if credentials
                else "an anonymous token"
            ),
            status=response.status,
        )
    if response.status != 200:
        raise RegistryError(f'the token service "{host_of(realm)}" answers {response.status}', status=response.status)
    return _read_token(realm, data, started)


def _read_token(realm: str, data: bytes, started: float) -> Authorization:
    try:
        document = json.loads(data)
        token = document.get("token") or document["access_token"]
        lifetime = document.get("expires_in", 60)
        if not isinstance(token, str) or not _TOKEN_TEXT.fullmatch(token):
            raise ValueError("token")
        seconds = float(lifetime) if isinstance(lifetime, int | float) and lifetime > 0 else 60.0
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        raise RegistryError(f'the token service "{host_of(realm)}" gives no usable token') from error
    # A tenth early, so that a token does not run out on its way.
    return Authorization(f"Bearer {token}", started + seconds * 0.9)
