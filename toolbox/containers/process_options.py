"""What a container's process is: variables, limits, labels and the like, from the words of `run` and `exec`."""

from __future__ import annotations

from rootless import system as os
from rootless.errors import NotFound, UsageError
from rootless.monitor_plan import Restart
from toolbox.containers.record import Limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RLIMITS = (
    *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue"),
    *("nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
)


def environment(texts: Iterable[str], files: Iterable[str], host: Mapping[str, str]) -> tuple[str, ...]:
    """The variables of --env-file and then --env: `NAME=VALUE`, `NAME` with the caller's value if it has one, `NAME*`
    for all of the caller's that begin so. Raises UsageError, NotFound."""
    found: list[str] = []
    for path in files:
        for line in _lines(path):
            found += _variables(line, host, f'"{path}": ')
    for text in texts:
        found += _variables(text, host, "")
    return tuple(found)


def _variables(text: str, host: Mapping[str, str], where: str) -> list[str]:
    name, equals, _value = text.partition("=")
    if not name or any(character.isspace() for character in name):
        raise UsageError(f'{where}variable "{text}" is not NAME=VALUE')
    if equals:
        return [text]
    if name.endswith("*"):
        return [f"{key}={value}" for key, value in host.items() if key.startswith(name[:-1])]
    return [f"{name}={host[name]}"] if name in host else []


def _lines(path: str) -> list[str]:
    """The lines of a file of variables or labels; comments and empty lines left out, nothing unquoted (docker)."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            lines = [line.lstrip().rstrip("\r\n") for line in stream]
    except OSError as error:
        raise NotFound(f'"{path}": {os.strerror(error.errno or 0)}') from error
    return [line for line in lines if line and not line.startswith("#")]


def pairs(texts: Iterable[str], option: str, files: Iterable[str] = ()) -> dict[str, str]:
    """`KEY=VALUE`, or `KEY` with an empty value, of labels and annotations. Raises UsageError."""
    found: dict[str, str] = {}
    for text in [*(line for path in files for line in _lines(path)), *texts]:
        key, _equals, value = text.partition("=")
        if not key:
            raise UsageError(f'{option} "{text}" is not KEY=VALUE')
        found[key] = value
    return found


def limits(texts: Iterable[str]) -> tuple[tuple[Limit, ...], bool]:
    """(the limits, whether the host's are all kept) of --ulimit `NAME=SOFT[:HARD]` or `host`. Raises UsageError."""
    found: dict[str, Limit] = {}
    host = False
    for text in texts:
        if text == "host":
            host = True
            continue
        name, equals, values = text.partition("=")
        name = name.lower().removeprefix("rlimit_")
        if not equals or name not in RLIMITS:
            raise UsageError(f'--ulimit "{text}" is not NAME=SOFT[:HARD]', hint=f"names are {', '.join(RLIMITS)}")
        soft, colon, hard = values.partition(":")
        numbers = [_limit(soft, text), _limit(hard, text) if colon else _limit(soft, text)]
        if numbers[1] != -1 and (numbers[0] > numbers[1] or numbers[0] == -1):
            raise UsageError(f'--ulimit "{text}": the soft limit is above the hard one')
        found[name] = Limit(name, *numbers)
    return tuple(found.values()), host


def _limit(text: str, whole: str) -> int:
    if text in ("-1", "unlimited"):
        return -1
    if not text.isascii() or not text.isdecimal():
        raise UsageError(f'--ulimit "{whole}": "{text}" is no number')
    return int(text)


def entry_point(text: str | None) -> tuple[str, ...] | None:
    """`--entrypoint`: a command, a JSON list of words, "" for none; None where the option is not given."""
    if text is None:
        return None
    if text.startswith("["):
        from rootless import json_text

        words = json_text.parse(text, "--entrypoint")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UsageError(f"--entrypoint {text} is not a list of words")
        return tuple(words)
    return (text,) if text else ()


def restart(text: str) -> Restart:
    """`--restart`. Raises UsageError."""
    policy, colon, tries = text.partition(":")
    if policy not in ("", "no", "on-failure", "always", "unless-stopped", "never"):
        raise UsageError(f'--restart "{text}": policies are no, on-failure[:N], always, unless-stopped')
    if colon and (policy != "on-failure" or not tries.isdecimal()):
        raise UsageError(f'--restart "{text}": only on-failure takes a number of tries')
    return Restart("no" if policy in ("", "never") else policy, int(tries) if colon else 0)


def detach_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` as the bytes that are typed; b"" for no keys. Raises UsageError."""
    found = bytearray()
    for word in text.split(",") if text else ():
        if len(word) == 1 and word.isascii():
            found += word.encode()
        elif word.startswith("ctrl-") and len(word) == 6 and (word[5].isalpha() or word[5] in "@[\\]^_"):
            found.append(ord(word[5].upper()) & 0x1F)
        else:
            raise UsageError(f'--detach-keys "{text}": "{word}" is neither a character nor ctrl- and one')
    return bytes(found)


def umask(text: str) -> int:
    """An octal umask. Raises UsageError."""
    if not text or any(digit not in "01234567" for digit in text) or int(text, 8) > 0o7777:
        raise UsageError(f'--umask takes an octal number such as 0022, not "{text}"')
    return int(text, 8)


def sysctls(texts: Iterable[str], *, network: bool, ipc: bool, uts: bool) -> dict[str, str]:
    """`--sysctl`: only what belongs to a namespace the container has of its own, as told. Raises UsageError."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f'--sysctl "{text}" is not NAME=VALUE')
        if "/" in name or ".." in name:
            raise UsageError(f'--sysctl "{name}" is not the name of a kernel parameter')
        if name.startswith("net."):
            own, kind = network, "network"
        elif name in ("kernel.domainname", "kernel.hostname"):
            own, kind = uts, "UTS"
        elif name.startswith(("kernel.msg", "kernel.shm", "fs.mqueue.")) or name == "kernel.sem":
            own, kind = ipc, "IPC"
        else:
            raise UsageError(f'--sysctl "{name}" would change the whole machine: it belongs to no namespace')
        if not own:
            raise UsageError(f'--sysctl "{name}" needs a {kind} namespace of the container\'s own')
        found[name] = value
    return found
