"""`--change` of commit and import: the instructions of a Dockerfile that alter nothing but the image's configuration."""

from __future__ import annotations

import json
import shlex

from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KNOWN = (
    *("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "SHELL", "STOPSIGNAL", "USER", "VOLUME"),
    "WORKDIR",
)


def apply(config: dict[str, Any], text: str) -> None:
    """Change the `config` section of an image as one instruction says. Raises UsageError."""
    word, _blank, rest = text.strip().partition(" ")
    word, rest = word.upper(), rest.strip()
    if "=" in word and word.partition("=")[0] in KNOWN:  # podman takes CMD=/bin/sh as well
        word, _equals, value = text.strip().partition("=")
        word, rest = word.upper(), value
    if word not in KNOWN:
        raise UsageError(f'--change "{text}": there is no such instruction', hint=f"known are {', '.join(KNOWN)}")
    if not rest:
        raise UsageError(f'--change "{text}": {word} of what?')
    if word in ("CMD", "ENTRYPOINT"):
        config["Cmd" if word == "CMD" else "Entrypoint"] = _words(rest) or ["/bin/sh", "-c", rest]
    elif word == "ENV":
        found = dict(entry.partition("=")[::2] for entry in config.get("Env") or ())
        found.update(_pairs(rest, text))
        config["Env"] = [f"{name}={value}" for name, value in found.items()]
    elif word == "LABEL":
        config["Labels"] = {**(config.get("Labels") or {}), **_pairs(rest, text)}
    elif word == "EXPOSE":
        ports: dict[str, Any] = {port if "/" in port else f"{port}/tcp": {} for port in rest.split()}
        config["ExposedPorts"] = {**(config.get("ExposedPorts") or {}), **ports}
    elif word == "VOLUME":
        config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in _words(rest) or rest.split()}}
    elif word == "ONBUILD":
        config["OnBuild"] = [*(config.get("OnBuild") or ()), rest]
    elif word == "SHELL":
        config["Shell"] = _words(rest)
        if not config["Shell"]:
            raise UsageError(f'--change "{text}": SHELL takes a JSON list')
    elif word == "HEALTHCHECK":
        config["Healthcheck"] = _health(rest, text)
    elif word == "WORKDIR":
        before = config.get("WorkingDir") or "/"
        config["WorkingDir"] = rest if rest.startswith("/") else f"{before.rstrip('/')}/{rest}"
    else:
        config[{"STOPSIGNAL": "StopSignal", "USER": "User"}[word]] = rest


def _words(text: str) -> list[str]:
    """The words of a JSON list; none where it is not one."""
    if not text.startswith("["):
        return []
    try:
        words = json.loads(text)
    except ValueError:
        return []
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else []


def _pairs(text: str, whole: str) -> dict[str, str]:
    """`KEY=VALUE …`, with quotes, or the old `KEY VALUE`."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f'--change "{whole}": {error}') from error
    if words and "=" not in words[0]:
        key, _blank, value = text.partition(" ")
        return {key: value.strip()}
    pairs = dict(word.partition("=")[::2] for word in words)
    if not all("=" in word for word in words):
        raise UsageError(f'--change "{whole}" is not KEY=VALUE')
    return pairs


def _health(text: str, whole: str) -> dict[str, Any]:
    from toolbox.containers import sizes

    found: dict[str, Any] = {}
    words = text.split()
    names = {
        "interval": "Interval",
        "timeout": "Timeout",
        "start-period": "StartPeriod",
        "start-interval": "StartInterval",
    }
    while words and words[0].startswith("--"):
        name, _equals, value = words.pop(0)[2:].partition("=")
        if name == "retries" and value.isdecimal():
            found["Retries"] = int(value)
        elif name in names:
            found[names[name]] = int(sizes.duration(value, f"HEALTHCHECK --{name}") * 10**9)
        else:
            raise UsageError(f'--change "{whole}": there is no option --{name}')
    rest = " ".join(words)
    if rest.upper() == "NONE":
        return {"Test": ["NONE"]}
    if not rest.upper().startswith("CMD "):
        raise UsageError(f'--change "{whole}": HEALTHCHECK takes CMD or NONE')
    command = rest[4:].strip()
    found["Test"] = ["CMD", *_words(command)] if _words(command) else ["CMD-SHELL", command]
    return found
