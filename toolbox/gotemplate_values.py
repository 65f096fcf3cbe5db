"""Values as Go writes them: `%v` and the other verbs of fmt, strconv's quoting, encoding/json.

A value is None, a bool, an int, a float, a string, or a list or dictionary of values. Strings are what Go has them
be, UTF-8: bytes that are no text are in them as surrogates (PEP 383). A member of a dictionary that can be called is
a method, which printing leaves out.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

WIDEST = 1_000_000
"""The largest width: as much as fmt takes."""
_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


class Unsuitable(Exception):
    """An argument that a function does not take; the message says why."""


def kind(value: Any) -> str:
    """What sort of value it is: Go's name for a simple one, else "list", "map" or "nil"."""
    if value is None:
        return "nil"
    if isinstance(value, dict):
        return "map"
    if isinstance(value, (list, tuple)):
        return "list"
    return {bool: "bool", int: "int", float: "float64"}.get(type(value), "string")


def encoded(text: str) -> bytes:
    """The bytes of a string."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # a surrogate that no byte has become
        return text.encode(errors="replace")


def members(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """What a map holds in the order of its keys, without its methods."""
    return sorted((key, member) for key, member in value.items() if not callable(member))


def text(value: Any) -> str:
    """`%v`: true, 1e+06, [a b], map[a:b c:d], <nil>."""
    return _composed(value, _plain)


def sprint(values: tuple[Any, ...]) -> str:
    """Sprint: one after the other, with a blank between two neighbours neither of which is a string."""
    parts: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            parts.append(" ")
        parts.append(text(value))
    return "".join(parts)


def sprintf(form: str, *arguments: Any) -> str:
    """Sprintf with flags, width, precision and the verbs v, s, q, d, x, X, o, b, c, t, e, f and g.

    What does not fit is shown as Go shows it: %!d(string=x), %!s(MISSING), %!(EXTRA int=1). Raises Unsuitable for a
    width that is an argument ("*"), for the number of an argument ("[1]") and for Go syntax ("%#v").
    """
    parts: list[str] = []
    left = list(arguments)
    while True:
        before, percent, form = form.partition("%")
        parts.append(before)
        if not percent:
            break
        rest = form.lstrip("+-# 0")
        flags = form[: len(form) - len(rest)]
        width, rest = _number(rest)
        precision: int | None = None
        if rest.startswith("."):
            precision, rest = _number(rest[1:])
            precision = precision or 0
        if not rest:
            parts.append("%!(NOVERB)")
            break
        verb, form = rest[0], rest[1:]
        if verb in "*[" or (verb == "v" and "#" in flags):
            raise Unsuitable(f'"%{flags}{verb}" is not supported')
        if verb == "%":
            parts.append("%")
        elif not left:
            parts.append(f"%!{verb}(MISSING)")
        else:
            parts.append(_composed(left.pop(0), _Directive(verb, flags, width or 0, precision).format))
    if left:
        parts.append(
            f"%!(EXTRA {', '.join('<nil>' if value is None else f'{kind(value)}={text(value)}' for value in left)})"
        )
    return "".join(parts)


def quote(value: str, mark: str = '"') -> str:
    """A string in quotation marks, as it would be written in a program."""
    parts = [mark]
    for character in value:
        code = ord(character)
        if character in (mark, "\\"):
            parts.append("\\" + character)
        elif character.isprintable():
            parts.append(character)
        elif character in _ESCAPES:
            parts.append(_ESCAPES[character])
        elif code < 0x20 or code == 0x7F:
            parts.append(f"\\x{code:02x}")
        elif 0xDC80 <= code <= 0xDCFF:
            parts.append(f"\\x{code - 0xDC00:02x}")
        else:
            parts.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return "".join((*parts, mark))


def json(value: Any, indent: int = 0) -> str:
    """encoding/json with "<", ">" and "&" as they are, the way docker and podman ask for it.

    Without `indent` it is one line and keys are sorted, as a map's are; with it members keep their order, as those of
    a struct do, one a line.
    """
    parts: list[str] = []
    _write_json(value, parts, "\n" if indent else "", " " * indent)
    return "".join(parts)


def _composed(value: Any, leaf: Callable[[Any], str]) -> str:
    if isinstance(value, dict):
        return f"map[{' '.join(f'{leaf(key)}:{_held(member, leaf)}' for key, member in members(value))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(_held(member, leaf) for member in value)}]"
    return leaf(value)


def _held(value: Any, leaf: Callable[[Any], str]) -> str:
    """Within a list or a map nothing is <nil> whatever the verb."""
    return "<nil>" if value is None else _composed(value, leaf)


def _plain(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _float(value, range(-4, 6)) if isinstance(value, float) else str(value)


def _float(value: float, plain: range) -> str:
    """The fewest digits that are this number, with an exponent unless that would be in `plain`."""
    if value != value:  # noqa: PLR0124 - only NaN does not equal itself
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return f"{value:+}".replace("inf", "Inf")
    digits = next(count for count in range(17) if float(f"{value:.{count}e}") == value)
    scientific = f"{value:.{digits}e}"
    mantissa, _e, exponent = scientific.partition("e")
    if int(exponent) not in plain:
        return scientific
    if int(exponent) > digits:
        return mantissa.replace(".", "") + "0" * (int(exponent) - digits)
    return f"{value:.{digits - int(exponent)}f}"


def _number(form: str) -> tuple[int | None, str]:
    rest = form.lstrip("0123456789")
    digits = form[: len(form) - len(rest)]
    if len(digits) > 7 or int(digits or 0) > WIDEST:
        return None, ""
    return (int(digits) if digits else None), rest


class _Directive:
    """One `%` of a printf."""

    def __init__(self, verb: str, flags: str, width: int, precision: int | None) -> None:
        self._verb = verb
        self._flags = flags
        self._width = width
        self._precision = precision
        self._sign = "+" if "+" in flags and verb != "v" else " " if " " in flags else ""
        self._zeros = "0" in flags and "-" not in flags

    def format(self, value: Any) -> str:
        made = self._made(value)
        if made is None:
            if value is None:
                return f"%!{self._verb}(<nil>)"
            plain = _Directive("v", self._flags, self._width, self._precision)
            plain._sign = self._sign
            return f"%!{self._verb}({kind(value)}={plain.format(value)})"
        if "-" in self._flags:
            return made.ljust(self._width)
        numeric = kind(value) in ("int", "float64")  # whose zeros come after the sign
        return made.rjust(self._width, "0" if self._zeros and not numeric else " ")

    def _made(self, value: Any) -> str | None:
        """The value without padding; None where the verb does not suit it."""
        if self._verb == "v" and (value is None or isinstance(value, bool)):
            return _plain(value)
        if isinstance(value, bool):
            return _plain(value) if self._verb == "t" else None
        if isinstance(value, int):
            return self._integer(value)
        if isinstance(value, float):
            return self._float(value)
        return None if value is None else self._string(value)

    def _integer(self, value: int) -> str | None:
        if self._verb in "cq":
            character = chr(value) if 0 <= value <= 0x10FFFF else "\ufffd"
            return character if self._verb == "c" else quote(character, "'")
        if self._verb not in "vdxXob":
            return None
        digits = format(abs(value), self._verb.replace("v", "d"))
        if self._precision is not None:
            digits = digits.zfill(self._precision) if value or self._precision else ""
        elif self._zeros:
            digits = digits.zfill(self._width - bool(value < 0 or self._sign))
        prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(self._verb, "") if "#" in self._flags else ""
        return ("-" if value < 0 else self._sign if digits else "") + prefix + digits

    def _float(self, value: float) -> str | None:
        if self._verb not in "vgGeEfF":
            return None
        if self._verb in "vgG" and self._precision is None:
            digits = _plain(value).lstrip("+-")
            digits = digits.upper() if self._verb == "G" else digits
        else:
            verb = self._verb.replace("v", "g")
            digits = format(abs(value), f".{6 if self._precision is None else self._precision}{verb}")
        sign = "-" if value < 0 else self._sign
        return sign + (digits.zfill(self._width - len(sign)) if self._zeros else digits)

    def _string(self, value: str) -> str | None:
        if self._verb in "xX":
            digits = encoded(value)[: self._precision].hex(*" " * (" " in self._flags))
            digits = f"0x{digits}" if "#" in self._flags and digits else digits
            return digits.upper() if self._verb == "X" else digits
        if self._verb not in "vsq":
            return None
        value = value[: self._precision]
        return quote(value) if self._verb == "q" else value


_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x20), 0x2028, 0x2029)}
_JSON_ESCAPES |= {ord(character): escape for character, escape in _ESCAPES.items() if character not in "\a\v"}
_JSON_ESCAPES |= {ord('"'): '\\"', ord("\\"): "\\\\"}


def _write_json(value: Any, parts: list[str], line: str, indent: str) -> None:
    if value is None:
        parts.append("null")
    elif isinstance(value, str):
        parts.append(_json_string(value))
    elif isinstance(value, dict):
        kept = [item for item in value.items() if not callable(item[1])] if line else members(value)
        separator = '": ' if line else '":'
        _write_items(
            "{", [(_json_string(key)[:-1] + separator, member) for key, member in kept], "}", parts, line, indent
        )
    elif isinstance(value, (list, tuple)):
        _write_items("[", [("", member) for member in value], "]", parts, line, indent)
    elif isinstance(value, float):
        parts.append(_float(value, range(-6, 21)).replace("e-0", "e-"))
    else:
        parts.append(_plain(value))


def _write_items(
    opening: str, items: list[tuple[str, Any]], closing: str, parts: list[str], line: str, indent: str
) -> None:
    inner = line + indent
    parts.append(opening)
    for index, (key, member) in enumerate(items):
        parts.append(f"{',' if index else ''}{inner}{key}")
        _write_json(member, parts, inner, indent)
    parts.append((line if items else "") + closing)


def _json_string(value: str) -> str:
    escaped = value.translate(_JSON_ESCAPES)
    if not escaped.isascii():
        escaped = "".join("\\ufffd" if "\ud800" <= character <= "\udfff" else character for character in escaped)
    return f'"{escaped}"'
