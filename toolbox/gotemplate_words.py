"""The words of Go's text/template: text and actions, and what the quoted strings and numbers in them mean."""

from __future__ import annotations

from rootless.errors import UsageError
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BLANKS = (" ", "\t", "\r", "\n")
_MARKS = ("(", ")", "|", ",", ":=", "=", "}}")
_QUOTED = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}
_CODES = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}
_DIGITS = tuple("0123456789")
_INTEGERS = range(-(1 << 63), 1 << 63)
_LONGEST_SHOWN = 40


def failure(text: str, end: int, why: str, *, hint: str | None = None) -> UsageError:
    """What is wrong with a template whose offending word ends at `end`."""
    shown = text[max(text.rfind("{{", 0, end), 0) : end]
    if len(shown) > _LONGEST_SHOWN:
        shown = "…" + shown[-_LONGEST_SHOWN:]
    return UsageError(f"template: {why}, at {shown}", hint=hint)


@record
class Token:
    """A word of an action: its kind is "field", "variable", "word", "number", "string", "." or one of the marks."""

    kind: str
    text: str
    start: int
    end: int


def pieces(text: str, plain: Callable[[str], str]) -> list[str | list[Token]]:
    """The text between actions, trimmed, and the words of every action with "}}" as the last."""
    pieces: list[str | list[Token]] = []
    at, trim = 0, False
    while True:
        opening = text.find("{{", at)
        between = plain(text[at:] if opening < 0 else text[at:opening])
        if trim:
            between = between.lstrip("".join(_BLANKS))
        at = opening + 2
        if opening >= 0 and text[at : at + 1] == "-" and text[at + 1 : at + 2] in _BLANKS:
            between = between.rstrip("".join(_BLANKS))
            at += 2
        if between:
            pieces.append(between)
        if opening < 0:
            return pieces
        if text.startswith("/*", at):
            at, closing = _comment_end(text, at)
        else:
            tokens = _tokens(text, at)
            pieces.append(tokens)
            at, closing = tokens[-1].start, len(tokens[-1].text)
        at += closing
        trim = closing > 2


def _closing(text: str, at: int) -> int:
    """How long the "}}" or " -}}" is that is there; 0 for none."""
    if text.startswith("}}", at):
        return 2
    return 4 if text[at : at + 1] in _BLANKS and text.startswith("-}}", at + 1) else 0


def _comment_end(text: str, at: int) -> tuple[int, int]:
    end = text.find("*/", at + 2)
    if end < 0:
        raise failure(text, len(text), "unclosed comment")
    if not _closing(text, end + 2):
        raise failure(text, end + 2, "comment ends before closing delimiter")
    return end + 2, _closing(text, end + 2)


def _tokens(text: str, at: int) -> list[Token]:
    tokens: list[Token] = []
    while not _closing(text, at):
        if at >= len(text):
            raise failure(text, at, "unclosed action")
        if text[at] in _BLANKS:
            at += 1
            continue
        kind, end = _token(text, at)
        tokens.append(Token(kind, text[at:end], at, end))
        at = end
    return [*tokens, Token("}}", text[at : at + _closing(text, at)], at, at + _closing(text, at))]


def _token(text: str, at: int) -> tuple[str, int]:
    """What sort of word begins here, and where it ends."""
    character, following = text[at], text[at + 1 : at + 2]
    if character in "\"'`":
        return ("number" if character == "'" else "string"), _quotation_end(text, at)
    for mark in _MARKS:
        if text.startswith(mark, at):
            return mark, at + len(mark)
    if character in (*_DIGITS, "+", "-") or (character == "." and following in _DIGITS):
        end = at + 1
        while (
            _is_word(text[end : end + 1])
            or text[end : end + 1] == "."
            or text[end - 1 : end + 1].lower() in ("e-", "e+")
        ):
            end += 1
        return "number", end
    if character in ".$":
        end = _word_end(text, at + 1)
        return ("variable" if character == "$" else "field" if end > at + 1 else "."), end
    if _is_word(character):
        return "word", _word_end(text, at)
    raise failure(text, at + 1, f'unexpected "{character}"')


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _word_end(text: str, at: int) -> int:
    while _is_word(text[at : at + 1]):
        at += 1
    return at


def _quotation_end(text: str, start: int) -> int:
    mark, at = text[start], start + 1
    while at < len(text) and (text[at] != "\n" or mark == "`"):
        if text[at] == mark:
            return at + 1
        at += 2 if text[at] == "\\" and mark != "`" else 1
    raise failure(text, min(at, len(text)), "unterminated quoted string")


def unquoted(token: str) -> str:
    """What a quoted string means. Raises ValueError."""
    if token.startswith("`"):
        return token[1:-1].replace("\r", "")
    parts = token[1:-1].split("\\")
    made = bytearray(parts[0].encode(errors="surrogateescape"))
    rest = iter(parts[1:])
    for part in rest:
        if not part:  # a backslash that is itself escaped
            made += b"\\" + next(rest, "").encode(errors="surrogateescape")
            continue
        code, length = _escape(part)
        made += code + part[length:].encode(errors="surrogateescape")
    return made.decode(errors="surrogateescape")


def _escape(part: str) -> tuple[bytes, int]:
    """The bytes that an escape means, and its length without the backslash. Raises ValueError."""
    if part[0] in _QUOTED:
        return bytes([_QUOTED[part[0]]]), 1
    digits, base = _CODES.get(part[0], (3, 8))
    start = int(part[0] in _CODES)
    number = part[start : start + digits]
    if len(number) != digits or not number.isalnum():
        raise ValueError(part)
    code = int(number, base)
    return (chr(code).encode() if part[0] in "uU" else bytes([code])), start + digits


def number(token: str) -> float:
    """What a number or a 'c'haracter means. Raises ValueError."""
    if token.startswith("'"):
        character = unquoted(token)
        if len(character) != 1:
            raise ValueError(token)
        return ord(character)
    digits = token.lstrip("+-")
    if digits.replace("_", "").isdigit() and token.isascii():
        number = int(token, 8 if digits.startswith("0") else 10)
    elif digits[:2].lower() in ("0x", "0o", "0b"):
        number = int(token, 0)
    elif digits.startswith((*_DIGITS, ".")) and "_" not in digits:
        return float(token)
    else:
        raise ValueError(token)
    if number not in _INTEGERS:
        raise ValueError(token)
    return number
