"""The manual page: `python -m rootless.manual` writes packaging/man/ptb-runtime.1. A test holds it to the option table.

What is said in sentences is in ptb-runtime.1.in beside it; its two lines of @ are where the options and commands go.
"""

from __future__ import annotations

import os

from rootless import runtime_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.runtime_options import Command, Option

PLACE = f"{os.path.dirname(os.path.dirname(__file__))}/packaging/man/ptb-runtime.1"


def page() -> str:
    """The text of the manual page, in the man macros (groff_man(7))."""
    with open(f"{PLACE}.in", encoding="ascii") as stream:
        prose = stream.read()
    options = "\n".join(line for option in runtime_options.GLOBAL for line in _option(option))
    commands = "\n".join(line for command in runtime_options.COMMANDS for line in _command(command))
    return prose.replace("@options@", options).replace("@commands@", commands)


def _option(option: Option) -> Iterator[str]:
    short = [f"\\fB\\-{alias}\\fR" for alias in option.aliases]
    value = {"flag": "", "number": " \\fIN\\fR", "list": " \\fIVALUE\\fR", "text": " \\fIVALUE\\fR"}[option.kind]
    yield ".TP"
    yield ", ".join([*short, f"\\fB\\-\\-{_escaped(option.name)}\\fR"]) + value
    yield _escaped(option.help + ("; may be given several times" if option.kind == "list" else ""))


def _command(command: Command) -> Iterator[str]:
    options = " [\\fIOPTION\\fR ...]" if command.options else ""
    operands = f" \\fI{_escaped(command.operands)}\\fR" if command.operands else ""
    yield f'.SS "\\fB{command.name}\\fR{options}{operands}"'
    yield _escaped(command.help[0].upper() + command.help[1:]) + "."
    for option in command.options:
        yield from _option(option)


def _escaped(text: str) -> str:
    """`text` so that troff shows it as it is (groff(7), Escape Sequences)."""
    plain = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("…", " ...").replace('"', "\\(dq")
    )
    return f"\\&{plain}" if plain.startswith(".") else plain


if __name__ == "__main__":
    with open(PLACE, "w", encoding="ascii") as stream:
        stream.write(page())
