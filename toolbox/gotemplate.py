"""The subset of Go's text/template that docker's and podman's users write after `--format`.

Everything is there but `define`, `template`, `block` and `call`: text and trimming, comments, fields, variables,
pipelines, `if`, `with`, `range`, `break` and `continue`, Go's functions and docker's. Values are those of
`gotemplate_values`.
"""

from __future__ import annotations

from toolbox import gotemplate_values as values
from toolbox.gotemplate_functions import FUNCTIONS, KINDS, LAZY, truth
from toolbox.gotemplate_parse import (
    Branch,
    Fields,
    Function,
    Jump,
    Literal,
    Node,
    Operand,
    Pipe,
    Template,
    Variable,
    parse,
    similar,
)
from toolbox.gotemplate_words import failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["Evaluation", "Template", "parse", "render"]


def render(template: Template, value: Any) -> str:
    """What the template makes of a value: what it prints, with "\\ufffd" for bytes that are no text.

    The value, or what it holds if it is a list, is a row: to name a field that it has not is an error, as with the
    structs that docker and podman print. A key that is not in a map within it is no error: it prints <no value>, and
    so does None. A member that can be called is a method, called with the arguments that follow its name.

    Raises UsageError showing the template up to what does not work, with a hint where a field was misspelled.
    """
    return Evaluation(template, value).result()


class _Jumped(Exception):
    """`break` or `continue` on its way to the loop."""

    def __init__(self, word: str) -> None:
        self.word = word


class Evaluation:
    """One rendering of a template. What it does at fields, functions and loops may be overridden."""

    def __init__(self, template: Template, value: Any) -> None:
        self._template = template
        self._value = value
        self._variables = [("$", value), (".", value)]
        self._printed: list[str] = []

    def result(self) -> str:
        """Render. Raises UsageError."""
        try:
            self._run(self._template.body)
        except RecursionError:
            raise self._failure(len(self._template.text), "nested too deeply") from None
        return values.encoded("".join(self._printed)).decode(errors="replace")

    def fields(self, node: Fields, arguments: list[Any]) -> Any:
        """The value of `.A.B`, whose last name may be that of a method."""
        found = self._operand(node.base)
        for name in node.names[:-1]:
            found = self._member(found, name, node, [])
        return self._member(found, node.names[-1], node, arguments)

    def call(self, node: Function, arguments: list[Any]) -> Any:
        """The value of a function."""
        function, signature = FUNCTIONS[node.name]
        wanted = signature.rstrip("*")
        more = signature.endswith("*")
        if len(arguments) < len(wanted) or (len(arguments) > len(wanted) and not more):
            raise self._miscounted(node, f"{len(wanted)} or more" if more else f"{len(wanted)}", len(arguments))
        for index, letter in enumerate(wanted):
            if letter == "l" and arguments[index] is None:
                arguments[index] = []
            if letter in KINDS and values.kind(arguments[index]) != KINDS[letter]:
                given = values.kind(arguments[index])
                raise self._failure(node.end, f"{node.name}: expected {KINDS[letter]}, got {given}")
        try:
            return function(*arguments)
        except values.Unsuitable as error:
            raise self._failure(node.end, f"{node.name}: {error}") from None

    def items(self, node: Branch, value: Any) -> Sequence[tuple[Any, Any]]:
        """What a `range` goes over: index or key, and element."""
        if isinstance(value, dict):
            return values.members(value)
        if value is None or isinstance(value, (list, tuple)):
            return list(enumerate(value or ()))
        raise self._failure(node.pipe.end, f"range can't iterate over {values.kind(value)}")

    def _failure(self, end: int, why: str, *, hint: str | None = None) -> Exception:
        return failure(self._template.text, end, why, hint=hint)

    def _miscounted(self, node: Function, wanted: str, given: int) -> Exception:
        return self._failure(node.end, f"wrong number of arguments for {node.name}: expected {wanted}, got {given}")

    def _run(self, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            if isinstance(node, str):
                self._printed.append(node)
            elif isinstance(node, Branch):
                self._branch(node)
            elif isinstance(node, Jump):
                raise _Jumped(node.word)
            else:
                value = self._pipe(node)
                if not node.names:
                    self._printed.append("<no value>" if value is None else values.text(value))

    def _branch(self, node: Branch) -> None:
        outside = len(self._variables)
        try:
            if node.word == "range":
                self._range(node)
                return
            value = self._pipe(node.pipe)
            if node.word == "with" and truth(value):
                self._variables.append((".", value))
            self._run(node.body if truth(value) else node.otherwise)
        finally:
            del self._variables[outside:]

    def _range(self, node: Branch) -> None:
        value = self._piped(node.pipe)
        items = self.items(node, value)
        if not items:
            self._assign(node.pipe, (value, value))
            self._run(node.otherwise)
        outside = len(self._variables)
        for item in items:
            self._assign(node.pipe, item[-len(node.pipe.names) :])
            self._variables.append((".", item[1]))
            try:
                self._run(node.body)
            except _Jumped as jumped:
                if jumped.word == "break":
                    return
            finally:
                del self._variables[outside:]

    def _pipe(self, node: Pipe) -> Any:
        value = self._piped(node)
        self._assign(node, (value,))
        return value

    def _piped(self, node: Pipe) -> Any:
        """What the last command says, which was told what the one before it says."""
        said: list[Any] = []
        for first, *arguments in node.commands:
            if isinstance(first, Function) and first.name in LAZY:
                said = [self._lazy(first, arguments, said)]
            elif isinstance(first, Function):
                said = [self.call(first, [*map(self._operand, arguments), *said])]
            elif isinstance(first, Fields):
                said = [self.fields(first, [*map(self._operand, arguments), *said])]
            else:
                said = [self._operand(first)]
        return said[0]

    def _assign(self, node: Pipe, given: Sequence[Any]) -> None:
        for name, value in zip(node.names, given, strict=False):
            if node.declares:
                self._variables.append((name, value))
            else:
                self._variables[self._place(name)] = (name, value)

    def _place(self, name: str) -> int:
        return max(index for index, (known, _value) in enumerate(self._variables) if known == name)

    def _operand(self, node: Operand) -> Any:
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Variable):
            return self._variables[self._place(node.name)][1]
        if isinstance(node, Fields):
            return self.fields(node, [])
        if isinstance(node, Pipe):
            return self._pipe(node)
        return self._lazy(node, [], []) if node.name in LAZY else self.call(node, [])

    def _lazy(self, node: Function, operands: list[Operand], said: list[Any]) -> Any:
        """`and` and `or`: the first argument that settles it, else the last; those after it are not looked at."""
        if not operands and not said:
            raise self._miscounted(node, "1 or more", 0)
        value: Any = None
        for operand in operands:
            value = self._operand(operand)
            if truth(value) == (node.name == "or"):
                return value
        return said[0] if said else value

    def _member(self, value: Any, name: str, node: Fields, arguments: list[Any]) -> Any:
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._failure(node.end, f'{values.kind(value)} has no field "{name}"')
        if name not in value:
            if self._is_row(value):
                near = similar(name, value)
                hint = f"did you mean .{near}?" if near else f"there are {', '.join(f'.{key}' for key in value)}"
                raise self._failure(node.end, f'there is no field "{name}"', hint=hint)
            return None
        member = value[name]
        if callable(member):
            try:
                return member(*arguments)
            except TypeError:
                raise self._failure(node.end, f".{name} takes other arguments") from None
        if arguments:
            raise self._failure(node.end, f".{name} takes no arguments")
        return member

    def _is_row(self, value: Any) -> bool:
        rows = self._value if isinstance(self._value, (list, tuple)) else [self._value]
        return any(value is row for row in rows)
