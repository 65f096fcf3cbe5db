"""The functions of Go's text/template, and those that docker and podman add to them."""

from __future__ import annotations

from toolbox import gotemplate_values as values
from toolbox.gotemplate_values import Unsuitable, encoded, kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def truth(value: Any) -> bool:
    """What `if` makes of a value: 0, "", an empty list or map and nothing are false."""
    return bool(value)


def _index(item: Any, *keys: Any) -> Any:
    if item is None:
        raise Unsuitable("index of untyped nil")
    for key in keys:
        if isinstance(item, dict):
            if not isinstance(key, str):
                raise Unsuitable(f"a map has no key of type {kind(key)}")
            item = item[key] if key in item else _zero(item)
        elif isinstance(item, (list, tuple, str)):
            held = encoded(item) if isinstance(item, str) else item
            item = held[_position(key, len(held) - 1)]
        else:
            raise Unsuitable(f"can't index item of type {kind(item)}")
    return item


def _zero(item: dict[str, Any]) -> str | None:
    """What a map has for a key that is not in it. One of strings only, such as labels, has "" as map[string]string."""
    return "" if all(isinstance(member, str) for member in item.values()) else None


def _slice(item: Any, *bounds: Any) -> Any:
    if not isinstance(item, (list, tuple, str)):
        raise Unsuitable(f"can't slice item of type {kind(item)}")
    if len(bounds) > (2 if isinstance(item, str) else 3):
        raise Unsuitable(f"too many slice indexes: {len(bounds)}")
    held = encoded(item) if isinstance(item, str) else item
    start, end, *limit = [*(_position(bound, len(held)) for bound in bounds), *(0, len(held))[len(bounds) :]]
    if not start <= end <= (limit or [end])[0]:
        raise Unsuitable(f"invalid slice index: {start} > {end}")
    cut = held[start:end]
    return cut.decode(errors="surrogateescape") if isinstance(cut, bytes) else cut


def _position(key: Any, last: int) -> int:
    if kind(key) != "int":
        raise Unsuitable(f"cannot index slice/array with type {kind(key)}")
    if not 0 <= key <= last:
        raise Unsuitable(f"index out of range: {key}")
    return int(key)


def _length(item: Any) -> int:
    if not isinstance(item, (list, tuple, dict, str)):
        raise Unsuitable(f"len of type {kind(item)}")
    return len(encoded(item) if isinstance(item, str) else item)


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise Unsuitable("missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(first: Any, second: Any) -> bool:
    if first is None or second is None:
        return first is second
    if kind(first) != kind(second):
        raise Unsuitable(f"incompatible types for comparison: {kind(first)} and {kind(second)}")
    if kind(first) in ("list", "map"):
        raise Unsuitable(f"non-comparable type {kind(first)}")
    return bool(first == second)


def _less(first: Any, second: Any) -> bool:
    for value in (first, second):
        if kind(value) in ("nil", "list", "map"):
            raise Unsuitable(f"invalid type for comparison: {kind(value)}")
    if kind(first) != kind(second):
        raise Unsuitable(f"incompatible types for comparison: {kind(first)} and {kind(second)}")
    if isinstance(first, bool):
        raise Unsuitable("invalid type for comparison: bool")
    return bool(first < second)


def _less_or_equal(first: Any, second: Any) -> bool:
    return _less(first, second) or _same(first, second)


def _join(items: Any, separator: str) -> str:
    if not all(isinstance(item, str) for item in items):
        raise Unsuitable("the list has more than strings in it")
    return separator.join(items)


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _pad(text: str, before: int, after: int) -> str:
    _not_negative(before, after)
    return " " * before + text + " " * after if text else ""


def _truncate(text: str, length: int) -> str:
    _not_negative(length)
    return encoded(text)[:length].decode(errors="surrogateescape")


def _not_negative(*counts: int) -> None:
    for count in counts:
        if not 0 <= count <= values.WIDEST:
            raise Unsuitable(f"{count} is not a number of characters")


def _each(change: Callable[[str], str], text: str) -> str:
    """Every character on its own, as Go maps them: what would become several stays as it is."""
    return "".join(changed if len(changed := change(character)) == 1 else character for character in text)


def _title(text: str) -> str:
    return "".join(
        _each(str.title, character) if _separates(before) else character
        for before, character in zip(" " + text, text, strict=False)
    )


def _separates(character: str) -> bool:
    if character.isascii():
        return not (character.isalnum() or character == "_")
    return character.isspace()


def _printed(arguments: tuple[Any, ...]) -> str:
    return values.sprint(tuple("<no value>" if argument is None else argument for argument in arguments))


def _html(*arguments: Any) -> str:
    escapes: dict[str, str | int | None] = {
        '"': "&#34;",
        "'": "&#39;",
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "\0": "\ufffd",
    }
    return _printed(arguments).translate(str.maketrans(escapes))


def _js(*arguments: Any) -> str:
    escapes = {"\\": "\\\\", "'": "\\'", '"': '\\"'}
    return "".join(
        escapes[character]
        if character in escapes
        else f"\\u{ord(character):04X}"
        if character in "<>&=" or not (character.isprintable() or character == "\x7f")
        else character
        for character in _printed(arguments)
    )


def _urlquery(*arguments: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(encoded(_printed(arguments)))


FUNCTIONS: dict[str, tuple[Callable[..., Any], str]] = {
    "eq": (_equal, "v*"),
    "ne": (lambda first, second: not _same(first, second), "vv"),
    "lt": (_less, "vv"),
    "le": (_less_or_equal, "vv"),
    "gt": (lambda first, second: not _less_or_equal(first, second), "vv"),
    "ge": (lambda first, second: not _less(first, second), "vv"),
    "not": (lambda value: not truth(value), "v"),
    "len": (_length, "v"),
    "index": (_index, "v*"),
    "slice": (_slice, "v*"),
    "print": (lambda *arguments: values.sprint(arguments), "*"),
    "println": (lambda *arguments: " ".join(map(values.text, arguments)) + "\n", "*"),
    "printf": (values.sprintf, "s*"),
    "html": (_html, "*"),
    "js": (_js, "*"),
    "urlquery": (_urlquery, "*"),
    "json": (values.json, "v"),
    "split": (_split, "ss"),
    "join": (_join, "ls"),
    "title": (_title, "s"),
    "lower": (lambda text: _each(str.lower, text), "s"),
    "upper": (lambda text: _each(str.upper, text), "s"),
    "pad": (_pad, "sii"),
    "truncate": (_truncate, "si"),
}
"""What a function does, and what it takes: a (v)alue of any kind, (s)tring, (i)nteger or (l)ist; `*`: more values.

A function raises Unsuitable, saying what it did not like. `and` and `or`, which leave arguments alone once they know
the answer, are in `gotemplate.Evaluation`.
"""
LAZY = ("and", "or")
KINDS = {"s": "string", "i": "int", "l": "list"}
