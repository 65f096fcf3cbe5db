"""Go's text/template as written: text and actions, what the actions say, and what is wrong with them."""

from __future__ import annotations

from rootless.record import record
from toolbox.gotemplate_functions import FUNCTIONS, LAZY
from toolbox.gotemplate_words import Token, failure, number, pieces, unquoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rootless.errors import UsageError

_UNSUPPORTED = ("define", "template", "block")
_BLOCKS = ("if", "with", "range")
_KEYWORDS = (*_UNSUPPORTED, *_BLOCKS, "else", "end", "break", "continue")
_PARENTHESES = "parenthesized pipeline"
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "nil": None}


@record
class Literal:
    """A constant."""

    value: str | float | bool | None


@record
class Variable:
    """`$`, `$name`, or the dot under the name "."."""

    name: str


@record
class Fields:
    """`.A.B` of something. As in every node, `end` is where it ends in the template."""

    base: Operand
    names: tuple[str, ...]
    end: int


@record
class Function:
    """A function by its name."""

    name: str
    end: int


@record
class Pipe:
    """Commands, each given the value of the one before, and the variables that take the last value.

    A command is its operands: a function or a field with its arguments, or one operand alone.
    """

    commands: tuple[tuple[Operand, ...], ...]
    names: tuple[str, ...]
    declares: bool
    end: int


@record
class Branch:
    """`if`, `with` or `range`."""

    word: str
    pipe: Pipe
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


@record
class Jump:
    """`break` or `continue`."""

    word: str


Operand = Literal | Variable | Fields | Function | Pipe
Node = str | Pipe | Branch | Jump
DOT = Variable(".")


@record
class Template:
    """A template that parsed; `text` is what it was."""

    text: str
    body: tuple[Node, ...]


def parse(text: str, *, plain: Callable[[str], str] = str) -> Template:
    """Understand a template.

    `plain` changes the text between actions before blanks are trimmed from it. Raises UsageError showing the
    template up to the word that is wrong.
    """
    try:
        return Template(text, _Parser(text, plain).template())
    except RecursionError:
        raise failure(text, len(text), "nested too deeply") from None


def similar(name: str, known: Iterable[str]) -> str | None:
    """The one of the known names that was probably meant."""
    from difflib import get_close_matches

    by_lower = {word.lower(): word for word in known}
    close = get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


class _Parser:
    """From words to nodes."""

    def __init__(self, text: str, plain: Callable[[str], str]) -> None:
        self._text = text
        self._pieces = iter(pieces(text, plain))
        self._tokens: list[Token] = []
        self._variables = ["$"]
        self._loops = 0

    def template(self) -> tuple[Node, ...]:
        nodes, stop = self._body()
        if stop:
            raise failure(self._text, self._tokens[0].end, f"unexpected {{{{{stop}}}}}")
        return nodes

    def _body(self) -> tuple[tuple[Node, ...], str]:
        """Everything up to the `else` or `end` of this block, or "" where the template ends."""
        nodes: list[Node] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                nodes.append(piece)
                continue
            self._tokens = piece
            word = piece[0].text if piece[0].kind == "word" else ""
            if word in ("else", "end"):
                return tuple(nodes), word
            if word in _UNSUPPORTED:
                raise failure(self._text, piece[0].end, f'"{word}" is not supported')
            if word in ("break", "continue"):
                nodes.append(self._jump())
            elif word in _BLOCKS:
                self._take()
                nodes.append(self._branch(word))
            else:
                nodes.append(self._pipe("}}", "command"))
        return tuple(nodes), ""

    def _jump(self) -> Jump:
        word = self._take()
        if not self._loops:
            raise failure(self._text, word.end, f"{{{{{word.text}}}}} outside {{{{range}}}}")
        self._expect("}}", word.text)
        return Jump(word.text)

    def _branch(self, word: str) -> Branch:
        outside = len(self._variables)
        pipe = self._pipe("}}", word)
        inside = len(self._variables)
        self._loops += word == "range"
        body, stop = self._body()
        self._loops -= word == "range"
        del self._variables[inside:]
        otherwise: tuple[Node, ...] = ()
        if stop == "else":
            self._take()
            if word != "range" and self._tokens[0].text == word:  # `else if` and `else with` have no `end` of their own
                self._take()
                otherwise = (self._branch(word),)
                del self._variables[outside:]
                return Branch(word, pipe, body, otherwise)
            self._expect("}}", "else")
            otherwise, stop = self._body()
        if stop == "else":
            raise failure(self._text, self._tokens[0].end, f"{{{{{word}}}}} has a second {{{{else}}}}")
        if not stop:
            raise failure(self._text, len(self._text), f"{{{{{word}}}}} has no {{{{end}}}}")
        self._take()
        self._expect("}}", "end")
        del self._variables[outside:]
        return Branch(word, pipe, body, otherwise)

    def _take(self) -> Token:
        return self._tokens.pop(0)

    def _expect(self, kind: str, context: str) -> Token:
        token = self._take()
        if token.kind != kind:
            raise self._unexpected(token, context)
        return token

    def _unexpected(self, token: Token, context: str) -> UsageError:
        return failure(self._text, token.end, f'unexpected "{token.text.strip()}" in {context}')

    def _pipe(self, close: str, context: str) -> Pipe:
        names, declares = self._declared(context)
        commands = [self._command(context, first=True)]
        while self._tokens[0].kind == "|":
            self._take()
            commands.append(self._command(context, first=False))
        end = self._expect(close, context).end
        if declares:
            self._variables += names
        return Pipe(tuple(commands), tuple(names), declares, end)

    def _declared(self, context: str) -> tuple[list[str], bool]:
        """`$x :=`, `$x =` or, for a range, `$i, $x :=`."""
        kinds = [token.kind for token in self._tokens[:4]]
        if context == _PARENTHESES:
            return [], False
        if kinds[:2] == ["variable", ","] and context == "range":
            if kinds[2] != "variable" or kinds[3] not in (":=", "="):
                raise failure(self._text, self._tokens[2].end, "range can only initialize variables")
            taken = [self._take() for _ in range(4)]
        elif kinds[:1] == ["variable"] and kinds[1] in (":=", "="):
            taken = [self._take() for _ in range(2)]
        else:
            return [], False
        declares = taken[-1].kind == ":="
        return [token.text if declares else self._known(token) for token in taken[:-1:2]], declares

    def _known(self, variable: Token) -> str:
        if variable.text not in self._variables:
            raise failure(self._text, variable.end, f'undefined variable "{variable.text}"')
        return variable.text

    def _command(self, context: str, *, first: bool) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        end = -1
        while (token := self._tokens[0]).kind not in ("|", ")", "}}"):
            if token.start == end:
                raise self._unexpected(token, "operand")
            operand, end = self._operand(context)
            operands.append(operand)
        if not operands:
            raise failure(self._text, self._tokens[0].end, f"missing value for {context}")
        if isinstance(operands[0], Literal) and operands[0].value is None:
            raise failure(self._text, end, "nil is not a command")
        if not isinstance(operands[0], Function | Fields) and not (first and len(operands) == 1):
            raise failure(self._text, end, "only a function takes arguments")
        return tuple(operands)

    def _operand(self, context: str) -> tuple[Operand, int]:
        """A term with the fields that follow it, and where it ends."""
        token = self._take()
        names = [token.text[1:]] if token.kind == "field" else []
        operand, end = (DOT, token.end) if names else self._term(token, context)
        while (
            token.kind in ("field", "variable", "(")
            and (field := self._tokens[0]).kind == "field"
            and field.start == end
        ):
            names.append(self._take().text[1:])
            end = field.end
        return (Fields(operand, tuple(names), end) if names else operand), end

    def _term(self, token: Token, context: str) -> tuple[Operand, int]:
        if token.kind == "(":
            pipe = self._pipe(")", _PARENTHESES)
            return pipe, pipe.end
        if token.kind == "variable":
            return Variable(self._known(token)), token.end
        if token.kind == ".":
            return DOT, token.end
        if token.kind in ("string", "number"):
            try:
                return Literal(unquoted(token.text) if token.kind == "string" else number(token.text)), token.end
            except ValueError:
                raise failure(self._text, token.end, f"invalid {token.kind}") from None
        if token.kind != "word" or token.text in _KEYWORDS:
            raise self._unexpected(token, context)
        if token.text in _CONSTANTS:
            return Literal(_CONSTANTS[token.text]), token.end
        if token.text not in FUNCTIONS and token.text not in LAZY:
            near = similar(token.text, (*FUNCTIONS, *LAZY))
            hint = f"did you mean {near}?" if near else f"there are {', '.join((*LAZY, *FUNCTIONS))}"
            raise failure(self._text, token.end, f'there is no function "{token.text}"', hint=hint)
        return Function(token.text, token.end), token.end
