"""Bundles to run and `ptb-runtime` to run them, each test with a state directory of its own."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rootless import capabilities, default_spec, ids

REPOSITORY = Path(__file__).parents[1]
APPLETS = ("sh", "true", "cat", "id", "ls", "sleep", "echo", "mount", "kill", "grep", "stat", "readlink", "env", "tty")
PATIENCE = 60
EVERY_CAPABILITY = list(capabilities.NAMES)


def environment(**variables: str) -> dict[str, str]:
    """The variables that a command of this checkout runs with."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), **variables}


@dataclass
class Bundle:
    """A bundle with busybox as its root file system; `spec` is its configuration until the next command."""

    path: Path
    spec: dict[str, Any] = field(default_factory=dict)

    @property
    def rootfs(self) -> Path:
        return self.path / "rootfs"

    @property
    def linux(self) -> dict[str, Any]:
        found: dict[str, Any] = self.spec["linux"]
        return found

    def command(self, *arguments: str) -> Bundle:
        """Have the container run this."""
        self.spec["process"]["args"] = list(arguments)
        return self

    def shell(self, script: str) -> Bundle:
        """Have the container's shell run this."""
        return self.command("/bin/sh", "-c", script)

    def write(self) -> None:
        """Write the configuration."""
        (self.path / "config.json").write_text(json.dumps(self.spec))

    def mount(self, source: object, destination: str, *options: str) -> Bundle:
        """Bind something of the host's."""
        entry = {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind", *options]}
        self.spec["mounts"].append(entry)
        return self


def with_programs_of_the_host(bundle: Bundle) -> Bundle:
    """Let the container run the host's interpreter, with everything it may do as root of its user namespace."""
    for name in ("lib", "lib64"):
        (bundle.rootfs / name).symlink_to(f"usr/{name}")
    bundle.spec["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), EVERY_CAPABILITY)
    bundle.linux.pop("seccomp")
    return bundle.mount("/usr", "/usr", "ro")


def make(path: Path) -> Bundle:
    """A bundle that runs busybox with the default isolation and no terminal."""
    binaries = path / "rootfs/bin"
    binaries.mkdir(parents=True)
    shutil.copy("/bin/busybox", binaries / "busybox")
    for applet in APPLETS:
        (binaries / applet).symlink_to("busybox")
    for directory in ("proc", "sys", "dev", "etc", "tmp", "data"):
        (path / "rootfs" / directory).mkdir()
    spec = default_spec.document(rootless=True)
    spec["process"]["terminal"] = False
    maps = ids.subordinates().default_maps() if os.geteuid() else ids.IdMaps((), ())
    for key, ranges in (("uidMappings", maps.uids), ("gidMappings", maps.gids)):
        spec["linux"][key] = [
            {"containerID": part.inside, "hostID": part.outside, "size": part.length} for part in ranges
        ]
    held = sorted(capabilities.DEFAULT)
    spec["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), held)
    return Bundle(path, spec)


@dataclass
class Runtime:
    """`ptb-runtime` with its state under `root`; `global_options` come before every command, `interpreter` runs it.

    `prefix` is a program with arguments that executes the interpreter.
    """

    root: Path
    global_options: tuple[str, ...] = ()
    interpreter: str = sys.executable
    prefix: tuple[str, ...] = ()

    def arguments(self, *arguments: str) -> list[str]:
        return [
            *self.prefix,
            self.interpreter,
            "-m",
            "rootless",
            "--root",
            str(self.root),
            *self.global_options,
            *arguments,
        ]

    def __call__(
        self, *arguments: str, bundle: Bundle | None = None, check: bool = False, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in the bundle's directory if one is given."""
        if bundle is not None:
            bundle.write()
            options["cwd"] = bundle.path
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("env", environment())
        # What stays behind keeps its standard descriptors: a file does not wait for them to be closed, as a pipe does.
        out, err = (self.root.parent / f"{name}-{os.urandom(4).hex()}" for name in ("out", "err"))
        with out.open("w") as stdout, err.open("w") as stderr:
            done = subprocess.run(
                self.arguments(*arguments),
                stdout=stdout,
                stderr=stderr,
                check=False,
                timeout=PATIENCE,
                **options,
            )
        result = subprocess.CompletedProcess(done.args, done.returncode, out.read_text(), err.read_text())
        assert "Traceback" not in result.stderr, result.stderr
        assert not check or result.returncode == 0, result.stderr
        return result

    def popen(
        self, *arguments: str, bundle: Bundle, variables: dict[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a command in the bundle's directory, without its standard streams unless they are given."""
        bundle.write()
        silent = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        return subprocess.Popen(
            self.arguments(*arguments),
            cwd=bundle.path,
            env=environment(**(variables or {})),
            text=True,
            **{**silent, **options},
        )

    def run(self, bundle: Bundle, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the bundle in the foreground."""
        return self("run", f"c{os.urandom(4).hex()}", bundle=bundle, **options)

    def state(self, identity: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("state", identity, check=True).stdout)
        return found

    def clear(self) -> None:
        """Delete every container."""
        if self.root.is_dir():
            for entry in self.root.iterdir():
                self("delete", "--force", entry.name)


_OVERWRITE = """#!/proc/self/exe
import os
fd = os.open("/proc/self/exe", os.O_PATH)
os.set_inheritable(fd, True)
os.execv("/bin/sh", ["sh", "-c", f"echo overwritten >>/proc/self/fd/{fd}; echo $? >/data/tried"])
"""


def is_overwritten(runtime: Runtime, bundle: Bundle, place: Path) -> bool:
    """Whether an image with a Python of its own can write to the interpreter that runs `ptb-runtime` (CVE-2019-5736).

    That is a copy in `place` which belongs to the caller; once the container is started nothing else executes it.
    """
    original = Path(sys.executable).resolve()
    copy = place / "bin/python3"
    copy.parent.mkdir()
    shutil.copy(original, copy)
    (place / "pyvenv.cfg").write_text(f"home = {original.parent}\n")
    (bundle.rootfs / "bin/evil").write_text(_OVERWRITE)
    (bundle.rootfs / "bin/evil").chmod(0o755)
    for directory in filter(os.path.exists, ("/usr", "/lib", "/lib64")):
        bundle.mount(directory, directory, "ro")
    bundle.mount(bundle.path, "/data")
    vulnerable = replace(runtime, interpreter=str(copy))
    vulnerable("create", "evil", bundle=bundle.command("/bin/evil"), check=True)
    process = os.pidfd_open(runtime.state("evil")["pid"])
    runtime("start", "evil", check=True)
    assert select.select([process], [], [], PATIENCE)[0]
    os.close(process)
    assert (bundle.path / "tried").read_text().strip().isdecimal()
    return copy.read_bytes() != original.read_bytes()
