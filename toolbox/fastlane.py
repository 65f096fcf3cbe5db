"""The fast lane: a command line read with the generated table, in microseconds where Typer takes a sixth of a second.

It gives up (None) on whatever it is not sure of: an unknown option, a missing value, `--help`. Typer then reads the same
words and owns every message, so this module can only be fast or absent. A test holds the two to one another.
"""

from __future__ import annotations

from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox._table import Command


def split(command: Command, arguments: list[str]) -> tuple[list[str], list[str] | None]:
    """The arguments before `--` and those after it, for a command that takes what follows `--` as it is; else all, None."""
    if command[2] and "--" in arguments:
        dashes = arguments.index("--")
        return arguments[:dashes], arguments[dashes + 1 :]
    return arguments, None


def parse(command: Command, arguments: list[str]) -> dict[str, object] | None:
    """The keyword arguments that `arguments` give the command's function, or None. Raises UsageError for an empty name."""
    _summary, ends_options, _after_dashes, positional, options = command
    given: dict[str, object] = {}
    words: list[str] = []
    remaining = list(reversed(arguments))
    while remaining:
        word = remaining.pop()
        if word == "--":
            words += reversed(remaining)
            break
        if len(word) > 1 and word[0] == "-":
            if not _option(word, remaining, options, given):
                return None
            continue
        words.append(word)
        if ends_options:
            words += reversed(remaining)
            break
    return given if _assign(words, positional, given) else None


def _option(word: str, remaining: list[str], options: dict[str, tuple[str, str]], given: dict[str, object]) -> bool:
    """Take an option, and its value from the word itself or from those that remain; False if anything is odd."""
    if word[1] == "-":
        name, equals, value = word.partition("=")
        return _take(options.get(name), value if equals else None, remaining, given)
    for at in range(1, len(word)):
        option = options.get("-" + word[at])
        if option is not None and option[1] != "flag":
            attached = word[at + 1 :]
            return _take(option, attached or None, remaining, given)
        if not _take(option, None, remaining, given):
            return False
    return True


def _take(option: tuple[str, str] | None, value: str | None, remaining: list[str], given: dict[str, object]) -> bool:
    if option is None:
        return False
    name, kind = option
    if kind == "flag":
        given[name] = True
        return value is None
    if value is None:
        if not remaining:
            return False
        value = remaining.pop()
    if kind == "texts":
        values = given.setdefault(name, [])
        if isinstance(values, list):
            values.append(value)
        return True
    if kind == "number":
        if not value.isascii() or not value.isdecimal():
            return False
        given[name] = int(value)
        return True
    given[name] = value
    return kind == "text"


def _assign(words: list[str], positional: tuple[tuple[str, str], ...], given: dict[str, object]) -> bool:
    """Give the words to the positional parameters, in order; False if there are too few or too many."""
    at = 0
    for name, kind in positional:
        if kind in ("many", "some"):
            if at < len(words):
                given[name] = words[at:]
            elif kind == "some":
                return False
            at = len(words)
        elif at < len(words):
            if not words[at]:
                raise UsageError("a name is empty")
            given[name] = words[at]
            at += 1
        elif kind == "one":
            return False
    return at == len(words)
