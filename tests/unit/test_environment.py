"""What of the caller's environment reaches a box."""

from __future__ import annotations

from toolbox.boxes import environment

SHARED = ("/tmp", "/run/user", "/home/ann")


def _env(
    caller: dict[str, str], *, box: tuple[str, ...] = (), extra: tuple[str, ...] = (), root: bool = False
) -> dict[str, str]:
    return environment.for_box(
        caller,
        box,
        name="deb",
        user="root" if root else "ann",
        home="/root" if root else "/home/ann",
        shell="/bin/bash",
        shared=SHARED,
        extra=extra,
        root=root,
    )


def test_the_host_s_path_and_private_variables_stay_outside() -> None:
    env = _env({"PATH": "/nix/bin", "AWS_SECRET_ACCESS_KEY": "x", "LD_PRELOAD": "x.so", "PYTHONPATH": "/x"})
    assert env["PATH"] == environment.DEFAULT_PATH
    assert not {"AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "PYTHONPATH"} & env.keys()


def test_language_proxies_editor_and_time_zone_come_along() -> None:
    caller = {"LC_TIME": "de_DE.UTF-8", "https_proxy": "http://p:1", "EDITOR": "vi", "TZ": "UTC", "DISPLAY": ":0"}
    env = _env(caller)
    assert {key: env[key] for key in caller} == caller


def test_image_then_box_then_command_line_decide() -> None:
    env = _env({"EDITOR": "vi"}, box=("PATH=/opt/bin:/bin", "A=1", "A=2"), extra=("EDITOR=ed", "B=x=y"))
    assert (env["PATH"], env["A"], env["EDITOR"], env["B"]) == ("/opt/bin:/bin", "2", "ed", "x=y")


def test_a_socket_the_box_does_not_share_is_reached_through_run_host() -> None:
    env = _env({"SSH_AUTH_SOCK": "/var/agent/sock", "XAUTHORITY": "/run/user/1000/xauth"})
    assert env["SSH_AUTH_SOCK"] == "/run/host/var/agent/sock"
    assert env["XAUTHORITY"] == "/run/user/1000/xauth"


def test_root_does_not_write_into_your_runtime_and_config_directories() -> None:
    env = _env({"XDG_RUNTIME_DIR": "/run/user/1000", "XDG_CONFIG_HOME": "/home/ann/.config"}, root=True)
    assert not {"XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} & env.keys()
    assert (env["HOME"], env["USER"]) == ("/root", "root")


def test_codesets_are_compared_as_glibc_stores_them() -> None:
    assert environment.normal_locale("de_DE.UTF-8@euro") == "de_DE.utf8@euro"
    assert environment.normal_locale("C.UTF-8") == "C.utf8"
    assert environment.normal_locale("en_US") == "en_US"
