"""`ptb`: from the words typed to an exit status. The only place that prints errors."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import sys

from rootless import system as os
from rootless.errors import PtbError, UsageError
from toolbox import fastlane
from toolbox._table import COMMANDS
from toolbox.catalogue import ALIASES, CONTAINER_FORMS, DEFAULTS, GROUPS, IMAGE_FORMS
from toolbox.catalogue import COMMANDS as FUNCTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_HELP = ("--help", "-h", "help")
_GENERAL = ("--runtime", "--log-level")
"""What podman takes before its commands as well; the level of its log is accepted and changes nothing."""

_STARTING = ("exec", "restart", "run", "start")
"""Commands that become a container's process, or fork who does: see `rootless.interpreter`."""

_TOOLBOX_WIDE = ("-y", "--assumeyes", "-v", "--verbose")
"""toolbox takes these before its commands as well."""


def main() -> NoReturn:
    """Run the command that was typed and end the process with its status."""
    arguments = sys.argv[1:]
    debug = False
    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    try:
        arguments, general = _take_general(arguments)
        debug = "--debug" in general
        try:
            status = run(arguments, runtime=general.get("--runtime", ""))
        finally:
            sys.stdout.flush()  # what was said before something failed, too
    except PtbError as error:
        if debug:
            _traceback()
        _say(error.message, error.hint)
        status = error.exit_status
    except KeyboardInterrupt:
        status = _die_of("SIGINT")
    except BrokenPipeError:
        status = _die_of("SIGPIPE")
    except OSError as error:
        if debug:
            _traceback()
        what = f'"{os.fsdecode(error.filename)}": ' if isinstance(error.filename, str | bytes) else ""
        _say(what + os.strerror(error.errno or 0))
        status = PtbError.exit_status
    except Exception as error:  # noqa: BLE001 - a bug of ours must not look like the command's own failure
        if debug:
            _traceback()
        _say(f"internal error: {type(error).__name__}: {error}", "ptb --debug … shows where; please report it")
        status = PtbError.exit_status
    # Nothing is left to do that the interpreter's way of ending, 3 ms, would do better.
    sys.stderr.flush()
    os._exit(status)


def _take_general(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """The words from the command on, and the options before it with their values. Raises UsageError."""
    found: dict[str, str] = {}
    at = 0
    while at < len(arguments) and arguments[at].startswith("--"):
        name, equals, value = arguments[at].partition("=")
        if name == "--debug":
            found[name] = ""
        elif name in _GENERAL:
            if not equals:
                at += 1
                if at == len(arguments):
                    raise UsageError(f"{name} needs a value")
                value = arguments[at]
            found[name] = value
        else:
            break
        at += 1
    return arguments[at:], found


def run(arguments: list[str], *, runtime: str = "") -> int:
    """Carry out a command line; returns its exit status. Raises PtbError.

    `runtime` is the OCI runtime for containers that it makes, where it does not say another.
    """
    if not arguments or arguments[0] in _HELP:
        return _help(arguments[1:])
    if arguments[0] == "--version":
        arguments = ["version"]
    if arguments[0] == "__complete":
        from toolbox import completion

        return completion.show(arguments[1:])
    name, words = _resolve(arguments)
    if name is None:
        return _help(arguments[:1])
    if runtime and "--runtime" in COMMANDS[name][4]:
        words = ["--runtime", runtime, *words]
    words, after_dashes = fastlane.split(COMMANDS[name], words)
    words = fastlane.normal(COMMANDS[name], words)
    given = fastlane.parse(COMMANDS[name], words)
    if given is None:
        from toolbox import typer_app

        return typer_app.run(name, words, after_dashes)
    if after_dashes is not None:
        command = given.setdefault("command", [])
        if isinstance(command, list):
            command += after_dashes
    if name in _STARTING:
        from rootless import interpreter

        interpreter.seal()
    module, function = FUNCTIONS[name]
    status: int = getattr(__import__(module, None, None, [function]), function)(**given)
    return status


def _resolve(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The command's full name and the words after it; None where help about a group is asked for. Raises UsageError."""
    name, words = ALIASES.get(arguments[0], arguments[0]), arguments[1:]
    if name in GROUPS:
        wide = []
        while name == "toolbox" and words and words[0] in _TOOLBOX_WIDE:
            wide.append(words.pop(0))
        if not words:
            return DEFAULTS.get(name), wide
        if words[0] in _HELP:
            return None, []
        if words[0] == "--version":
            return "version", []
        forms = {"container": CONTAINER_FORMS, "image": IMAGE_FORMS}.get(name, {})
        if words[0] in forms:
            name, words = forms[words[0]], words[1:]
        else:
            name, words = f"{name} {words[0]}", wide + words[1:]
    if name not in COMMANDS:
        raise UsageError(f'there is no command "{name}"', hint=_similar(name))
    return name, words


def _similar(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, [*COMMANDS, *GROUPS], n=1)
    return f"ptb {close[0]}" if close else "ptb --help"


def _help(arguments: list[str]) -> int:
    """Help about everything, a group or a command."""
    from toolbox import overview

    if not arguments:
        overview.show()
        return 0
    name = " ".join(ALIASES.get(word, word) for word in arguments)
    if name in GROUPS:
        overview.show(name)
        return 0
    if name not in COMMANDS:
        raise UsageError(f'there is no command "{name}"', hint=_similar(name))
    from toolbox import typer_app

    return typer_app.run(name, ["--help"], None)


def _say(message: str, hint: str | None = None) -> None:
    """One line, and one that mends it. Control characters, which a registry or an image may have put in, are shown."""
    print(_printable(f"ptb: {message}"), file=sys.stderr)
    if hint:
        print(_printable(f"hint: {hint}"), file=sys.stderr)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def _traceback() -> None:
    import traceback

    traceback.print_exc()


def _die_of(name: str) -> int:
    """End as a program does that leaves the signal to the kernel: the shell must see what happened."""
    import signal

    number = getattr(signal, name)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + int(number)


if __name__ == "__main__":
    main()
