"""What developers type at docker and podman all day: containers made, started, looked at, stopped and removed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.rootless.containers import Engine, await_end


def test_run_passes_on_output_input_and_status(engine: Engine) -> None:
    said = engine.run(engine.image, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (said.status, said.stdout, said.stderr) == (7, "out\n", "err\n")
    assert engine.run("-i", engine.image, "cat", input="x" * 300_000).stdout == "x" * 300_000
    assert engine.run(engine.image, "cat", input="not passed on").stdout == ""
    assert engine.ok("ps", "-aq") == ""


KILLED_BY_A_SIGNAL = ["sh", "-c", "sh -c 'kill -9 $$'; exit $?"]


@pytest.mark.parametrize(
    ("command", "status"), [(["nothing"], 127), (["/etc"], 126), (KILLED_BY_A_SIGNAL, 137), (["false"], 1)]
)
def test_statuses_are_docker_s(engine: Engine, command: list[str], status: int) -> None:
    assert engine.run(engine.image, *command).status == status
    assert engine.ok("ps", "-aq") == ""


def test_an_error_of_ptb_s_own_is_125_and_leaves_nothing(engine: Engine) -> None:
    for wrong in (
        ["--memory", "lots", engine.image, "true"],
        ["--network", "mine", engine.image, "true"],
        ["-p", "99999:80", engine.image, "true"],
        ["--cap-add", "CAP_FLY", engine.image, "true"],
        ["-v", "relative:/:ro", engine.image, "true"],
        ["--restart", "sometimes", engine.image, "true"],
        ["--pod", "p", engine.image, "true"],
        [engine.image + "-missing", "true"],
    ):
        refused = engine("run", "--pull", "never", *wrong)
        assert refused.status == 125, wrong
        assert refused.stderr.startswith("ptb: "), wrong
    assert engine.ok("ps", "-aq") == ""
    assert not engine.account.boxes.exists() or list(engine.account.boxes.iterdir()) == []


def test_the_process_is_what_was_asked_for(engine: Engine) -> None:
    script = "id -u; id -g; pwd; hostname; echo $A$B; umask; env | grep -c PATH; ulimit -n"
    said = engine.run(
        *("-u", "1000:10", "-w", "/tmp/deep/er", "-h", "named", "-e", "A=1", "--env", "B", "--umask", "077"),
        *("--ulimit", "nofile=99:100", engine.image, "sh", "-c", script),
        environ={"B": "two"},
    )
    assert said.stdout.split() == ["1000", "10", "/tmp/deep/er", "named", "1two", "0077", "1", "99"], said.stderr


def test_env_files_and_labels(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nONE=1\nTWO='kept quotes'\nHERE\n")
    said = engine.run(
        "--env-file", str(tmp_path / "env"), engine.image, "sh", "-c", "echo $ONE $TWO $HERE", environ={"HERE": "yes"}
    )
    assert said.stdout == "1 'kept quotes' yes\n"
    engine.ok("create", "--name", "l", "--label", "a=b", "--label", "c", engine.image, "true")
    assert engine.ok("inspect", "-f", "{{json .Config.Labels}}", "l") == '{"a":"b","c":""}\n'
    assert engine.ok("ps", "-a", "--filter", "label=a=b", "--format", "{{.Names}}") == "l\n"
    assert engine.ok("ps", "-a", "--filter", "label=a=x", "-q") == ""


def test_isolation_by_default(engine: Engine) -> None:
    script = (
        "grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; ls /dev; ls /proc/self/fd; cat /proc/kcore"
    )
    said = engine.run(engine.image, "sh", "-c", script)
    words = said.stdout.split()
    assert words[1] == "00000000800405fb"
    assert words[3] == "2"
    devices = {"fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout"}
    assert set(words[4:-4]) - {"core"} == devices | {"tty", "urandom", "zero"}
    assert words[-4:] == ["0", "1", "2", "3"]  # 3 is ls itself at the directory
    write = engine.run(engine.image, "sh", "-c", "echo x >/proc/sys/kernel/domainname")
    assert "Read-only file system" in write.stderr
    mount = engine.run(engine.image, "mount", "-t", "tmpfs", "x", "/tmp")
    assert mount.status != 0


def test_capabilities_privileges_and_masks(engine: Engine) -> None:
    held = "grep CapEff /proc/self/status | cut -f2"
    assert engine.run("--cap-drop", "ALL", engine.image, "sh", "-c", held).stdout == "0000000000000000\n"
    assert engine.run("--cap-drop", "all", "--cap-add", "chown", engine.image, "sh", "-c", held).stdout == f"{1:016x}\n"
    assert engine.run("-u", "1000", engine.image, "sh", "-c", held).stdout == "0000000000000000\n"
    privileged = engine.run(
        "--privileged", engine.image, "sh", "-c", f"{held}; grep Seccomp: /proc/self/status | cut -f2"
    )
    assert privileged.stdout.splitlines()[0].endswith("ffffffff")
    assert privileged.stdout.splitlines()[1] == "0"
    nnp = engine.run("--security-opt", "no-new-privileges", engine.image, "grep", "NoNewPrivs", "/proc/self/status")
    assert nnp.stdout.split()[1] == "1"
    assert engine.run("--read-only", engine.image, "touch", "/etc/x").status == 1
    assert engine.run("--read-only", engine.image, "touch", "/tmp/x").status == 0
    assert engine.run("--security-opt", "mask=/etc", engine.image, "ls", "/etc").stdout == ""


def test_namespaces_are_shared_when_asked_for(engine: Engine) -> None:
    engine.detached("--ipc", "shareable", engine.image, "sleep", "1000", name="first")
    show = "for k in pid ipc uts net; do readlink /proc/self/ns/$k; done"
    first = engine.ok("exec", "first", "sh", "-c", show).split()
    modes = ("--pid=container:first", "--ipc=container:first", "--uts=container:first")
    joined = engine.run(*modes, engine.image, "sh", "-c", show, network="container:first")
    assert joined.stdout.split() == first, joined.stderr
    host = engine.run("--pid=host", "--uts=host", "--ipc=host", engine.image, "sh", "-c", show, network="host")
    assert host.stdout.split() == [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "ipc", "uts", "net")]


def test_keep_id_is_oneself_and_root_s_files_are_root_s(engine: Engine, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    said = engine.run(
        *("--userns=keep-id", "-v", f"{tmp_path}:/here", engine.image),
        *("sh", "-c", "id -u; stat -c %u /bin/busybox; touch /here/mine"),
    )
    assert said.stdout.split() == [str(os.getuid()), "0"], said.stderr
    assert (tmp_path / "mine").stat().st_uid == os.getuid()


def test_the_life_of_a_container(engine: Engine) -> None:
    identity = engine.ok("create", "--name", "life", engine.image, "sh", "-c", "echo started; exec sleep 1000").strip()
    assert len(identity) == 64
    assert engine.state("life") == "created"
    assert engine.ok("start", "life") == "life\n"
    pid = engine.pid("life")
    assert engine.ok("ps", "--format", "{{.Names}} {{.State}}") == "life running\n"
    assert engine.ok("exec", "life", "echo", "inside") == "inside\n"
    assert (engine("rm", "life").status, engine("rm", "nothing").status) == (2, 1)
    assert engine.ok("restart", "-t", "0", identity[:12]) == "life\n"
    await_end(pid)
    assert engine.pid("life") not in (0, pid)
    assert engine.ok("rename", "life", "second") == ""
    assert engine("stop", "life").status == 125
    assert engine.ok("stop", "-t", "0", "second") == "second\n"
    assert engine.state("second") == "exited"
    assert engine.inspect("second")["State"]["ExitCode"] == 137
    assert engine.ok("logs", "second") == "started\nstarted\n"
    assert engine.ok("rm", "second") == "second\n"
    assert engine("inspect", "second").status == 125


def test_stop_signals_first_and_kills_at_last(engine: Engine) -> None:
    engine.detached(
        "--stop-signal",
        "USR1",
        engine.image,
        "sh",
        "-c",
        "trap 'exit 9' USR1; while :; do sleep 0.1; done",
        name="kind",
    )
    engine.ok("stop", "kind")
    assert engine.inspect("kind")["State"]["ExitCode"] == 9
    engine.detached(engine.image, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done", name="deaf")
    engine.ok("stop", "-t", "1", "deaf")
    assert engine.inspect("deaf")["State"]["ExitCode"] == 137
    engine.detached("--init", engine.image, "sleep", "1000", name="init")
    engine.ok("kill", "-s", "TERM", "init")
    assert engine.ok("wait", "init") == "143\n"
    assert engine("kill", "init").status == 125


def test_wait_and_exists(engine: Engine) -> None:
    engine.ok("create", "--name", "w", engine.image, "sh", "-c", "exit 3")
    waiting = engine.account.start("wait", "w")
    engine.ok("start", "w")
    assert waiting.communicate(timeout=60)[0] == "3\n"
    assert engine("container", "exists", "w").status == 0
    assert engine("container", "exists", "other").status == 1


def test_two_of_one_name_and_replace(engine: Engine) -> None:
    engine.detached(engine.image, "sleep", "1000", name="one")
    refused = engine("run", "-d", "--name", "one", engine.image, "true")
    assert refused.status == 125
    assert 'container "one" exists' in refused.stderr
    assert "--replace" in refused.stderr
    first = engine.inspect("one")["Id"]
    engine.ok("run", "-d", "--replace", "--name", "one", "--network", "none", engine.image, "sleep", "1000")
    assert engine.inspect("one")["Id"] != first
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: engine("create", "--name", "race", engine.image, "true").status, range(4)))
    assert sorted(results) == [0, 125, 125, 125]


def test_restart_policies(engine: Engine) -> None:
    engine.detached(
        *("--restart", "on-failure:2", "-v", "count:/count", engine.image),
        *("sh", "-c", "echo x >>/count/x; exit 4"),
        name="again",
    )
    assert engine.ok("wait", "again") == "4\n"
    assert engine.inspect("again")["RestartCount"] == 2
    counted = engine.run("-v", "count:/count", engine.image, "wc", "-l", "/count/x")
    assert counted.stdout.split()[0] == "3"
    engine.ok("rm", "again")
    engine.ok("volume", "rm", "count")
    engine.detached("--restart", "always", engine.image, "sleep", "1000", name="always")
    before = engine.pid("always")
    os.kill(before, signal.SIGKILL)
    engine.ok("wait", "--condition", "restarting", "always")
    engine.ok("wait", "--condition", "running", "always")
    assert engine.pid("always") not in (0, before)
    engine.ok("stop", "-t", "0", "always")
    assert engine.state("always") == "exited"


def test_health_checks(engine: Engine) -> None:
    engine.detached(
        *("--health-cmd", "test -e /well", "--health-interval", "100ms", "--health-retries", "2", engine.image),
        *("sleep", "1000"),
        name="sick",
    )
    engine.ok("wait", "--condition", "unhealthy", "sick")
    assert "(unhealthy)" in engine.ok("ps")
    assert engine.inspect("sick")["State"]["Health"]["FailingStreak"] >= 2
    assert engine("healthcheck", "run", "sick").status == 1
    engine.ok("exec", "sick", "touch", "/well")
    engine.ok("wait", "--condition", "healthy", "sick")
    assert engine("healthcheck", "run", "sick").status == 0
    engine.detached(
        *("--health-cmd", "false", "--health-interval", "50ms", "--health-retries", "1", "--health-on-failure", "kill"),
        *(engine.image, "sleep", "1000"),
        name="killed",
    )
    assert engine.ok("wait", "killed") == "137\n"


def test_an_unhealthy_container_is_started_again(engine: Engine) -> None:
    engine.detached(
        *("--health-cmd", "test -e /well", "--health-interval", "50ms", "--health-retries", "1"),
        *("--health-on-failure", "restart", "-v", "count:/count", engine.image),
        *("sh", "-c", "echo started >>/count/times; test $(wc -l </count/times) = 1 || touch /well; exec sleep 1000"),
        name="box",
    )
    engine.ok("wait", "--condition", "healthy", "box")
    assert engine.ok("exec", "box", "cat", "/count/times") == "started\n" * 2
    assert engine.inspect("box")["RestartCount"] == 1


def test_what_is_checked_until_a_container_is_up(engine: Engine) -> None:
    usual = ("--health-cmd", "echo usual >>/log", "--health-interval", "50ms")
    first = ("--health-startup-cmd", "echo first >>/log; test -e /up", "--health-startup-interval", "50ms")
    engine.detached(*usual, *first, "--health-startup-success", "2", engine.image, "sleep", "1000", name="slow")
    engine.ok("exec", "slow", "sh", "-c", "until grep -q first /log; do usleep 10000; done; ! grep usual /log")
    assert engine.inspect("slow")["State"]["Health"]["Status"] == "starting"
    engine.ok("exec", "slow", "touch", "/up")
    engine.ok("wait", "--condition", "healthy", "slow")
    log = engine.ok("exec", "slow", "cat", "/log").split()
    assert log[log.index("usual") - 2 :][:3] == ["first", "first", "usual"]
    assert "first" not in log[log.index("usual") :]
    assert engine.inspect("slow")["Config"]["StartupHealthCheck"]["Successes"] == 2
    failing = ("--health-startup-cmd", "false", "--health-startup-interval", "50ms", "--health-startup-retries", "2")
    words = ("-v", "ups:/ups", engine.image, "sh", "-c", "echo up >>/ups/times; exec sleep 1000")
    engine.detached(*usual, *failing, *words, name="never")
    twice = "until test $(wc -l </ups/times) -ge 2; do usleep 20000; done"
    engine.ok("run", "--rm", "-v", "ups:/ups", engine.image, "sh", "-c", twice)


def test_the_execution_domain(engine: Engine) -> None:
    assert engine.run("--personality", "LINUX32", engine.image, "uname", "-m").stdout in ("i686\n", "armv8l\n")
    assert engine.run("--personality", "BSD", engine.image, "true").status == 125


def test_exec(engine: Engine) -> None:
    engine.detached("-e", "A=1", "-w", "/tmp", engine.image, "sleep", "1000", name="box")
    said = engine(
        "exec", "-i", "-e", "B=2", "-w", "/etc", "box", "sh", "-c", "cat; pwd; echo $A$B; exit 5", input="in "
    )
    assert (said.status, said.stdout) == (5, "in /etc\n12\n")
    assert engine("exec", "box", "nothing").status == 127
    assert engine.ok("exec", "-u", "1000:10", "box", "sh", "-c", "id -u; id -g") == "1000\n10\n"
    engine.ok("exec", "-d", "box", "sh", "-c", "sleep 500")
    assert "sleep 500" in engine.ok("top", "box")
    assert engine("exec", "gone", "true").status == 125
    engine.ok("stop", "-t", "0", "box")
    refused = engine("exec", "box", "true")
    assert refused.status == 125
    assert "hint: ptb start box" in refused.stderr


def test_the_runtime_can_be_another_and_is_recorded(engine: Engine) -> None:
    said = engine("--runtime", "runc", "run", "--rm", "--network", "none", engine.image, "sh", "-c", "echo by $0")
    assert (said.status, said.stdout) == (0, "by sh\n"), said.stderr
    engine.ok("--runtime", "runc", "run", "-d", "--name", "c", "--network", "none", engine.image, "sleep", "1000")
    assert engine.inspect("c")["OCIRuntime"].endswith("/runc")
    assert engine.ok("exec", "c", "echo", "inside") == "inside\n"
    engine.ok("restart", "-t", "0", "c")
    assert engine.state("c") == "running"
    engine.ok("stop", "-t", "0", "c")
    refused = engine("run", "--runtime", "no-such-runtime", engine.image, "true")
    assert refused.status == 125
    assert 'OCI runtime "no-such-runtime" is not installed' in refused.stderr


def test_listings(engine: Engine) -> None:
    assert engine.ok("ps", "-a").splitlines()[0].split("  ")[0] == "CONTAINER ID"
    assert json.loads(engine.ok("ps", "-a", "--format", "json")) == []
    for name in ("b", "a"):
        engine.ok("create", "--name", name, "--label", f"x={name}", engine.image, "true")
    engine.detached(engine.image, "sleep", "1000", name="c")
    assert engine.ok("ps", "--format", "{{.Names}}") == "c\n"
    assert engine.ok("ps", "-a", "--sort", "names", "--format", "{{.Names}}") == "a\nb\nc\n"
    assert engine.ok("ps", "-n", "1", "--format", "{{.Names}}") == "c\n"
    assert engine.ok("ps", "-a", "--filter", "status=created", "--filter", "name=^a", "--format", "{{.Names}}") == "a\n"
    table = engine.ok("ps", "-a", "--filter", "name=c", "--format", "table {{.Names}}\t{{.CreatedAt}}")
    assert table.splitlines()[0].split("  ")[0] == "NAMES"
    assert "CREATED AT" in table
    ids = engine.ok("ps", "-aq", "--no-trunc").split()
    assert {len(identity) for identity in ids} == {64}
    found = json.loads(engine.ok("ps", "--format", "json"))[0]
    assert (found["Names"], found["State"], found["Exited"]) == (["c"], "running", False)
    wrong = engine("ps", "--format", "{{.Nams}}")
    assert wrong.status == 125
    assert "did you mean .Names?" in wrong.stderr
    assert engine("ps", "--filter", "colour=red").status == 125
    assert engine.ok("container", "ls", "-q") == engine.ok("ps", "-q")
    assert set(engine.ok("rm", "-f", *ids).split()) == {"a", "b", "c"}


def test_what_happens_is_told(engine: Engine) -> None:
    engine.run("--name", "told", engine.image, "sh", "-c", "exit 2")
    events = engine.ok("events", "--since", "1h", "--stream=false", "--format", "json", "--filter", "container=told")
    actions = [json.loads(line)["Status"] for line in events.splitlines()]
    assert actions == ["create", "start", "died", "remove"]


def test_prune(engine: Engine) -> None:
    engine.ok("create", "--name", "old", engine.image, "true")
    engine.detached(engine.image, "sleep", "1000", name="busy")
    assert len(engine.ok("container", "prune", "-f").split()) == 1
    assert engine.ok("ps", "-a", "--format", "{{.Names}}") == "busy\n"


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """The socket of a service manager, and the variables that lead to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"{tmp_path}/n")
        listener.settimeout(60)
        yield listener, {"NOTIFY_SOCKET": f"{tmp_path}/n"}


def test_systemd_is_told_of_being_ready(
    engine: Engine, debian: str, notified: tuple[socket.socket, dict[str, str]]
) -> None:
    listener, environ = notified
    engine(
        "run",
        "-d",
        "--name",
        "m",
        "--sdnotify",
        "conmon",
        "--network",
        "none",
        engine.image,
        "sleep",
        "9",
        environ=environ,
    )
    assert listener.recv(4096).decode().split("\n") == [f"MAINPID={engine.monitor('m')}", "READY=1"]
    script = (
        'use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0); send(S, "READY=1\\nMAINPID=1\\nSTATUS=up", 0,'
        " pack_sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!; sleep 100"
    )
    engine.account.ptb("pull", "-q", debian, check=True)
    engine("run", "-d", "--name", "c", "--network", "none", debian, "perl", "-e", script, environ=environ)
    monitor = engine.monitor("c")
    assert listener.recv(4096).decode() == f"MAINPID={monitor}"
    assert listener.recv(4096).decode().split("\n") == [f"MAINPID={monitor}", "READY=1", "STATUS=up"]
    healthy = ("--sdnotify", "healthy", "--health-cmd", "true", "--health-interval", "50ms")
    engine("run", "-d", "--name", "h", *healthy, "--network", "none", engine.image, "sleep", "9", environ=environ)
    assert listener.recv(4096).decode().startswith("MAINPID=")
    assert listener.recv(4096).decode().endswith("READY=1")


def test_secrets(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("hush")
    engine.ok("secret", "create", "one", str(tmp_path / "s"))
    engine.ok("secret", "create", "two", "-", input="env")
    said = engine.run(
        *("--secret", "one", "--secret", "two,type=env,target=TWO", engine.image),
        *("sh", "-c", "cat /run/secrets/one; echo $TWO"),
    )
    assert said.stdout == "hushenv\n"
    assert "hush" not in engine.ok("secret", "inspect", "one")
    assert engine.ok("secret", "ls", "--format", "{{.Name}}") == "one\ntwo\n"
    assert engine("run", "--secret", "three", engine.image, "true").status == 125
    assert engine.ok("secret", "rm", "one", "two") == "one\ntwo\n"


def test_time_zones_devices_and_ownership(engine: Engine, tmp_path: Path) -> None:
    said = engine.run("--tz", "Asia/Tokyo", "--device", "/dev/fuse", engine.image, "sh", "-c", "date +%z; ls /dev/fuse")
    assert said.stdout.split() == ["+0900", "/dev/fuse"], said.stderr
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("f")
    mine = engine.run(
        "-u", "1000", "-v", f"{tmp_path}/d:/d:U", engine.image, "sh", "-c", "stat -c %u /d/f; echo x >/d/new"
    )
    assert mine.stdout == "1000\n"
    over = engine.run("-v", f"{tmp_path}/d:/d:O", engine.image, "sh", "-c", "echo y >/d/over; rm /d/f; ls /d")
    assert over.stdout.split() == ["new", "over"], over.stderr
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["f", "new"]
    assert engine("run", "--tz", "Nowhere/Land", engine.image, "true").status == 125


def test_descriptors_are_passed_on_and_none_of_ours(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "three").write_text("three")
    engine.detached(engine.image, "sleep", "1000", name="box")

    def ask(verb: str, count: int, redirection: str) -> subprocess.CompletedProcess[str]:
        words = verb.replace("COUNT", str(count)).replace("IMAGE", engine.image)
        script = f"exec {engine.account.command} {words} sh -c 'cat <&3; ls /proc/self/fd' {redirection}"
        return subprocess.run(
            ["sh", "-c", script], env=engine.account.environ, capture_output=True, text=True, check=False, timeout=60
        )

    for verb in ("run --rm --preserve-fds COUNT IMAGE", "exec --preserve-fds COUNT box"):
        passed = ask(verb, 1, f"3<{tmp_path}/three 4<{tmp_path}/three")
        # 4 is the directory that ls reads
        assert passed.stdout.split() == ["three0", "1", "2", "3", "4"], passed.stderr
        refused = ask(verb, 2, f"3<{tmp_path}/three")
        assert refused.returncode == 125
        assert "--preserve-fds 2: descriptor 4 is not open" in refused.stderr
    assert engine.state("box") == "running"


def test_a_record_of_a_later_version_is_read(engine: Engine) -> None:
    identity = engine.ok("create", "--name", "box", engine.image, "true").strip()
    path = engine.account.boxes / identity / "container.json"
    document = json.loads(path.read_text())
    document |= {"invented_later": True, "network": document["network"] | {"invented_later": [1]}}
    path.write_text(json.dumps(document))
    assert "box" in engine.ok("ps", "-a", "--format", "{{.Names}}")
    assert engine.ok("start", "box") == "box\n"


def test_what_scripts_ask_of_a_missing_name_and_of_a_label(engine: Engine) -> None:
    engine.ok("create", "--name", "box", "--label", "app=shop", engine.image, "true")
    assert engine.ok("ps", "-a", "--format", '{{.Label "app"}}|{{.Label "none"}}') == "shop|\n"
    asked = engine("inspect", "box", "nothing")
    assert (asked.status, [found["Name"] for found in json.loads(asked.stdout)]) == (125, ["box"])
    assert engine("inspect", "nothing").stdout.strip() == "[]"
    assert engine("inspect", "-f", "{{.Name}}", "nothing").stdout == ""
    assert (engine("volume", "rm", "nothing").status, engine("rm", "-f", "nothing").status) == (1, 0)
