"""`org.systemd.property.NAME` annotations: what they say a unit's property is, in GVariant text form.

As runc reads them (docs/systemd.md, "Auxiliary properties"): NAME is letters only and at least three of them, a name
ending in a lower-case letter and `Sec` becomes `…USec` with its number in microseconds. The text is GLib's "GVariant Text
Format", without maybe types and with 32 bits for an integer that does not say how many.
"""

from __future__ import annotations

from rootless.errors import InvalidDocument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREFIX = "org.systemd.property."

_KEYWORDS = {
    "boolean": "b",
    "byte": "y",
    "int16": "n",
    "uint16": "q",
    "int32": "i",
    "uint32": "u",
    "int64": "x",
    "uint64": "t",
    "double": "d",
    "string": "s",
    "objectpath": "o",
    "signature": "g",
}
_INTEGERS = {
    "y": (0, 2**8),
    "n": (-(2**15), 2**15),
    "q": (0, 2**16),
    "i": (-(2**31), 2**31),
    "u": (0, 2**32),
    "x": (-(2**63), 2**63),
    "t": (0, 2**64),
}
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_DEEPEST = 16


def properties(annotations: dict[str, str]) -> list[tuple[str, tuple[str, Any]]]:
    """The (name, (signature, value)) of every property that `annotations` sets. Raises InvalidDocument."""
    found = []
    for key, text in annotations.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        if len(name) < 3 or not (name.isascii() and name.isalpha()):
            raise InvalidDocument(f'annotation "{key}": "{name}" is not a property of systemd')
        signature, value = parse(text, key)
        if name.endswith("Sec") and name[-4].islower():
            if signature not in (*_INTEGERS, "d") or value < 0:
                raise InvalidDocument(f'annotation "{key}": {text} is not a number of seconds')
            name, signature, value = name.removesuffix("Sec") + "USec", "t", min(int(value * 1_000_000), 2**64 - 1)
        found.append((name, (signature, value)))
    return found


def parse(text: str, key: str = "value") -> tuple[str, Any]:
    """The (signature, value) that `text` is the GVariant text form of; `key` is who gets the blame in InvalidDocument."""
    reader = _Reader(text)
    try:
        tree = reader.value(0)
        if reader.next():
            raise ValueError("there is more after the value")
        signature = _guess(tree)
        return signature, _shape(tree, signature)
    except IndexError:
        why = "it ends early"
    except ValueError as error:
        why = str(error)
    except InvalidDocument as error:
        why = error.message
    raise InvalidDocument(f'annotation "{key}": {text!r} is not a value: {why}')


class _Reader:
    """Reads to a tree of (kind, content): kinds are b, s, "number" and the brackets, and "typed" for (signature, tree)."""

    __slots__ = ("_at", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def next(self) -> str:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._text[self._at : self._at + 1]

    def value(self, depth: int) -> tuple[str, Any]:
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        character = self.next()
        if character in ("'", '"') and character:
            return "s", self._string(character)
        if character == "[":
            return "[", self._sequence("[", "]", depth)
        if character == "(":
            return "(", self._sequence("(", ")", depth)
        if character == "{":
            return "{", self._entries(depth)
        if character == "<":
            self._take("<")
            inner = self.value(depth + 1)
            self._take(">")
            return "<", inner
        if character == "@":
            self._at += 1
            signature = self._word()
            return "typed", (signature, self.value(depth + 1))
        word = self._word()
        if word in ("true", "false"):
            return "b", word == "true"
        if word in _KEYWORDS:
            return "typed", (_KEYWORDS[word], self.value(depth + 1))
        return "number", word

    def _word(self) -> str:
        start = self._at
        while self._at < len(self._text) and (
            not self._text[self._at].isspace() and self._text[self._at] not in ",]>:'\"" and not self._closes(start)
        ):
            self._at += 1
        if self._at == start:
            raise ValueError(f"nothing stands where a value should, at {start}")
        return self._text[start : self._at]

    def _closes(self, start: int) -> bool:
        """Whether the bracket here belongs to what is around the word, rather than to a signature such as a(ss)."""
        character = self._text[self._at]
        if character not in ")}":
            return False
        opening = "(" if character == ")" else "{"
        word = self._text[start : self._at]
        return word.count(opening) <= word.count(character)

    def _sequence(self, opening: str, closing: str, depth: int) -> list[tuple[str, Any]]:
        self._take(opening)
        items = []
        while self.next() != closing:
            items.append(self.value(depth + 1))
            if self.next() != closing:
                self._take(",")
        self._take(closing)
        return items

    def _entries(self, depth: int) -> list[tuple[tuple[str, Any], tuple[str, Any]]]:
        self._take("{")
        entries = []
        while self.next() != "}":
            key = self.value(depth + 1)
            self._take(":")
            entries.append((key, self.value(depth + 1)))
            if self.next() != "}":
                self._take(",")
        self._take("}")
        return entries

    def _take(self, character: str) -> None:
        if self.next() != character:
            raise ValueError(f'"{character}" is missing at {self._at}')
        self._at += 1

    def _string(self, quote: str) -> str:
        self._at += 1
        parts = []
        while (character := self._text[self._at]) != quote:
            self._at += 1
            if character == "\\":
                character = self._text[self._at]
                self._at += 1
                if character in ("u", "U"):
                    digits = 4 if character == "u" else 8
                    character = chr(int(self._text[self._at : self._at + digits], 16))
                    self._at += digits
                else:
                    character = _ESCAPES.get(character, character)
            parts.append(character)
        self._at += 1
        return "".join(parts)


def _guess(tree: tuple[str, Any]) -> str:
    kind, content = tree
    if kind in ("b", "s"):
        return kind
    if kind == "typed":
        return str(content[0])
    if kind == "<":
        return "v"
    if kind == "number":
        decimal = any(mark in content for mark in ".eE") and not content.lower().lstrip("+-").startswith("0x")
        return "d" if decimal or content.lstrip("+-") in ("inf", "nan") else "i"
    if kind == "(":
        return f"({''.join(map(_guess, content))})"
    if not content:
        raise ValueError("the type of what is empty must be given, as in @as []")
    if kind == "{":
        return f"a{{{_common(key for key, _value in content)}{_common(value for _key, value in content)}}}"
    return "a" + _common(content)


def _common(trees: Any) -> str:
    """The type of things that must all have one: who says what it is decides for those who do not, as GLib has it."""
    trees = list(trees)
    said = [_guess(tree) for tree in trees if tree[0] != "number"] or sorted({_guess(tree) for tree in trees})[:1]
    return said[0]


def _shape(tree: tuple[str, Any], signature: str) -> Any:
    from rootless.dbus import split_signature

    kind, content = tree
    if len(split_signature(signature)) != 1:
        raise ValueError(f'"{signature}" is not one type')
    if kind == "typed":
        said, inner = content
        if said != signature:
            raise ValueError(f'"{said}" stands where "{signature}" should')
        return _shape(inner, said)
    if kind == "number" and signature in _INTEGERS:
        number = int(content, 0) if not content.lstrip("+-").isdecimal() else int(content)
        least, end = _INTEGERS[signature]
        if not least <= number < end:
            raise ValueError(f'{content} is beyond what "{signature}" holds')
        return number
    if kind == "number" and signature == "d":
        return float(content)
    if kind == "b" and signature == "b":
        return content
    if kind == "s" and signature in ("s", "o", "g"):
        if "\0" in content:
            raise ValueError("text has no NUL")
        if signature == "g":
            split_signature(content)
        # half of a surrogate pair is no text either, and a ValueError
        content.encode()
        return content
    if kind == "<" and signature == "v":
        inside = _guess(content)
        return inside, _shape(content, inside)
    if kind == "[" and signature[0] == "a" and signature[1] != "{":
        items = [_shape(item, signature[1:]) for item in content]
        return bytes(items) if signature == "ay" else items
    if kind == "{" and signature.startswith("a{"):
        return {_shape(key, signature[2]): _shape(value, signature[3:-1]) for key, value in content}
    if kind == "(" and signature[0] == "(":
        inner_types = split_signature(signature[1:-1])
        return tuple(_shape(item, inside) for item, inside in zip(content, inner_types, strict=True))
    raise ValueError(f'it is not "{signature}"')
