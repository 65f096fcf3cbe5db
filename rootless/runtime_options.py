"""The command line of `ptb-runtime` as a table, its reader and its help; the spelling is runc's.

Not Typer's: the runtime uses nothing but the standard library, and is started once or more for every container.
"""

from __future__ import annotations

from rootless.errors import UsageError
from rootless.record import record


@record
class Option:
    """One option. `kind` is flag, text, number or list; `aliases` are other spellings, without dashes."""

    name: str
    kind: str
    help: str
    aliases: tuple[str, ...] = ()


@record
class Command:
    """One command: its operands as shown in help, how many it takes, and its options."""

    name: str
    operands: str
    least: int
    most: int
    help: str
    options: tuple[Option, ...] = ()


GLOBAL = (
    Option("root", "text", "directory that holds the state of containers"),
    Option("log", "text", "file to write errors to, as well as to stderr"),
    Option("log-format", "text", "text or json", ()),
    Option("debug", "flag", "show where an error came from"),
    Option("systemd-cgroup", "flag", "have systemd make the cgroups; cgroupsPath is slice:prefix:name"),
    Option("cgroup-manager", "text", "systemd, cgroupfs or disabled"),
    Option("rootless", "text", "accepted for runc's sake: what the caller may do is found out"),
    Option("help", "flag", "show this help", ("h",)),
    Option("version", "flag", "show the version", ("v",)),
)
_BUNDLE = Option("bundle", "text", "directory with config.json and the root file system (default: here)", ("b",))
_CONSOLE = Option("console-socket", "text", "socket that gets the terminal's master")
_PID_FILE = Option("pid-file", "text", "file to write the process's pid to")
_PRESERVE = Option("preserve-fds", "number", "how many descriptors from 3 on the process gets")
_CREATE = (
    _BUNDLE,
    Option("config", "text", "the configuration, relative to the bundle (default: config.json)", ("f",)),
    _CONSOLE,
    _PID_FILE,
    Option("no-pivot", "flag", "use MS_MOVE and chroot in place of pivot_root, for a root in a ramdisk"),
    Option("no-new-keyring", "flag", "accepted for runc's sake: the caller's keyring is never passed on"),
    _PRESERVE,
    Option("init", "flag", "run an init as PID 1 that reaps orphans and passes signals on"),
)
_LIMITS = (
    ("blkio-weight", "number", "relative weight of block I/O, 10 to 1000"),
    ("cpu-period", "number", "length of a period in microseconds"),
    ("cpu-quota", "number", "microseconds of CPU in a period"),
    ("cpu-burst", "number", "microseconds of CPU that may be saved up"),
    ("cpu-share", "number", "relative weight of CPU, 2 to 262144"),
    ("cpu-idle", "number", "1 to run only when nobody else wants to"),
    ("cpuset-cpus", "text", "CPUs to run on, as 0-2,7"),
    ("cpuset-mems", "text", "memory nodes to use"),
    ("memory", "text", "limit of memory in bytes, -1 for none"),
    ("memory-reservation", "text", "memory that is not taken back, in bytes"),
    ("memory-swap", "text", "limit of memory and swap together in bytes, -1 for none"),
    ("pids-limit", "number", "limit of processes, -1 for none"),
)
COMMANDS = (
    Command("create", "ID", 1, 1, "create a container, to be started later", _CREATE),
    Command(
        "run",
        "ID",
        1,
        1,
        "create a container, start it, wait for it and delete it",
        (
            *_CREATE,
            Option("detach", "flag", "return once it runs", ("d",)),
            Option("keep", "flag", "do not delete it when it has ended"),
            Option("no-subreaper", "flag", "accepted for runc's sake"),
        ),
    ),
    Command("start", "ID", 1, 1, "start a created container"),
    Command("state", "ID", 1, 1, "print the state of a container as JSON"),
    Command(
        "kill",
        "ID [SIGNAL]",
        1,
        2,
        "send a signal to a container's first process (default: TERM)",
        (Option("all", "flag", "send it to all its processes", ("a",)),),
    ),
    Command(
        "delete",
        "ID…",
        1,
        99,
        "delete containers that have ended",
        (
            Option("force", "flag", "also one that runs, and no error if there is none", ("f",)),
            Option("regex", "flag", "take the operands as regular expressions that ids are searched for", ("r",)),
        ),
    ),
    Command(
        "exec",
        "ID [COMMAND [ARGUMENT…]]",
        1,
        1 << 30,
        "run another process in a container",
        (
            _CONSOLE,
            Option("cwd", "text", "working directory in the container"),
            Option("env", "list", "NAME=VALUE to add to the environment", ("e",)),
            Option("tty", "flag", "give it a terminal", ("t",)),
            Option("user", "text", "UID[:GID]", ("u",)),
            Option("additional-gids", "list", "additional group id", ("g",)),
            Option("process", "text", "file with the process as JSON", ("p",)),
            Option("detach", "flag", "return once it runs", ("d",)),
            _PID_FILE,
            Option("process-label", "text", "SELinux label"),
            Option("apparmor", "text", "AppArmor profile"),
            Option("no-new-privs", "flag", "let nothing give it more privileges, whatever the container's own has"),
            Option("cap", "list", "capability to add", ("c",)),
            _PRESERVE,
            Option("cgroup", "text", "cgroup below the container's own"),
            Option("ignore-paused", "flag", "also in a container that is paused"),
        ),
    ),
    Command(
        "list",
        "",
        0,
        0,
        "list containers",
        (Option("format", "text", "table or json", ("f",)), Option("quiet", "flag", "ids only", ("q",))),
    ),
    Command(
        "ps",
        "ID [PS-OPTION…]",
        1,
        1 << 30,
        "list the processes of a container",
        (Option("format", "text", "table or json", ("f",)),),
    ),
    Command("pause", "ID", 1, 1, "stop all processes of a container for a while"),
    Command("resume", "ID", 1, 1, "let a paused container go on"),
    Command(
        "update",
        "ID",
        1,
        1,
        "change the limits of a container",
        (
            Option("resources", "text", "file with linux.resources as JSON, - for stdin", ("r",)),
            *(Option(name, kind, help_) for name, kind, help_ in _LIMITS),
        ),
    ),
    Command(
        "events",
        "ID",
        1,
        1,
        "print statistics and out-of-memory events as JSON lines",
        (
            Option("interval", "text", "time between statistics, as 5s (default)"),
            Option("stats", "flag", "print them once and end"),
        ),
    ),
    Command("features", "", 0, 0, "print what this runtime can do as JSON"),
    Command(
        "spec",
        "",
        0,
        0,
        "write a config.json to start from",
        (
            _BUNDLE,
            Option(
                "rootless",
                "flag",
                "one for an ordinary user, with nobody but root in it; without its id maps, all your ids",
            ),
        ),
    ),
)

_STOPS_AT_OPERAND = ("exec", "ps")


def find(name: str) -> Command:
    """The command of that name. Raises UsageError."""
    for command in COMMANDS:
        if command.name == name:
            return command
    raise UsageError(f'"{name}" is no command', hint="ptb-runtime --help")


def parse_global(arguments: list[str]) -> tuple[dict[str, object], list[str]]:
    """The global options, and what follows them. Raises UsageError."""
    values, rest = _parse(arguments, GLOBAL, stop=True, who="ptb-runtime")
    return values, rest


def parse(command: Command, arguments: list[str]) -> tuple[dict[str, object], list[str]]:
    """The options and operands of `command`. Raises UsageError."""
    options = (*command.options, Option("help", "flag", "show this help", ("h",)))
    stop = command.name in _STOPS_AT_OPERAND
    values, operands = _parse(arguments, options, stop=stop, who=f"ptb-runtime {command.name}")
    if not values.get("help") and not command.least <= len(operands) <= command.most:
        what = "too many operands" if len(operands) > command.most else "an operand is missing"
        usage = f"ptb-runtime {command.name} {command.operands}".strip()
        raise UsageError(f"{command.name}: {what}", hint=f"{usage}; see ptb-runtime {command.name} --help")
    return values, operands


def _parse(
    arguments: list[str], options: tuple[Option, ...], *, stop: bool, who: str
) -> tuple[dict[str, object], list[str]]:
    by_name = {name: option for option in options for name in (option.name, *option.aliases)}
    values: dict[str, object] = {}
    operands: list[str] = []
    index = 0
    while index < len(arguments):
        word = arguments[index]
        index += 1
        if word == "--":
            return values, operands + arguments[index:]
        if not word.startswith("-") or word == "-":
            operands.append(word)
            if stop:
                return values, operands + arguments[index:]
            continue
        name, equals, value = word.lstrip("-").partition("=")
        option = by_name.get(name)
        if option is None:
            raise UsageError(f'"{word}" is no option of {who}', hint=f"{who} --help")
        if option.kind == "flag":
            if equals and value not in ("true", "false"):
                raise UsageError(f"{who}: --{option.name} takes no value")
            values[option.name] = value != "false"
            continue
        if not equals:
            if index >= len(arguments):
                raise UsageError(f"{who}: --{option.name} needs a value")
            value = arguments[index]
            index += 1
        if option.kind == "number":
            try:
                values[option.name] = int(value)
            except ValueError:
                raise UsageError(f'{who}: --{option.name} must be a number, not "{value}"') from None
        elif option.kind == "list":
            values.setdefault(option.name, [])
            listed = values[option.name]
            assert isinstance(listed, list)  # noqa: S101 # made so above
            listed.append(value)
        else:
            values[option.name] = value
    return values, operands


def overview() -> str:
    """The text of `ptb-runtime --help`."""
    width = max(len(command.name) for command in COMMANDS)
    lines = ["Usage: ptb-runtime [OPTION…] COMMAND [OPTION…] [OPERAND…]", "", "Run containers from OCI bundles."]
    lines += ["", "Commands:", *(f"  {command.name:{width}}  {command.help}" for command in COMMANDS)]
    return "\n".join([*lines, "", "Options:", *_option_lines(GLOBAL)])


def help_of(command: Command) -> str:
    """The text of `ptb-runtime COMMAND --help`."""
    usage = f"Usage: ptb-runtime {command.name}{' [OPTION…]' if command.options else ''} {command.operands}".rstrip()
    lines = [usage, "", command.help[0].upper() + command.help[1:] + "."]
    if command.options:
        lines += ["", "Options:", *_option_lines(command.options)]
    return "\n".join(lines)


def _option_lines(options: tuple[Option, ...]) -> list[str]:
    shown = []
    for option in options:
        short = "".join(f"-{alias}, " for alias in option.aliases if len(alias) == 1)
        value = {"flag": "", "number": " N", "list": " VALUE", "text": " VALUE"}[option.kind]
        shown.append((f"  {short or '    '}--{option.name}{value}", option.help))
    width = max(len(left) for left, _help in shown)
    return [f"{left:{width}}  {help_}" for left, help_ in shown]
