"""Finishing a box's root file system before it is entered: who you are there, names, time and what the host decides.

Runs as container root on the overlay, while nothing of the host's is mounted in it yet; every file is written only
where it differs, so a second start writes nothing.
"""

from __future__ import annotations

from rootless import paths
from rootless import system as os
from rootless.errors import KernelError
from toolbox.boxes import identity
from toolbox.boxes.identity import Identity
from toolbox.boxes.store import NO_HOME, BoxRecord, own_home

PROFILE = """\
# made by ptb: says in the prompt and the terminal's title which box this shell is in
if [ -n "${PTB_BOX:-}" ] && [ -n "${PS1:-}" ]; then
    case "${TERM:-dumb}" in dumb|linux) PTB_TITLE= ;; *) PTB_TITLE=1 ;; esac
    if [ -n "${BASH_VERSION:-}" ]; then
        __ptb_prompt() {
            case "$PS1" in *"[$PTB_BOX]"*) return ;; esac
            PS1="[$PTB_BOX] $PS1"
            [ -z "$PTB_TITLE" ] || PS1="$PS1\\\\[\\\\e]0;[$PTB_BOX] \\\\u@\\\\h: \\\\w\\\\a\\\\]"
        }
        PROMPT_COMMAND="__ptb_prompt${PROMPT_COMMAND:+; $PROMPT_COMMAND}"
    else
        case "$PS1" in *"[$PTB_BOX]"*) ;; *) PS1="[$PTB_BOX] $PS1" ;; esac
    fi
fi
"""

_SKELETON = (".bashrc", ".profile", ".bash_profile", ".bash_logout", ".zshrc")

_FOLLOWED = ("/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/localtime")


def populate(root: int, box: BoxRecord, who: Identity) -> None:
    """Write what the box needs beneath the descriptor `root`. Raises KernelError naming the file."""
    step = "/"
    try:
        os.fchown(root, 0, 0)
        os.fchmod(root, 0o755)
        for step, mode in (("/etc", 0o755), ("/usr", 0o755), ("/var", 0o755), ("/tmp", 0o1777), ("/root", 0o700)):  # noqa: S108
            os.close(paths.make_directories(root, step, mode))
        for step, data, mode in _identity_files(root, who):
            paths.write_in(root, step, data, mode)
        for step in _FOLLOWED:
            _follow_host(root, step)
        step = "/etc/machine-id"
        _copy_text(root, step, 0o444)
        step = "/etc/timezone"
        _copy_text(root, step, 0o644)
        if box.home == NO_HOME:
            step = who.home
            _fill_home(root, own_home(box.id), who)
    except OSError as error:
        raise KernelError("writing", f'"{step}" of the box', error.errno or 0) from error


def _identity_files(root: int, who: Identity) -> list[tuple[str, bytes, int]]:
    def text(path: str) -> str:
        return (paths.read_in(root, path, 8 << 20) or b"").decode(errors="surrogateescape")

    def encoded(value: str) -> bytes:
        return value.encode(errors="surrogateescape")

    return [
        ("/etc/passwd", encoded(identity.passwd(text("/etc/passwd"), who)), 0o644),
        ("/etc/group", encoded(identity.group(text("/etc/group"), who)), 0o644),
        ("/etc/shadow", encoded(identity.shadow(text("/etc/shadow"), who)), 0o640),
        ("/etc/sudoers.d/ptb", encoded(identity.sudoers(who)), 0o440),
        ("/etc/profile.d/ptb.sh", PROFILE.encode(), 0o644),
    ]


def _follow_host(root: int, path: str) -> None:
    """Make `path` a link to the host's own, which then is right whenever the host's changes."""
    target = host_target(path)
    if target is not None:
        paths.link_in(root, path, target)


def host_target(path: str) -> str | None:
    """Where the box finds the host's file `path`: below /run/host, and past an absolute link that would leave it.

    None where the host has no such file.
    """
    if not os.path.exists(path):
        return None
    try:
        link = os.readlink(path)
    except OSError:
        link = ""
    return "/run/host" + (link if link.startswith("/") else path)


def _copy_text(root: int, path: str, mode: int) -> None:
    try:
        with open(path, "rb") as stream:
            data = stream.read(4096)
    except OSError:
        return
    paths.write_in(root, path, data, mode)


def _fill_home(root: int, home: str, who: Identity) -> None:
    """Give a new home what the image gives new users."""
    directory = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in () if os.listdir(directory) else _SKELETON:
            data = paths.read_in(root, f"/etc/skel/{name}")
            if data is not None:
                paths.write_in(directory, name, data, 0o644)
                os.chown(name, who.uid, who.gid, dir_fd=directory, follow_symlinks=False)
    finally:
        os.close(directory)


def choose_shell(root: int, preferred: str) -> str:
    """The user's shell if the box has it, else bash, else sh."""
    for shell in (preferred, "/bin/bash", "/usr/bin/bash", "/bin/sh"):
        if shell.startswith("/") and paths.exists_in(root, shell):
            return shell
    return "/bin/sh"
