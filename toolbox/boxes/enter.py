"""`ptb enter`: from a name to a process in the box, as fast as the kernel allows.

A running box is entered by joining its anchor's namespaces and executing the command in place: the terminal, signals,
job control and exit status are those of the process that was typed, since it is that process. Only an interactive shell
gets a parent that waits for it, to tell the terminal that the box was left.
"""

from __future__ import annotations

import pwd
import sys

from rootless import joiner
from rootless import system as os
from rootless.errors import NotFound, PtbError, UsageError
from toolbox import paths
from toolbox.boxes import environment, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from toolbox.boxes.store import State

HOST = "host"

_SHELLS = ("/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh")


def enter(
    target: str | None,
    command: list[str],
    *,
    name: str = "",
    volumes: list[str] | None = None,
    env: list[str] | None = None,
    home: str = "",
    no_home: bool = False,
    root: bool = False,
    ephemeral: bool = False,
) -> int:
    """Run `command`, or a login shell, in the box `target` names, or in one made from the image it names.

    Returns the exit status where the command does not replace this process. Raises what creating, starting and
    executing raise.
    """
    creation = bool(volumes or home or no_home)
    if ephemeral:
        return _enter_ephemeral(target or HOST, command, name, volumes, env, home, no_home=no_home, root=root)
    found = None if creation else _running(target, name)
    if found is None:
        found = _create_or_start(target, name, volumes or [], env or [], home, no_home=no_home)
    state, anchor = found
    store.remember_last(state.name)
    if not command and os.isatty(0) and os.isatty(1):
        return _shell_with_parent(state, anchor, env or [], root=root)
    _join_and_execute(state, anchor, command, env or [], root=root)


def enter_existing(name: str, command: list[str], *, env: list[str] | None = None) -> int:
    """As `enter`, for a box that must be there. Raises NotFound."""
    found = store.running(name)
    if found is None:
        box = store.find(name)
        if box is None:
            raise NotFound(f'box "{name}" does not exist', hint="ptb list")
        found = _start(box)
    state, anchor = found
    store.remember_last(state.name)
    if not command and os.isatty(0) and os.isatty(1):
        return _shell_with_parent(state, anchor, env or [], root=False)
    _join_and_execute(state, anchor, command, env or [], root=False)


def _running(target: str | None, name: str) -> tuple[State, int] | None:
    """The running box that is meant, found without reading anything but its state."""
    if name:
        found = store.running(name)
        return found if found is not None and target in (None, found[0].asked) else None
    if target is None:
        target = _default()
    found = store.running(target)
    if found is None:
        from_image = store.name_for(target)
        found = store.running(from_image) if from_image != target else None
        if found is not None and found[0].asked != target:
            found = None
    return found


def _default() -> str:
    """What `ptb enter` alone enters: as configured, else the box used last, else the machine itself."""
    path = paths.config_home() + "/config.toml"
    if os.path.exists(path):
        import tomllib

        from rootless.errors import InvalidDocument

        with open(path, "rb") as stream:
            try:
                configured = tomllib.load(stream).get("enter", {}).get("default", "")
            except (tomllib.TOMLDecodeError, AttributeError) as error:
                raise InvalidDocument(f'"{path}" does not parse: {error}', hint=f"mend or remove {path}") from error
        if isinstance(configured, str) and configured:
            return configured
    last = store.last_used()
    return last if last and store.id_of(last) else HOST


def _create_or_start(
    target: str | None, name: str, volumes: list[str], env: list[str], home: str, *, no_home: bool
) -> tuple[State, int]:
    from toolbox.boxes import create

    box = store.find(name) if name else None
    if target is None:
        target = box.name if box is not None else _default()
    wanted = name or target
    if box is None:
        box = store.find(wanted)
    if box is None and not name:
        wanted = store.name_for(target)
        box = store.find(wanted)
    if box is not None and (volumes or home or no_home):
        raise UsageError(
            f'box "{box.name}" exists: volumes and home are chosen when a box is made',
            hint=f"ptb rm {box.name} first, or --name for another box",
        )
    if box is not None and target not in (box.name, box.asked, box.image) and not box.id.startswith(target):
        _require_same_image(box, target)
    if box is None:
        try:
            box = create.create(target, name=name, volumes=volumes, env=env, home=home, no_home=no_home)
            print(f'ptb: made box "{box.name}" from {box.image}', file=sys.stderr)
        except PtbError as error:
            box = store.find(wanted) if type(error).__name__ == "AlreadyExists" else None
            if box is None:
                raise
    return _start(box)


def _require_same_image(box: store.BoxRecord, target: str) -> None:
    """Two images can give one name: entering the other one's box would be a surprise."""
    from rootless.errors import AlreadyExists
    from toolbox.images import pull

    if target == HOST or box.image == HOST or pull.full_name(target) != box.image:
        raise AlreadyExists(
            f'box "{box.name}" is made from {box.image}, not from "{target}"', hint="give the new box a --name"
        )


def _start(box: store.BoxRecord) -> tuple[State, int]:
    from toolbox.boxes import start

    lock = store.lock(box.id)
    if lock is None:
        raise NotFound(f'box "{box.name}" was removed meanwhile', hint="ptb list")
    try:
        return start.start(box)
    finally:
        os.close(lock)


def _enter_ephemeral(
    image: str,
    command: list[str],
    name: str,
    volumes: list[str] | None,
    env: list[str] | None,
    home: str,
    *,
    no_home: bool,
    root: bool,
) -> int:
    """A box for one command; a second process removes it as well, should this one be killed."""
    from toolbox.boxes import create, ephemeral

    box = create.create(
        image, name=name, volumes=volumes or (), env=env or (), home=home, no_home=no_home, ephemeral=True
    )
    watcher = ephemeral.watch(box)
    try:
        state, anchor = _start(box)
        return _child_and_wait(state, anchor, command, [], root=root)
    finally:
        ephemeral.finish(watcher)


def _shell_with_parent(state: State, anchor: int, env: list[str], *, root: bool) -> int:
    """A login shell, with the terminal told before and after where it is (VTE's OSC 777 container stack)."""
    uid = os.getuid()
    speaks = os.environ.get("TERM", "dumb") not in ("dumb", "linux")
    if speaks:
        os.write(1, f"\033]777;container;push;{state.name};ptb;{uid}\033\\\033]0;[{state.name}]\007".encode())
    try:
        return _child_and_wait(state, anchor, [], env, root=root)
    finally:
        if speaks:
            os.write(1, f"\033]777;container;pop;;;{uid}\033\\".encode())


def _child_and_wait(state: State, anchor: int, command: list[str], env: list[str], *, root: bool) -> int:
    """Run the command in a child of this process, which stops, continues and ends as the child does."""
    import signal

    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _join_and_execute(state, anchor, command, env, root=root)
    os.close(anchor)
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    while True:
        _pid, status = os.waitpid(child, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            group = os.getpgid(child)
            os.kill(os.getpid(), signal.SIGSTOP)
            _give_terminal(group)
            os.kill(child, signal.SIGCONT)
            continue
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def _give_terminal(group: int) -> None:
    """Pass the terminal on to a shell that is a process group of its own, if `fg` has just given it to us."""
    try:
        if os.tcgetpgrp(0) == os.getpgrp() != group:
            os.tcsetpgrp(0, group)
    except OSError:
        return  # standard input is no terminal any more


def _join_and_execute(state: State, anchor: int, command: list[str], env: list[str], *, root: bool) -> NoReturn:
    """Become the command, in the box. Nothing can be imported once the root has changed."""
    directory = _working_directory()
    uid = os.getuid()
    try:
        entry = pwd.getpwuid(uid)
        user, shell = entry.pw_name, os.environ.get("SHELL") or entry.pw_shell
    except KeyError:
        user, shell = os.environ.get("USER", f"user{uid}"), "/bin/sh"
    if root:
        from rootless.userns import become_root
    host_time = _host_time_zone()
    box_directory = os.open(store.directory(state.id), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    joiner.join(state.anchor_pid, anchor, state.name)
    _follow_time_zone(host_time)
    shell = _choose_shell(shell, state.name, box_directory, quiet=bool(command))
    if root:
        become_root()
        user, home = "root", "/root"
    else:
        home = state.home
    shared = (*environment.SHARED, state.home)
    variables = environment.for_box(
        dict(os.environ),
        state.env,
        name=state.name,
        user=user,
        home=home,
        shell=shell,
        shared=shared,
        extra=tuple(env),
        root=root,
    )
    _have_locale(variables)
    _go_to(directory, home, state.name, variables)
    sys.stdout.flush()
    sys.stderr.flush()
    if command:
        joiner.execute(command[0], command, variables, state.name)
    if shell.rpartition("/")[2] in ("sh", "ash", "dash", "busybox"):
        variables["PS1"] = f"[{state.name}] $ " if not root else f"[{state.name}] # "
    joiner.execute(shell, ["-" + shell.rpartition("/")[2]], variables, state.name)


def _working_directory() -> str:
    """The current directory by the name the caller knows it by, or '' where it has been removed."""
    try:
        real = os.getcwd()
    except FileNotFoundError:
        return ""
    named = os.environ.get("PWD", "")
    try:
        return named if named.startswith("/") and os.path.samefile(named, real) else real
    except OSError:
        return real


def _go_to(directory: str, home: str, name: str, variables: dict[str, str]) -> None:
    for place in (directory, home, "/"):
        try:
            os.chdir(place or "/nonexistent")
        except OSError:
            continue
        if place != directory:
            print(
                f'ptb: "{directory or "the current directory"}" is not in box "{name}": using {place}', file=sys.stderr
            )
        variables["PWD"] = place
        return


def _choose_shell(wanted: str, name: str, box_directory: int, *, quiet: bool) -> str:
    for shell in (wanted, *_SHELLS):
        if shell.startswith("/") and os.access(shell, os.X_OK):
            if shell != wanted and not quiet:
                _say_once(box_directory, f'ptb: box "{name}" has no {wanted}: using {shell}')
            return shell
    return "/bin/sh"


def _say_once(box_directory: int, text: str) -> None:
    try:
        os.close(
            os.open("said-shell", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=box_directory)
        )
    except OSError:
        return
    print(text, file=sys.stderr)


def _host_time_zone() -> str:
    try:
        return os.readlink("/etc/localtime")
    except OSError:
        return ""


def _follow_time_zone(host: str) -> None:
    """Where the host's /etc/localtime is an absolute link the box cannot just point at it; mend it when it differs."""
    if not host.startswith("/"):
        return
    wanted = "/run/host" + host
    try:
        if os.readlink("/etc/localtime") == wanted:
            return
        if os.path.lexists("/etc/.localtime.ptb"):
            os.unlink("/etc/.localtime.ptb")
        os.symlink(wanted, "/etc/.localtime.ptb")
        os.rename("/etc/.localtime.ptb", "/etc/localtime")
    except OSError:
        return


def _have_locale(variables: dict[str, str]) -> None:
    """A locale that the box does not have makes every program complain: take one it has instead."""
    for key in [key for key in variables if key == "LANG" or key.startswith("LC_")]:
        if not _has_locale(variables[key]):
            variables[key] = next((name for name in ("C.UTF-8", "en_US.UTF-8") if _has_locale(name)), "C")


def _has_locale(name: str) -> bool:
    if name in ("", "C", "POSIX") or not os.path.isdir("/usr/lib/locale"):
        return True
    wanted = environment.normal_locale(name)
    if wanted == "C.utf8" and os.path.isdir("/usr/lib/locale/C.UTF-8"):
        return True
    if os.path.isdir(f"/usr/lib/locale/{wanted}"):
        return True
    try:
        with open("/usr/lib/locale/locale-archive", "rb") as archive:
            return wanted.encode() + b"\0" in archive.read(1 << 16)
    except OSError:
        return False
