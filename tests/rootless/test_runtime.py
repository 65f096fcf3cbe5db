"""`ptb-runtime` as engines call it: a container's life, what its process is given, and hooks, on the real kernel."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pexpect
import pytest

from tests import bundles
from tests.bundles import Runtime


def wait_until_stopped(runtime: Runtime, identity: str) -> None:
    pid = runtime.state(identity)["pid"]
    if pid:
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        assert select.select([process], [], [], bundles.PATIENCE)[0]
        os.close(process)


def test_the_life_of_a_container(runtime, bundle, tmp_path):
    bundle.shell("echo started > /data/said; exec sleep 1000").mount(tmp_path, "/data")
    runtime("create", "--pid-file", str(tmp_path / "pid"), "one", bundle=bundle, check=True)
    state = runtime.state("one")
    assert state["status"] == "created"
    assert state["pid"] == int((tmp_path / "pid").read_text())
    assert state["bundle"] == str(bundle.path)
    assert not (tmp_path / "said").exists()
    runtime("start", "one", check=True)
    assert runtime.state("one")["status"] == "running"
    again = runtime("start", "one")
    assert again.returncode == 1
    assert 'container "one" cannot be started: it is running' in again.stderr
    refused = runtime("delete", "one")
    assert refused.returncode == 1
    assert "hint: ptb-runtime delete --force one" in refused.stderr
    runtime("kill", "one", "KILL", check=True)
    wait_until_stopped(runtime, "one")
    assert runtime.state("one")["status"] == "stopped"
    assert (tmp_path / "said").read_text() == "started\n"
    assert runtime("kill", "one", "TERM").returncode == 1
    runtime("delete", "one", check=True)
    gone = runtime("state", "one")
    assert gone.returncode == 1
    assert 'container "one" does not exist' in gone.stderr
    assert runtime("delete", "--force", "one").returncode == 0


def test_an_id_is_taken_once(runtime, bundle):
    runtime("create", "twice", bundle=bundle.command("true"), check=True)
    assert 'container "twice" exists already' in runtime("create", "twice", bundle=bundle).stderr
    for bad in ("..", "a/b", "", "a b", "ä"):
        assert runtime("create", bad, bundle=bundle).returncode != 0


def test_the_exit_status_is_the_process_s(runtime, bundle):
    assert runtime.run(bundle.shell("exit 42")).returncode == 42
    assert runtime.run(bundle.shell("kill -9 $$; sleep 1")).returncode in (0, 137)
    absent = runtime.run(bundle.command("nothing-like-it"))
    assert absent.returncode == 127
    assert 'executable file "nothing-like-it" not found in $PATH' in absent.stderr
    assert runtime.run(bundle.command("/etc")).returncode == 126


def test_what_the_process_is_given(runtime, bundle):
    process = bundle.spec["process"]
    process.update(
        user={"uid": 5, "gid": 6, "additionalGids": [7, 8], "umask": 0o027}, cwd="/data", env=["A=b", "PATH=/bin"]
    )
    process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    process["oomScoreAdj"] = 900
    process["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE"}
    process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 3}
    script = "id; umask; pwd; env; ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj"
    script += "; grep -E 'NoNewPrivs|Seccomp:' /proc/self/status"
    said = runtime.run(bundle.shell(script), check=True).stdout
    assert "uid=5 gid=6 groups=7,8" in said
    assert "0027\n/data\n" in said
    assert "A=b" in said
    assert "HOME=/" in said
    assert "100\n200\n900\nNoNewPrivs:\t1\nSeccomp:\t2\n" in said
    for name in ("XDG_RUNTIME_DIR", "PYTHONPATH", "USER"):
        assert name not in said


def test_capabilities_are_the_five_sets_asked_for(runtime, bundle):
    sets = {"bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]}
    bundle.spec["process"]["capabilities"] = {**sets, "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
    bundle.spec["process"]["user"] = {"uid": 5, "gid": 5}
    said = runtime.run(bundle.command("grep", "Cap", "/proc/self/status"), check=True).stdout
    kill, both = f"{1 << 5:016x}", f"{1 << 5 | 1:016x}"
    assert said.split()[1::2] == [kill, kill, kill, both, kill]


def test_namespaces_names_and_sysctls(runtime, bundle):
    bundle.spec.update(hostname="inside", domainname="example")
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"}
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 86400, "nanosecs": 5}}
    script = "cd /proc/sys; cat kernel/hostname kernel/domainname net/ipv4/ip_forward kernel/msgmax"
    script += "; echo $$; cat /proc/self/timens_offsets"
    said = runtime.run(bundle.shell(script), check=True).stdout.splitlines()
    assert said[:5] == ["inside", "example", "1", "4096", "1"]
    assert said[5].split() == ["monotonic", "86400", "5"]


def test_namespaces_are_joined_by_path(runtime, bundle, tmp_path):
    runtime("run", "--detach", "first", bundle=bundle.command("sleep", "1000"), check=True)
    pid = runtime.state("first")["pid"]
    names = {"user": "user", "network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}
    other = bundles.make(tmp_path / "other")
    other.linux["namespaces"] = [{"type": kind, "path": f"/proc/{pid}/ns/{name}"} for kind, name in names.items()]
    other.linux["namespaces"].append({"type": "mount"})
    other.linux.pop("uidMappings")
    other.linux.pop("gidMappings")
    said = runtime.run(
        other.shell("id -u; for n in user net ipc uts pid; do readlink /proc/self/ns/$n; done"), check=True
    )
    uid, *links = said.stdout.splitlines()
    assert uid == "0"
    assert links == [os.readlink(f"/proc/{pid}/ns/{name}") for name in names.values()]


def test_mounts_and_their_options(runtime, bundle, tmp_path):
    (tmp_path / "volume/sub").mkdir(parents=True)
    (tmp_path / "volume/file").write_text("host\n")
    (bundle.rootfs / "etc/kept").write_text("from the image\n")
    bundle.mount(tmp_path / "volume", "/data", "ro", "nosuid").mount(tmp_path / "volume/file", "/new/file")
    bundle.mount(tmp_path / "volume", "/deep", "rro")
    tmpfs = {
        "destination": "/etc",
        "type": "tmpfs",
        "source": "x",
        "options": ["tmpcopyup", "size=1m", "noexec", "mode=755"],
    }
    bundle.spec["mounts"].append(tmpfs)
    script = "cat /new/file /etc/kept; (echo x >/data/file) 2>&1; (echo x >/deep/file) 2>&1; grep -E ' /(data|etc) ' /proc/mounts"
    said = runtime.run(bundle.shell(script), check=True).stdout
    assert said.startswith("host\nfrom the image\n")
    assert said.count("Read-only file system") == 2
    data, etc = (line.split() for line in said.splitlines()[-2:])
    assert {"ro", "nosuid"} <= set(data[3].split(","))
    assert {"noexec", "size=1024k"} <= set(etc[3].split(","))
    bundle.spec["mounts"][-1]["options"].append("nonsense=1")
    assert 'mount "/etc": tmpfs refuses the option "nonsense"' in runtime.run(bundle).stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda spec: spec.pop("ociVersion"), "ociVersion is missing"),
        (lambda spec: spec["process"].update(cwd="relative"), "process.cwd must be an absolute path"),
        (lambda spec: spec["process"]["user"].update(uid="root"), "process.user.uid must be an integer"),
        (lambda spec: spec["linux"].update(intelRdt={"closID": "x"}), "linux.intelRdt is not supported"),
        (lambda spec: spec["linux"].update(sysctl={"kernel.core_pattern": "|x"}), "it would change the whole machine"),
        (lambda spec: spec["linux"].update(sysctl={"net.ipv4.ip_forward=1+kernel.core_pattern": "x"}), "is not a name"),
        (
            lambda spec: spec["linux"].update(resources={"memory": {"limit": 1 << 20}}),
            "linux.resources.memory.limit needs",
        ),
        (lambda spec: spec["linux"]["namespaces"].append({"type": "pid"}), '"pid" is there twice'),
        (lambda spec: spec["process"].update(apparmorProfile="x"), 'AppArmor profile "x"'),
        (lambda spec: spec["root"].update(path="absent"), "is not a directory"),
        (lambda spec: spec["process"].update(terminal=True), "nobody takes the terminal"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(runtime, bundle, change, said):
    change(bundle.spec)
    result = runtime("create", "refused", bundle=bundle)
    assert result.returncode != 0
    assert said in result.stderr
    assert not (runtime.root / "refused").exists()


def hook(path: Path, name: str, script: str = "") -> dict:
    program = path / name
    program.write_text(f'#!/bin/sh\nread -r state\necho "{name} $state" >>{path}/log\n{script}\n')
    program.chmod(0o755)
    return {"path": str(program), "args": [name]}


def test_hooks_run_in_order_with_the_state(runtime, bundle, tmp_path):
    names = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    bundle.spec["hooks"] = {name: [hook(tmp_path, name)] for name in names}
    inside = {"path": "/bin/sh", "args": ["sh", "-c", 'read -r state; echo "startContainer $state" >>/data/log']}
    bundle.spec["hooks"]["startContainer"] = [inside]
    bundle.spec["annotations"] = {"who": "me"}
    runtime("create", "hooked", bundle=bundle.mount(tmp_path, "/data").command("true"), check=True)
    runtime("start", "hooked", check=True)
    wait_until_stopped(runtime, "hooked")
    runtime("delete", "--force", "hooked", check=True)
    lines = [line.partition(" ") for line in (tmp_path / "log").read_text().splitlines()]
    ran = [name for name, _space, _state in lines]
    assert ran == ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    states = [json.loads(state) for _name, _space, state in lines]
    assert [state["status"] for state in states] == ["created"] * 4 + ["running", "stopped"]
    assert all(state["id"] == "hooked" and state["annotations"] == {"who": "me"} for state in states)


@pytest.mark.parametrize("name", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_ends_the_creation(runtime, bundle, tmp_path, name):
    bundle.spec["hooks"] = {name: [hook(tmp_path, name, "exit 3")], "poststop": [hook(tmp_path, "poststop")]}
    result = runtime("create", "failing", bundle=bundle.command("true"))
    assert f'{name} hook "{tmp_path}/{name}" failed with status 3' in result.stderr
    assert not (runtime.root / "failing").exists()
    assert "poststop" in (tmp_path / "log").read_text()


def test_a_hook_that_takes_too_long_is_killed(runtime, bundle, tmp_path):
    slow = {**hook(tmp_path, "createRuntime", "exec sleep 1000"), "timeout": 1}
    bundle.spec["hooks"] = {"createRuntime": [slow]}
    assert "took longer than 1 s" in runtime("create", "slow", bundle=bundle.command("true")).stderr


def test_exec_joins_what_runs(runtime, bundle, tmp_path):
    runtime("run", "--detach", "server", bundle=bundle.command("sleep", "1000"), check=True)
    said = runtime(
        "exec", "--env", "X=1", "--cwd", "/data", "--user", "3:4", "server", "sh", "-c", "id; pwd; echo $X", check=True
    )
    assert said.stdout == "uid=3 gid=4\n/data\n1\n"
    assert runtime("exec", "server", "sh", "-c", "exit 9").returncode == 9
    assert runtime("exec", "server", "absent").returncode == 127
    process = {"args": ["grep", "-E", "CapEff|Seccomp:", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"]}
    (tmp_path / "process.json").write_text(json.dumps(process))
    said = runtime("exec", "--process", str(tmp_path / "process.json"), "server", check=True).stdout.split()
    assert said == ["CapEff:", "0" * 16, "Seccomp:", "2"]
    runtime("exec", "--detach", "--pid-file", str(tmp_path / "pid"), "server", "sleep", "1000", check=True)
    second = int((tmp_path / "pid").read_text())
    pids = json.loads(runtime("ps", "--format", "json", "server", check=True).stdout)
    assert pids == [runtime.state("server")["pid"], second]
    runtime("kill", "--all", "server", "KILL", check=True)


def test_a_terminal(runtime, bundle):
    bundle.spec["process"]["terminal"] = True
    bundle.shell("tty; test -c /dev/console && echo console; stty size 2>/dev/null; read x; echo got $x")
    bundle.write()
    program, *arguments = runtime.arguments("run", "term")
    child = pexpect.spawn(
        program,
        arguments,
        cwd=bundle.path,
        env=bundles.environment(),
        timeout=bundles.PATIENCE,
        encoding="utf-8",
    )
    child.expect("/dev/pts/0\r\nconsole\r\n")
    child.send("word\r")
    child.expect("got word")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_descriptors_are_handed_over_and_no_others(runtime, bundle):
    first, second = os.pipe()
    os.dup2(second, 3)
    os.set_inheritable(3, True)
    bundle.shell("echo through >&3; ls /proc/self/fd")
    done = runtime("run", "--preserve-fds", "1", "fds", bundle=bundle, check=True, pass_fds=(3,))
    assert done.stdout.split() == ["0", "1", "2", "3", "4"], "4 is what ls reads the directory with"
    assert os.read(first, 100) == b"through\n"


def test_an_init_reaps_and_passes_signals_on(runtime, bundle, tmp_path):
    os.mkfifo(tmp_path / "pid")
    bundle.mount(tmp_path, "/data").shell("trap 'exit 33' TERM; echo $$ >/data/pid; while :; do sleep 0.05; done")
    running = runtime.popen("run", "--init", "reaper", bundle=bundle)
    assert (tmp_path / "pid").read_text() == "2\n"
    running.send_signal(signal.SIGTERM)
    assert running.wait(bundles.PATIENCE) == 33


@pytest.mark.parametrize("step", range(12))
def test_a_killed_runtime_leaves_nothing_that_delete_does_not_clear(runtime, bundle, step):
    mark = f"mark-{os.urandom(8).hex()}"
    creating = runtime.popen("create", "victim", bundle=bundle.command("sleep", "1000"), variables={"MARK": mark})
    try:
        creating.wait(0.02 + step * 0.008)
    except subprocess.TimeoutExpired:
        creating.kill()
        creating.wait()
    runtime("delete", "--force", "victim", check=True)
    assert not (runtime.root / "victim").exists()
    left = [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal() and _mentions(entry, mark)]
    assert left == []


def _mentions(process: Path, mark: str) -> bool:
    try:
        return mark.encode() in (process / "environ").read_bytes()
    except OSError:
        return False


def test_listing_features_and_help(runtime, bundle):
    runtime("create", "listed", bundle=bundle.command("true"), check=True)
    assert runtime("list", "--quiet", check=True).stdout == "listed\n"
    assert json.loads(runtime("list", "--format", "json", check=True).stdout)[0]["status"] == "created"
    assert runtime("list", check=True).stdout.splitlines()[0].split() == [
        "ID",
        "PID",
        "STATUS",
        "BUNDLE",
        "CREATED",
        "OWNER",
    ]
    features = json.loads(runtime("features", check=True).stdout)
    assert features["linux"]["seccomp"]["enabled"]
    assert "startContainer" in features["hooks"]
    assert "create" in runtime("--help", check=True).stdout
    assert "--pid-file" in runtime("create", "--help", check=True).stdout
    assert '"--nonsense" is no option' in runtime("create", "--nonsense", "x").stderr
    assert "hint: ptb-runtime --help" in runtime("frobnicate").stderr


def test_errors_go_to_the_log_too(runtime, bundle, tmp_path):
    runtime("--log", str(tmp_path / "log"), "--log-format", "json", "start", "absent")
    entry = json.loads((tmp_path / "log").read_text())
    assert entry["level"] == "error"
    assert entry["msg"] == 'container "absent" does not exist'


def test_a_single_id_is_enough(runtime, bundle):
    for key, own in (("uidMappings", os.getuid()), ("gidMappings", os.getgid())):
        bundle.linux[key] = [{"containerID": 0, "hostID": own, "size": 1}]
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["type"] != "devpts"]
    assert runtime.run(bundle.command("cat", "/proc/self/uid_map"), check=True).stdout.split() == [
        "0",
        str(os.getuid()),
        "1",
    ]
    bundle.spec["process"]["user"]["additionalGids"] = [5]
    refused = runtime.run(bundle)
    assert refused.returncode == 1
    assert "there can be no additional groups" in refused.stderr


def test_a_personality_and_sockets_passed_on(runtime, bundle):
    bundle.linux["personality"] = {"domain": "LINUX32"}
    first, second = os.pipe()
    os.dup2(second, 3)
    os.set_inheritable(3, True)
    bundle.shell("busybox uname -m; echo $LISTEN_FDS $LISTEN_PID; echo through >&3")
    bundle.spec["process"]["env"] = ["PATH=/bin"]
    running = runtime.popen(
        "run", "listening", bundle=bundle, variables={"LISTEN_FDS": "1"}, pass_fds=(3,), stdout=subprocess.PIPE
    )
    said = running.communicate(timeout=bundles.PATIENCE)[0]
    assert said.split()[0] in ("i686", "armv8l", os.uname().machine)
    assert said.split()[1:] == ["1", "1"]
    assert os.read(first, 100) == b"through\n"


def test_many_at_once_with_runtimes_killed(runtime, bundle):
    """Whatever is killed when, `delete --force` clears it, and no process stays."""
    mark = f"mark-{os.urandom(8).hex()}"
    chance = random.Random(1)
    bundle.command("sleep", "1000")
    moments = [[chance.random() * 0.4 if chance.random() < 0.2 else None for _step in range(3)] for _cycle in range(60)]

    def cycle(number: int) -> int:
        identity = f"c{number}"
        steps = (("create", identity), ("start", identity), ("kill", identity, "KILL"))
        for step, moment in zip(steps, moments[number], strict=True):
            running = runtime.popen(*step, bundle=bundle, variables={"MARK": mark})
            try:
                running.wait(bundles.PATIENCE if moment is None else moment)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
        return runtime("delete", "--force", identity).returncode

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(cycle, range(len(moments)))) == {0}
    assert list(runtime.root.iterdir()) == []
    assert [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal() and _mentions(entry, mark)] == []
