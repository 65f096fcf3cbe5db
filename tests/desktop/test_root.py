"""Containers of the real root: the device filter, and a root of the container that is the machine's."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import bundles


@pytest.fixture
def of_root(bundle):
    """A bundle for root: without a user namespace, or with one that is mapped to nobody else's ids."""
    bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "user"]
    for key in ("uidMappings", "gidMappings"):
        bundle.linux.pop(key, None)
    os.chmod(bundle.path.parent, 0o755)
    return bundle


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A directory of a file system whose ids can be mapped; a tmpfs's can only since Linux 6.3."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        os.chmod(made, 0o755)
        yield Path(made)


def test_the_device_filter_is_loaded_and_replaced(scoped, of_root):
    of_root.linux["devices"] = [
        {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666},
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666},
    ]
    of_root.linux["resources"] = {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        ]
    }
    script = "cat /dev/null && echo null; (: </dev/fuse) && echo fuse; (: </dev/kmsg) && echo kmsg; mknod /tmp/x c 1 3"
    of_root.spec["root"]["readonly"] = False
    of_root.spec["process"]["capabilities"]["bounding"].append("CAP_MKNOD")
    done = scoped.run(of_root.shell(script.replace("mknod", "busybox mknod")))
    assert done.stdout.split() == ["null", "fuse"]
    assert "Operation not permitted" in done.stderr


@pytest.mark.parametrize("user_namespace", [False, True])
def test_a_life_as_root(scoped, of_root, user_namespace):
    if user_namespace:
        of_root.linux["namespaces"].append({"type": "user"})
        for key in ("uidMappings", "gidMappings"):
            of_root.linux[key] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    of_root.linux["resources"] = {"pids": {"limit": 20}}
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 100
    of_root.spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": files}]
    scoped("create", "life", bundle=of_root.command("sleep", "1000"), check=True)
    scoped("start", "life", check=True)
    assert scoped("exec", "life", "sh", "-c", "id -u; ulimit -Hn", check=True).stdout == f"0\n{files}\n"
    expected = "200000" if user_namespace else "0"
    pid = scoped.state("life")["pid"]
    with open(f"/proc/{pid}/status", encoding="ascii") as stream:
        assert next(line.split()[1] for line in stream if line.startswith("Uid:")) == expected
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (100, files)
    scoped("delete", "--force", "life", check=True)


@pytest.mark.parametrize("whose", ["container", "mount"])
def test_a_mount_with_ids_of_its_own(scoped, of_root, on_disk, whose):
    shared = on_disk
    (shared / "file").write_text("text")
    os.chown(shared / "file", 5, 6)
    ids = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    of_root.linux["namespaces"].append({"type": "user"})
    of_root.linux["uidMappings"], of_root.linux["gidMappings"] = ids, ids
    of_root.mount(shared, "/data", "idmap")
    expected = "5:6\n"
    if whose == "mount":
        shifted = [{"containerID": 5, "hostID": 200105, "size": 10}]
        of_root.spec["mounts"][-1].update(uidMappings=shifted, gidMappings=shifted)
        expected = "105:106\n"
    assert scoped.run(of_root.command("stat", "-c", "%u:%g", "/data/file"), check=True).stdout == expected


def test_a_file_system_that_cannot_map_ids_is_named(scoped, of_root):
    of_root.linux["uidMappings"] = of_root.linux["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    of_root.linux["namespaces"].append({"type": "user"})
    refused = scoped.run(of_root.mount("/proc/sys", "/data", "idmap").command("true"))
    assert refused.returncode == 1
    assert 'the ids of mount "/data"' in refused.stderr
    assert 'the file system that holds "/proc/sys"' in refused.stderr


def test_a_script_cannot_overwrite_the_interpreter(scoped, of_root, tmp_path):
    """CVE-2019-5736: a script of the image's whose interpreter is whatever executes it."""
    assert not bundles.is_overwritten(scoped, of_root, tmp_path)


def test_a_limit_of_a_controller_that_users_are_not_given(scoped, of_root):
    """The io controller is root's alone by default; what systemd is not told of it leaves as it is."""
    device = os.stat("/").st_dev
    limit = {"major": os.major(device), "minor": os.minor(device), "rate": 1 << 20}
    of_root.linux["resources"] = {"blockIO": {"throttleWriteBpsDevice": [limit]}}
    scoped("create", "slow", bundle=of_root.command("sleep", "1000"), check=True)
    file = Path("/sys/fs/cgroup/system.slice/ptb-slow.scope/container/io.max")
    expected = f"{os.major(device)}:{os.minor(device)} rbps=max wbps={1 << 20} riops=max wiops=max\n"
    assert file.read_text() == expected
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert file.read_text() == expected
    scoped("delete", "--force", "slow", check=True)
    assert not file.exists()


def test_devices_in_a_user_namespace(scoped, of_root):
    """Nobody may make nodes inside, so they are made outside, with the owner and the mode that were asked for."""
    of_root.linux["namespaces"].append({"type": "user"})
    of_root.linux["uidMappings"] = of_root.linux["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    node = {"path": "/dev/deep/zeros", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 10, "gid": 11}
    of_root.linux["devices"] = [node]
    script = "stat -c '%a %u:%g %t:%T' /dev/deep/zeros; busybox head -c 3 /dev/deep/zeros | busybox wc -c"
    assert scoped.run(of_root.shell(script), check=True).stdout.split() == ["640", "10:11", "1:5", "3"]
    node["uid"] = 70000
    refused = scoped.run(of_root)
    assert refused.returncode == 1
    assert 'the owner 70000 of "/dev/deep/zeros" is not among' in refused.stderr


def test_a_user_namespace_without_maps_has_all_ids(scoped, of_root):
    of_root.linux["namespaces"].append({"type": "user"})
    said = scoped.run(of_root.command("cat", "/proc/self/uid_map"), check=True).stdout
    assert said.split() == ["0", "0", str((1 << 32) - 1)]


@pytest.mark.parametrize("shared", ["/dev", "/"])
@pytest.mark.parametrize("terminal", [False, True])
def test_the_host_s_devices_are_left_alone(scoped, of_root, shared, terminal):
    """A container that has the host's /dev, bound or with all of the host as its root, is given none of its own there."""
    names = sorted(os.listdir("/dev"))
    before = [os.lstat(f"/dev/{name}") for name in names]
    if shared == "/":
        of_root.spec["root"] = {"path": "/", "readonly": False}
        of_root.spec["mounts"] = [mount for mount in of_root.spec["mounts"] if mount["destination"] == "/proc"]
    else:
        of_root.spec["mounts"] = [mount for mount in of_root.spec["mounts"] if "/dev" not in mount["destination"]]
        of_root.mount("/dev", "/dev")
    of_root.spec["process"]["terminal"] = terminal
    scoped.run(of_root.command("/bin/true"), check=True)
    after = [os.lstat(f"/dev/{name}") for name in sorted(os.listdir("/dev"))]
    assert [(entry.st_ino, entry.st_mode, entry.st_rdev) for entry in after] == [
        (entry.st_ino, entry.st_mode, entry.st_rdev) for entry in before
    ]
    assert os.lstat("/dev/ptmx").st_rdev == os.makedev(5, 2)
