"""`ptb --help`: what there is, from the generated table; Typer would take half a second to say it."""

from __future__ import annotations

from toolbox import __version__
from toolbox._table import COMMANDS
from toolbox.catalogue import ALIASES, GROUPS


def show(group: str = "") -> None:
    """Print the commands of a group, or of the program."""
    prefix = f"{group} " if group else ""
    print(f"Usage: ptb {prefix}COMMAND [OPTIONS] …\n")
    print(GROUPS[group] if group else "Containers for your own machine: no root, no daemon.")
    print("\nCommands:")
    other = {name: f"(also {alias})" for alias, name in ALIASES.items()}
    for name, (summary, *_rest) in COMMANDS.items():
        if group and name.startswith(prefix):
            _line(name.removeprefix(prefix), summary)
        elif not group and " " not in name:
            _line(name, f"{summary} {other.get(name, '')}".rstrip())
    if not group:
        for name, summary in GROUPS.items():
            _line(name, summary)
        print("\nOptions:")
        _line("--debug", "Show where an error came from (before the command).")
        _line("--version", "Print the version.")
        _line("--help", "Print this; ptb COMMAND --help tells about a command.")
        print(f"\nptb {__version__}")


def _line(name: str, text: str) -> None:
    print(f"  {name:<10} {text}")
