"""Containers of the real root: the device filter, and a root of the container that is the machine's."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def of_root(bundle):
    """A bundle for root: without a user namespace, or with one that is mapped to nobody else's ids."""
    bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "user"]
    for key in ("uidMappings", "gidMappings"):
        bundle.linux.pop(key, None)
    os.chmod(bundle.path.parent, 0o755)
    return bundle


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
    scoped("create", "life", bundle=of_root.command("sleep", "1000"), check=True)
    scoped("start", "life", check=True)
    assert scoped("exec", "life", "id", "-u", check=True).stdout == "0\n"
    expected = "200000" if user_namespace else "0"
    pid = scoped.state("life")["pid"]
    with open(f"/proc/{pid}/status", encoding="ascii") as stream:
        assert next(line.split()[1] for line in stream if line.startswith("Uid:")) == expected
    scoped("delete", "--force", "life", check=True)


@pytest.mark.parametrize("whose", ["container", "mount"])
def test_a_mount_with_ids_of_its_own(scoped, of_root, tmp_path, whose):
    shared = tmp_path / "shared"
    shared.mkdir()
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


def test_a_script_cannot_lead_to_the_interpreter(scoped, of_root):
    """CVE-2019-5736: the image's command is a script whose interpreter is the runtime itself."""
    (of_root.rootfs / "bin/evil").write_text("#!/proc/self/exe\n")
    (of_root.rootfs / "bin/evil").chmod(0o755)
    done = scoped.run(of_root.command("/bin/evil"))
    assert done.returncode in (126, 127)
