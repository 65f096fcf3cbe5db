"""Names that change while a container starts: another one has the same root file system or volume and exchanges them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import bundles, races
from tests.bundles import Bundle

STARTS = 12


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of the host's with a secret, which no start of a container may change in any way."""
    place = tmp_path / "outside"
    (place / "inner").mkdir(parents=True)
    (place / "secret").write_text("secret\n")
    for path in (place / "secret", place / "inner", place):
        path.chmod(0o600 if path.is_file() else 0o700)
    return place


def picture(place: Path) -> list[tuple[str, int, int]]:
    """All names in a directory with their modes and sizes."""
    found = [place, *place.rglob("*")]
    return [(str(path), path.lstat().st_mode, path.lstat().st_size if path.is_file() else 0) for path in found]


def mounts_of(said: str) -> list[list[str]]:
    """The lines of a container's /proc/self/mountinfo."""
    return [line.split() for line in said.splitlines() if " - " in line]


def mount_points(said: str, source: Path) -> list[str]:
    """Where the bind mount of the host's `source` is seen."""
    return [fields[4] for fields in mounts_of(said) if fields[3].endswith(f"/{source.parent.name}/{source.name}")]


def start_often(runtime, bundle: Bundle, *pairs: tuple[Path, Path]) -> list:
    """Run the bundle several times while the pairs of names trade places."""
    with races.exchanging(*pairs):
        return [runtime.run(bundle) for _start in range(STARTS)]


def test_a_mount_goes_where_it_should_or_nowhere(runtime, bundle, tmp_path, outside):
    """CVE-2021-30465: the directory to mount on and a link to the host's directory trade places, in a shared volume."""
    volume, other = tmp_path / "volume", tmp_path / "other"
    (volume / "point/inner").mkdir(parents=True)
    other.mkdir()
    (volume / "link").symlink_to(outside)
    before = picture(outside)
    bundle.mount(volume, "/data").mount(other, "/data/point/inner").command("cat", "/proc/self/mountinfo")
    started = 0
    for result in start_often(runtime, bundle, (volume / "point", volume / "link")):
        if result.returncode == 0:
            started += 1
            found = mount_points(result.stdout, other)
            assert len(found) == 1, "mounted outside of the root, it is not seen from inside"
    assert started
    assert picture(outside) == before


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_mount_points_are_not_made_outside(runtime, bundle, tmp_path, outside, kind):
    """CVE-2024-45310: the directory in which a mount point is to be made and a link trade places."""
    volume, source = tmp_path / "volume", tmp_path / "source"
    (volume / "parent").mkdir(parents=True)
    source.mkdir() if kind == "directory" else source.touch()
    (volume / "link").symlink_to(outside)
    before = picture(outside)
    bundle.mount(volume, "/data").command("true")
    for number in range(20):
        bundle.mount(source, f"/data/parent/new-{number}-{os.urandom(4).hex()}")
    start_often(runtime, bundle, (volume / "parent", volume / "link"))
    assert picture(outside) == before


def test_procfs_is_mounted_on_no_link(runtime, bundle):
    """CVE-2019-19921, CVE-2023-28642, CVE-2025-52881: /proc is a directory or a link to an imitation, by turns."""
    imitation = bundle.rootfs / "data/proc"
    (imitation / "sys/net/ipv4").mkdir(parents=True)
    (imitation / "self").mkdir()
    files = [imitation / "sys/net/ipv4/ip_forward", imitation / "self/oom_score_adj"]
    for file in files:
        file.write_text("imitated\n")
    (bundle.rootfs / "link").symlink_to("data/proc")
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    bundle.spec["process"]["oomScoreAdj"] = 900
    bundle.shell("for p in /proc /link; do cat $p/self/mountinfo; done")
    started = 0
    for result in start_often(runtime, bundle, (bundle.rootfs / "proc", bundle.rootfs / "link")):
        started += result.returncode == 0
        places = {fields[4] for fields in mounts_of(result.stdout) if "proc" in fields[7:]}
        assert not [place for place in places if place.startswith("/data")]
    assert started
    assert [file.read_text() for file in files] == ["imitated\n"] * 2


def test_masks_stay_on_the_procfs_they_are_for(runtime, bundle):
    """CVE-2025-31133: once it is mounted, /proc trades places with a link to an imitation, which gets the masks."""
    imitation = bundle.rootfs / "data/proc"
    (imitation / "sys").mkdir(parents=True)
    (imitation / "keys").touch()
    (bundle.rootfs / "link").symlink_to("data/proc")
    bundle.linux["maskedPaths"], bundle.linux["readonlyPaths"] = ["/proc/keys"], ["/proc/sys"]
    bundle.shell("cat /proc/self/mountinfo /link/self/mountinfo 2>/dev/null; exit 0")
    started = 0
    for result in start_often(runtime, bundle, (bundle.rootfs / "proc", bundle.rootfs / "link")):
        places = {fields[4] for fields in mounts_of(result.stdout)}
        if places:
            started += 1
            assert places & {"/proc/keys", "/link/keys"}
            assert places & {"/proc/sys", "/link/sys"}
    assert started


def test_a_mask_is_the_host_s_null_device(runtime, bundle):
    """CVE-2025-31133: /dev/null of the image is a file, or a link to what a mask would then show, by turns."""
    bundle.spec["mounts"] = [entry for entry in bundle.spec["mounts"] if not entry["destination"].startswith("/dev")]
    (bundle.rootfs / "dev/null").touch()
    (bundle.rootfs / "dev/link").symlink_to("/etc/other")
    for name in ("secret", "other"):
        (bundle.rootfs / "etc" / name).write_text("visible\n")
    bundle.linux["maskedPaths"] = ["/etc/secret"]
    bundle.shell("cat /etc/secret; stat -c %t:%T /etc/secret")
    results = start_often(runtime, bundle, (bundle.rootfs / "dev/null", bundle.rootfs / "dev/link"))
    assert {result.stdout for result in results if result.returncode == 0} == {"1:3\n"}, "that device is always empty"


def test_the_console_is_a_terminal_in_its_own_place(runtime, bundle):
    """CVE-2025-52565: /dev/console is a file or a link, /dev/pts a directory or a link to imitations, by turns."""
    bundle.spec["mounts"] = [entry for entry in bundle.spec["mounts"] if not entry["destination"].startswith("/dev")]
    dev = bundle.rootfs / "dev"
    (dev / "pts").mkdir()
    (dev / "imitation").mkdir()
    for name in ("target", "imitation/ptmx", "imitation/0", "console"):
        (dev / name).touch()
    (dev / "link").symlink_to("target")
    (dev / "link-pts").symlink_to("imitation")
    bundle.spec["root"]["readonly"] = False
    bundle.spec["process"]["terminal"] = True
    bundle.spec["mounts"].append({"destination": "/dev/pts", "type": "devpts", "options": ["newinstance"]})
    bundle.command("cat", "/proc/self/mountinfo")
    started = 0
    for result in start_often(runtime, bundle, (dev / "console", dev / "link"), (dev / "pts", dev / "link-pts")):
        if result.returncode == 0:
            started += 1
            places = [fields[4] for fields in mounts_of(result.stdout) if "devpts" in fields and fields[3] != "/"]
            assert places in (["/dev/console"], ["/dev/link"]), "a terminal is mounted on what a link names"
    assert started


_SPY = """
import os
own = str(os.getpid())
met, seen = (open(f"/data/{name}", "a", buffering=1) for name in ("met", "seen"))
open("/data/ready", "w").close()
while True:
    for pid in os.listdir("/proc"):
        if not pid.isdecimal() or pid == own:
            continue
        met.write(pid + "\\n")
        for name in ("exe", "cwd", "root"):
            try:
                target = os.readlink(f"/proc/{pid}/{name}")
            except OSError:
                continue
            if target not in ("/", "/bin/busybox"):
                seen.write(f"{name}: {target}\\n")
        for name in ("environ", "maps"):
            try:
                content = open(f"/proc/{pid}/{name}", "rb").read()
            except OSError:
                continue
            if b"ython" in content:
                seen.write(f"{name}: {content}\\n")
"""


@pytest.mark.parametrize("how", ["exec", "pod"])
def test_joining_processes_show_nothing_of_themselves(runtime, bundle, tmp_path, how):
    """CVE-2019-5736: root of a container, with every capability, looks into each process that joins its namespaces."""
    bundles.with_programs_of_the_host(bundle)
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "spy").write_text(_SPY)
    os.mkfifo(volume / "ready")
    bundle.mount(volume, "/data").command("/usr/bin/python3", "-IS", "/data/spy")
    runtime("run", "--detach", "spied", bundle=bundle, check=True)
    (volume / "ready").read_text()
    other = bundles.make(tmp_path / "other").command("/bin/busybox", "true")
    pid = runtime.state("spied")["pid"]
    joined = [{"type": kind, "path": f"/proc/{pid}/ns/{kind}"} for kind in ("user", "pid", "ipc")]
    other.linux["namespaces"] = [*joined, {"type": "mount"}, {"type": "uts"}, {"type": "network"}]
    for key in ("uidMappings", "gidMappings"):
        other.linux.pop(key)
    for _start in range(STARTS):
        if how == "exec":
            runtime("exec", "spied", "/bin/busybox", "true", check=True)
        else:
            runtime.run(other, check=True)
    assert (volume / "met").read_text(), "there was nothing to look into"
    assert (volume / "seen").read_text() == ""
