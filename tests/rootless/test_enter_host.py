"""`ptb enter host`: the box that needs no registry, and everything that is the same for every box."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rootless.environment import UserEnvironment

LINES_ABOUT_YOU = 'id -u; id -g; id -un; id -gn; echo "$HOME"; pwd; grep Groups /proc/self/status'


def _anchor(user_env: UserEnvironment) -> int:
    """The pid of the one fuse-overlayfs that serves this environment's box."""
    (state,) = (user_env.data / "ptb/containers").glob("*/state")
    return int(state.read_bytes().split(b"\0")[5])


def test_you_are_yourself_where_you_were(user_env: UserEnvironment) -> None:
    outside = subprocess.run(
        ["sh", "-c", LINES_ABOUT_YOU],
        env=user_env.environ,
        cwd=user_env.home,
        capture_output=True,
        text=True,
        check=True,
    )
    inside = user_env.ptb("enter", "host", "--", "sh", "-c", LINES_ABOUT_YOU, cwd=user_env.home)
    assert inside.status == 0, inside.stderr
    assert inside.stdout == outside.stdout


def test_what_you_do_to_etc_and_usr_stays_in_the_box(user_env: UserEnvironment) -> None:
    script = "echo changed > /etc/ptb-test; echo x > /usr/ptb-test; rm /etc/os-release; cat /etc/ptb-test"
    assert user_env.ptb("enter", "--root", "host", "--", "sh", "-c", script).stdout == "changed\n"
    assert not os.path.exists("/etc/ptb-test")
    assert not os.path.exists("/usr/ptb-test")
    assert os.path.exists("/etc/os-release")
    again = user_env.ptb("enter", "host", "--", "sh", "-c", "cat /usr/ptb-test; test ! -e /etc/os-release")
    assert (again.status, again.stdout) == (0, "x\n")


def test_root_without_a_password_and_files_show_their_owners(user_env: UserEnvironment) -> None:
    result = user_env.ptb(
        "enter", "host", "--", "su", "-c", "id -u; stat -c %u /etc/passwd /etc/shadow; cat /etc/shadow"
    )
    assert result.status == 0, result.stderr
    assert result.stdout.startswith("0\n0\n0\nroot::")


def test_root_owned_files_cannot_be_changed_by_you(user_env: UserEnvironment) -> None:
    result = user_env.ptb("enter", "host", "--", "sh", "-c", "echo x >> /etc/passwd")
    assert result.status != 0
    assert "ermission denied" in result.stderr


def test_files_made_in_the_home_are_yours_outside(user_env: UserEnvironment) -> None:
    user_env.ptb("enter", "host", "--", "sh", "-c", "echo hello > $HOME/made-inside", check=True)
    made = user_env.home / "made-inside"
    assert made.read_text() == "hello\n"
    assert made.stat().st_uid == os.getuid()


@pytest.mark.parametrize(
    ("command", "status"),
    [
        pytest.param(["true"], 0, id="success"),
        pytest.param(["sh", "-c", "exit 42"], 42, id="its own status"),
        pytest.param(["no-such-command"], 127, id="not found"),
        pytest.param(["/etc"], 126, id="not executable"),
        pytest.param(["sh", "-c", "kill -TERM $$"], -signal.SIGTERM, id="killed, as its parent sees it"),
    ],
)
def test_exit_status(user_env: UserEnvironment, command: list[str], status: int) -> None:
    assert user_env.ptb("enter", "host", "--", *command).status == status


def test_streams_are_the_callers_own(user_env: UserEnvironment) -> None:
    payload = "x" * 300_000 + "\n"
    result = user_env.ptb("enter", "host", "--", "sh", "-c", "cat; echo complaint >&2", input=payload)
    assert result.stdout == payload
    assert result.stderr.endswith("complaint\n")


def test_a_reader_that_goes_away_ends_the_command_quietly(user_env: UserEnvironment) -> None:
    user_env.ptb("enter", "host", "--", "true", check=True)
    line = f"{user_env.command} enter host -- sh -c 'yes; echo status $? >&2' | head -1"
    result = subprocess.run(["sh", "-c", line], env=user_env.environ, capture_output=True, text=True, check=False)
    assert result.stdout == "y\n"
    assert result.stderr in ("", "status 141\n")


def test_the_second_enter_starts_nothing(user_env: UserEnvironment) -> None:
    user_env.ptb("enter", "host", "--", "true", check=True)
    first = _anchor(user_env)
    listing = user_env.ptb(
        "enter", "host", "--", "sh", "-c", "echo > /tmp/$$.ptb; rm /tmp/$$.ptb; readlink /proc/self/ns/mnt"
    )
    assert _anchor(user_env) == first
    assert listing.stdout == user_env.ptb("enter", "host", "--", "readlink", "/proc/self/ns/mnt").stdout


def test_many_first_enters_at_once_share_one_box(user_env: UserEnvironment) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(
            pool.map(lambda _n: user_env.ptb("enter", "host", "--", "readlink", "/proc/self/ns/mnt"), range(8))
        )
    assert [result.status for result in results] == [0] * 8, [result.stderr for result in results]
    assert len({result.stdout for result in results}) == 1


def test_after_the_anchor_is_killed_the_next_enter_simply_works(user_env: UserEnvironment) -> None:
    user_env.ptb("enter", "--root", "host", "--", "sh", "-c", "echo kept > /etc/kept", check=True)
    os.kill(_anchor(user_env), signal.SIGKILL)
    assert user_env.ptb("enter", "host", "--", "cat", "/etc/kept").stdout == "kept\n"


def test_kill_9_at_any_moment_of_a_first_enter(user_env: UserEnvironment) -> None:
    """Twenty first enters killed at moments spread over their whole length; after each the next one works."""
    began = time.monotonic()
    user_env.ptb("enter", "host", "--", "true", check=True)
    length = time.monotonic() - began
    for step in range(20):
        user_env.ptb("rm", "--force", "host", check=True)
        process = user_env.start("enter", "host", "--", "true")
        try:
            process.wait(timeout=length * step / 20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        result = user_env.ptb("enter", "host", "--", "echo", "works")
        assert (result.status, result.stdout) == (0, "works\n"), result.stderr
    user_env.ptb("rm", "--force", "host", check=True)
    assert list((user_env.data / "ptb/containers").iterdir()) == []
    assert list((user_env.data / "ptb/names").iterdir()) == []


def test_a_directory_the_box_does_not_have(user_env: UserEnvironment) -> None:
    user_env.ptb("enter", "--root", "host", "--", "rm", "-rf", "/usr/share/doc", check=True)
    result = user_env.ptb("enter", "host", "--", "pwd", cwd="/usr/share/doc")
    assert result.stdout == f"{user_env.home}\n"
    assert f'"/usr/share/doc" is not in box "host": using {user_env.home}' in result.stderr


def test_a_current_directory_that_was_removed(user_env: UserEnvironment, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"rmdir {gone}; {user_env.command} enter host -- pwd"
    result = subprocess.run(
        ["sh", "-c", line], env=user_env.environ, cwd=gone, capture_output=True, text=True, check=False
    )
    assert result.stdout == f"{user_env.home}\n"


def test_environment(user_env: UserEnvironment) -> None:
    extra = {
        "SECRET": "x",
        "LC_TIME": "C",
        "EDITOR": "ed",
        "HTTPS_PROXY": "http://localhost:1",
        "PATH": user_env.environ["PATH"],
    }
    result = user_env.ptb("enter", "-e", "GIVEN=1=2", "host", "--", "env", environ=extra)
    lines = result.stdout.splitlines()
    assert {"LC_TIME=C", "EDITOR=ed", "HTTPS_PROXY=http://localhost:1", "GIVEN=1=2", "PTB_BOX=host"} <= set(lines)
    assert not any(line.startswith("SECRET=") for line in lines)


def test_the_desktop_is_there(user_env: UserEnvironment) -> None:
    script = """
        test -e /run/.containerenv && test -e /run/.toolboxenv || echo no marker files
        grep -q 'name="host"' /run/.containerenv || echo no name
        test -d /run/host/etc || echo no /run/host
        test -c /dev/null && test -d /dev/pts || echo no devices
        test -d /sys/class && test -r /proc/1/stat || echo no proc or sys
        cmp /etc/hosts /run/host/etc/hosts || echo other hosts
        test -d "$XDG_RUNTIME_DIR" || echo no runtime directory
    """
    assert user_env.ptb("enter", "host", "--", "sh", "-c", script).stdout == ""


def test_host_network_pid_and_ipc(user_env: UserEnvironment) -> None:
    inside = user_env.ptb(
        "enter", "host", "--", "readlink", *(f"/proc/self/ns/{kind}" for kind in ("net", "pid", "ipc", "uts"))
    )
    assert inside.stdout.split() == [os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "pid", "ipc", "uts")]


def test_a_file_in_tmp_is_shared_both_ways(user_env: UserEnvironment, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("from outside\n")
    result = user_env.ptb("enter", "host", "--", "sh", "-c", f"cat {tmp_path}/out; echo back > {tmp_path}/in")
    assert result.stdout == "from outside\n"
    assert (tmp_path / "in").read_text() == "back\n"


def test_volumes(user_env: UserEnvironment, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "file").write_text("one file\n")
    script = "cat /srv/f; echo x > /srv/rw/new && ! echo x > /srv/ro/new2 2>/dev/null"
    result = user_env.ptb(
        "enter",
        *("-v", f"{tmp_path}/data:/srv/rw"),
        *("-v", f"{tmp_path}/data:/srv/ro:ro"),
        *("-v", f"{tmp_path}/file:/srv/f"),
        "host",
        *("--", "sh", "-c", script),
    )
    assert (result.status, result.stdout) == (0, "one file\n"), result.stderr
    assert (tmp_path / "data/new").read_text() == "x\n"
    assert not (tmp_path / "data/new2").exists()
    refused = user_env.ptb("enter", "-v", f"{tmp_path}/data:/x", "host", "--", "true")
    assert refused.status == 125
    assert "chosen when a box is made" in refused.stderr


def test_a_volume_that_is_missing_is_refused_and_nothing_is_made(user_env: UserEnvironment) -> None:
    result = user_env.ptb("enter", "-v", "/no/such/place:/x", "host", "--", "true")
    assert result.status == 125
    assert '"/no/such/place" is not there' in result.stderr
    assert user_env.ptb("list", "-q").stdout == ""


def test_another_home(user_env: UserEnvironment, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (user_env.home / "mine").write_text("x")
    script = 'test ! -e "$HOME/mine" && echo y > "$HOME/theirs"'
    result = user_env.ptb("enter", "--home", str(tmp_path / "other"), "host", "--", "sh", "-c", script)
    assert result.status == 0, result.stderr
    assert (tmp_path / "other/theirs").read_text() == "y\n"


def test_no_home(user_env: UserEnvironment) -> None:
    (user_env.home / "mine").write_text("x")
    script = 'test ! -e "$HOME/mine" && echo y > "$HOME/theirs" && cat "$HOME/theirs"'
    result = user_env.ptb("enter", "--no-home", "host", "--", "sh", "-c", script)
    assert (result.status, result.stdout) == (0, "y\n"), result.stderr
    assert not (user_env.home / "theirs").exists()
    assert (user_env.home / "mine").exists()


def test_ephemeral_boxes_leave_nothing(user_env: UserEnvironment) -> None:
    result = user_env.ptb("enter", "--ephemeral", "host", "--", "sh", "-c", "echo in; exit 5")
    assert (result.status, result.stdout) == (5, "in\n")
    assert user_env.ptb("list", "-q").stdout == ""
    assert list((user_env.data / "ptb/containers").iterdir()) == []


def test_an_ephemeral_box_goes_even_if_ptb_is_killed(user_env: UserEnvironment) -> None:
    process = user_env.start("enter", "--ephemeral", "host", "--", "sh", "-c", "echo ready; exec sleep 1000")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    assert process.stdout.read() == "", "the command ended with its box"
    user_env.await_gone(user_env.data / "ptb/containers")


def test_removing(user_env: UserEnvironment) -> None:
    process = user_env.start("enter", "host", "--", "sh", "-c", "echo ready; exec sleep 1000")
    assert process.stdout is not None
    process.stdout.readline()
    refused = user_env.ptb("rm", "host")
    assert refused.status == 2
    assert f'box "host" is in use by sleep (pid {process.pid})' in refused.stderr
    assert user_env.ptb("rm", "--force", "host").status == 0
    assert process.wait() == -signal.SIGKILL
    missing = user_env.ptb("rm", "host")
    assert (missing.status, '"host" is neither a container nor a box' in missing.stderr) == (1, True)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", ".x", "a b", "x\ny", "ü"])
def test_names_that_cannot_be(user_env: UserEnvironment, name: str) -> None:
    result = (
        user_env.ptb("enter", f"--name={name}", "host", "--", "true")
        if name
        else user_env.ptb("enter", "", "--", "true")
    )
    assert result.status == 125
    assert result.stderr.startswith("ptb: ")
    assert user_env.ptb("list", "-q").stdout == ""


def test_a_name_that_is_taken_by_another_image(user_env: UserEnvironment) -> None:
    user_env.ptb("enter", "--name", "work", "host", "--", "true", check=True)
    result = user_env.ptb("enter", "--name", "work", "localhost:1/other:1", "--", "true")
    assert result.status == 125
    assert 'box "work" is made from host' in result.stderr


def test_without_a_name_the_box_used_last(user_env: UserEnvironment) -> None:
    user_env.ptb("enter", "--name", "one", "host", "--", "true", check=True)
    user_env.ptb("enter", "--name", "two", "host", "--", "true", check=True)
    assert user_env.ptb("enter", "--", "printenv", "PTB_BOX").stdout == "two\n"
    (user_env.config / "ptb").mkdir(parents=True)
    (user_env.config / "ptb/config.toml").write_text('[enter]\ndefault = "one"\n')
    assert user_env.ptb("enter", "--", "printenv", "PTB_BOX").stdout == "one\n"


def test_listing(user_env: UserEnvironment) -> None:
    user_env.ptb("enter", "--name", "work", "host", "--", "true", check=True)
    assert user_env.ptb("list", "-q").stdout == "work\n"
    header, row = user_env.ptb("list").stdout.splitlines()
    assert header.split() == ["NAME", "IMAGE", "CREATED", "STATUS"]
    assert row.split()[:2] == ["work", "host"]
    assert row.rstrip().endswith("running")
    os.kill(_anchor(user_env), signal.SIGKILL)
    assert user_env.ptb("list").stdout.rstrip().endswith("stopped")


def _in_namespace(
    user_env: UserEnvironment, preparation: str, *, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `ptb enter host -- true` as this user, in namespaces in which `preparation` was done by their root."""
    uid, gid = os.getuid(), os.getgid()
    inner = f"exec unshare --user --map-user={uid} --map-group={gid} {user_env.command} enter host -- true"
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f"{preparation}; {inner}"],
        env={**user_env.environ, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_subordinate_ids(user_env: UserEnvironment) -> None:
    result = _in_namespace(user_env, "mount --bind /dev/null /etc/subuid")
    assert result.returncode == 125
    assert "has no subordinate ids in /etc/subuid" in result.stderr
    assert "hint: sudo usermod --add-subuids" in result.stderr
    assert user_env.ptb("list", "-q").stdout == ""


def test_user_namespaces_forbidden(user_env: UserEnvironment) -> None:
    result = _in_namespace(user_env, "echo 1 > /proc/sys/user/max_user_namespaces")
    assert result.returncode == 125
    assert "user.max_user_namespaces" in result.stderr
    assert "hint: sudo sysctl -w user.max_user_namespaces" in result.stderr


def test_no_dev_fuse(user_env: UserEnvironment, tmp_path: Path) -> None:
    blocked = tmp_path / "fuse"
    blocked.touch(mode=0o000)
    result = _in_namespace(user_env, f"mount --bind {blocked} /dev/fuse")
    assert result.returncode == 125
    assert '"/dev/fuse" may not be opened' in result.stderr
    assert "hint: sudo chmod 666 /dev/fuse" in result.stderr


def test_no_fuse_overlayfs(user_env: UserEnvironment, tmp_path: Path) -> None:
    for name in ("newuidmap", "newgidmap", "sh"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    result = user_env.ptb("enter", "host", "--", "true", environ={"PATH": str(tmp_path)})
    assert result.status == 125
    assert "fuse-overlayfs is not installed" in result.stderr
