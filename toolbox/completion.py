"""`ptb __complete WORD…`: what the shell offers for the last word; the scripts in completions/ ask on every TAB.

One candidate a line, with its description behind a tab. The last line is what else the shell should offer: `:nothing`,
`:files`, `:directories` or `:commands`.
"""

from __future__ import annotations

from rootless import system as os
from toolbox._table import COMMANDS, COMPLETES
from toolbox.catalogue import ALIASES, GROUPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def show(words: list[str]) -> int:
    """Print the candidates for the last of the words that follow `ptb`, and what else to offer."""
    found, otherwise = _candidates(words or [""])
    given = set(words[:-1])
    for value, description in found:
        if value.startswith(words[-1] if words else "") and value not in given:
            print(f"{value}\t{description}")
    print(f":{otherwise}")
    return 0


def _candidates(words: list[str]) -> tuple[list[tuple[str, str]], str]:
    if len(words) == 1:
        return [
            *_commands(""),
            *GROUPS.items(),
            *((alias, f"the same as {name}") for alias, name in ALIASES.items()),
        ], "nothing"
    name, rest = ALIASES.get(words[0], words[0]), words[1:]
    if name in GROUPS:
        if len(rest) == 1:
            return _commands(f"{name} "), "nothing"
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name not in COMMANDS:
        return [], "nothing"
    return _of_command(name, rest[:-1], rest[-1])


def _commands(prefix: str) -> list[tuple[str, str]]:
    """The commands of a group, or those of none."""
    return [
        (name.removeprefix(prefix), description)
        for name, (description, *_rest) in COMMANDS.items()
        if name.startswith(prefix) and " " not in name.removeprefix(prefix)
    ]


def _of_command(name: str, before: list[str], word: str) -> tuple[list[tuple[str, str]], str]:
    _summary, ends_options, after_dashes, positional, options = COMMANDS[name]
    count, waiting = 0, ""
    for place, earlier in enumerate(before):
        if waiting:
            waiting = ""
        elif earlier == "--" or (ends_options and not earlier.startswith("-")):
            if after_dashes or ends_options:
                return [], "commands" if place == len(before) - 1 and earlier == "--" else "files"
            count += len(before) - place - 1
            break
        elif earlier.startswith("-"):
            parameter, kind = options.get(earlier, ("", "flag"))
            waiting = parameter if kind != "flag" else ""
        else:
            count += 1
    if waiting:
        return _values(name, waiting, "")
    if word.startswith("--") and "=" in word:
        option = word.partition("=")[0]
        return _values(name, options.get(option, ("", ""))[0], f"{option}=")
    if word.startswith("-"):
        return [(option, "") for option in [*options, "--help"] if option.startswith("--")], "nothing"
    if not positional or (count >= len(positional) and positional[-1][1] not in ("many", "some")):
        return [], "nothing"
    return _values(name, positional[min(count, len(positional) - 1)][0], "")


def _values(name: str, parameter: str, prefix: str) -> tuple[list[tuple[str, str]], str]:
    """What a parameter may be, each behind `prefix`."""
    kind, words = COMPLETES.get(name, {}).get(parameter, ("", ()))
    if kind in ("files", "directories", "commands"):
        return [], kind
    found = [(word, "") for word in words]
    if kind in ("boxes", "targets", "removable"):
        found += _boxes()
    if kind in ("containers", "removable", "exec", "inspectable", "container_paths"):
        found += _containers()
    if kind in ("volumes", "inspectable"):
        found += _volumes()
    if kind == "secrets":
        found += [(secret, "secret") for secret in _secrets()]
    if kind == "signals":
        found += [(signal, "") for signal in _SIGNALS]
    if kind == "capabilities":
        found += _capabilities()
    if kind in ("images", "targets", "inspectable"):
        found += _images()
    if kind == "targets" and "host" not in dict(found):
        found.append(("host", "this machine's own root file system"))
    return [(prefix + value, description) for value, description in found], "nothing"


_SIGNALS = ("HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "WINCH")


def _containers() -> Iterator[tuple[str, str]]:
    from toolbox.containers import store

    for container in store.everything():
        yield container.name, f"{store.status(container).state} · {container.image}"


def _volumes() -> Iterator[tuple[str, str]]:
    from toolbox.containers import volumes

    for volume in volumes.everything():
        yield volume.name, "volume"


def _secrets() -> list[str]:
    from toolbox.containers import secrets

    return secrets.names()


def _capabilities() -> list[tuple[str, str]]:
    from rootless import capabilities

    return [(name, "") for name in ("ALL", *capabilities.NAMES)]


def _boxes() -> Iterator[tuple[str, str]]:
    from toolbox.boxes import store

    for name in store.names():
        summary = store.summary_of(name)
        running = store.running(name)
        if running is not None:
            os.close(running[1])
        if summary is not None:
            yield name, f"{'running' if running is not None else 'stopped'} · {summary[2]}"


def _images() -> Iterator[tuple[str, str]]:
    from fuse_overlay import layout
    from toolbox import paths

    for name, _digest in sorted(layout.names(paths.data_home())):
        yield name, "image"
