"""Entering boxes made from images: a whole distribution, almost nothing, and what means harm."""

from __future__ import annotations

import os
import signal
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.rootless import images
from tests.rootless.environment import UserEnvironment
from tests.rootless.images import ImageRegistry, add_directory, add_file, add_link, busybox_layer


def test_a_debian_from_nothing(user_env: UserEnvironment, debian: str) -> None:
    script = "id -un; id -u; pwd; . /etc/os-release; echo $ID; stat -c '%u %g' /usr/bin/sudo; echo $0 $SHELL"
    result = user_env.ptb("enter", debian, "--", "sh", "-c", script)
    assert result.status == 0, result.stderr
    name, uid, directory, distribution, owner, shell = result.stdout.splitlines()
    assert (name, uid, directory) == (os.environ.get("USER", name), str(os.getuid()), str(user_env.home))
    assert (distribution, owner, shell) == ("debian", "0 0", "sh /bin/bash")
    assert 'made box "debian-12"' in result.stderr
    listing = user_env.ptb("list").stdout
    assert f"debian-12   {debian}" in listing


@pytest.mark.parametrize("how", [["sudo"], ["sudo", "-n", "-u", "root"], ["su", "-c"], ["su", "-", "-c"]])
def test_root_in_a_debian_needs_no_password(user_env: UserEnvironment, debian: str, how: list[str]) -> None:
    script = "id -u && touch /etc/made-by-root"
    command = [*how, script] if how[0] == "su" else [*how, "sh", "-c", script]
    result = user_env.ptb("enter", debian, "--", *command)
    assert (result.status, result.stdout) == (0, "0\n"), result.stderr
    assert user_env.ptb("enter", debian, "--", "stat", "-c", "%u:%g", "/etc/made-by-root").stdout == "0:0\n"
    assert user_env.ptb("enter", debian, "--", "touch", "/etc/by-me").status == 1


def test_packages_can_be_installed_and_removed(user_env: UserEnvironment, debian: str) -> None:
    """dpkg chowns, links, renames directories and fsyncs: everything that an overlay can get wrong."""
    script = "cd /tmp && apt-get download -qq 2>/dev/null; dpkg --remove --force-all procps && test ! -e /usr/bin/free"
    result = user_env.ptb("enter", "--root", debian, "--", "sh", "-c", script)
    assert result.status == 0, result.stderr
    assert user_env.ptb("enter", debian, "--", "free").status == 127


def test_a_box_copies_nothing_and_its_image_stays_clean(user_env: UserEnvironment, debian: str) -> None:
    user_env.ptb("pull", debian, check=True)
    before = _disk_use(user_env.data)
    user_env.ptb("enter", debian, "--", "true", check=True)
    assert _disk_use(user_env.data) - before < 200_000
    user_env.ptb("enter", "--root", debian, "--", "rm", "-rf", "/usr/share/doc", "/etc/issue", check=True)
    user_env.ptb("enter", "--name", "second", debian, "--", "test", "-e", "/etc/issue", check=True)


def _disk_use(place: Path) -> int:
    done = subprocess.run(["du", "-s", "-B1", str(place)], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[0])


def test_what_is_pulled_needs_no_registry(user_env: UserEnvironment, image_registry: ImageRegistry) -> None:
    name = image_registry.add("test/short-lived:1", [busybox_layer()])
    user_env.ptb("pull", name, check=True)
    image_registry.delete("test/short-lived:1")
    assert user_env.ptb("enter", name, "--", "echo", "here").stdout == "here\n"


def test_busybox_and_nothing_else(user_env: UserEnvironment, busybox: str) -> None:
    result = user_env.ptb(
        "enter", busybox, "--", "sh", "-c", "id -un; id -gn; pwd; cat /etc/hostname >/dev/null; echo $?"
    )
    assert (
        result.stdout.splitlines()[0]
        == subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    )
    assert user_env.ptb("enter", "--root", busybox, "--", "sh", "-c", "id -u; touch /x").stdout == "0\n"
    assert user_env.ptb("enter", busybox, "--", "stat", "-c", "%u", "/x").stdout == "0\n"
    assert user_env.ptb("enter", busybox, "--", "no-such-command").status == 127
    made = user_env.home / "made"
    user_env.ptb("enter", busybox, "--", "touch", str(made), check=True)
    assert made.stat().st_uid == os.getuid()


def test_a_shell_that_the_image_lacks_is_said_once(user_env: UserEnvironment, busybox: str) -> None:
    first = user_env.ptb("enter", busybox, input="echo in $0\n")
    assert first.stdout == "in -sh\n"
    assert "has no /bin/bash: using /bin/sh" in first.stderr
    second = user_env.ptb("enter", busybox, input="echo again\n")
    assert (second.stdout, second.stderr) == ("again\n", "")


def test_an_image_without_passwd_shell_or_anything(user_env: UserEnvironment, image_registry: ImageRegistry) -> None:
    def fill(archive: tarfile.TarFile) -> None:
        add_file(archive, "busybox", Path("/bin/busybox").read_bytes(), 0o755)

    name = image_registry.add("test/bare:1", [fill])
    assert user_env.ptb("enter", name, "--", "/busybox", "id", "-u").stdout == f"{os.getuid()}\n"
    assert user_env.ptb("enter", name, "--", "/busybox", "ls", "/tmp").status == 0
    result = user_env.ptb("enter", name, input="")
    assert result.status == 127
    assert "/bin/sh" in result.stderr


@pytest.mark.parametrize("compress", ["gzip", "zstd", "none"])
def test_layers_stack_however_they_are_compressed(
    user_env: UserEnvironment, image_registry: ImageRegistry, compress: str
) -> None:
    def lower(archive: tarfile.TarFile) -> None:
        add_directory(archive, "opaque")
        add_file(archive, "opaque/old")
        add_file(archive, "gone")
        add_file(archive, "changed", b"old")

    def upper(archive: tarfile.TarFile) -> None:
        add_file(archive, "opaque/.wh..wh..opq")
        add_file(archive, "opaque/new")
        add_file(archive, ".wh.gone")
        add_file(archive, "changed", b"new\n")

    name = image_registry.add(f"test/stack:{compress}", [busybox_layer(), lower, upper], compress=compress)
    result = user_env.ptb("enter", name, "--", "sh", "-c", "ls /opaque; cat /changed; test -e /gone; echo $?")
    assert result.stdout == "new\nnew\n1\n"


def test_a_layer_is_unpacked_once(user_env: UserEnvironment, image_registry: ImageRegistry) -> None:
    def own(text: bytes) -> images.Filling:
        return lambda archive: add_file(archive, "own", text)

    names = [image_registry.add(f"test/shared:{n}", [busybox_layer(), own(b"%d" % n)]) for n in (1, 2)]
    for name in names:
        user_env.ptb("pull", name, check=True)
    assert len(list(user_env.layers.iterdir())) == 3
    user_env.ptb("rmi", names[0], check=True)
    assert len(list(user_env.layers.iterdir())) == 2
    assert user_env.ptb("enter", names[1], "--", "cat", "/own").stdout == "2"


def test_a_short_name_goes_through_the_configured_mirror(
    user_env: UserEnvironment, image_registry: ImageRegistry, busybox: str
) -> None:
    image_registry.add("mirror/library/centos:7", [busybox_layer()])
    configuration = user_env.config / "containers/registries.conf"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(
        'unqualified-search-registries = ["docker.io"]\n'
        '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n'
        f'[[registry.mirror]]\nlocation = "{image_registry.host}/mirror"\ninsecure = true\n'
    )
    result = user_env.ptb("enter", "centos:7", "--", "echo", "hello")
    assert (result.status, result.stdout) == (0, "hello\n"), result.stderr
    assert "pulling docker.io/library/centos:7" in result.stderr
    assert "centos-7   docker.io/library/centos:7" in user_env.ptb("list").stdout
    for again in ("centos:7", "centos-7", "docker.io/library/centos:7"):
        assert user_env.ptb("enter", again, "--", "echo", "again").stdout == "again\n"
    assert user_env.ptb("list", "-q").stdout == "centos-7\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{host}/test/absent:1", "does not exist"),
        ("{host}/test/busybox:absent", "does not exist"),
        ("127.0.0.1:1/x:1", "refused"),
        ("x/UPPER", "UPPER"),
    ],
)
def test_what_cannot_be_pulled_leaves_nothing(
    user_env: UserEnvironment, image_registry: ImageRegistry, busybox: str, name: str, said: str
) -> None:
    result = user_env.ptb("enter", name.format(host=image_registry.host), "--", "true")
    assert result.status == 125
    last = result.stderr.splitlines()[-1]
    assert said in result.stderr, result.stderr
    assert last.startswith(("ptb:", "hint:"))
    assert user_env.ptb("list", "-q").stdout == ""
    assert not user_env.boxes.exists() or list(user_env.boxes.iterdir()) == []


def test_links_in_the_image_lead_nowhere_outside(
    user_env: UserEnvironment, image_registry: ImageRegistry, tmp_path: Path
) -> None:
    """Everything that ptb writes into a box is a symbolic link in this one, to a file of the user's own."""
    canary = tmp_path / "canary"
    canary.mkdir()
    targets = ["passwd", "group", "shadow", "hosts", "resolv.conf", "localtime", "machine-id", "timezone"]
    for target in targets:
        (canary / target).write_text("untouched")
        (canary / target).chmod(0o666)
    before = {path.name: path.stat() for path in canary.iterdir()}

    def fill(archive: tarfile.TarFile) -> None:
        add_directory(archive, "etc")
        for target in targets:
            add_link(archive, f"etc/{target}", f"{canary}/{target}")
        add_link(archive, "etc/profile.d", str(canary))
        add_link(archive, "etc/sudoers.d", f"../../../../../../..{canary}")
        add_link(archive, "home", "/var/home")
        add_link(archive, "tmp", "/var/tmp")
        add_link(archive, "root", str(canary))
        add_link(archive, "run", "/var/run")
        add_link(archive, "dev", "/etc")

    name = image_registry.add("test/links:1", [busybox_layer(), fill])
    result = user_env.ptb(
        "enter", name, "--", "sh", "-c", "id -un; cat /etc/resolv.conf >/dev/null; ls -d $HOME /tmp/."
    )
    assert result.status == 0, result.stderr
    assert result.stdout.splitlines()[1:] == ["/tmp/.", str(user_env.home)]
    after = {path.name: path.stat() for path in canary.iterdir()}
    assert after.keys() == before.keys()
    for key, status in after.items():
        assert (status.st_mtime_ns, status.st_mode) == (before[key].st_mtime_ns, before[key].st_mode)
        assert (canary / key).read_text() == "untouched"


def test_two_first_enters_at_once(user_env: UserEnvironment, debian: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(
            pool.map(lambda _n: user_env.ptb("enter", debian, "--", "readlink", "/proc/self/ns/mnt"), range(4))
        )
    assert [result.status for result in results] == [0] * 4, [result.stderr for result in results]
    assert len({result.stdout for result in results}) == 1
    assert len(list(user_env.boxes.iterdir())) == 1
    assert len(list(user_env.layers.iterdir())) == 1


@pytest.mark.parametrize("after", ["pulling", "already", "made box"])
def test_kill_9_while_an_image_is_entered_first(user_env: UserEnvironment, debian: str, after: str) -> None:
    process = user_env.start("enter", debian, "--", "true", stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if after in line:
            break
    process.kill()
    process.communicate()
    result = user_env.ptb("enter", debian, "--", "true")
    assert result.status == 0, result.stderr


def test_what_a_killed_pull_left_goes_with_the_images(user_env: UserEnvironment, debian: str) -> None:
    process = user_env.start("pull", debian, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if ": pulling" in line:
            # The group has the puller and its workers: nobody is left to clean up.
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.communicate()
    assert [path.suffix for path in user_env.layers.iterdir()] in ([".partial"], [])
    user_env.ptb("rmi", "--all", check=True)
    assert list(user_env.layers.iterdir()) == []


def test_ctrl_c_in_a_pull_leaves_nothing(user_env: UserEnvironment, debian: str) -> None:
    process = user_env.start("pull", debian, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if ": pulling" in line:
            process.send_signal(signal.SIGINT)
            break
    _out, err = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in err
    assert list(user_env.layers.iterdir()) == []


def test_disk_full(user_env: UserEnvironment, debian: str) -> None:
    """The disk is a small one of the test set-up's."""
    disk = Path(os.environ.get("PTB_TEST_DISK", "/run/ptb-test-disk"))
    if not disk.is_mount():
        pytest.skip(f"{disk} is no file system of its own: sh packaging/test makes it one")
    small = UserEnvironment(user_env.home, user_env.environ | {"XDG_DATA_HOME": str(disk)}, user_env.command)
    result = small.ptb("enter", debian, "--", "true")
    assert result.status == 125
    assert "no space left on" in result.stderr
    place = disk / "ptb"
    assert [path for folder in ("layers", "containers") for path in place.glob(f"{folder}/*")] == []
    assert small.ptb("enter", "host", "--", "true").status == 0
    small.ptb("toolbox", "rm", "-af", check=True)
