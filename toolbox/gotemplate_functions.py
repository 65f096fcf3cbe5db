"""The functions of Go templates (text/template, and what docker and podman add), and how Go prints values."""

from __future__ import annotations

from toolbox.gotemplate import MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def truth(value: Any) -> bool:
    """Whether Go takes the value for true: not false, zero, nil or empty."""
    return bool(value)


def shown(value: Any) -> str:
    """The value as `{{value}}` prints it."""
    return "<no value>" if value is MISSING or value is None else plain(value)


def plain(value: Any) -> str:
    """The value as Go's %v prints it."""
    if value is MISSING or value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _general(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{plain(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(plain, value)) + "]"
    return str(value)


def _general(value: float) -> str:
    """Go's %v of a float: the shortest that reads back, with an exponent from 1e21 on."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:].zfill(2)}" if e else text


def json(value: Any) -> str:
    """As Go's encoding/json writes it: compact, maps sorted, HTML's signs escaped."""
    if value is MISSING or value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _general(value)
    if isinstance(value, str):
        return _json_string(value)
    if isinstance(value, dict):
        # A struct keeps the order of its fields, a map is sorted; ours are structs above and maps of strings below.
        items = value.items() if any(not isinstance(item, str) for item in value.values()) else sorted(value.items())
        return "{" + ",".join(f"{_json_string(str(key))}:{json(item)}" for key, item in items) + "}"
    return "[" + ",".join(map(json, value)) + "]"


def _json_string(text: str) -> str:
    from rootless import json_text

    quoted = json_text.dump(text)
    if not quoted.isascii() or "\\u" in quoted:
        quoted = _unescaped(quoted)
    for sign in "<>&":
        quoted = quoted.replace(sign, f"\\u{ord(sign):04x}")
    return quoted


def _unescaped(quoted: str) -> str:
    """Without the escapes that Python makes for what is not ASCII and Go leaves as it is."""
    import json as standard

    text = standard.dumps(standard.loads(quoted), ensure_ascii=False)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, MISSING if all(not isinstance(item, str) for item in value.values()) else "")
        elif value is None or value is MISSING:
            raise ValueError("index of untyped nil")
        else:
            if not isinstance(key, int) or not 0 <= key < len(value):
                raise IndexError(f"index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
    return value


def _slice(value: Any, *bounds: int) -> Any:
    first = bounds[0] if bounds else 0
    last = bounds[1] if len(bounds) > 1 else len(value)
    if not 0 <= first <= last <= len(value):
        raise IndexError(f"slice bounds out of range: {first}:{last}")
    return value[first:last]


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    for other in others:
        if isinstance(first, str) != isinstance(other, str) and first is not MISSING and other is not MISSING:
            raise ValueError("incompatible types for comparison")
    return any(first == other for other in others)


def _printf(form: str, *values: Any) -> str:
    out: list[str] = []
    left = list(values)
    at = 0
    while at < len(form):
        if form[at] != "%":
            out.append(form[at])
            at += 1
            continue
        end = at + 1
        while end < len(form) and form[end] in "+-# 0123456789.":
            end += 1
        verb = form[end : end + 1]
        if verb == "%":
            out.append("%")
        elif not left:
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_formatted(form[at + 1 : end], verb, left.pop(0)))
        at = end + 1
    if left:
        out.append("%!(EXTRA " + ", ".join(f"{_type(value)}={plain(value)}" for value in left) + ")")
    return "".join(out)


def _formatted(flags: str, verb: str, value: Any) -> str:
    width = flags.lstrip("+-# 0").partition(".")
    left = "-" in flags.partition(".")[0]
    zero = flags.lstrip("+-# ").startswith("0") and not left
    precision = int(width[2] or 0) if width[1] else None
    if verb in ("s", "v") and not (verb == "s" and isinstance(value, (int, float)) and not isinstance(value, bool)):
        text = plain(value) if precision is None or verb == "v" else plain(value)[:precision]
    elif verb == "q" and isinstance(value, str):
        text = _json_string(value).replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&")
    elif verb in ("d", "x", "X", "o", "b", "c") and isinstance(value, int) and not isinstance(value, bool):
        text = chr(value) if verb == "c" else format(value, "+" * ("+" in flags) + verb)
    elif verb in ("x", "X") and isinstance(value, str):
        text = format(int.from_bytes(value.encode(), "big"), verb).zfill(2 * len(value.encode())) if value else ""
    elif verb in ("f", "e", "g", "F", "E", "G") and isinstance(value, float):
        text = (
            format(value, f"{'+' * ('+' in flags)}.{6 if precision is None else precision}{verb}")
            if verb != "g" or precision is not None
            else plain(value)
        )
    elif verb == "t" and isinstance(value, bool):
        text = plain(value)
    elif verb == "T":
        text = _type(value)
    else:
        return f"%!{verb}({_type(value)}={plain(value)})"
    size = int(width[0] or 0)
    if zero and not isinstance(value, str):
        return text.zfill(size)
    return text.ljust(size) if left else text.rjust(size)


def _type(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string", list: "[]string", dict: "map[string]string"}
    return names.get(type(value), "<nil>")


def _print(*values: Any) -> str:
    """A blank between two values neither of which is a string (fmt.Sprint)."""
    out = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out += " "
        out += plain(value)
    return out


def _html(*values: Any) -> str:
    text = _print(*values)
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(sign, entity)
    return text


def _query(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_print(*values))


def _javascript(*values: Any) -> str:
    text = _print(*values).replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"').replace("\n", "\\u000A")
    for sign in "<>&=":
        text = text.replace(sign, f"\\u{ord(sign):04X}")
    return text


def _truncate(text: str, length: int) -> str:
    return text[:length]


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": _equal,
    "ge": lambda first, second: first >= second,
    "gt": lambda first, second: first > second,
    "html": _html,
    "index": _index,
    "join": lambda values, separator: separator.join(map(plain, values or ())),
    "js": _javascript,
    "json": json,
    "le": lambda first, second: first <= second,
    "len": len,
    "lower": lambda text: text.lower(),
    "lt": lambda first, second: first < second,
    "ne": lambda first, second: not _equal(first, second),
    "not": lambda value: not truth(value),
    "pad": _pad,
    "print": _print,
    "printf": _printf,
    "println": lambda *values: " ".join(map(plain, values)) + "\n",
    "slice": _slice,
    "split": lambda text, separator: text.split(separator),
    "title": lambda text: " ".join(word[:1].upper() + word[1:] for word in text.split(" ")),
    "truncate": _truncate,
    "upper": lambda text: text.upper(),
    "urlquery": _query,
}
