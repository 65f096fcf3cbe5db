"""Image references as text: `[HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]`, by the grammar of distribution/reference."""

from __future__ import annotations

import re

from fuse_overlay import digest as digests
from rootless.errors import InvalidDocument
from rootless.record import record

DOCKER_HUB = "docker.io"

_HOST = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
    r"|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?"
)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")
_HEX_ID = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 255


@record
class Reference:
    """A parsed reference; `registry` is "" for a short name, `tag` and `digest` are "" where none was given."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Registry and repository, without tag or digest."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    @property
    def wanted(self) -> str:
        """What to ask a registry for: the digest if there is one, else the tag, else `latest`."""
        return self.digest or self.tag or "latest"

    def at(self, registry: str, repository: str) -> Reference:
        """The same tag and digest in another repository."""
        return Reference(registry, repository, self.tag, self.digest)

    def full(self) -> Reference:
        """With the tag that is meant where none is written."""
        if self.tag or self.digest:
            return self
        return Reference(self.registry, self.repository, "latest")

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Read a reference as people type it.

    `docker://` before it is accepted; `index.docker.io` is docker.io, whose one-word repositories are in `library/`.
    Raises InvalidDocument, naming the part that is wrong.
    """
    rest = text.strip().removeprefix("docker://")
    if not rest:
        raise InvalidDocument("the image reference is empty")
    rest, at, digest = rest.partition("@")
    if at:
        try:
            digests.check(digest)
        except InvalidDocument as error:
            raise _invalid(text, f'digest "{_shown(digest)}" is not sha256: and 64 hexadecimal digits') from error
    tag = ""
    colon = rest.rfind(":")
    if colon > rest.rfind("/"):
        rest, tag = rest[:colon], rest[colon + 1 :]
        if not _TAG.fullmatch(tag):
            raise _invalid(text, f'tag "{_shown(tag)}" is not 1 to 128 letters, digits, "_", "." and "-"')
    registry, repository = split_registry(rest)
    if registry and not _HOST.fullmatch(registry):
        raise _invalid(text, f'"{_shown(registry)}" is not a host name with an optional port')
    _check_repository(text, repository)
    if not registry and _HEX_ID.fullmatch(repository):
        raise _invalid(text, "64 hexadecimal digits are an image id, not a name")
    if registry in (DOCKER_HUB, f"index.{DOCKER_HUB}"):
        registry = DOCKER_HUB
        if "/" not in repository:
            repository = f"library/{repository}"
    if len(registry) + 1 + len(repository) > _LONGEST_NAME:
        raise _invalid(text, f"the name is longer than {_LONGEST_NAME} characters")
    return Reference(registry, repository, tag, digest)


def split_registry(name: str) -> tuple[str, str]:
    """`host:5000/a/b` as (`host:5000`, `a/b`); the first is "" when the first word does not look like a host.

    A host has a dot, a port or a capital letter in it, or is `localhost` (distribution/reference, splitDockerDomain).
    """
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return first, rest
    return "", name


def _check_repository(text: str, repository: str) -> None:
    if not repository:
        raise _invalid(text, "the repository is missing")
    for component in repository.split("/"):
        if _COMPONENT.fullmatch(component):
            continue
        if not component:
            raise _invalid(text, 'there is nothing between two "/"')
        if _COMPONENT.fullmatch(component.lower()):
            raise _invalid(text, f'"{component}" has capital letters, a repository has none')
        raise _invalid(
            text,
            f'"{_shown(component)}" is not lower-case letters and digits with single ".", "_" or "-" between them',
        )


def _shown(part: str) -> str:
    return part if part.isprintable() else repr(part)[1:-1]


def _invalid(text: str, why: str) -> InvalidDocument:
    return InvalidDocument(f'invalid image reference "{_shown(text)}": {why}')
