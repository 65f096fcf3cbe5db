"""The environment of a command in a box: the image's, the box's, and an allow-list of the caller's.

The list is toolbox's, with what its users missed: LC_*, proxies, EDITOR, TZ. Everything else of the host's (PATH above
all) names things the box does not have.
"""

from __future__ import annotations

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_FORWARDED = frozenset(
    (
        "COLORTERM CONTAINERS_STORAGE_CONF DBUS_SESSION_BUS_ADDRESS DBUS_SYSTEM_BUS_ADDRESS DESKTOP_SESSION DISPLAY "
        "EDITOR HISTCONTROL HISTFILE HISTFILESIZE HISTIGNORE HISTSIZE HISTTIMEFORMAT KDE_FULL_SESSION "
        "KDE_SESSION_VERSION KONSOLE_DBUS_SESSION KONSOLE_DBUS_WINDOW KONSOLE_PROFILE_NAME KONSOLE_VERSION LANG LANGUAGE "
        "NO_COLOR SSH_AGENT_PID SSH_AUTH_SOCK TERM TOOLBOX_PATH TZ VISUAL VTE_VERSION WAYLAND_DISPLAY XAUTHORITY "
        "XDG_CACHE_HOME XDG_CONFIG_HOME XDG_CURRENT_DESKTOP XDG_DATA_DIRS XDG_DATA_HOME XDG_MENU_PREFIX "
        "XDG_RUNTIME_DIR XDG_SEAT XDG_SESSION_CLASS XDG_SESSION_DESKTOP XDG_SESSION_ID XDG_SESSION_TYPE XDG_STATE_HOME "
        "XDG_VTNR XTERM_VERSION "
        "http_proxy https_proxy ftp_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY"
    ).split()
)

SHARED = ("/tmp", "/run/user", "/run/host", "/run/media", "/media", "/mnt", "/dev")  # noqa: S108
"""Directories that in every box are the host's, at the host's own path (`toolbox.boxes.desktop` mounts them)."""

_PATHS = ("XAUTHORITY", "SSH_AUTH_SOCK")
"""Variables that name one file: where the box does not share it, the host's copy below /run/host is meant."""


def for_box(
    caller: dict[str, str],
    box: tuple[str, ...],
    *,
    name: str,
    user: str,
    home: str,
    shell: str,
    shared: tuple[str, ...],
    extra: tuple[str, ...] = (),
    root: bool = False,
) -> dict[str, str]:
    """The environment for a command in the box `name`.

    `box` and `extra` are NAME=VALUE lines, of which later ones win; `shared` are the directories that the box has at the
    host's own paths. Root gets the same but for the home and the runtime directory, which are somebody else's.
    """
    env = {"PATH": DEFAULT_PATH, "TERM": "xterm"}
    env.update(line.split("=", 1) for line in box if "=" in line)  # type: ignore[misc]
    for key, value in caller.items():
        if key in _FORWARDED or key.startswith("LC_"):
            env[key] = value
    for key in _PATHS:
        path = env.get(key, "")
        if path.startswith("/") and not any(path.startswith(place + "/") for place in shared):
            env[key] = "/run/host" + path
    env["TERMINFO_DIRS"] = ":".join(
        ("", "/usr/share/terminfo", "/run/host/etc/terminfo", "/run/host/lib/terminfo", "/run/host/usr/share/terminfo")
    )
    if caller.get("TERMINFO", "").startswith("/"):
        env["TERMINFO_DIRS"] += ":/run/host" + caller["TERMINFO"]
    env.update(container="oci", PTB_BOX=name, HOME=home, USER=user, LOGNAME=user, SHELL=shell)
    if root:
        for key in ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
            env.pop(key, None)
    env.update(line.split("=", 1) for line in extra if "=" in line)  # type: ignore[misc]
    return env


def normal_locale(name: str) -> str:
    """The name as glibc stores it: `de_DE.UTF-8@euro` is `de_DE.utf8@euro` (locale(1), normalised codesets)."""
    base, at, modifier = name.partition("@")
    language, dot, codeset = base.partition(".")
    kept = "".join(character for character in codeset.lower() if character.isalnum())
    return language + dot + kept + at + modifier
