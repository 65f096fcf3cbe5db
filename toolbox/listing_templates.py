"""Rows through a template: line by line, or as the cells of a table with headings made from the fields."""

from __future__ import annotations

from toolbox.gotemplate import Evaluation, Template, parse, render
from toolbox.gotemplate_parse import DOT, Branch, Fields, Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_PRINTERS = ("print", "println", "printf", "pad", "html", "js", "urlquery")
"""The functions whose work is seen in a heading too; the others would find no value there."""


def lines(form: str, rows: list[dict[str, Any]]) -> str:
    """Every row as the template has it, with a new line where the template ends without one. Raises UsageError."""
    template = parse(form if form.endswith(("\n", "\\n")) else f"{form}\n", plain=_unescaped)
    if any(
        isinstance(node, Branch) and node.word == "range" and node.pipe.commands == ((DOT,),) for node in template.body
    ):
        return render(template, rows)
    return "".join(render(template, row) for row in rows)


def table(form: str, rows: list[dict[str, Any]], headings: dict[str, str] | None) -> list[list[str]]:
    """The cells of every row; above them the headings of the fields, None for none. Raises UsageError."""
    template = parse(form, plain=lambda text: _unescaped(text).replace(" ", "\t"))
    texts = [] if headings is None else [_Headings(template, headings).result()]
    texts += [render(template, row) for row in rows]
    return [line.split("\t") for text in texts for line in text.removesuffix("\n").split("\n")]


def heading(field: str) -> str:
    """What stands above a field that has no heading of its own: CREATED AT above CreatedAt, TLS 13 above TLS13."""
    words = ""
    for before, letter, after in zip(f" {field}", field, f"{field[1:]} ", strict=False):
        begins = letter.isupper() and after.islower()
        changes = _class(before) != _class(letter) and not (before.isupper() and letter.islower())
        words += f" {letter}" if words and (begins or changes) else letter
    return words.upper()


def _class(character: str) -> tuple[bool, bool, bool]:
    return character.isupper(), character.islower(), character.isdigit()


def _unescaped(text: str) -> str:
    return text.replace("\\t", "\t").replace("\\n", "\n")


class _Headings(Evaluation):
    """A template with headings where the values would be."""

    def __init__(self, template: Template, headings: dict[str, str]) -> None:
        super().__init__(template, "")
        self._headings = headings

    def fields(self, node: Fields, arguments: list[Any]) -> str:
        """The heading of a field; of a method that is told what to look for, such as .Label, the end of that name."""
        if arguments:
            return str(arguments[0]).rpartition(".")[2].replace("-", " ").replace("_", " ")
        return self._headings.get(node.names[-1]) or heading(node.names[-1])

    def call(self, node: Function, arguments: list[Any]) -> Any:
        """What a function would be told about, unless it prints."""
        return super().call(node, arguments) if node.name in _PRINTERS or not arguments else arguments[0]

    def items(self, node: Branch, value: Any) -> Sequence[tuple[Any, Any]]:
        """One element, the heading itself."""
        return [("", value)]
