"""JSON in and out for the start path: the interpreter's own C scanner without the `json` module around it.

Importing `json` costs 6 ms, all of it for the regular expressions of its pure Python fall-back. The scanner and the
string encoder that it uses are in `_json`; where an interpreter has no `_json`, the real module answers.
"""

from __future__ import annotations

from rootless.errors import InvalidDocument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Context:
    """The settings of json.JSONDecoder, as the scanner reads them."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012

    @staticmethod
    def parse_constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")


_BLANK = " \t\n\r"


def parse(text: str, name: str) -> Any:
    """The value that `text` says (RFC 8259). Raises InvalidDocument naming the document."""
    try:
        from _json import make_scanner
    except ImportError:
        from json import loads

        try:
            return loads(text)
        except ValueError as error:
            raise InvalidDocument(f"{name} is not JSON: {error}") from None
    start = len(text) - len(text.lstrip(_BLANK))
    try:
        value, end = make_scanner(_Context())(text, start)  # type: ignore[arg-type]
    except StopIteration:
        raise InvalidDocument(f"{name} is not JSON: nothing where a value should be") from None
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"{name} is not JSON: {error}") from None
    if text[end:].strip(_BLANK):
        raise InvalidDocument(f"{name} is not JSON: line {text.count(chr(10), 0, end) + 1}: more after the value")
    return value


def dump(value: object) -> str:
    """`value` on one line; mappings keep their order."""
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts)


def _write(value: object, parts: list[str]) -> None:
    if isinstance(value, str):
        parts.append(_quote(value))
    elif value is None or value is True or value is False:
        parts.append({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, (int, float)):
        parts.append(repr(value))
    elif isinstance(value, dict):
        parts.append("{")
        for index, (key, member) in enumerate(value.items()):
            parts.append(f"{', ' if index else ''}{_quote(str(key))}: ")
            _write(member, parts)
        parts.append("}")
    elif isinstance(value, (list, tuple)):
        parts.append("[")
        for index, member in enumerate(value):
            if index:
                parts.append(", ")
            _write(member, parts)
        parts.append("]")
    else:
        raise TypeError(f"not JSON: {value!r}")


def _quote(text: str) -> str:
    try:
        from _json import encode_basestring_ascii
    except ImportError:
        from json import dumps

        return dumps(text)
    quoted: str = encode_basestring_ascii(text)
    return quoted
