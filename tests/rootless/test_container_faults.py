"""Containers when things go wrong: any process killed at any moment, many at once, a reboot, a disk that is full."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.rootless import environment
from tests.rootless.containers import Engine, await_end, helpers_of


def test_a_killed_monitor_takes_its_container_with_it(engine: Engine) -> None:
    # Its first process changes its user, which makes the kernel forget whose death it should follow.
    engine.detached("-u", "1000", engine.image, "sleep", "1000", name="box")
    monitor, pid = engine.monitor("box"), engine.pid("box")
    os.kill(monitor, signal.SIGKILL)
    await_end(pid)
    engine.ok("wait", "box")
    state = engine.inspect("box")["State"]
    assert (state["Status"], state["ExitCode"], state["Running"]) == ("exited", 137, False)
    engine.ok("start", "box")
    assert engine.state("box") == "running"


def test_a_killed_monitor_of_a_container_that_is_to_be_removed(engine: Engine) -> None:
    engine.detached("--rm", engine.image, "sleep", "1000", name="gone")
    monitor, pid = engine.monitor("gone"), engine.pid("gone")
    warden = next(pid for name, pid in helpers_of(monitor).items() if name == "ptb-warden")
    os.kill(monitor, signal.SIGKILL)
    await_end(pid)
    await_end(warden)
    assert engine("container", "exists", "gone").status == 1


@pytest.mark.parametrize("removed", [[], ["--rm"]], ids=["kept", "to be removed"])
def test_monitor_and_warden_killed_together(engine: Engine, removed: list[str]) -> None:
    # What is to be removed has its changes on an overlay that the kernel mounts once only (volatile).
    engine.detached(*removed, engine.image, "sh", "-c", "echo kept >>/file; exec sleep 1000", name="box")
    monitor, pid = engine.monitor("box"), engine.pid("box")
    warden = helpers_of(monitor)["ptb-warden"]
    os.kill(warden, signal.SIGSTOP)
    os.kill(monitor, signal.SIGKILL)
    os.kill(warden, signal.SIGKILL)
    assert engine.state("box") == "exited"
    await_end(pid)
    engine.ok("start", "box")
    assert engine.ok("exec", "box", "cat", "/file").startswith("kept\n")


@pytest.mark.parametrize("command", [["rm", "other"], ["container", "prune", "-f"]])
def test_what_a_removal_left_that_was_cut_short_goes_with_the_next_one(engine: Engine, command: list[str]) -> None:
    engine.ok("create", "--name", "box", engine.image, "true")
    engine.ok("create", "--name", "other", engine.image, "true")
    place = engine.account.boxes / engine.inspect("box")["Id"]
    (engine.account.data / "ptb/names/box").unlink()
    place.rename(place.parent / f".removing-{place.name}")
    engine.ok(*command)
    assert list(place.parent.iterdir()) == []


def test_a_killed_first_process(engine: Engine) -> None:
    engine.detached(engine.image, "sleep", "1000", name="box")
    monitor = engine.monitor("box")
    os.kill(engine.pid("box"), signal.SIGKILL)
    await_end(monitor)
    assert engine.inspect("box")["State"]["ExitCode"] == 137
    assert engine.ok("start", "box") == "box\n"


def test_a_killed_cli_leaves_an_attached_container_running(engine: Engine) -> None:
    process = engine.account.start(
        "run", "--name", "box", "--network", "none", engine.image, "sh", "-c", "echo up; sleep 1000"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.wait()
    assert engine.state("box") == "running"
    assert engine.ok("exec", "box", "echo", "still") == "still\n"


@pytest.mark.parametrize("milliseconds", range(0, 160, 20))
def test_run_killed_at_any_moment(engine: Engine, milliseconds: int) -> None:
    process = engine.account.start("run", "--name", "box", "--network", "none", engine.image, "sleep", "1000")
    try:
        process.wait(milliseconds / 1000)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()
    engine.ok("rm", "-f", "-i", "box")
    assert engine.ok("run", "--rm", "--name", "box", "--network", "none", engine.image, "echo", "again") == "again\n"


def test_an_interrupt_ends_what_is_in_the_foreground(engine: Engine) -> None:
    script = "trap 'echo bye; exit 3' INT; echo up; while :; do sleep 0.1; done"
    process = engine.account.start("run", "--rm", "--network", "none", engine.image, "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 3
    assert process.stdout.read() == "bye\n"
    assert engine.ok("ps", "-aq") == ""


def test_a_container_that_waits_to_be_started_again_is_stopped_and_removed(engine: Engine) -> None:
    for verbs in (["stop", "-t", "0"], ["rm", "-f", "-t", "0"]):
        engine.detached("--restart", "always", engine.image, "sh", "-c", "exit 3", name="box")
        engine.ok("wait", "--condition", "restarting", "box")
        engine.ok(*verbs, "box")
        if verbs[0] == "stop":
            assert engine.ok("ps", "-a", "--format", "{{.State}} {{.ExitCode}}") == "exited 3\n"
            engine.ok("rm", "box")
    assert engine.ok("ps", "-aq") == ""


def test_after_a_reboot(engine: Engine) -> None:
    """The runtime directory is gone, and what the status file says of a process is of another boot."""
    engine.detached(engine.image, "sleep", "1000", name="box")
    monitor, place = engine.monitor("box"), engine.account.boxes / engine.inspect("box")["Id"]
    status = json.loads((place / "status.json").read_text())
    engine.ok("kill", "box")
    await_end(monitor)
    (place / "status.json").write_text(json.dumps({**status, "boot": "11111111-2222-3333-4444-555555555555"}))
    runtime = engine.account.environ["XDG_RUNTIME_DIR"]
    shutil.rmtree(f"{runtime}/ptb/containers/{place.name}", ignore_errors=True)
    assert engine.state("box") == "exited"
    engine.ok("start", "box")
    assert engine.state("box") == "running"


def test_many_at_once(engine: Engine) -> None:
    def one(index: int) -> int:
        return engine("run", "-d", "--name", f"n{index}", "--network", "none", engine.image, "sleep", "1000").status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(24))) == {0}
    assert len(engine.ok("ps", "-q").split()) == 24
    assert len(engine.ok("stop", "-t", "0", "-a").split()) == 24
    assert engine.ok("ps", "-q") == ""
    assert len(engine.ok("rm", "-a").split()) == 24


def test_two_that_remove_start_and_stop_one_container(engine: Engine) -> None:
    engine.detached(engine.image, "sleep", "1000", name="box")
    with ThreadPoolExecutor(4) as pool:
        verbs = [
            ("stop", "-t", "0", "box"),
            ("start", "box"),
            ("restart", "-t", "0", "box"),
            ("stop", "-t", "0", "box"),
        ]
        for result in pool.map(lambda verb: engine(*verb), verbs):
            assert result.status in (0, 125)
    engine.ok("rm", "-f", "box")
    assert engine.ok("ps", "-aq") == ""


def test_an_exec_that_outlives_nothing(engine: Engine) -> None:
    """What was executed in a container dies with it."""
    engine.detached(engine.image, "sleep", "1000", name="box")
    process = engine.account.start("exec", "box", "sh", "-c", "echo in; sleep 1000")
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    engine.ok("rm", "-f", "-t", "0", "box")
    assert process.wait(60) == 137


@pytest.mark.parametrize("options", [["--rm"], ["--rm", "-d"], []], ids=["attached", "detached", "kept"])
@pytest.mark.parametrize("milliseconds", range(10, 130, 15))
def test_run_interrupted_at_any_moment(engine: Engine, options: list[str], milliseconds: int) -> None:
    """Ctrl-C goes to every process of the terminal's foreground: nothing is left that was to be removed, nothing runs that
    was not to go on alone."""
    # With an init, since a first process that has not said yet what INT does to it would not hear of it.
    words = ("run", *options, "--init", "--name", "box", "--network", "none", engine.image, "sleep", "1000")
    process = engine.account.start(*words)
    try:
        process.wait(milliseconds / 1000)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
    status = process.wait(60)
    left = engine.ok("ps", "-a", "--format", "{{.Names}} {{.State}}").split()
    if "-d" in options and status == 0:
        assert left == ["box", "running"]
    else:
        assert left in ([], ["box", "created"], ["box", "exited"]) if not options else left == []


def test_a_full_disk(engine: Engine) -> None:
    place = os.environ.get("PTB_TEST_DISK")
    if not place:
        pytest.skip("PTB_TEST_DISK, a small file system to fill, is not set")
    account = environment.make(Path(place) / "full")
    full = Engine(account, engine.image)
    try:
        full.ok("pull", "-q", engine.image)
        full.detached(engine.image, "sleep", "1000", name="box")
        filling = Path(place) / "filling"
        with pytest.raises(OSError, match="No space left"), filling.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(65536))
        for command in (
            ("run", "--rm", "--network", "none", engine.image, "true"),
            ("create", "--name", "other", engine.image, "true"),
            ("cp", "/bin/busybox", "box:/copied"),
            ("commit", "box", "image"),
        ):
            refused = full(*command)
            assert (refused.status, "No space left on device" in refused.stderr) == (125, True), command
        assert full.ok("ps", "-a", "--format", "{{.Names}} {{.State}}") == "box running\n"
        assert [path.name for path in account.boxes.iterdir()] == [full.inspect("box")["Id"]]
        full.ok("stop", "-t", "0", "box")
        assert full.state("box") == "exited"
        full.ok("start", "box")
        assert full.state("box") == "running"
        filling.unlink()
        assert full.run(engine.image, "echo", "works").stdout == "works\n"
        full.ok("commit", "-q", "box", "image")
    finally:
        (Path(place) / "filling").unlink(missing_ok=True)
        full.ok("rm", "-af", "-t", "0")
        full.ok("rmi", "-af")
        shutil.rmtree(account.home)
