"""The slow lane: Typer reads the command line and writes `--help`. With options.py the only door to Typer."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable
from typing import Any

import typer

from rootless.errors import UsageError
from toolbox import container_options, options, run_options
from toolbox.catalogue import COMMANDS


def load(name: str) -> Callable[..., int]:
    """The function that carries out a command."""
    module, function = COMMANDS[name]
    loaded: Callable[..., int] = getattr(__import__(module, fromlist=[function]), function)
    return loaded


def hints(function: Callable[..., int]) -> dict[str, Any]:
    """The function's annotations, which name entries of `options`, resolved. The commands themselves never import those."""
    return typing.get_type_hints(
        function, globalns={**vars(options), **vars(container_options), **vars(run_options)}, include_extras=True
    )


def run(
    name: str, arguments: list[str], after_dashes: list[str] | None, *, function: Callable[..., int] | None = None
) -> int:
    """Read `arguments` and call the command's function, or `function` in its place; returns the exit status.

    `after_dashes` are the words after `--`, for commands that run them. Raises UsageError, and what the function raises.
    """
    declared = load(name)
    called = function or declared
    annotations = hints(declared)
    rest = [key for key, hint in annotations.items() if options.AFTER_DASHES in getattr(hint, "__metadata__", ())]
    ends = any(options.ENDS_OPTIONS in getattr(hint, "__metadata__", ()) for hint in annotations.values())

    def command(*positional: object, **given: Any) -> int:
        for key in rest:
            if after_dashes is not None:
                given[key] = [*(given[key] or []), *after_dashes]
        return called(*positional, **given)

    functools.update_wrapper(command, declared)
    signature = inspect.signature(declared)
    command.__signature__ = signature.replace(  # type: ignore[attr-defined] # read by inspect
        parameters=[part.replace(annotation=annotations[key]) for key, part in signature.parameters.items()]
    )
    command.__annotations__ = annotations
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(
        context_settings={
            "help_option_names": ["--help"] if name in ("run", "create") else ["-h", "--help"],
            "allow_interspersed_args": not ends,
        },
    )(command)
    try:
        status = app(arguments, prog_name=f"ptb {name}", standalone_mode=False)
    except Exception as error:
        # Typer's own errors; their classes have moved between its versions, their method has not.
        if not hasattr(error, "format_message"):
            raise
        raise UsageError(error.format_message().rstrip(".").replace("\n", " "), hint=f"ptb {name} --help") from error
    sys.stdout.flush()
    return int(status or 0)
