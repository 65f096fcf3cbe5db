"""The files of containers: cp, diff, commit, export, import, and volumes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from rootless import ids
from tests.rootless.containers import Engine


@pytest.fixture(params=["running", "stopped"])
def box(engine: Engine, request: pytest.FixtureRequest) -> str:
    """A container with some files in it, running or not."""
    script = "mkdir -p /data/sub; echo one >/data/one; echo two >/data/sub/two; ln -s one /data/link; exec sleep 1000"
    engine.detached(engine.image, "sh", "-c", script, name="box")
    engine.ok("exec", "box", "sh", "-c", "until test -e /data/link; do usleep 10000; done")
    if request.param == "stopped":
        engine.ok("stop", "-t", "0", "box")
    return "box"


def test_copying_out(engine: Engine, box: str, tmp_path: Path) -> None:
    engine.ok("cp", "box:/data/one", str(tmp_path / "renamed"))
    assert (tmp_path / "renamed").read_text() == "one\n"
    assert (tmp_path / "renamed").stat().st_uid == os.getuid()
    engine.ok("cp", "box:/data", str(tmp_path))
    assert (tmp_path / "data/sub/two").read_text() == "two\n"
    assert (tmp_path / "data/link").readlink() == Path("one")
    engine.ok("cp", "box:/data", str(tmp_path / "fresh"))
    assert sorted(path.name for path in (tmp_path / "fresh").iterdir()) == ["link", "one", "sub"]
    engine.ok("cp", "box:/data/.", str(tmp_path / "data/sub"))
    assert (tmp_path / "data/sub/one").read_text() == "one\n"
    engine.ok("cp", "-L", "box:/data/link", str(tmp_path / "followed"))
    assert (tmp_path / "followed").read_text() == "one\n"
    missing = engine("cp", "box:/nothing", str(tmp_path))
    assert missing.status == 125
    assert '"/nothing": No such file or directory' in missing.stderr


def test_copying_in(engine: Engine, box: str, tmp_path: Path) -> None:
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/file").write_text("text")
    (tmp_path / "tree/deep/file").chmod(0o640)
    engine.ok("cp", str(tmp_path / "tree"), "box:/data")
    engine.ok("cp", str(tmp_path / "tree/deep/file"), "box:/data/sub/named")
    engine.ok("cp", str(tmp_path / "tree/."), "box:/new")
    engine.ok("start", "box")
    show = "stat -c '%u:%g %a' /data/tree/deep/file; cat /data/sub/named /new/deep/file"
    assert engine.ok("exec", "box", "sh", "-c", show) == "0:0 640\ntexttext"
    assert engine("cp", str(tmp_path / "tree"), "box:/data/one").status == 125


def test_copying_archives_and_between_containers(engine: Engine, box: str, tmp_path: Path) -> None:
    out = subprocess.run(
        [*engine.account.command.split(), "cp", "box:/data", "-"],
        env=engine.account.environ,
        capture_output=True,
        check=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as archive:
        assert "data/sub/two" in archive.getnames()
    engine.ok("create", "--name", "other", engine.image, "true")
    engine.ok("cp", "box:/data/sub", "other:/tmp")
    engine.ok("cp", "other:/tmp/sub/two", str(tmp_path))
    assert (tmp_path / "two").read_text() == "two\n"
    subprocess.run(
        [*engine.account.command.split(), "cp", "-", "other:/tmp"], env=engine.account.environ, input=out, check=True
    )
    engine.ok("cp", "other:/tmp/data/one", str(tmp_path))
    assert (tmp_path / "one").read_text() == "one\n"


def test_links_in_a_container_lead_nowhere_else(engine: Engine, tmp_path: Path) -> None:
    """CVE-2018-15664, CVE-2019-14271: what a container puts in the way of cp is resolved beneath its own root."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    script = (
        f"ln -s {outside} /out; ln -s / /root-of-all; ln -s {outside}/secret /file; mkdir -p {outside}; exec sleep 1000"
    )
    engine.detached(engine.image, "sh", "-c", script, name="evil")
    engine.ok("exec", "evil", "sh", "-c", f"until test -d {outside}; do usleep 10000; done")
    (tmp_path / "in").write_text("in")
    engine.ok("cp", str(tmp_path / "in"), "evil:/out/in")
    assert not (outside / "in").exists()
    assert engine.ok("exec", "evil", "cat", f"{outside}/in") == "in"
    assert engine("cp", "-L", "evil:/file", str(tmp_path / "stolen")).status == 125
    assert engine("cp", "evil:/root-of-all/../../etc/hostname", str(tmp_path / "x")).status in (0, 125)
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


def test_an_archive_cannot_climb_out_on_the_host(engine: Engine, tmp_path: Path) -> None:
    """A link that the container made first must not carry later entries elsewhere."""
    script = f"mkdir -p /t/d; ln -s {tmp_path} /t/d/l; exec sleep 1000"
    engine.detached(engine.image, "sh", "-c", script, name="evil")
    engine.ok("exec", "evil", "sh", "-c", "until test -h /t/d/l; do usleep 10000; done")
    target = tmp_path / "target"
    (target / "d").mkdir(parents=True)
    (target / "d/l").symlink_to(tmp_path)
    engine.ok("exec", "evil", "sh", "-c", "rm /t/d/l; mkdir /t/d/l; echo x >/t/d/l/escaped")
    engine("cp", "evil:/t/.", str(target))
    assert not (tmp_path / "escaped").exists()


def test_diff(engine: Engine) -> None:
    script = "echo x >/etc/group; rm /etc/passwd; mkdir /tmp/new; touch /tmp/new/file"
    engine("run", "--name", "box", "--network", "none", engine.image, "sh", "-c", script)
    lines = engine.ok("diff", "box").splitlines()
    assert {"C /etc", "C /etc/group", "D /etc/passwd", "A /tmp/new", "A /tmp/new/file"} <= set(lines)
    assert "A /tmp/new/file" in lines
    found = json.loads(engine.ok("diff", "--format", "json", "box"))
    assert found["deleted"] == ["/etc/passwd"]


@pytest.mark.parametrize("running", [True, False])
def test_commit(engine: Engine, running: bool) -> None:
    script = (
        "echo made >/made; rm /etc/group; chown 1000:10 /home; ln /made /second; mkfifo /f 2>/dev/null; exec sleep 1000"
    )
    engine.detached("-e", "KEEP=1", engine.image, "sh", "-c", script, name="box")
    engine.ok("exec", "box", "sh", "-c", "until test -e /second; do usleep 10000; done")
    if not running:
        engine.ok("stop", "-t", "0", "box")
    changes = ["-c", 'CMD ["cat", "/made"]', "-c", "ENV NEW=2", "-c", "LABEL a=b", "-c", "USER 1000", "-c", "EXPOSE 80"]
    identity = engine.ok("commit", "-q", *changes, "-m", "message", "-a", "me", "box", "made:1").strip()
    assert engine.run("localhost/made:1").stdout == "made\n"
    said = engine.run("made:1", "sh", "-c", "id -u; echo $KEEP$NEW; ls /etc; stat -c '%u:%g' /home; stat -c %h /made")
    assert said.stdout.split() == ["1000", "12", "hostname", "hosts", "passwd", "resolv.conf", "1000:10", "2"], (
        said.stderr
    )
    document = json.loads(engine.ok("inspect", "made:1"))[0]
    assert document["Id"] == identity
    assert (document["Labels"], document["Author"], document["Comment"]) == ({"a": "b"}, "me", "message")
    assert engine("commit", "-c", "RUN x", "box", "bad").status == 125
    engine.ok("rm", "-f", "-t", "0", "box")
    again = engine.ok(
        "run", "--name", "two", "--network", "none", "-u", "0", "made:1", "sh", "-c", "echo more >/more; cat /made"
    )
    assert again == "made\n"
    engine.ok("commit", "two", "made:2")
    assert engine.run("made:2", "sh", "-c", "cat /made /more").stdout == "made\nmore\n"


def test_export_and_import(engine: Engine, tmp_path: Path) -> None:
    engine(
        "run",
        "--name",
        "box",
        "--network",
        "none",
        "-v",
        "v:/vol",
        engine.image,
        "sh",
        "-c",
        "echo x >/vol/x; echo y >/y; rm /etc/group",
    )
    engine.ok("export", "-o", str(tmp_path / "all.tar"), "box")
    with tarfile.open(tmp_path / "all.tar") as archive:
        names = archive.getnames()
        assert "y" in names
        assert "bin/busybox" in names
        assert "etc/group" not in names
        assert "vol/x" not in names
    engine.ok("import", "-c", "CMD cat /y", str(tmp_path / "all.tar"), "imported:1")
    assert engine.run("imported:1").stdout == "y\n"
    with (tmp_path / "all.tar").open("rb") as stream:
        packed = subprocess.run(["gzip"], stdin=stream, capture_output=True, check=True).stdout
    (tmp_path / "all.tgz").write_bytes(packed)
    engine.ok("import", str(tmp_path / "all.tgz"), "imported:2")
    assert engine.run("imported:2", "cat", "/y").stdout == "y\n"
    (tmp_path / "broken").write_bytes(b"no archive at all" * 100)
    refused = engine("import", str(tmp_path / "broken"), "broken:1")
    assert refused.status == 125
    assert engine("run", "--pull", "never", "broken:1").status == 125


def test_volumes(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host/file").write_text("host\n")
    bind = engine.run("-v", f"{tmp_path}/host:/h:ro", engine.image, "sh", "-c", "cat /h/file; touch /h/x")
    assert bind.stdout == "host\n"
    assert "Read-only file system" in bind.stderr
    engine.run("-v", f"{tmp_path}/host:/h", engine.image, "touch", "/h/made")
    assert (tmp_path / "host/made").stat().st_uid == os.getuid()
    engine.run("-v", "./missing:/m", engine.image, "touch", "/m/x", cwd=tmp_path)
    assert (tmp_path / "missing/x").exists()
    filled = engine.run("-v", "named:/etc", engine.image, "ls", "/etc")
    assert "passwd" in filled.stdout.split()
    empty = engine.run("-v", "bare:/etc:nocopy", engine.image, "sh", "-c", "ls /etc | grep -c passwd")
    assert empty.stdout == "0\n"
    assert set(engine.ok("volume", "ls", "-q").split()) == {"named", "bare"}
    engine.detached("-v", "named:/v", "-v", "/anonymous", engine.image, "sleep", "1000", name="holder")
    assert engine("volume", "rm", "named").status == 2
    seen = engine.run("--volumes-from", "holder:ro", engine.image, "sh", "-c", "ls /v; touch /v/x")
    assert "passwd" in seen.stdout
    assert "Read-only" in seen.stderr
    assert len(engine.ok("volume", "ls", "-q").split()) == 3
    engine.ok("rm", "-f", "-v", "-t", "0", "holder")
    assert set(engine.ok("volume", "ls", "-q").split()) == {"named", "bare"}
    engine.run("-v", "/anonymous", engine.image, "touch", "/anonymous/x")
    assert set(engine.ok("volume", "ls", "-q").split()) == {"named", "bare"}
    assert set(engine.ok("volume", "prune", "-f").split()) == {"named", "bare"}


def test_mounts_by_the_long_option(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("f\n")
    said = engine.run(
        *(
            "--mount",
            f"type=bind,src={tmp_path},dst=/b,ro",
            "--mount",
            "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700",
        ),
        *("--mount", "type=volume,src=vol,dst=/v", "--tmpfs", "/s:size=64k", engine.image),
        *(
            "sh",
            "-c",
            "cat /b/f; stat -c %a /t; touch /v/x; dd if=/dev/zero of=/s/big bs=1k count=100 2>&1 | tail -1; ls /v",
        ),
    )
    assert said.stdout.split()[:2] == ["f", "700"], said.stderr
    assert said.stdout.split()[-1] == "x"
    engine.ok("volume", "rm", "vol")
    for wrong in (
        "type=bind,src=/no/such,dst=/x",
        "type=odd,dst=/x",
        "dst=relative",
        "type=bind,dst=/x",
        "colour=red,dst=/x",
    ):
        assert engine("run", "--mount", wrong, engine.image, "true").status == 125, wrong
    assert engine("run", "-v", "a:/x", "-v", "b:/x", engine.image, "true").status == 125


def test_a_new_volume_is_its_users_where_the_image_has_nothing(engine: Engine) -> None:
    made = engine.run(
        "-u", "1000:1000", "-v", "fresh:/not/in/image", engine.image, "sh", "-c", "echo 1 >/not/in/image/f"
    )
    assert made.status == 0, made.stderr
    assert engine.run("-v", "fresh:/d", engine.image, "stat", "-c", "%u:%g", "/d", "/d/f").stdout == "1000:1000\n" * 2
    assert engine.run("-u", "1000", "-v", "other:/root", engine.image, "touch", "/root/f").status == 1


@pytest.mark.parametrize(
    "options", [("--uidmap", "0:1:1000"), ("--userns", "nomap"), ("--uidmap", "0:1:1", "--uidmap", "5:0:1")]
)
def test_id_maps_of_its_own(engine: Engine, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "bound").mkdir(mode=0o777)
    (tmp_path / "bound").chmod(0o777)
    script = (
        "stat -c %u:%g /etc/passwd /bin; echo out >/dev/stdout; touch /made /bound/made; stat -c %u /made /bound/made"
    )
    words = (*options, "-v", f"{tmp_path}/bound:/bound", engine.image, "sh", "-c", f"{script}; sleep 1000")
    engine.detached(*words, name="box")
    assert (
        engine.ok("exec", "box", "cat", "/proc/self/uid_map").split()
        == {
            "0:1:1000": ["0", "1", "1000"],
            "nomap": ["0", "1", "65536"],
            "0:1:1": ["0", "1", "1", "5", "0", "1"],
        }[options[1]]
    )
    engine.ok("exec", "box", "sh", "-c", "until test -e /bound/made; do usleep 10000; done")
    assert engine.ok("logs", "box") == "0:0\n0:0\nout\n0\n0\n"
    # What its root makes on the host belongs to the first subordinate id, not to the caller.
    assert (tmp_path / "bound/made").stat().st_uid == ids.subordinates().uid_ranges[0][0]
    (tmp_path / "given").write_text("given")
    engine.ok("cp", str(tmp_path / "given"), "box:/given")
    assert engine.ok("exec", "box", "sh", "-c", "cat /given; echo more >>/given") == "given"
    engine.ok("stop", "-t", "0", "box")
    engine.ok("cp", "box:/given", str(tmp_path / "taken"))
    assert (tmp_path / "taken").read_text() == "givenmore\n"
    # Its files are those of any other container: under the usual map they are root's again.
    engine.ok("commit", "-q", "box", "kept")
    assert engine.run("kept", "stat", "-c", "%u:%g", "/made").stdout == "0:0\n"
    engine.ok("start", "box")
    assert engine.inspect("box")["HostConfig"]["IDMappings"]["UidMap"]


def test_the_caller_as_another_user(engine: Engine, tmp_path: Path) -> None:
    done = engine.run(
        "--userns", "keep-id:uid=33,gid=34", "-v", f"{tmp_path}:/t", engine.image, "sh", "-c", "id; touch /t/f"
    )
    assert "uid=33" in done.stdout
    assert "gid=34" in done.stdout
    assert (tmp_path / "f").stat().st_uid == os.getuid()


def test_namespaces_of_a_container_with_id_maps_are_its_own(engine: Engine) -> None:
    engine.detached("--uidmap", "0:1:1000", engine.image, "sleep", "1000", name="box")
    refused = engine("run", "--rm", "--network", "container:box", engine.image, "true")
    assert (refused.status, "has id maps of its own" in refused.stderr) == (125, True)


def test_copies_that_cannot_be_made_say_so(engine: Engine, box: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(3 << 20))
    engine.ok("cp", str(tmp_path / "large"), f"{box}:/large")
    for source, target in (
        (f"{tmp_path}/missing", f"{box}:/x"),
        (f"{box}:/missing", f"{tmp_path}/x"),
        (f"{box}:/large", f"{tmp_path}/missing/x"),
        (f"{tmp_path}/large", f"{box}:/missing/x"),
        (f"{box}:/missing", f"{box}:/x"),
        (f"{box}:/large", f"{box}:/missing/x"),
    ):
        refused = engine("cp", source, target)
        assert (refused.status, "missing" in refused.stderr) == (125, True), (source, target, refused.stderr)
        assert "No such file" in refused.stderr


def test_commit_of_everything_as_one_layer(engine: Engine, box: str) -> None:
    engine.ok("commit", "-q", "--squash", box, "flat")
    found = json.loads(engine.ok("inspect", "flat"))[0]
    assert len(found["RootFS"]["Layers"]) == 1
    assert len(json.loads(engine.ok("inspect", engine.image))[0]["RootFS"]["Layers"]) > 1
    assert engine.run("flat", "cat", "/data/one", "/data/sub/two").stdout == "one\ntwo\n"
    assert engine.run("flat", "stat", "-c", "%u:%g", "/bin/busybox").stdout == "0:0\n"
