"""What `ptb-runtime` loads before a container's process is executed: each module is counted in tenths of a millisecond."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
HEAVY = {
    "os",
    "ctypes",
    "struct",
    "json",
    "re",
    "typing",
    "dataclasses",
    "signal",
    "socket",
    "termios",
    "enum",
    "types",
}
MAKING = {"launch", "container_init", "rootfs", "container_mounts", "container_cgroup", "cgroups", "hooks"}


def run_isolated(code: str) -> str:
    """What an interpreter started as the launcher starts it says of itself."""
    command = [sys.executable, "-IS", "-c", f"import sys; sys.path[:0] = [{str(REPOSITORY)!r}]\n{code}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def loaded_by(*modules: str) -> set[str]:
    return set(run_isolated(f"from rootless import {', '.join(modules)}\nprint(*sys.modules)").split())


START = ("__main__", "interpreter", "runtime_options", "runtime_command", "spec", "terminal_relay")


@pytest.mark.parametrize("verb", [("launch", "container_init", "runtime"), ("container_exec",)])
def test_what_starts_a_process_loads_nothing_heavy(verb):
    assert not loaded_by(*START, *verb) & HEAVY


def test_exec_loads_nothing_of_what_makes_a_container():
    assert not loaded_by(*START, "container_exec") & {f"rootless.{name}" for name in MAKING}


def test_the_stand_in_for_os_is_os_where_it_is_loaded_and_otherwise_leads_there():
    assert run_isolated("import os\nfrom rootless import system\nprint(system.environ is os.environ)") == "True\n"
    code = "from rootless import system\nassert 'os' not in sys.modules\nimport os\n"
    names = "'environ', 'defpath'"
    assert (
        run_isolated(f"{code}print(*(getattr(system, name) == getattr(os, name) for name in ({names})))")
        == "True True\n"
    )
    assert run_isolated(f"{code}print(system.path.join is os.path.join, system._exit is os._exit)") == "True True\n"
    text = "'\\udcff\\xe4'"
    assert run_isolated(f"{code}print(system.fsencode({text}) == os.fsencode({text}))") == "True\n"


def test_the_stand_in_looks_at_paths_as_os_does(tmp_path):
    (tmp_path / "directory/below").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "link").symlink_to("file")
    names = ["directory", "directory/below", "directory/", "file", "dangling", "link", "missing", "file/x", "a//b", ""]
    paths = [str(tmp_path / name) if name else "" for name in names] + [f"{tmp_path}/{name}" for name in names]
    paths += ["/", "//", "x", "/x", "a/b/", "bad\0name"]
    code = "from rootless import system\nimport os\nsystem_path = system.path\nassert system_path is not os.path\n"
    functions = "('exists', 'lexists', 'isdir', 'isfile', 'basename', 'dirname')"
    wrong = f"[(f, p) for f in {functions} for p in {paths!r} if getattr(system_path, f)(p) != getattr(os.path, f)(p)]"
    assert run_isolated(f"{code}print({wrong})") == "[]\n"
    same = f"print(*(system_path.samefile({paths[3]!r}, {str(tmp_path)!r} + name) for name in ('/link', '/directory')))"
    assert run_isolated(code + same) == "True False\n"


def test_the_stand_in_makes_directories_as_os_does(tmp_path):
    place = str(tmp_path / "a/b/c")
    code = f"""from rootless import system
system.makedirs({place!r}, 0o700)
system.makedirs({place!r}, exist_ok=True)
open({place!r} + "/file", "w").close()
for name in ({place!r}, {place!r} + "/file"):
    try:
        system.makedirs(name, exist_ok=name.endswith("file"))
    except FileExistsError:
        print("exists")
assert "os" not in sys.modules
"""
    assert run_isolated(code) == "exists\nexists\n"
    assert (tmp_path / "a/b/c").stat().st_mode & 0o777 == 0o700
