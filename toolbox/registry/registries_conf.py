"""Where a reference is looked for: containers-registries.conf(5), version 2, and its short-name aliases.

Files, later ones winning key by key and prefix by prefix: the user's registries.conf if there is one, else
/etc/containers/registries.conf; then /etc/containers/registries.conf.d/*.conf (unless the user's file was taken, as
containers/image does it); then the user's registries.conf.d/*.conf; then the short-name-aliases.conf of the cache.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from rootless.errors import InvalidDocument, RegistryError
from rootless.record import record
from toolbox import paths
from toolbox import reference as references
from toolbox.reference import Reference

PULL_FROM = ("all", "digest-only", "tag-only")
_MODES = ("", "enforcing", "permissive", "disabled")


@record
class Mirror:
    """One [[registry.mirror]]; `pull_from` is one of PULL_FROM."""

    location: str
    insecure: bool
    pull_from: str


@record
class Rule:
    """One [[registry]]; `location` is "" where references keep their host (a wildcard prefix without location)."""

    prefix: str
    location: str
    insecure: bool
    blocked: bool
    mirrors: tuple[Mirror, ...]
    path: str


@record
class Settings:
    """What the files say together."""

    search: tuple[str, ...]
    rules: tuple[Rule, ...]
    aliases: Mapping[str, str]
    short_names: str
    credential_helpers: tuple[str, ...]


@record
class Endpoint:
    """One place to ask for an image: the host, the repository there, and whether TLS may be missing or unverified."""

    host: str
    repository: str
    insecure: bool


def load(etc: str = "/etc/containers", user: str | None = None, cache: str | None = None) -> Settings:
    """Read the configuration; missing files are empty. Raises InvalidDocument naming the file that does not parse."""
    user = user or os.path.dirname(paths.config_home()) + "/containers"
    cache = cache or os.path.dirname(paths.cache_home()) + "/containers"
    search: tuple[str, ...] = ()
    short_names = ""
    helpers: tuple[str, ...] = ()
    rules: dict[str, Rule] = {}
    aliases: dict[str, str] = {}
    for path in _files(etc, user):
        document = _read(path)
        if "unqualified-search-registries" in document:
            search = _texts(path, document, "unqualified-search-registries")
        if "short-name-mode" in document:
            short_names = _text(path, document, "short-name-mode")
            if short_names not in _MODES:
                raise InvalidDocument(
                    f'{path}: short-name-mode "{short_names}" is not enforcing, permissive or disabled'
                )
        if "credential-helpers" in document:
            helpers = _texts(path, document, "credential-helpers")
        for rule in _rules(path, document):
            rules[rule.prefix] = rule
        _merge_aliases(path, document, aliases)
    cached = f"{cache}/short-name-aliases.conf"
    _merge_aliases(cached, _read(cached), aliases)
    return Settings(search, tuple(rules.values()), aliases, short_names, helpers)


def candidates(settings: Settings, reference: Reference) -> list[Reference]:
    """The full references that a reference may mean, in the order to try them.

    A full one means itself. A short one means its alias if it has one, else the same name in every registry of the
    search list, else (nothing configured) the one at docker.io.
    """
    if reference.registry:
        return [reference.full()]
    if settings.short_names != "disabled" and (alias := settings.aliases.get(reference.repository)):
        target = references.parse(alias)
        return [reference.at(target.registry, target.repository).full()]
    return [_qualified(registry, reference) for registry in dict.fromkeys(settings.search or (references.DOCKER_HUB,))]


def endpoints(settings: Settings, reference: Reference) -> list[Endpoint]:
    """Where to ask for a full reference: the usable mirrors of the rule with the longest matching prefix, then itself.

    Raises RegistryError when that rule blocks it.
    """
    rule, matched = _rule_for(settings.rules, str(reference))
    if rule is None:
        return [Endpoint(reference.registry, reference.repository, False)]
    if rule.blocked:
        raise RegistryError(
            f'registry "{rule.prefix}" is blocked by {rule.path}',
            hint=f"remove blocked = true in {rule.path}",
        )
    places = [
        _rewritten(reference, mirror.location, matched, mirror.insecure)
        for mirror in rule.mirrors
        if mirror.pull_from in ("all", "digest-only" if reference.digest else "tag-only")
    ]
    places.append(_rewritten(reference, rule.location, matched, rule.insecure))
    return places


def insecure(settings: Settings, host: str) -> bool:
    """Whether a rule of its own allows this host to have no valid TLS."""
    rule, _matched = _rule_for(settings.rules, host)
    return rule is not None and rule.insecure


def _qualified(registry: str, reference: Reference) -> Reference:
    repository = reference.repository
    host, slash, path = registry.partition("/")
    if slash:
        repository = f"{path}/{repository}"
    if host == references.DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return reference.at(host, repository).full()


def _rule_for(rules: Iterable[Rule], text: str) -> tuple[Rule | None, int]:
    best: Rule | None = None
    length = 0
    for rule in rules:
        matched = _match(text, rule.prefix)
        if matched and (best is None or len(rule.prefix) > len(best.prefix)):
            best, length = rule, matched
    return best, length


def _match(text: str, prefix: str) -> int:
    """How much of `text` the prefix covers, 0 if it is no prefix of it; only whole path components count."""
    if prefix.startswith("*."):
        start = text.find(prefix[1:])
        if start <= 0 or "/" in text[:start]:
            return 0
        end = start + len(prefix) - 1
    elif text.startswith(prefix):
        end = len(prefix)
    else:
        return 0
    return end if text[end : end + 1] in ("", ":", "/", "@") else 0


def _rewritten(reference: Reference, location: str, matched: int, insecure: bool) -> Endpoint:
    if not location:
        return Endpoint(reference.registry, reference.repository, insecure)
    # The prefix may cover more than the name where it names one tag; the location then stands for the whole name.
    host, _slash, repository = (location + reference.name[matched:]).partition("/")
    return Endpoint(host, repository or reference.repository, insecure)


def _files(etc: str, user: str) -> list[str]:
    chosen = os.environ.get("CONTAINERS_REGISTRIES_CONF")
    own = f"{user}/registries.conf"
    if chosen:
        if not os.path.exists(chosen):
            raise InvalidDocument(f"{chosen}: there is no such file (CONTAINERS_REGISTRIES_CONF names it)")
        main, folders = chosen, [f"{etc}/registries.conf.d", f"{user}/registries.conf.d"]
    elif os.path.exists(own):
        main, folders = own, [f"{user}/registries.conf.d"]
    else:
        main, folders = f"{etc}/registries.conf", [f"{etc}/registries.conf.d", f"{user}/registries.conf.d"]
    files = [main]
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        files += [f"{folder}/{name}" for name in names if name.endswith(".conf")]
    return files


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            document = tomllib.load(stream)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidDocument(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidDocument(f"{path}: {error}") from error
    if isinstance(document.get("registries"), dict):
        raise InvalidDocument(
            f"{path}: [registries.…] is the old version 1 format",
            hint="use unqualified-search-registries = […] and [[registry]] (containers-registries.conf(5))",
        )
    return document


def _rules(path: str, document: dict[str, Any]) -> Iterable[Rule]:
    for table in _tables(path, document, "registry"):
        prefix = _text(path, table, "prefix").rstrip("/")
        location = _text(path, table, "location").rstrip("/")
        if not prefix and not location:
            raise InvalidDocument(f"{path}: a [[registry]] has neither prefix nor location")
        prefix = prefix or location
        wildcard = prefix.startswith("*.")
        if "*" in (prefix[2:] if wildcard else prefix):
            raise InvalidDocument(f'{path}: prefix "{prefix}": "*" may only stand first, as in "*.example.com"')
        if not location and not wildcard:
            location = prefix
        by_digest = _flag(path, table, "mirror-by-digest-only")
        mirrors = tuple(_mirror(path, prefix, part, by_digest) for part in _tables(path, table, "mirror"))
        yield Rule(prefix, location, _flag(path, table, "insecure"), _flag(path, table, "blocked"), mirrors, path)


def _mirror(path: str, prefix: str, table: dict[str, Any], by_digest: bool) -> Mirror:
    location = _text(path, table, "location").rstrip("/")
    if not location:
        raise InvalidDocument(f'{path}: a mirror of "{prefix}" has no location')
    pull_from = _text(path, table, "pull-from-mirror") or ("digest-only" if by_digest else "all")
    if pull_from not in PULL_FROM:
        raise InvalidDocument(
            f'{path}: pull-from-mirror "{pull_from}" of mirror "{location}" is not {", ".join(PULL_FROM)}'
        )
    return Mirror(location, _flag(path, table, "insecure"), pull_from)


def _merge_aliases(path: str, document: dict[str, Any], aliases: dict[str, str]) -> None:
    table = document.get("aliases", {})
    if not isinstance(table, dict):
        raise InvalidDocument(f"{path}: aliases is not a table")
    for name in table:
        # An empty value takes an alias of an earlier file back.
        aliases[name] = _text(path, table, name)


def _tables(path: str, document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = document.get(key, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        raise InvalidDocument(f"{path}: {key} must be written as [[{key}]] tables")
    return found


def _text(path: str, table: dict[str, Any], key: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise InvalidDocument(f"{path}: {key} is not a string")
    return value


def _texts(path: str, table: dict[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(part, str) and part for part in value):
        raise InvalidDocument(f"{path}: {key} is not a list of strings")
    return tuple(value)


def _flag(path: str, table: dict[str, Any], key: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise InvalidDocument(f"{path}: {key} is neither true nor false")
    return value
