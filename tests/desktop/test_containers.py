"""`ptb run` under a user's own systemd: a scope for each container, limits that bite, pausing, and another runtime."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import bundles
from tests.desktop.test_scopes import await_end, cgroup_of, systemctl


@pytest.fixture
def ptb(bundle, tmp_path, monkeypatch):
    """`ptb` with a home of its own; containers are made of the bundle's root file system."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "toolbox", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=bundles.environment(),
            timeout=bundles.PATIENCE,
        )
        assert "Traceback" not in done.stderr
        assert not check or done.returncode == 0, done.stderr
        return done

    yield run
    run("rm", "-a", "-f", "-t", "0")


def test_limits_bite(ptb, bundle):
    run = ("run", "--rm", "--network", "none")
    command = ("cat", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/cpu.max")
    said = ptb(*run, "-m", "64m", "--pids-limit", "9", "--cpus", "0.5", "--rootfs", str(bundle.rootfs), *command)
    assert said.stdout.split() == [str(64 << 20), "9", "50000", "100000"]
    hungry = ("busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1")
    killed = ptb(*run, "-m", "32m", "--memory-swap", "32m", "--rootfs", str(bundle.rootfs), *hungry, check=False)
    assert killed.returncode == 137


def test_a_scope_that_is_stopped_stops_its_container(ptb, bundle):
    ptb("run", "-d", "--name", "one", "--network", "none", "--rootfs", str(bundle.rootfs), "sleep", "1000")
    found = json.loads(ptb("inspect", "one").stdout)[0]
    scope = cgroup_of(found["State"]["Pid"]).parent.name
    assert scope == f"ptb-{found['Id']}.scope"
    assert systemctl("is-active", scope) == "active"
    assert found["State"]["CgroupPath"].endswith(f"{scope}/container")
    ptb("pause", "one")
    assert ptb("ps", "--format", "{{.Status}}").stdout.endswith("(Paused)\n")
    assert ptb("exec", "one", "true", check=False).returncode == 125
    ptb("unpause", "one")
    ptb("update", "--memory", "50m", "one")
    assert (cgroup_of(found["State"]["Pid"]) / "memory.max").read_text() == f"{50 << 20}\n"
    assert json.loads(ptb("stats", "--no-stream", "--format", "json").stdout)[0]["pids"] == "1"
    systemctl("kill", "--signal=KILL", scope)
    await_end(found["State"]["ConmonPid"])
    assert json.loads(ptb("inspect", "one").stdout)[0]["State"]["Status"] == "exited"
    assert not Path(f"/sys/fs/cgroup{found['State']['CgroupPath']}").exists()


def test_crun_in_our_place(ptb, bundle):
    run = ("--runtime", "crun", "run", "--network", "none")
    said = ptb(*run, "--rm", "-m", "64m", "--rootfs", str(bundle.rootfs), "cat", "/sys/fs/cgroup/memory.max")
    assert said.stdout == f"{64 << 20}\n"
    ptb(*run, "-d", "--name", "c", "--rootfs", str(bundle.rootfs), "sleep", "1000")
    assert ptb("exec", "c", "echo", "inside").stdout == "inside\n"
    assert json.loads(ptb("inspect", "c").stdout)[0]["OCIRuntime"].endswith("/crun")
