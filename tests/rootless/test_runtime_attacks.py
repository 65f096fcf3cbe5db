"""What hostile images and configurations have done to other runtimes, tried on this one. Each names the class it is of."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from rootless import kernel
from tests import bundles
from tests.bundles import Runtime


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
    assert 'proc on "/proc" must be mounted on ordinary directory' in result.stderr
    assert list((bundle.rootfs / "data").iterdir()) == []


def test_an_init_of_the_runtime_s_is_no_way_to_the_interpreter(runtime, bundle):
    """CVE-2019-5736: with --init, PID 1 is the runtime for as long as the container runs."""
    bundles.with_programs_of_the_host(bundle)
    looks = "for n in exe cwd root fd/0; do readlink /proc/1/$n; done; cat /proc/1/environ /proc/1/maps; ls /proc/1/fd"
    result = runtime("run", "--init", "looking", bundle=bundle.shell(looks))
    assert result.stdout == ""
    assert result.stderr.count("Permission denied") >= 3


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


@pytest.mark.parametrize(
    "destination",
    [
        *("../../outside", "/../../../outside", "data/../../../outside", "/data/../outside", "/escape/outside"),
        *("/proc/self/cwd/outside", "/proc/self/root/outside", "/proc/self/fd/5", "/proc/self/fd/7/outside", "/", ".."),
    ],
)
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_destinations_are_the_container_s(runtime, bundle, tmp_path, destination, kind):
    """CVE-2021-30465, CVE-2024-21626: destinations that climb, or go through what the runtime has open."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/seen").touch()
    (bundle.rootfs / "escape").symlink_to("../../..")
    around = sorted(tmp_path.rglob("*"))
    bundle.command("/bin/busybox", "true")
    if kind == "bind":
        bundle.mount(tmp_path / "volume", destination)
    else:
        bundle.spec["mounts"].append({"destination": destination, "type": "tmpfs", "source": "tmpfs"})
    runtime.run(bundle)
    assert not (Path("/outside").exists())
    new = {path for path in set(tmp_path.rglob("*")) - set(around) if not path.name.startswith(("out-", "err-"))}
    assert all(path.is_relative_to(bundle.path) or path == runtime.root for path in new)


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


def test_hooks_inside_get_no_descriptors(runtime, bundle, tmp_path):
    """CVE-2024-21626: a startContainer hook is the image's program already."""
    leak = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leak, True)
    script = {"path": "/bin/sh", "args": ["sh", "-c", "ls /proc/self/fd >/data/fds"]}
    bundle.spec["hooks"] = {"startContainer": [script]}
    runtime.run(bundle.mount(tmp_path, "/data").command("true"), pass_fds=(leak,), check=True)
    assert (tmp_path / "fds").read_text().split() == ["0", "1", "2", "3"]


def test_no_variable_leaks(runtime, bundle):
    """What the runtime's caller has in its environment, passwords perhaps, is not the container's."""
    caller = bundles.environment(SECRET="of-the-caller")
    script = "env; cat /proc/1/environ"
    assert "of-the-caller" not in runtime.run(bundle.shell(script), env=caller, check=True).stdout
    runtime("run", "--detach", "server", bundle=bundle.command("sleep", "1000"), check=True, env=caller)
    assert "of-the-caller" not in runtime("exec", "server", "sh", "-c", script, check=True, env=caller).stdout


def test_no_capability_is_inherited_unasked(runtime, bundle):
    """CVE-2022-29162: what the caller may pass on, or `exec --cap` adds, is neither inheritable nor ambient."""
    generous = ("unshare", "--user", "--map-root-user", "--mount", "setpriv", "--inh-caps=+all", "--ambient-caps=+all")
    bundle.command("grep", "-E", "CapInh|CapAmb", "/proc/self/status").write()
    for key, own in (("uidMappings", 0), ("gidMappings", 0)):
        bundle.linux[key] = [{"containerID": 0, "hostID": own, "size": 1}]
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["type"] in ("tmpfs", "proc")]
    nobody = "0" * 16
    result = Runtime(runtime.root, prefix=generous).run(bundle, check=True)
    assert result.stdout.split() == ["CapInh:", nobody, "CapAmb:", nobody]
    runtime(
        "run",
        "--detach",
        "server",
        bundle=bundles.make(bundle.path.parent / "other").command("sleep", "1000"),
        check=True,
    )
    look = ("grep", "-E", "CapInh|CapPrm|CapAmb", "/proc/self/status")
    fields = runtime("exec", "--cap", "CAP_NET_RAW", "server", *look, check=True).stdout.split()
    assert [fields[1], fields[5]] == [nobody, nobody]
    assert int(fields[3], 16) & 1 << 13, "CAP_NET_RAW is what was asked for"


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


@pytest.mark.parametrize(
    "name",
    [
        *("kernel.core_pattern", "kernel/core_pattern", "net.ipv4.x/../../../kernel/core_pattern", "vm.swappiness"),
        *("net.ipv4.ip_forward=1+kernel.core_pattern", "net/../kernel/core_pattern", "net.../kernel/core_pattern"),
    ],
)
def test_only_the_container_s_own_sysctls(runtime, bundle, name):
    """CVE-2022-0811: a sysctl of the whole machine, in plain sight or behind another's name."""
    bundle.linux["sysctl"] = {name: "1"}
    result = runtime.run(bundle.command("true"))
    assert result.returncode == 1
    assert "it would change the whole machine" in result.stderr or "is not a name" in result.stderr


def test_standard_paths_are_hidden_or_read_only(runtime, bundle):
    """What a container may see of the machine by default."""
    script = "for f in kernel/hostname vm/swappiness; do (echo x >/proc/sys/$f) 2>&1; done; cat /proc/keys"
    said = runtime.run(bundle.shell(script)).stdout
    assert said.count("Read-only file system") == len(said.splitlines()) == 2
    assert runtime.run(bundle.shell("ls -A /sys/firmware /proc/scsi 2>/dev/null | grep -v :$")).stdout.strip() == ""
    devices = {"fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty"}
    found = set(runtime.run(bundle.command("ls", "/dev")).stdout.split())
    assert found - {"core"} == devices | {"urandom", "zero"}


_WITH_A_SECRET = """
import ctypes, os, sys
join, add, call = 1, {add_key}, ctypes.CDLL(None, use_errno=True).syscall
assert call({keyctl}, join, b"the-caller-s", 0, 0, 0) > 0
assert call(add, b"user", b"a-secret", b"text", 4, -3) > 0
os.execv(sys.argv[1], sys.argv[1:])
"""
_SEARCH = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall({keyctl}, 10, -3, b"user", b"a-secret", 0), os.strerror(ctypes.get_errno()))
"""


def test_the_caller_s_keyring_stays_outside(runtime, bundle):
    """A session keyring of the caller's holds its tickets and secrets: in run and exec there is another."""
    bundles.with_programs_of_the_host(bundle)
    numbers = {"keyctl": kernel._NR["keyctl"], "add_key": kernel._NR["keyctl"] - 2}
    search = ("/usr/bin/python3", "-c", _SEARCH.format(**numbers))
    holder = Runtime(runtime.root, prefix=(sys.executable, "-c", _WITH_A_SECRET.format(**numbers)))
    assert "Required key not available" in holder.run(bundle.command(*search), check=True).stdout
    runtime("run", "--detach", "server", bundle=bundle.command("sleep", "1000"), check=True)
    assert "Required key not available" in holder("exec", "server", *search, check=True).stdout


@pytest.fixture
def imitation(bundle):
    """The files of a container whose /proc is no procfs but whatever the image has there."""
    bundle.spec["mounts"] = [entry for entry in bundle.spec["mounts"] if entry["destination"] != "/proc"]
    names = ("self/oom_score_adj", "self/attr/exec", "self/attr/apparmor/exec", "self/timens_offsets", "self/uid_map")
    names += ("sys/net/ipv4/ip_forward", "self/setgroups", "self/loginuid")
    for name in names:
        file = bundle.rootfs / "proc" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("imitated\n")
    (bundle.rootfs / "proc/thread-self").symlink_to("self")
    return [bundle.rootfs / "proc" / name for name in names]


def test_nothing_is_written_to_an_imitated_proc(runtime, bundle, imitation, tmp_path):
    """CVE-2019-16884, CVE-2025-52881: what sets labels and sysctls lands in files that the image prepared."""
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1}}
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    bundle.spec["process"]["oomScoreAdj"] = 900
    bundle.spec["root"]["readonly"] = False
    bundle.linux["readonlyPaths"] = []
    runtime("run", "--detach", "server", bundle=bundle.command("sleep", "1000"), check=True)
    process = {"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "oomScoreAdj": 950}
    (tmp_path / "process.json").write_text(json.dumps(process))
    runtime("exec", "--process", str(tmp_path / "process.json"), "server", check=True)
    pid = runtime.state("server")["pid"]
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "900\n"
    assert {file.read_text() for file in imitation} == {"imitated\n"}


_SPOIL = """
import os, subprocess
for place in ("/dev/pts", "/dev/null", "/dev/tty", "/dev/zero", "/proc"):
    subprocess.run(["/bin/busybox", "umount", "-l", place], check=True)
subprocess.run(["/bin/busybox", "mount", "-t", "tmpfs", "tmpfs", "/proc"], check=True)
os.makedirs("/proc/sys/kernel")
for path in ("/dev/null", "/dev/tty", "/dev/zero", "/dev/ptmx", "/dev/pts/ptmx", "/proc/self", "/proc/mounts",
             "/proc/sys/kernel/cap_last_cap", "/etc/passwd", "/etc/group", "/bin/fifo"):
    if os.path.lexists(path):
        os.unlink(path)
    os.mkfifo(path, 0o777)
open("/data/ready", "w").close()
while True:
    os.read(os.pipe()[0], 1)
"""


def test_exec_waits_for_nothing_that_the_container_has_spoilt(runtime, bundle, tmp_path):
    """Its root has put FIFOs, on which one waits for ever, where the runtime or a user's programs could look."""
    bundles.with_programs_of_the_host(bundle)
    bundle.spec["root"]["readonly"] = False
    os.mkfifo(tmp_path / "ready")
    bundle.mount(tmp_path, "/data").command("/usr/bin/python3", "-c", _SPOIL)
    runtime("run", "--detach", "spoilt", bundle=bundle, check=True)
    (tmp_path / "ready").read_text()
    assert runtime("exec", "spoilt", "/bin/echo", "still", check=True).stdout == "still\n"
    assert runtime("exec", "--user", "5:5", "--cwd", "/data", "spoilt", "/bin/echo", "x", check=True).stdout == "x\n"
    assert runtime("exec", "spoilt", "/bin/fifo").returncode == 126
    assert runtime("exec", "--cwd", "/bin/fifo", "spoilt", "/bin/true").returncode == 1
    assert "a terminal cannot be opened" in runtime("exec", "--tty", "spoilt", "/bin/true").stderr
