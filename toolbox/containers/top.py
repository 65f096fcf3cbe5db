"""`top`: the processes of a container, as ps(1) or podman's descriptors show them; read from /proc, with nothing run inside."""

from __future__ import annotations

import os

from rootless import runtime
from rootless import state as state_module
from rootless.errors import InUse, UsageError
from rootless.record import record
from toolbox import output
from toolbox.containers import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DEFAULT = ("user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args")


@record
class Shown:
    """A process, from /proc/PID; `pid` as the host counts."""

    pid: int
    stat: tuple[str, ...]
    status: dict[str, str]
    arguments: str
    uptime: float


def show(arguments: list[str], *, latest: bool) -> int:
    """`top CONTAINER [DESCRIPTOR …]`, or options of ps(1) in their place."""
    if latest:
        container, wanted = store.newest(), arguments
    else:
        if not arguments:
            raise UsageError("name a container")
        container, wanted = store.need(arguments[0]), arguments[1:]
    if store.status(container).state != "running":
        raise InUse(f'container "{container.name}" is not running: it has no processes')
    pids = runtime.members(state_module.read(store.runtime_root(), container.id))
    if wanted and (
        wanted[0].startswith("-") or not all(word in _COLUMNS for text in wanted for word in text.split(","))
    ):
        return _with_ps(pids, wanted)
    names = [word for text in wanted for word in text.split(",")] or list(_DEFAULT)
    rows = [[_COLUMNS[name][1](process) for name in names] for process in _read(pids)]
    output.print_table([_COLUMNS[name][0] for name in names], rows)
    return 0


def _with_ps(pids: list[int], options: list[str]) -> int:
    """Have ps(1) show these processes, with the user's own options (docker top)."""
    import subprocess

    words = options if options[0].startswith("-") else [f"-{options[0]}", *options[1:]]
    selected = [word for word in words if word not in ("-e", "-A", "-ef", "aux", "-aux")]
    selected += ["-f"] if "-ef" in words else []
    done = subprocess.run(
        ["ps", *selected, "-p", ",".join(map(str, pids))], capture_output=True, text=True, check=False
    )
    if done.returncode and done.stderr:
        raise UsageError(
            f"top {' '.join(options)}: {done.stderr.strip().splitlines()[0]}",
            hint=f"or one of {', '.join(sorted(_COLUMNS))}",
        )
    print(done.stdout, end="")
    return 0


def _read(pids: list[int]) -> list[Shown]:
    with open("/proc/uptime", encoding="ascii") as stream:
        uptime = float(stream.read().split()[0])
    found = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
                text = stream.read()
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as stream:
                status = dict(line.rstrip("\n").partition(":\t")[::2] for line in stream)
            with open(f"/proc/{pid}/cmdline", "rb") as data:
                words = data.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        fields = (str(pid), text[text.index("(") + 1 : text.rindex(")")], *text.rpartition(")")[2].split())
        found.append(Shown(pid, fields, status, words or f"[{fields[1]}]", uptime))
    return found


def _ticks(process: Shown, *fields: int) -> float:
    return sum(int(process.stat[field]) for field in fields) / os.sysconf("SC_CLK_TCK")


def _age(process: Shown) -> float:
    return max(0.0, process.uptime - _ticks(process, 21))


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return (
        f"{whole // 3600}h{whole % 3600 // 60}m{whole % 60}s"
        if whole >= 3600
        else (f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{seconds:.9f}".rstrip("0").rstrip(".") + "s")
    )


def _inner(process: Shown, key: str) -> str:
    """The pid as the container counts."""
    return process.status.get(key, "").split("\t")[-1]


def _parent(process: Shown) -> str:
    try:
        with open(f"/proc/{process.stat[3]}/status", encoding="utf-8", errors="replace") as stream:
            line = next((line for line in stream if line.startswith("NSpid:")), "")
    except OSError:
        return "0"
    mine, theirs = process.status.get("NSpid", "").split("\t"), line.split("\t")[1:]
    return theirs[-1].strip() if len(theirs) == len(mine) else "0"


def _id_inside(process: Shown, kind: str, index: int) -> str:
    """The user or group as the container counts."""
    outside = int(process.status.get(kind, "0").split("\t")[index])
    try:
        with open(f"/proc/{process.pid}/{kind.lower()}_map", encoding="ascii") as stream:
            for line in stream:
                inside, first, length = map(int, line.split())
                if first <= outside < first + length:
                    return str(inside + outside - first)
    except OSError:
        pass
    return str(outside)


def _user(process: Shown) -> str:
    number = _id_inside(process, "Uid", 1)
    try:
        with open(f"/proc/{process.pid}/root/etc/passwd", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                fields = line.split(":")
                if len(fields) > 2 and fields[2] == number:
                    return fields[0]
    except OSError:
        pass
    return number


def _terminal(process: Shown) -> str:
    number = int(process.stat[6])
    if not number:
        return "?"
    return f"pts/{os.minor(number)}" if os.major(number) == 136 else f"{os.major(number)}:{os.minor(number)}"


def _share(process: Shown) -> str:
    age = _age(process)
    return f"{_ticks(process, 13, 14) / age * 100 if age else 0:.3f}"


_COLUMNS: dict[str, tuple[str, Callable[[Shown], str]]] = {
    "args": ("COMMAND", lambda process: process.arguments),
    "capeff": ("EFFECTIVE CAPS", lambda process: process.status.get("CapEff", "")),
    "comm": ("COMMAND", lambda process: process.stat[1]),
    "etime": ("ELAPSED", lambda process: _clock(_age(process))),
    "group": ("GROUP", lambda process: _id_inside(process, "Gid", 1)),
    "hpid": ("HPID", lambda process: str(process.pid)),
    "huser": ("HUSER", lambda process: process.status.get("Uid", "").split("\t")[0]),
    "nice": ("NI", lambda process: process.stat[18]),
    "pcpu": ("%CPU", _share),
    "pgid": ("PGID", lambda process: _inner(process, "NSpgid")),
    "pid": ("PID", lambda process: _inner(process, "NSpid")),
    "ppid": ("PPID", _parent),
    "rss": ("RSS", lambda process: str(int(process.stat[23]) * os.sysconf("SC_PAGESIZE") // 1024)),
    "seccomp": ("SECCOMP", lambda process: ("disabled", "strict", "filter")[int(process.status.get("Seccomp", "0"))]),
    "state": ("STATE", lambda process: process.stat[2]),
    "time": ("TIME", lambda process: _clock(_ticks(process, 13, 14))),
    "tty": ("TTY", _terminal),
    "user": ("USER", _user),
    "vsz": ("VSZ", lambda process: str(int(process.stat[22]) // 1024)),
}
"""podman-top(1)'s descriptors, but for those about labels."""
