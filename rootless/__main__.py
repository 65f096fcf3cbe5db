"""`ptb-runtime`: the OCI runtime as a command. Errors are printed here, on stderr and in the log that was asked for."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import sys

from rootless import system as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from rootless.errors import PtbError


def main() -> NoReturn:
    """Run the command line and exit."""
    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    status = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit status: the process's own, or 1 for an error of the runtime's."""
    from rootless.errors import PtbError, UsageError

    options: dict[str, Any] = {}
    try:
        from rootless import runtime_options

        options, rest = runtime_options.parse_global(arguments)
        if options.get("version"):
            return _say_version()
        if options.get("help") or not rest:
            _say(runtime_options.overview())
            return 0 if options.get("help") else 1
        if rest[0] == "help":
            rest = [*rest[1:2], "--help"] if rest[1:] else ["--help"]
            if rest == ["--help"]:
                _say(runtime_options.overview())
                return 0
        command = runtime_options.find(rest[0])
        values, operands = runtime_options.parse(command, rest[1:])
        if values.get("help"):
            _say(runtime_options.help_of(command))
            return 0
        if command.name in ("create", "exec", "run"):
            from rootless import interpreter

            interpreter.seal()
        from rootless import runtime_command

        return runtime_command.FUNCTIONS[command.name](_settings(options), values, operands)
    except (PtbError, OSError, KeyboardInterrupt) as error:
        if options.get("debug"):
            import traceback

            traceback.print_exc()
        if isinstance(error, KeyboardInterrupt):
            return 130
        if not isinstance(error, PtbError):
            subject = f'"{error.filename}": ' if error.filename else ""
            error = PtbError(f"{subject}{error.strerror or error}")
        _report(error, options)
        return 1 if error.exit_status == 125 and not isinstance(error, UsageError) else error.exit_status


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    from rootless import state
    from rootless.errors import UsageError

    manager = options.get("cgroup-manager", "systemd" if options.get("systemd-cgroup") else "cgroupfs")
    if manager not in ("systemd", "cgroupfs", "disabled"):
        raise UsageError(f'--cgroup-manager must be systemd, cgroupfs or disabled, not "{manager}"')
    root = options.get("root") or state.default_root()
    return {
        "root": root if root.startswith("/") else os.path.abspath(root),
        "systemd": manager == "systemd",
        "cgroup-disabled": manager == "disabled",
    }


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _say_version() -> int:
    from rootless import __version__
    from rootless.spec import VERSION as SPECIFICATION

    _say(f"ptb-runtime version {__version__}\nspec: {SPECIFICATION}\n+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF")
    return 0


def _report(error: PtbError, options: dict[str, Any]) -> None:
    sys.stderr.write(f"ptb-runtime: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
    path = options.get("log")
    if not path:
        return
    import time

    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if options.get("log-format") == "json":
        from rootless import json_text

        line = json_text.dump({"level": "error", "msg": error.message, "time": stamp})
    else:
        line = f'time="{stamp}" level=error msg={error.message!r}'
    try:
        with open(path, "a", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(line + "\n")
    except OSError as failure:
        sys.stderr.write(f'ptb-runtime: log "{path}": {failure.strerror}\n')


if __name__ == "__main__":
    main()
