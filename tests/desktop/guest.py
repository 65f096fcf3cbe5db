"""The desktop test machine: a Debian with systemd, a user session and cgroup v2, booted as a User-Mode Linux guest.

It needs no KVM and no root. Its image is made once from Debian packages and kept in the user's cache under a name that
says what it was made of; what a run changes goes to a copy-on-write file of the run's own. The guest reaches the
checkout and the directory with its orders and reports through hostfs.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bundles import REPOSITORY

SUITE = "trixie"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "kmod", "util-linux", "procps"),
    *("busybox-static", "uidmap", "podman", "conmon", "crun"),
    *("python3", "python3-pytest", "python3-hypothesis", "python3-pexpect"),
)
ACCOUNT = "tester"
SIZE = 2 << 30
MINUTES = 20
_MODULES = Path("/usr/lib/uml/modules")

_UNIT = f"""[Unit]
Description=tests of ptb
Requires=user@1000.service
After=user@1000.service multi-user.target

[Service]
Type=oneshot
TimeoutStartSec=infinity
StandardOutput=tty
StandardError=tty
TTYPath=/dev/tty0
ExecStart=/bin/sh -c 'set -- $(sed "s/.* tests=//" /proc/cmdline); mount -t hostfs -o "$1" tests /mnt && sh /mnt/inside {ACCOUNT}'
ExecStopPost=/usr/sbin/poweroff -f -f

[Install]
WantedBy=default.target
"""

_CUSTOMIZE = f"""set -eu
root=$1 image=$2
mkdir -p "$root/lib/modules" "$root/var/lib/systemd/linger"
cp -a {_MODULES}/. "$root/lib/modules/"
chroot "$root" useradd --create-home --uid 1000 --shell /bin/bash {ACCOUNT}
touch "$root/var/lib/systemd/linger/{ACCOUNT}"
echo desktop >"$root/etc/hostname"
printf '127.0.0.1 localhost desktop\\n' >"$root/etc/hosts"
printf '%s' "$UNIT" >"$root/etc/systemd/system/ptb-tests.service"
chroot "$root" systemctl enable -q ptb-tests.service
chroot "$root" systemctl mask -q apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \\
    fstrim.timer systemd-tmpfiles-clean.timer getty@tty1.service systemd-networkd.service systemd-timesyncd.service
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
# Without what is mounted below for the time of the installation.
mount --bind "$root" "$image.root"
mke2fs -q -t ext4 -O ^has_journal -E root_owner=0:0 -d "$image.root" "$image"
umount "$image.root"
"""


@dataclass(frozen=True)
class Outcome:
    """What became of one test in the guest: passed, failed or skipped, and what pytest said of it."""

    outcome: str
    text: str


def image() -> Path:
    """The file system that the guest boots, made if it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ptb-tests"
    modules = ",".join(sorted(entry.name for entry in _MODULES.iterdir()))
    recipe = "\0".join((SUITE, *PACKAGES, _UNIT, _CUSTOMIZE, str(SIZE), modules))
    made = cache / f"desktop-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.ext4"
    if made.exists():
        return made
    cache.mkdir(parents=True, exist_ok=True)
    for outdated in cache.glob("desktop-*"):
        outdated.unlink()
    # mmdebstrap works as root of its own user namespace, which is nobody here: the directory must let it pass.
    with tempfile.TemporaryDirectory(prefix="ptb-desktop-", dir="/var/tmp") as place:
        Path(place).chmod(0o755)
        (Path(place) / "image.root").mkdir()
        script, file = Path(place) / "customize", Path(place) / "image"
        script.write_text(_CUSTOMIZE)
        with file.open("wb") as stream:
            stream.truncate(SIZE)
        file.chmod(0o666)
        command = ["mmdebstrap", "--quiet", "--mode=unshare", "--variant=minbase", "--format=null"]
        command += [f"--include={','.join(PACKAGES)}", '--aptopt=APT::Install-Recommends "false"']
        command += [f'--customize-hook=sh {script} "$1" {file}', SUITE, "/dev/null"]
        subprocess.run(command, check=True, env={**os.environ, "UNIT": _UNIT}, cwd="/")
        partial = made.with_suffix(f".{os.getpid()}")
        subprocess.run(["cp", "--sparse=always", str(file), str(partial)], check=True)
        partial.chmod(0o600)
        partial.rename(made)
    return made


def run(tests: list[str], place: Path) -> tuple[dict[str, Outcome], str]:
    """Boot the guest, run these tests in it, and return what became of each, with what its console said.

    `place` is an empty directory for what the run needs.
    """
    share = place / "share"
    share.mkdir()
    (share / "inside").write_text((REPOSITORY / "tests/desktop/inside.sh").read_text())
    (share / "tests").write_text("".join(f"{name}\n" for name in tests))
    (share / "report").touch()
    (share / "report").chmod(0o666)
    listed = subprocess.run(
        ["tar", "-C", str(REPOSITORY), "--exclude=./.git", "--exclude=__pycache__", "--exclude=./.*_cache", "-cf"]
        + [str(share / "checkout.tar"), "."],
        check=False,
        capture_output=True,
        text=True,
    )
    assert listed.returncode == 0, listed.stderr
    console = place / "console"
    command = ["linux.uml", "mem=2G", f"ubd0={place / 'changes'},{image()}", "root=/dev/ubda", "rw"]
    command += ["con0=null,fd:1", "con=null", "ssl=null", "systemd.show_status=0", "quiet", f"tests={share}"]
    with console.open("wb") as stream:
        guest = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd=place,
            env={**os.environ, "TMPDIR": str(place), "HOME": str(place)},
            start_new_session=True,
        )
        try:
            guest.wait(MINUTES * 60)
        except subprocess.TimeoutExpired:
            stream.write(f"\nstill running after {MINUTES} minutes\n".encode())
        finally:
            try:
                os.killpg(guest.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            guest.wait()
    for name in ("changes", "share/checkout.tar"):
        (place / name).unlink(missing_ok=True)
    return _read_report(share / "report"), console.read_text(errors="replace")


def _read_report(path: Path) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        before = found.get(entry["test"])
        if before is None or before.outcome == "passed":
            found[entry["test"]] = Outcome(entry["outcome"], entry["text"])
    return found
