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


_YES, _NO = ("true", "1", "t", "T", "TRUE", "True"), ("false", "0", "f", "F", "FALSE", "False")


def normal(command: Command, arguments: list[str]) -> list[str]:
    """The same command line as Typer has it: Go's `--flag=true` and `--flag=false` become the flag and nothing, and an
    option that is on by default (kind switch) gets its value from the word itself, `--switch` being `--switch=true`.
    """
    options = command[4]
    if not any(word[:1] == "-" for word in arguments):
        return arguments
    made: list[str] = []
    remaining = list(reversed(arguments))
    while remaining:
        word = remaining.pop()
        if word == "--" or (command[1] and not word.startswith("-")):
            made.append(word)
            break
        name, equals, value = word.partition("=")
        kind = options.get(name, ("", ""))[1] if word[:2] == "--" else ""
        if kind == "flag" and equals and value in _NO:
            continue
        if (kind == "flag" and equals and value in _YES) or (kind == "switch" and not equals):
            made.append(name if kind == "flag" else f"{name}=true")
            continue
        made.append(word)
        if word[:1] == "-" and not equals and remaining and _waits(word, options):
            made.append(remaining.pop())
    return made + remaining[::-1]


def _waits(word: str, options: dict[str, tuple[str, str]]) -> bool:
    """Whether the option's value is the next word."""
    if word[1:2] == "-":
        return options.get(word, ("", "flag"))[1] not in ("flag", "switch")
    for at in range(1, len(word)):
        kind = options.get("-" + word[at], ("", "flag"))[1]
        if kind != "flag":
            return at == len(word) - 1
    return False


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
    return kind in ("text", "switch")


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
