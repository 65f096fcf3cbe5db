"""Go templates for `--format`: the part of text/template that docker's and podman's users write, with the same output.

Text with actions in `{{ }}`: fields, variables, pipelines, `if`, `range` and `with` with `else`, comments, trimming, and
the functions in `gotemplate_functions`. Values are what JSON has: dicts stand for structs and maps alike.
"""

from __future__ import annotations

from rootless.errors import UsageError
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@record
class Node:
    """A piece of a template. `kind` is text, show, assign, if, range or with; `body` and `otherwise` are lists of nodes."""

    kind: str
    text: str = ""
    pipeline: Any = None
    names: tuple[str, ...] = ()
    declares: bool = False
    body: tuple[Any, ...] = ()
    otherwise: tuple[Any, ...] = ()


@record
class Template:
    """A parsed template."""

    source: str
    nodes: tuple[Node, ...]


class Missing:
    """What a map has under a key it does not have: prints as `<no value>`, counts as false."""

    def __bool__(self) -> bool:
        return False


MISSING = Missing()


def parse(text: str) -> Template:
    """Read a template. Raises UsageError saying what is wrong in it."""
    pieces = _Pieces(_split(text), text)
    nodes, end = _nodes(pieces, ())
    if end:
        raise _wrong(text, f"unexpected {{{{{end}}}}}")
    return Template(text, nodes)


def _wrong(text: str, why: str) -> UsageError:
    return UsageError(f"template {text!r}: {why}", hint="a Go template is written {{.Field}}")


def _split(text: str) -> list[tuple[bool, str]]:
    """(whether it is an action, its text) in order, trimmed as `{{-` and `-}}` say."""
    pieces: list[tuple[bool, str]] = []
    at, trim_next = 0, False
    while at < len(text):
        start = text.find("{{", at)
        plain = text[at:] if start < 0 else text[at:start]
        if trim_next:
            plain = plain.lstrip()
        if start < 0:
            pieces.append((False, plain))
            break
        trims = text.startswith("{{- ", start)
        pieces.append((False, plain.rstrip() if trims else plain))
        begin = start + (3 if trims else 2)
        if text[begin:].lstrip().startswith("/*"):
            end = text.find("*/", begin)
            end = text.find("}}", end) if end >= 0 else -1
        else:
            end = _end_of_action(text, begin)
        if end < 0:
            raise _wrong(text, "unclosed action")
        inner = text[begin:end]
        trim_next = inner.endswith(" -")
        pieces.append((True, inner[:-2] if trim_next else inner))
        at = end + 2
    return pieces


def _end_of_action(text: str, at: int) -> int:
    """Where the `}}` is that ends the action; one within a string does not."""
    quote = ""
    while at < len(text):
        character = text[at]
        if quote:
            if character == "\\" and quote == '"':
                at += 1
            elif character == quote:
                quote = ""
        elif character in "\"`'":
            quote = character
        elif text.startswith("}}", at):
            return at
        at += 1
    return -1


class _Pieces:
    def __init__(self, pieces: list[tuple[bool, str]], source: str) -> None:
        self.left = pieces[::-1]
        self.source = source


def _nodes(pieces: _Pieces, ends: tuple[str, ...]) -> tuple[tuple[Node, ...], str]:
    """The nodes up to an action that begins with one of `ends`, and that action."""
    found: list[Node] = []
    while pieces.left:
        is_action, text = pieces.left.pop()
        if not is_action:
            if text:
                found.append(Node("text", text))
            continue
        stripped = text.strip()
        if stripped.startswith("/*"):
            continue
        word = stripped.partition(" ")[0]
        if word in ("end", "else"):
            if word not in ends:
                return tuple(found), stripped
            return tuple(found), stripped
        if word in ("if", "range", "with"):
            found.append(_block(pieces, word, stripped[len(word) :]))
        elif word in ("define", "template", "block", "break", "continue"):
            raise _wrong(pieces.source, f"{{{{{word}}}}} is not supported")
        else:
            found.append(_action(pieces.source, stripped))
    return tuple(found), ""


def _block(pieces: _Pieces, word: str, head: str) -> Node:
    names, _declares, pipeline = _declaration(pieces.source, head)
    body, end = _nodes(pieces, ("else", "end"))
    otherwise: tuple[Node, ...] = ()
    if end.startswith("else"):
        rest = end[4:].strip()
        if rest.startswith(("if ", "with ")):
            inner = rest.partition(" ")[0]
            otherwise = (_block(pieces, inner, rest[len(inner) :]),)
            return Node(word, "", pipeline, names, True, body, otherwise)
        otherwise, end = _nodes(pieces, ("end",))
    if end != "end":
        raise _wrong(pieces.source, f"{{{{{word}}}}} without {{{{end}}}}")
    return Node(word, "", pipeline, names, True, body, otherwise)


def _action(source: str, text: str) -> Node:
    if not text:
        raise _wrong(source, "missing value for command")
    names, declares, pipeline = _declaration(source, text)
    return Node("assign" if names else "show", "", pipeline, names, declares)


def _declaration(source: str, text: str) -> tuple[tuple[str, ...], bool, Any]:
    """`$x := pipeline`, `$i, $x := pipeline`, `$x = pipeline` or a pipeline alone."""
    tokens = _Tokens(_tokens(source, text), source)
    names: tuple[str, ...] = ()
    kinds = [token[0] for token in tokens.all[:4]]
    if kinds[:2] in (["variable", ":="], ["variable", "="]):
        names, count = (tokens.all[0][1],), 2
    elif kinds == ["variable", ",", "variable", ":="]:
        names, count = (tokens.all[0][1], tokens.all[2][1]), 4
    declares = bool(names) and tokens.all[count - 1][0] == ":="
    if names:
        tokens.at = count
    pipeline = _pipeline(tokens)
    if tokens.at < len(tokens.all):
        raise _wrong(source, f"unexpected {tokens.all[tokens.at][1]!r}")
    return names, declares, pipeline


class _Tokens:
    def __init__(self, tokens: list[tuple[str, Any]], source: str) -> None:
        self.all = tokens
        self.at = 0
        self.source = source

    def peek(self) -> str:
        return self.all[self.at][0] if self.at < len(self.all) else ""


def _tokens(source: str, text: str) -> list[tuple[str, Any]]:
    """(kind, value) of each: field (a tuple of names), variable, word, constant, or the sign itself."""
    found: list[tuple[str, Any]] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character.isspace():
            at += 1
        elif character in "\"`'":
            value, at = _quoted(source, text, at)
            found.append(("constant", value))
        elif character in "|(),":
            if character == ")" and text[at + 1 : at + 2] == ".":
                names, after = _names(text, at + 1)
                found += [(")", ")"), ("chain", names)]
                at = after
                continue
            found.append((character, character))
            at += 1
        elif text.startswith(":=", at):
            found.append((":=", ":="))
            at += 2
        elif character == "=":
            found.append(("=", "="))
            at += 1
        elif character == "." and (at + 1 == len(text) or not text[at + 1].isdecimal()):
            names, at = _names(text, at)
            found.append(("field", names))
        elif character == "$":
            word, at = _word(text, at + 1)
            found.append(("variable", f"${word}"))
            if text[at : at + 1] == ".":
                names, at = _names(text, at)
                found.append(("chain", names))
        elif character.isdecimal() or character in "+-.":
            number, at = _number(source, text, at)
            found.append(("constant", number))
        elif character in _WORD:
            word, at = _word(text, at)
            found.append(
                ("constant", {"true": True, "false": False, "nil": None}[word])
                if word in ("true", "false", "nil")
                else ("word", word)
            )
        else:
            raise _wrong(source, f"unexpected {character!r}")
    return found


def _names(text: str, at: int) -> tuple[tuple[str, ...], int]:
    """`.A.B` as names; `.` alone as none."""
    names: list[str] = []
    while text[at : at + 1] == ".":
        word, after = _word(text, at + 1)
        if not word:
            return tuple(names), at + 1
        names.append(word)
        at = after
    return tuple(names), at


def _word(text: str, at: int) -> tuple[str, int]:
    end = at
    while end < len(text) and (text[end] in _WORD or (not text[end].isascii() and text[end].isalnum())):
        end += 1
    return text[at:end], end


def _quoted(source: str, text: str, at: int) -> tuple[Any, int]:
    quote = text[at]
    made = []
    end = at + 1
    while end < len(text) and text[end] != quote:
        if text[end] == "\\" and quote != "`":
            end += 1
            made.append(_ESCAPES.get(text[end : end + 1], text[end : end + 1]))
        else:
            made.append(text[end])
        end += 1
    if end >= len(text):
        raise _wrong(source, "unterminated quoted string")
    value = "".join(made)
    return (ord(value) if quote == "'" and len(value) == 1 else value), end + 1


def _number(source: str, text: str, at: int) -> tuple[Any, int]:
    end = at + 1
    while end < len(text) and (
        text[end].isalnum() or text[end] == "." or (text[end] in "+-" and text[end - 1] in "eE")
    ):
        end += 1
    word = text[at:end]
    try:
        return int(word, 0), end
    except ValueError:
        try:
            return float(word), end
        except ValueError:
            raise _wrong(source, f"bad number {word!r}") from None


def _pipeline(tokens: _Tokens) -> tuple[Any, ...]:
    """The commands of a pipeline, each a tuple of operands."""
    commands = [_command(tokens)]
    while tokens.peek() == "|":
        tokens.at += 1
        commands.append(_command(tokens))
    return tuple(commands)


def _command(tokens: _Tokens) -> tuple[Any, ...]:
    operands: list[Any] = []
    while (kind := tokens.peek()) and kind not in ("|", ")", ",", ":=", "="):
        value = tokens.all[tokens.at][1]
        tokens.at += 1
        if kind == "(":
            operands.append(("pipeline", _pipeline(tokens)))
            if tokens.peek() != ")":
                raise _wrong(tokens.source, "unclosed left paren")
            tokens.at += 1
        elif kind == "chain":
            operands[-1] = ("chain", operands[-1], value)
        else:
            operands.append((kind, value))
    if not operands:
        raise _wrong(tokens.source, "missing value for command")
    return tuple(operands)


# --- evaluation ---


def render(template: Template, value: Any) -> str:
    """What the template says of a value. Raises UsageError for a field the value lacks, or a function used wrongly."""
    out: list[str] = []
    _Evaluation(template, value).nodes(template.nodes, value, [("$", value)], out)
    return "".join(out)


class _Evaluation:
    def __init__(self, template: Template, top: Any) -> None:
        self.source = template.source
        self.top = top

    def nodes(self, nodes: tuple[Node, ...], dot: Any, variables: list[tuple[str, Any]], out: list[str]) -> None:
        from toolbox import gotemplate_functions

        depth = len(variables)
        for node in nodes:
            if node.kind == "text":
                out.append(node.text)
                continue
            value = self.pipeline(node.pipeline, dot, variables)
            if node.kind == "show":
                out.append(gotemplate_functions.shown(value))
            elif node.kind == "assign":
                self.assign(node, value, variables)
            elif node.kind == "range":
                self.range(node, value, dot, variables, out)
            else:
                inner = [*variables, *((name, value) for name in node.names)]
                if gotemplate_functions.truth(value):
                    self.nodes(node.body, value if node.kind == "with" else dot, inner, out)
                else:
                    self.nodes(node.otherwise, dot, inner, out)
        del variables[depth:]

    def assign(self, node: Node, value: Any, variables: list[tuple[str, Any]]) -> None:
        name = node.names[0]
        if node.declares:
            variables.append((name, value))
            return
        for index in range(len(variables) - 1, -1, -1):
            if variables[index][0] == name:
                variables[index] = (name, value)
                return
        raise _wrong(self.source, f"undefined variable {name!r}")

    def range(self, node: Node, value: Any, dot: Any, variables: list[tuple[str, Any]], out: list[str]) -> None:
        items: list[tuple[Any, Any]]
        if isinstance(value, dict):
            items = sorted(value.items())
        elif isinstance(value, (list, tuple)):
            items = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            items = [(index, index) for index in range(value)]
        elif value is None or value is MISSING:
            items = []
        else:
            raise _wrong(self.source, f"range can't iterate over {value}")
        for key, item in items:
            named = (
                [(node.names[0], item)] if len(node.names) == 1 else list(zip(node.names, (key, item), strict=False))
            )
            self.nodes(node.body, item, [*variables, *named], out)
        if not items:
            self.nodes(node.otherwise, dot, list(variables), out)

    def pipeline(self, commands: tuple[Any, ...], dot: Any, variables: list[tuple[str, Any]]) -> Any:
        value: tuple[Any, ...] = ()
        for command in commands:
            value = (self.command(command, dot, variables, value),)
        return value[0]

    def command(
        self, operands: tuple[Any, ...], dot: Any, variables: list[tuple[str, Any]], piped: tuple[Any, ...]
    ) -> Any:
        kind, name = operands[0][0], operands[0][1]
        if kind == "word":
            return self.call(name, operands[1:], dot, variables, piped)
        if len(operands) > 1 or piped:
            raise _wrong(self.source, f"can't give argument to non-function {name}")
        return self.operand(operands[0], dot, variables)

    def call(
        self, name: str, operands: tuple[Any, ...], dot: Any, variables: list[tuple[str, Any]], piped: tuple[Any, ...]
    ) -> Any:
        from toolbox import gotemplate_functions

        if name in ("and", "or"):
            value: Any = None
            for operand in operands:
                value = self.operand(operand, dot, variables)
                if gotemplate_functions.truth(value) == (name == "or"):
                    return value
            return piped[0] if piped else value
        function = gotemplate_functions.FUNCTIONS.get(name)
        if function is None:
            raise _wrong(self.source, f"function {name!r} not defined")
        arguments = [self.operand(operand, dot, variables) for operand in operands]
        try:
            return function(*arguments, *piped)
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            raise _wrong(self.source, f"error calling {name}: {error}") from error

    def operand(self, operand: tuple[Any, ...], dot: Any, variables: list[tuple[str, Any]]) -> Any:
        kind, value = operand[0], operand[1]
        if kind == "constant":
            return value
        if kind == "field":
            return self.fields(dot, value)
        if kind == "variable":
            for name, found in reversed(variables):
                if name == value:
                    return found
            raise _wrong(self.source, f"undefined variable {value!r}")
        if kind == "pipeline":
            return self.pipeline(value, dot, variables)
        if kind == "chain":
            return self.fields(self.operand(value, dot, variables), operand[2])
        return self.call(value, (), dot, variables, ())

    def fields(self, value: Any, names: tuple[str, ...]) -> Any:
        for name in names:
            if isinstance(value, dict):
                if name not in value and value is self.top:
                    raise self.no_field(name)
                value = value.get(name, MISSING)
            elif value is None or value is MISSING:
                value = MISSING
            else:
                raise _wrong(self.source, f"can't evaluate field {name} in {type(value).__name__} {value!r}")
        return value

    def no_field(self, name: str) -> UsageError:
        import difflib

        known = [key for key in self.top if isinstance(key, str)]
        close = difflib.get_close_matches(name, known, n=1) or [key for key in known if key.lower() == name.lower()]
        return UsageError(
            f"template {self.source!r}: there is no field {name}",
            hint=f"{{{{.{close[0]}}}}}" if close else f"fields are {', '.join(sorted(known))}",
        )
