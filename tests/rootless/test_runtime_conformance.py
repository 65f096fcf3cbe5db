"""What crun, runc and the runtime-spec have in common and an engine may count on; each was once missing."""

from __future__ import annotations

import errno
import json
import os
import platform
import socket
import subprocess
from pathlib import Path

import pytest

from rootless import seccomp
from tests import bundles
from tests.bundles import PATIENCE, Bundle


def fields(said: str) -> dict[str, str]:
    """The lines of /proc/PID/status by name."""
    return dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)


def test_unknown_capabilities_are_left_out_with_a_warning(runtime, bundle):
    """config.md, Linux Process: what cannot be mapped to the kernel's capabilities is logged, and is no failure."""
    names = ["CAP_KILL", "CAP_UNKNOWN"]
    bundle.spec["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), names)
    result = runtime.run(bundle.command("cat", "/proc/self/status"), check=True)
    assert "warning: process.capabilities: left out" in result.stderr
    assert result.stderr.count("CAP_UNKNOWN") == 1
    assert fields(result.stdout)["CapEff"] == f"{1 << 5:016x}"


def test_exec_adds_capabilities_but_none_to_inherit(runtime, bundle):
    bundle.spec["process"]["capabilities"] = {}
    runtime("run", "--detach", "one", bundle=bundle.command("sleep", "1000"), check=True)
    for name, bits in (("CAP_KILL", 1 << 5), ("CAP_NEW_IN_2040", 0)):
        said = runtime("exec", "--cap", name, "one", "cat", "/proc/self/status", check=True)
        found = fields(said.stdout)
        assert {found[key] for key in ("CapBnd", "CapEff", "CapPrm")} == {f"{bits:016x}"}
        assert {found[key] for key in ("CapInh", "CapAmb")} == {f"{0:016x}"}
        assert ("warning" in said.stderr) == (bits == 0)


def test_exec_asks_for_no_new_privileges_itself(runtime, bundle):
    assert bundle.spec["process"]["noNewPrivileges"]
    runtime("run", "--detach", "one", bundle=bundle.command("sleep", "1000"), check=True)
    for options, wanted in (((), "0"), (("--no-new-privs",), "1")):
        said = runtime("exec", *options, "one", "cat", "/proc/self/status", check=True).stdout
        assert fields(said)["NoNewPrivs"] == wanted


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [("shared", "shared:"), ("rshared", "shared:"), ("private", ""), ("unbindable", "unbindable"), ("slave", "")],
)
def test_the_root_s_propagation_is_what_was_asked_for(runtime, bundle, wanted, shown):
    """config-linux.md, rootfsPropagation: seen from inside."""
    bundle.linux["rootfsPropagation"] = wanted
    said = runtime.run(bundle.command("cat", "/proc/self/mountinfo"), check=True).stdout
    optional = next(line.split()[6] for line in said.splitlines() if line.split()[4] == "/")
    assert optional.startswith(shown or "-")


@pytest.mark.parametrize("options", [(), ("--no-pivot",)])
def test_no_procfs_without_masks_can_be_mounted_inside(runtime, bundle, options):
    """What was mounted before must not be in the mount namespace any more: the kernel would take it for a permission."""
    bundle.spec["process"]["capabilities"]["bounding"].append("CAP_SYS_ADMIN")
    bundle.linux.pop("seccomp")
    bundle.command("/bin/busybox", "unshare", "-Umrpf", "/bin/busybox", "mount", "-t", "proc", "proc", "/tmp")
    result = runtime("run", *options, "one", bundle=bundle)
    assert result.returncode != 0
    assert "permission denied" in result.stderr.lower()


def test_a_namespace_of_another_kind_is_refused_by_name(runtime, bundle, tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    for path in ("/proc/self/ns/net", str(plain)):
        for kind in ("user", "ipc"):
            entry = {"type": kind, "path": path}
            bundle.linux["namespaces"] = [
                *(other for other in bundle.linux["namespaces"] if other["type"] != kind),
                entry,
            ]
            for key in ("uidMappings", "gidMappings") if kind == "user" else ():
                bundle.linux.pop(key, None)
            result = runtime.run(bundle.command("true"))
            assert result.returncode == 1
            assert f'linux.namespaces: "{path}" is not a {kind} namespace' in result.stderr
            bundle.linux["namespaces"].remove(entry)
            bundle.linux["namespaces"].append({"type": kind})
        bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "user"]


def test_a_read_only_tmpfs_is_filled_first(runtime, bundle):
    """/dev holds devices and mount points, and another what is mounted in it."""
    for mount in bundle.spec["mounts"]:
        if mount["destination"] == "/dev":
            mount["options"].append("ro")
    bundle.spec["mounts"].append({"destination": "/data", "type": "tmpfs", "options": ["ro", "nosuid"]})
    bundle.mount("/usr", "/data/deep/below")
    script = "cat </dev/null && ls /data/deep/below/bin >/dev/null && echo here; echo >/dev/new; echo >/data/new"
    result = runtime.run(bundle.shell(script))
    assert result.stdout == "here\n"
    assert result.stderr.count("Read-only file system") == 2


def test_exec_in_a_container_that_waits_to_be_started(runtime, bundle):
    """Its init is this interpreter and shows itself to nobody, so it is asked for the namespaces."""
    bundle.spec["hostname"] = "waiting"
    runtime("create", "one", bundle=bundle.command("sleep", "1000"), check=True)
    for _again in range(2):
        said = runtime("exec", "one", "/bin/sh", "-c", "cat /proc/sys/kernel/hostname; id -u; kill -0 1 && echo met")
        assert said.stdout == "waiting\n0\nmet\n", said.stderr
    assert runtime.state("one")["status"] == "created"
    denied = runtime("exec", "one", "/bin/sh", "-c", "readlink /proc/1/exe || cat /proc/1/maps /proc/1/environ")
    assert denied.returncode != 0
    assert denied.stdout == ""
    runtime("start", "one", check=True)
    assert runtime("exec", "one", "readlink", "/proc/1/exe", check=True).stdout == "/bin/busybox\n"


def test_a_process_is_needed_only_to_start(runtime, bundle):
    """config.md, Process: required when `start` is called."""
    process = bundle.spec.pop("process")
    runtime("create", "one", bundle=bundle, check=True)
    assert runtime.state("one")["status"] == "created"
    assert runtime("exec", "one", "/bin/echo", "inside", check=True).stdout == "inside\n"
    started = runtime("start", "one")
    assert started.returncode == 1
    assert "process is missing in the configuration" in started.stderr
    runtime("delete", "--force", "one", check=True)
    assert runtime("exec", "one", "true").returncode == 1
    bundle.spec["process"] = process
    assert runtime.run(bundle.command("true")).returncode == 0


def test_a_mount_point_is_made_where_a_dangling_link_points(runtime, bundle, tmp_path):
    """/etc/resolv.conf of an image is often a link into a /run that only a booted system fills."""
    (tmp_path / "file").write_text("mounted\n")
    (bundle.rootfs / "etc/first").symlink_to("../deep/second")
    (bundle.rootfs / "deep").mkdir()
    (bundle.rootfs / "deep/second").symlink_to("/very/deep/third")
    bundle.mount(tmp_path / "file", "/etc/first").command("cat", "/very/deep/third")
    assert runtime.run(bundle, check=True).stdout == "mounted\n"
    assert (bundle.rootfs / "etc/first").is_symlink()
    (bundle.rootfs / "etc/loop").symlink_to("loop")
    assert runtime.run(bundle.mount(tmp_path / "file", "/etc/loop")).returncode != 0


def test_a_link_is_copied_that_is_not_to_be_followed(runtime, bundle, tmp_path):
    """crun's mount option copy-symlink."""
    (tmp_path / "link").symlink_to("nowhere")
    bundle.mount(tmp_path / "link", "/etc/deep/link", "copy-symlink").command("readlink", "/etc/deep/link")
    for _again in range(2):
        assert runtime.run(bundle, check=True).stdout == "nowhere\n"


def test_a_tmpfs_has_the_mode_of_what_it_covers(runtime, bundle):
    """As in runc and crun, unless another is asked for."""
    (bundle.rootfs / "tmp").chmod(0o1777)
    (bundle.rootfs / "data").chmod(0o750)
    for place, options in (("/tmp", []), ("/data", ["nosuid"]), ("/new", []), ("/etc", ["mode=711"])):
        bundle.spec["mounts"].append({"destination": place, "type": "tmpfs", "options": options})
    said = runtime.run(bundle.command("stat", "-c", "%a", "/tmp", "/data", "/new", "/etc"), check=True).stdout
    assert said.split() == ["1777", "750", "755", "711"]


def test_a_slash_after_a_device_s_path_means_nothing(runtime, bundle):
    bundle.linux["devices"] = [{"type": "c", "path": "/dev/full/", "major": 1, "minor": 7}]
    assert runtime.run(bundle.shell("test -c /dev/full && echo there"), check=True).stdout == "there\n"


@pytest.mark.skipif(Path("/sys/fs/selinux").is_dir(), reason="this kernel heeds labels")
def test_ptmx_is_the_container_s_own_whatever_is_asked_for(runtime, bundle):
    bundle.linux["devices"] = [{"type": "c", "path": "/dev/ptmx", "major": 5, "minor": 2}]
    assert runtime.run(bundle.command("readlink", "/dev/ptmx"), check=True).stdout == "pts/ptmx\n"


def test_exec_with_a_terminal_of_a_size(runtime, bundle, tmp_path):
    """Nothing may be missing once the container's root is the process's."""
    runtime("run", "--detach", "one", bundle=bundle.command("sleep", "1000"), check=True)
    process = {"args": ["/bin/busybox", "stty", "size"], "cwd": "/", "terminal": True}
    process["consoleSize"] = {"height": 11, "width": 77}
    (tmp_path / "process.json").write_text(json.dumps(process))
    assert runtime("exec", "--process", str(tmp_path / "process.json"), "one", check=True).stdout == "11 77\n"


def test_a_label_for_mounts_that_no_kernel_heeds_is_left_out_with_a_warning(runtime, bundle):
    bundle.linux["mountLabel"] = "system_u:object_r:svirt_sandbox_file_t:s0:c715,c811"
    result = runtime.run(bundle.command("true"), check=True)
    assert "warning: linux.mountLabel" in result.stderr


def test_delete_by_regular_expressions(runtime, bundle):
    for name in ("web-1", "web-2", "db"):
        runtime("create", name, bundle=bundle.command("true"), check=True)
    bad = runtime("delete", "--force", "--regex", "we(")
    assert bad.returncode == 125
    assert "is no regular expression" in bad.stderr
    runtime("delete", "--force", "--regex", "^web-", "nothing", check=True)
    assert runtime("list", "--quiet").stdout == "db\n"


def test_json_on_one_line(runtime, bundle):
    assert runtime("list", "--format", "json").stdout == "[]\n"
    runtime("create", "one", bundle=bundle.command("true"), check=True)
    listed = runtime("list", "--format", "json", check=True).stdout
    assert listed.startswith('[{"ociVersion":"')
    pids = runtime("ps", "--format", "json", "one", check=True).stdout
    assert pids == f"[{json.loads(listed)[0]['pid']}]\n"


def test_spec_grants_three_capabilities(runtime, tmp_path):
    runtime("spec", "--bundle", str(tmp_path), check=True)
    held = json.loads((tmp_path / "config.json").read_text())["process"]["capabilities"]
    assert set(map(tuple, held.values())) == {("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")}


def test_an_id_s_bad_character_is_named(runtime, bundle):
    assert "invalid character `/` in the ID" in runtime("create", "this/is", bundle=bundle).stderr


def test_unheard_of_keys_and_controllers_are_named(runtime, bundle):
    bundle.linux["resources"] = {"unified": {"NOT-A-KEY": "1"}}
    said = runtime.run(bundle.command("true")).stderr
    assert "the specified key has not the form CONTROLLER.VALUE `NOT-A-KEY`" in said


def test_as_many_descriptors_as_there_are_are_preserved(runtime, bundle):
    """crun takes more than are open; what is missing before the last is nothing of the runtime's."""
    reading, writing = os.pipe()
    for fd in (3, 6):
        os.dup2(writing, fd)
    script = "echo through >&6; for fd in 4 5 7 8; do readlink /proc/self/fd/$fd || echo none; done"
    for verb in (("run", "--preserve-fds", "50", "one"), ("run", "--detach", "two")):
        bundle.shell(script if verb[-1] == "one" else "sleep 1000")
        done = runtime(*verb, bundle=bundle, check=True, pass_fds=(3, 6))
        assert verb[-1] == "two" or done.stdout == "/dev/null\n/dev/null\nnone\nnone\n"
    done = runtime("exec", "--preserve-fds", "50", "two", "/bin/sh", "-c", script, check=True, pass_fds=(3, 6))
    assert done.stdout == "/dev/null\n/dev/null\nnone\nnone\n"
    assert os.read(reading, 100) == b"through\n" * 2


SAY_READY = """
import os, socket
made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for text in (b"STATUS=soon", b"READY=1\\nMAINPID=1"):
    made.sendto(text, os.environ["NOTIFY_SOCKET"])
"""


@pytest.fixture
def service_manager(tmp_path):
    """The socket that systemd gives a service."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(tmp_path / "manager.sock"))
    made.settimeout(PATIENCE)
    yield made
    made.close()


@pytest.fixture
def service(bundle: Bundle) -> Bundle:
    """A container that can speak to a service manager."""
    return bundles.with_programs_of_the_host(bundle)


def with_manager(manager: socket.socket) -> dict[str, str]:
    return bundles.environment(NOTIFY_SOCKET=manager.getsockname())


@pytest.mark.parametrize("user", [0, 1000])
def test_a_container_says_that_it_is_ready(runtime, service, service_manager, user):
    """sd_notify(3): `start` returns once the container is ready, and whoever started it has been told."""
    service.spec["process"]["user"] = {"uid": user, "gid": user}
    service.spec["process"]["args"] = ["/usr/bin/python3", "-ISc", SAY_READY + "\nimport time; time.sleep(1000)"]
    environment = with_manager(service_manager)
    runtime("create", "one", bundle=service, env=environment, check=True)
    runtime("start", "one", env=environment, check=True)
    service_manager.setblocking(False)
    assert service_manager.recv(100) == b"READY=1"


def test_readiness_of_a_container_that_is_waited_for(runtime, service, service_manager):
    service.command("/usr/bin/python3", "-ISc", SAY_READY)
    runtime("run", "one", bundle=service, env=with_manager(service_manager), check=True)
    assert service_manager.recv(100) == b"READY=1"


def test_a_container_that_ends_without_a_word_is_not_waited_for(runtime, bundle, service_manager):
    bundle.command("true")
    runtime("run", "--detach", "one", bundle=bundle, env=with_manager(service_manager), check=True)
    service_manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        service_manager.recv(100)


CALLS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for number in (1000, {personality}):
    print(libc.syscall(number, -1), ctypes.get_errno())
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names this machine's calls")
def test_calls_newer_than_the_policy_do_not_exist(runtime, bundle):
    """What a policy could have named and did not is denied, and what it could not know of is no call (ENOSYS)."""
    bundles.with_programs_of_the_host(bundle)
    table = seccomp._read_tables({"x86_64"})["x86_64"]
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": sorted(set(table) - {"personality"}), "action": "SCMP_ACT_ALLOW"}],
    }
    script = CALLS.format(personality=table["personality"])
    said = runtime.run(bundle.command("/usr/bin/python3", "-ISc", script), check=True).stdout
    assert said == f"-1 {errno.ENOSYS}\n-1 {errno.EPERM}\n"


def test_a_seccomp_agent_gets_a_listener_that_no_rule_asks_for(runtime, bundle, tmp_path):
    """config-linux.md, listenerPath, as in crun: the agent of a profile without SCMP_ACT_NOTIFY gets its listener too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.bind(str(tmp_path / "agent"))
        agent.listen(1)
        agent.settimeout(PATIENCE)
        bundle.linux["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": str(tmp_path / "agent"),
            "listenerMetadata": "mine",
        }
        runtime("run", "--detach", "one", bundle=bundle.command("true"), check=True)
        connection, _address = agent.accept()
        with connection:
            data, descriptors, _flags, _address = socket.recv_fds(connection, 1 << 16, 2)
    for descriptor in descriptors:
        os.close(descriptor)
    told = json.loads(data)
    assert len(descriptors) == 1
    assert told["metadata"] == "mine"
    assert told["state"]["status"] == "creating"
    assert told["state"]["id"] == "one"


def test_version_says_what_is_built_in(runtime):
    said = subprocess.run(runtime.arguments("--version"), capture_output=True, text=True, check=True).stdout
    assert {"+SYSTEMD", "+SECCOMP", "+CAP"} <= set(said.splitlines()[-1].split())
