"""Containers under a user's own systemd: a scope for each, limits that bite, and `systemctl --user` that ends them."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tests import bundles

HIERARCHY = Path("/sys/fs/cgroup")


def systemctl(*arguments: str) -> str:
    return subprocess.run(
        ["systemctl", "--user", *arguments], capture_output=True, text=True, check=True, timeout=bundles.PATIENCE
    ).stdout.strip()


def cgroup_of(pid: int) -> Path:
    line = Path(f"/proc/{pid}/cgroup").read_text().strip()
    return HIERARCHY / line.removeprefix("0::/")


def start(runtime, bundle, identity: str, *, resources: dict | None = None, path: str = "") -> int:
    """Start a container that sleeps, unless it was given something else to do; returns its pid."""
    if bundle.spec["process"]["args"] == ["sh"]:
        bundle.command("sleep", "1000")
    if resources is not None:
        bundle.linux["resources"] = resources
    if path:
        bundle.linux["cgroupsPath"] = path
    runtime("create", identity, bundle=bundle, check=True)
    runtime("start", identity, check=True)
    return runtime.state(identity)["pid"]


def await_end(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([process], [], [], bundles.PATIENCE)[0]
    os.close(process)


def test_a_container_has_its_own_scope_with_its_limits(scoped, bundle):
    resources = {
        "memory": {"limit": 64 << 20, "reservation": 16 << 20, "swap": 96 << 20},
        "pids": {"limit": 20},
        "cpu": {"quota": 50000, "period": 100000, "shares": 512},
    }
    pid = start(scoped, bundle, "own", resources=resources, path="user.slice:ptb:own")
    cgroup = cgroup_of(pid)
    assert cgroup.parent.name == "ptb-own.scope"
    assert systemctl("is-active", "ptb-own.scope") == "active"
    assert systemctl("show", "-P", "Slice", "ptb-own.scope") == "user.slice"
    assert systemctl("show", "-P", "MemoryMax", "ptb-own.scope") == str(64 << 20)
    assert systemctl("show", "-P", "TasksMax", "ptb-own.scope") == "20"
    assert {
        name: (cgroup / name).read_text().strip() for name in ("memory.max", "memory.low", "pids.max", "cpu.max")
    } == {
        "memory.max": str(64 << 20),
        "memory.low": str(16 << 20),
        "pids.max": "20",
        "cpu.max": "50000 100000",
    }
    assert int((cgroup / "cpu.weight").read_text()) < 100
    scoped("kill", "own", "KILL", check=True)
    await_end(pid)
    scoped("delete", "own", check=True)
    assert not cgroup.exists()
    assert "ptb-own.scope" not in systemctl("list-units", "--all", "--plain", "--no-legend", "ptb-*")


def test_memory_max_bites(scoped, bundle):
    bundle.linux["resources"] = {"memory": {"limit": 32 << 20, "swap": 32 << 20}}
    done = scoped.run(bundle.command("busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"))
    assert done.returncode == 137


def test_pids_max_bites(scoped, bundle):
    bundle.linux["resources"] = {"pids": {"limit": 4}}
    done = scoped.run(bundle.shell("for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo all"))
    assert done.returncode != 0
    assert "can't fork" in done.stderr
    assert "all" not in done.stdout


def test_cpu_max_bites(scoped, bundle):
    bundle.linux["resources"] = {"cpu": {"quota": 10000, "period": 100000}}
    script = "while ! grep -q 'nr_throttled [1-9]' /sys/fs/cgroup/cpu.stat; do :; done; echo throttled"
    assert scoped.run(bundle.shell(script), check=True).stdout == "throttled\n"


def test_systemctl_stop_ends_a_container(scoped, bundle):
    pid = start(scoped, bundle.shell("trap 'exit 0' TERM; sleep 1000 & wait"), "stopped", path="user.slice:ptb:stopped")
    cgroup = cgroup_of(pid)
    systemctl("stop", "ptb-stopped.scope")
    await_end(pid)
    assert scoped.state("stopped")["status"] == "stopped"
    assert not cgroup.exists()
    scoped("delete", "stopped", check=True)


def test_pause_and_resume(scoped, bundle):
    pid = start(scoped, bundle, "paused")
    scoped("pause", "paused", check=True)
    assert scoped.state("paused")["status"] == "paused"
    assert "frozen 1" in (cgroup_of(pid) / "cgroup.events").read_text()
    refused = scoped("exec", "paused", "true")
    assert "is paused" in refused.stderr
    assert "hint: ptb-runtime resume paused" in refused.stderr
    assert scoped("pause", "paused").returncode == 1
    scoped("resume", "paused", check=True)
    assert scoped.state("paused")["status"] == "running"
    assert scoped("exec", "paused", "echo", "again", check=True).stdout == "again\n"
    scoped("pause", "paused", check=True)
    scoped("delete", "--force", "paused", check=True)
    assert not Path(f"/proc/{pid}").exists()


def test_update_changes_what_systemd_and_the_kernel_know(scoped, bundle):
    pid = start(scoped, bundle, "updated", resources={"pids": {"limit": 50}}, path="user.slice:ptb:updated")
    scoped(
        "update", "--pids-limit", "7", "--memory", "100m", "--cpu-quota", "20000", "--cpu-period", "100000", "updated"
    )
    cgroup = cgroup_of(pid)
    assert (cgroup / "pids.max").read_text() == "7\n"
    assert (cgroup / "memory.max").read_text() == f"{100 << 20}\n"
    assert (cgroup / "cpu.max").read_text() == "20000 100000\n"
    systemctl("daemon-reload")
    assert (cgroup / "pids.max").read_text() == "7\n"
    assert systemctl("show", "-P", "TasksMax", "ptb-updated.scope") == "7"


def test_events_count_and_tell_of_want_of_memory(scoped, bundle):
    bundle.linux["resources"] = {"memory": {"limit": 32 << 20, "swap": 32 << 20}}
    script = "read go </data/go; busybox dd if=/dev/zero of=/dev/null bs=100M count=1; sleep 1000"
    os.mkfifo(bundle.path / "go")
    start(scoped, bundle.mount(bundle.path, "/data").shell(script), "hungry")
    data = json.loads(scoped("events", "--stats", "hungry", check=True).stdout)
    assert data["type"] == "stats"
    assert data["data"]["memory"]["usage"]["limit"] == 32 << 20
    assert data["data"]["pids"]["current"] >= 1
    with scoped.popen("events", "--interval", "1s", "hungry", bundle=bundle, stdout=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["type"] == "stats"
        (bundle.path / "go").write_text("go\n")
        assert any(json.loads(line)["type"] == "oom" for line in watching.stdout)
        scoped("delete", "--force", "hungry", check=True)


def test_everything_in_the_scope_dies_with_the_container(scoped, bundle):
    bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "pid"]
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["type"] != "proc"]
    bundle.linux["maskedPaths"], bundle.linux["readonlyPaths"] = [], []
    pid = start(scoped, bundle.shell("sleep 1000 & sleep 1000 & wait"), "many")
    members = json.loads(scoped("ps", "--format", "json", "many", check=True).stdout)
    assert pid in members
    scoped("delete", "--force", "many", check=True)
    assert [member for member in members if Path(f"/proc/{member}").exists()] == []


def test_exec_joins_the_scope(scoped, bundle):
    pid = start(scoped, bundle, "joined")
    scoped("exec", "--detach", "--pid-file", str(bundle.path / "second"), "joined", "sleep", "1000", check=True)
    second = int((bundle.path / "second").read_text())
    assert cgroup_of(second) == cgroup_of(pid)
    assert scoped("exec", "joined", "cat", "/proc/self/cgroup", check=True).stdout == "0::/\n"


def test_a_container_without_systemd_has_a_cgroup_below_its_caller_s(runtime, bundle):
    own = cgroup_of(os.getpid())
    # Controllers go to children only of a cgroup that holds no process itself (cgroups(7), no internal processes).
    aside = own / "tests"
    aside.mkdir(exist_ok=True)
    for pid in (own / "cgroup.procs").read_text().split():
        (aside / "cgroup.procs").write_text(pid)
    parent = "/" + str(own.relative_to(HIERARCHY))
    bundle.linux["resources"] = {"pids": {"limit": 4}}
    bundle.linux["cgroupsPath"] = f"{parent}/container"
    done = runtime.run(bundle.shell("for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo all"))
    assert "can't fork" in done.stderr
    assert not (own / "container").exists()


def test_a_controller_that_is_not_delegated_is_named(scoped, bundle):
    delegated = set((cgroup_of(os.getpid()) / "cgroup.controllers").read_text().split())
    known = set((HIERARCHY / "cgroup.controllers").read_text().split())
    for controller, resources in (
        ("io", {"blockIO": {"weight": 100}}),
        ("cpuset", {"cpu": {"cpus": "0"}}),
        ("hugetlb", {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}),
    ):
        assert controller not in delegated, "another must be asked for"
        bundle.linux["resources"] = resources
        refused = scoped.run(bundle.command("true"))
        assert refused.returncode == 1
        named = f'"{controller}" controller' if controller in known else f"controller `{controller}` is not available"
        assert named in refused.stderr
        assert ("Delegate=" in refused.stderr) == (controller in known)
        assert list(scoped.root.iterdir()) == []
    assert systemctl("list-units", "--all", "--plain", "--no-legend", "ptb-*") == ""


def test_the_session_is_found_without_its_variables(scoped, bundle, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    bundle.linux["resources"] = {"pids": {"limit": 7}}
    assert scoped.run(bundle.command("cat", "/sys/fs/cgroup/pids.max"), check=True).stdout == "7\n"


def test_without_a_session_limits_are_refused_and_the_rest_runs(scoped, bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    assert scoped.run(bundle.command("echo", "runs"), check=True).stdout == "runs\n"
    bundle.linux["resources"] = {"memory": {"limit": 32 << 20}}
    refused = scoped.run(bundle.command("true"))
    assert refused.returncode == 1
    assert "memory" in refused.stderr
    assert "hint: " in refused.stderr


@pytest.fixture
def podman(tmp_path: Path) -> Callable[..., str]:
    """podman with `ptb-runtime` under it; what it prints."""

    def call(*arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [*PODMAN, "--runtime", str(program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=3 * bundles.PATIENCE,
        )
        assert done.returncode == status, done.stderr
        return done.stdout

    program = tmp_path / "ptb-runtime"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={bundles.REPOSITORY} exec python3 -m rootless "$@"\n')
    program.chmod(0o755)
    return call


PODMAN = ("podman", "--cgroup-manager", "systemd")
RUN = ("run", "--network", "none")


def test_podman_runs_a_command_with_limits(podman, bundle):
    script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; exit 3"
    limits = ("--memory", "64m", "--pids-limit", "30")
    said = podman(*RUN, "--rm", *limits, "--rootfs", str(bundle.rootfs), "sh", "-c", script, status=3)
    assert said == f"{64 << 20}\n30\n"


def test_podman_keeps_a_container(podman, bundle):
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 1000 & wait; done"
    identity = podman(*RUN, "-d", "--rootfs", str(bundle.rootfs), "sh", "-c", script).strip()
    assert podman("exec", identity, "echo", "inside") == "inside\n"
    podman("exec", identity, "sh", "-c", "exit 9", status=9)
    podman("pause", identity)
    assert podman("inspect", "--format", "{{.State.Status}}", identity) == "paused\n"
    podman("unpause", identity)
    podman("update", "--memory", "100m", identity)
    assert podman("exec", identity, "cat", "/sys/fs/cgroup/memory.max") == f"{100 << 20}\n"
    podman("stop", identity)
    assert podman("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", identity) == "exited 5\n"
    assert podman("logs", identity) == "ready\n"
    podman("rm", identity)


def test_podman_is_told_that_memory_was_why(podman, bundle):
    """Systemd must not have removed by then what says so."""
    hungry = ("busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1")
    told = []
    for number in range(4):
        name = f"hungry-{number}"
        podman(*RUN, "--name", name, "--memory", "24m", "--rootfs", str(bundle.rootfs), *hungry, status=137)
        told.append(podman("inspect", "--format", "{{.State.OOMKilled}}", name).strip())
        podman("rm", name)
    assert told == ["true"] * 4


def test_podman_gives_a_terminal(podman, bundle, tmp_path):
    command = [*PODMAN[1:], "--runtime", str(tmp_path / "ptb-runtime"), *RUN, "--rm", "-it"]
    command += ["--rootfs", str(bundle.rootfs), "sh"]
    shell = pexpect.spawn(PODMAN[0], command, timeout=bundles.PATIENCE, dimensions=(33, 77), encoding="utf-8")
    shell.sendline("tty; busybox stty size; exit 6")
    shell.expect("/dev/pts/0\r\n33 77\r\n")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 6
