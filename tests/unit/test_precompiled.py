"""The archive of precompiled modules: it is used where it is right, and nobody notices where it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rootless import precompiled

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path):
    for package in precompiled.PACKAGES:
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    precompiled.build(str(tmp_path))
    return tmp_path


def imported(root, name):
    """(loader, file, package path, a name defined in it) of a module imported as the launchers do it."""
    code = f"""import sys
sys.path[:0] = [{str(root)!r}]
from rootless import precompiled
precompiled.use({str(root)!r})
import {name} as found
loader = type(found.__spec__.loader).__name__
print(loader, found.__file__, *getattr(found, "__path__", ()), getattr(found, "ADDED", ""), sep="\\n")
"""
    command = [sys.executable, "-ISB", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def test_modules_and_packages_come_from_the_archive(root):
    assert imported(root, "rootless.errors") == ["_Archive", f"{root}/rootless/errors.py", ""]
    package = ["_Archive", f"{root}/toolbox/containers/__init__.py", f"{root}/toolbox/containers", ""]
    assert imported(root, "toolbox.containers") == package


def test_every_module_is_in_the_archive(root):
    names = [
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for package in precompiled.PACKAGES
        for path in (root / package).rglob("*.py")
        if path.name not in ("__main__.py", "typer_app.py")  # the first would run, the other wants its library
    ]
    assert len(names) > 100
    code = f"""import sys
sys.path[:0] = [{str(root)!r}]
sys.path.append({os.path.dirname(os.path.dirname(pytest.__file__))!r})
from rootless import precompiled
precompiled.use({str(root)!r})
for name in {names!r}:
    loader = type(__import__(name, None, None, ["x"]).__spec__.loader).__name__
    if loader != "_Archive" and name not in ("rootless", "rootless.precompiled"):
        print(name, loader)
"""
    command = [sys.executable, "-IB", "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == ""


def test_a_module_that_was_edited_is_imported_as_it_is_now(root):
    with (root / "rootless/errors.py").open("a") as stream:
        stream.write("ADDED = 'later'\n")
    assert imported(root, "rootless.errors") == ["SourceFileLoader", f"{root}/rootless/errors.py", "later"]
    assert imported(root, "rootless.record")[0] == "_Archive"


def test_an_edit_that_keeps_the_size_is_noticed(root):
    path = root / "rootless/errors.py"
    path.write_text(path.read_text().replace("Raised", "raised", 1))
    assert imported(root, "rootless.errors")[0] == "SourceFileLoader"


def test_a_module_that_is_gone_is_gone(root):
    (root / "rootless/errors.py").unlink()
    with pytest.raises(subprocess.CalledProcessError) as raised:
        imported(root, "rootless.errors")
    assert "ModuleNotFoundError" in raised.value.stderr


@pytest.mark.parametrize("damage", ["missing", "empty", "zeros", "text", "another"])
def test_a_damaged_archive_is_as_good_as_none(root, damage):
    path = Path(precompiled.archive_path(str(root)))
    content = {"empty": b"", "zeros": b"\0" * 4096, "text": b"nothing like it\n" * 100, "another": b"\xff" * 4096}
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[damage])
    assert imported(root, "rootless.errors")[0] == "SourceFileLoader"


@pytest.mark.parametrize("launcher", ["launcher", "launcher-runtime"])
def test_the_launchers_use_it(root, launcher):
    (root / "packaging").mkdir()
    shutil.copy(REPOSITORY / "packaging" / launcher, root / "packaging")
    command = [sys.executable, "-ISvB", f"{root}/packaging/{launcher}", "--version"]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "0.1" in told.stdout
    loaders = dict(line[8:].split("' # ") for line in told.stderr.splitlines() if line.startswith("import 'rootless."))
    assert len(loaders) > 2
    assert {name for name, loader in loaders.items() if "_Archive" not in loader} == {"rootless.precompiled"}
