"""What hostile images and configurations have done to other runtimes, tried on this one. Each names the class it is of."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests import bundles


@pytest.mark.parametrize("path", ["/proc/self/exe", "/proc/thread-self/exe", "/link"])
def test_the_interpreter_is_not_executed_from_inside(runtime, bundle, path):
    """CVE-2019-5736: an image whose command is the runtime's own binary."""
    (bundle.rootfs / "link").symlink_to("/proc/self/exe")
    result = runtime.run(bundle.command(path, "-c", "print('escaped')"))
    assert result.returncode == 126
    assert "escaped" not in result.stdout


def test_a_script_cannot_overwrite_the_interpreter(runtime, bundle, tmp_path):
    """CVE-2019-5736: a script of the image's whose interpreter is whatever executes it."""
    assert not bundles.is_overwritten(runtime, bundle, tmp_path)


def test_init_shows_nothing_of_itself_to_who_shares_its_namespaces(runtime, bundle):
    """CVE-2019-5736, CVE-2022-29162: what waits to be started is no way back to the interpreter."""
    runtime("create", "waiting", bundle=bundle.command("true"), check=True)
    pid = runtime.state("waiting")["pid"]
    with pytest.raises(PermissionError):
        os.readlink(f"/proc/{pid}/exe")
    with pytest.raises(PermissionError):
        os.listdir(f"/proc/{pid}/fd")


@pytest.mark.parametrize("destination", ["/proc/sys/kernel", "/sneaky/sys", "/proc/self/attr"])
def test_nothing_is_mounted_into_procfs(runtime, bundle, tmp_path, destination):
    """CVE-2019-16884, CVE-2025-52881: a volume over /proc, to catch what the runtime writes there."""
    (bundle.rootfs / "sneaky").symlink_to("/proc")
    (tmp_path / "volume").mkdir()
    result = runtime.run(bundle.mount(tmp_path / "volume", destination).command("true"))
    assert result.returncode == 1
    assert "lies in a procfs" in result.stderr


def test_proc_as_a_symlink_is_refused(runtime, bundle):
    """CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: /proc of the image leads elsewhere."""
    (bundle.rootfs / "proc").rmdir()
    (bundle.rootfs / "proc").symlink_to("data")
    result = runtime.run(bundle.command("true"))
    assert result.returncode == 1
    assert '"/proc" must be an ordinary directory' in result.stderr
    assert list((bundle.rootfs / "data").iterdir()) == []


@pytest.mark.parametrize("target", ["/outside", "../../../../outside", "/proc/1/root/outside"])
def test_mount_points_stay_beneath_the_root(runtime, bundle, tmp_path, target):
    """CVE-2021-30465, CVE-2024-45310: a mount point that leads out of the root is made and mounted inside of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "volume").mkdir()
    (bundle.rootfs / "escape").symlink_to(target if "proc" not in target else f"/proc/self/root{outside}")
    bundle.mount(tmp_path / "volume", "/escape/new/deep")
    runtime.run(bundle.shell("true"))
    assert list(outside.iterdir()) == []
    assert not Path("/outside").exists()


@pytest.mark.parametrize("directory", ["/proc/self/fd/3", "/proc/self/fd/7", "/link", "/proc/1/cwd"])
def test_the_working_directory_is_inside(runtime, bundle, directory):
    """CVE-2024-21626: a working directory that is a descriptor of the host's."""
    (bundle.rootfs / "link").symlink_to("/proc/self/fd/5")
    bundle.spec["process"]["cwd"] = directory
    result = runtime.run(bundle.command("ls", "-a", "."))
    assert result.returncode != 0
    assert "state.json" not in result.stdout
    assert "bundle" not in result.stdout


def test_no_descriptor_leaks(runtime, bundle):
    """CVE-2024-21626: what the runtime or its caller has open is not the container's."""
    leak = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leak, True)
    said = runtime("run", "fds", bundle=bundle.command("ls", "/proc/self/fd"), pass_fds=(leak,), check=True).stdout
    assert said.split() == ["0", "1", "2", "3"], "3 is what ls reads the directory with"
    runtime("run", "--detach", "server", bundle=bundle.command("sleep", "1000"), check=True)
    said = runtime("exec", "server", "ls", "/proc/self/fd", pass_fds=(leak,), check=True).stdout
    assert said.split() == ["0", "1", "2", "3"]


def test_masked_paths_are_covered_by_the_host_s_null(runtime, bundle):
    """CVE-2025-31133: the image's own /dev/null is a link to what should be hidden."""
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if not mount["destination"].startswith("/dev")]
    (bundle.rootfs / "dev/null").symlink_to("/proc/kcore")
    (bundle.rootfs / "etc/secret").write_text("secret\n")
    bundle.linux["maskedPaths"] = ["/etc/secret", "/proc/keys", "/data"]
    (bundle.rootfs / "data/hidden").write_text("hidden\n")
    result = runtime.run(bundle.shell("cat /etc/secret; ls /data; cat /proc/keys"))
    assert "secret" not in result.stdout
    assert "hidden" not in result.stdout


def test_the_console_is_no_symlink(runtime, bundle):
    """CVE-2025-52565: /dev/console leads to a file that is to be written."""
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["destination"] != "/dev"]
    (bundle.rootfs / "dev/pts").mkdir()
    (bundle.rootfs / "dev/shm").mkdir()
    (bundle.rootfs / "dev/mqueue").mkdir()
    (bundle.rootfs / "dev/console").symlink_to("/proc/sysrq-trigger")
    bundle.spec["root"]["readonly"] = False
    bundle.spec["process"]["terminal"] = True
    done = runtime.run(bundle.command("true"))
    assert done.returncode == 1
    assert "/dev/console is a symlink" in done.stderr


def test_only_the_container_s_own_sysctls(runtime, bundle):
    """CVE-2022-0811: a sysctl of the whole machine, in plain sight or behind another's name."""
    for name in (
        "kernel.core_pattern",
        "kernel/core_pattern",
        "net.ipv4.x/../../../kernel/core_pattern",
        "vm.swappiness",
    ):
        bundle.linux["sysctl"] = {name: "1"}
        result = runtime.run(bundle.command("true"))
        assert result.returncode == 1
        assert "linux.sysctl" in result.stderr


def test_standard_paths_are_hidden_or_read_only(runtime, bundle):
    """What a container may see of the machine by default."""
    script = "for f in kernel/hostname vm/swappiness; do (echo x >/proc/sys/$f) 2>&1; done; cat /proc/keys"
    said = runtime.run(bundle.shell(script)).stdout
    assert said.count("Read-only file system") == len(said.splitlines()) == 2
    assert runtime.run(bundle.shell("ls -A /sys/firmware /proc/scsi 2>/dev/null | grep -v :$")).stdout.strip() == ""
    devices = {"fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty"}
    found = set(runtime.run(bundle.command("ls", "/dev")).stdout.split())
    assert found - {"core"} == devices | {"urandom", "zero"}


def test_the_caller_s_keyring_stays_outside(runtime, bundle):
    """A session keyring of the caller's holds its tickets and secrets."""
    assert sys.platform == "linux"
    bundle.linux["maskedPaths"] = []
    said = runtime.run(bundle.command("cat", "/proc/keys")).stdout
    assert "_ses.ptb" in said or said == ""
