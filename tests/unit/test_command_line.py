"""The command line: the fast lane says what Typer says or nothing, and the hot commands import next to nothing."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.errors import PtbError, UsageError
from toolbox import __main__ as program
from toolbox import fastlane, generate, typer_app
from toolbox._table import COMMANDS

HOSTILE = ["--", "-", "", "-h", "--help", "--nope", "-z", "--name", "--name=", "--name=x=y", "--all=1", "-fa", "-qx"]
WORDS = [
    "host",
    "centos:7",
    "a b",
    "-1",
    "1",
    "ü",
    "--quiet",
    "-q",
    "-e",
    "-eA=1",
    "-e=A",
    "--env",
    "-nfoo",
    "-rf",
    "-y",
]


def _typer(name: str, arguments: list[str], after_dashes: list[str] | None) -> dict[str, Any] | None:
    """What Typer makes of the words; None where it shows help or refuses."""
    seen: list[dict[str, Any]] = []

    def capture(*positional: Any, **given_values: Any) -> int:
        assert not positional
        seen.append(given_values)
        return 0

    with redirect_stdout(io.StringIO()):
        try:
            typer_app.run(name, arguments, after_dashes, function=capture)
        except UsageError:
            return None
    return seen[0] if seen else None


def _fast(name: str, arguments: list[str], after_dashes: list[str] | None) -> dict[str, Any] | None:
    """What the fast lane makes of them, with the defaults of the command's function filled in."""
    import inspect

    found = fastlane.parse(COMMANDS[name], arguments)
    if found is None:
        return None
    if after_dashes is not None:
        found["command"] = [*(found.get("command") or []), *after_dashes]  # type: ignore[misc]
    parameters = inspect.signature(typer_app.load(name)).parameters
    return {key: found.get(key, parameter.default) for key, parameter in parameters.items()}


@settings(max_examples=600)
@given(st.data())
def test_the_fast_lane_agrees_with_typer_or_gives_up(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(COMMANDS)))
    own = [word for option in COMMANDS[name][4] for word in (option, option + "=v")]
    words = data.draw(st.lists(st.sampled_from([*own, *own, *HOSTILE, *WORDS]), max_size=6))
    arguments, after_dashes = fastlane.split(COMMANDS[name], words)
    try:
        fast = _fast(name, arguments, after_dashes)
    except UsageError:
        assert "" in arguments
        return
    if fast is None:
        return
    slow = _typer(name, arguments, after_dashes)
    assert slow is not None, words
    assert {key: value or None for key, value in fast.items()} == {key: value or None for key, value in slow.items()}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_fast_lane_reads_the_plain_uses(name: str) -> None:
    """It must not agree by always giving up."""
    positional, options = COMMANDS[name][3:]
    words = ["x" for _name, kind in positional if kind in ("one", "some")]
    for option, (_parameter, kind) in options.items():
        words = [option, *({"flag": [], "number": ["3"]}.get(kind, ["v"])), *words]
    assert fastlane.parse(COMMANDS[name], words) is not None


def test_the_table_is_the_declarations() -> None:
    assert Path(generate.__file__).with_name("_table.py").read_text(encoding="utf-8") == generate.table(), (
        "python -m toolbox.generate"
    )


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    text = io.StringIO()
    with redirect_stdout(text):
        assert typer_app.run(name, ["--help"], None) == 0
    assert text.getvalue().startswith(f"Usage: ptb {name}")
    for option in COMMANDS[name][4]:
        assert option in text.getvalue()


def _ptb(*arguments: str, home: Path, code: str = "") -> subprocess.CompletedProcess[str]:
    run = ["-c", code] if code else ["-m", "toolbox"]
    environ = {"HOME": str(home), "PYTHONPATH": os.getcwd(), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *run, *arguments], env=environ, capture_output=True, text=True, check=False)


HEAVY = {
    "typer", "rich", "urllib3", "pyroute2", "typing", "dataclasses", "pathlib", "subprocess", "json", "re", "logging",
    "inspect", "socket", "ssl", "threading", "tempfile", "hashlib", "shutil", "platformdirs", "xdg_base_dirs",
}  # fmt: skip


@pytest.mark.parametrize(
    "arguments", [["list"], ["list", "-q"], ["ps", "-a"], ["version"], ["enter", "--name", "-"], ["rm", "nope"]]
)
def test_hot_commands_import_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys; before = set(sys.modules); sys.argv[1:] = sys.argv[1:]\n"
        "from toolbox import __main__ as program\n"
        "try:\n    program.run(sys.argv[1:])\nexcept program.PtbError:\n    pass\n"
        "print('|', *(set(sys.modules) - before))"
    )
    done = _ptb(*arguments, home=tmp_path, code=code)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.rpartition("|")[2].split())
    assert "toolbox.fastlane" in loaded
    allowed = {"socket", "hashlib"} if arguments[0] in ("enter", "rm") else set()
    assert loaded & (HEAVY - allowed) == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["entr"], 'ptb: there is no command "entr"\nhint: ptb enter\n'),
        (["toolbox", "foo"], 'ptb: there is no command "toolbox foo"\nhint: '),
        (["list", "--nope"], "ptb: No such option: --nope"),
        (["list", "extra"], "ptb: Got unexpected extra argument"),
        (["list", "--format", "xml"], 'ptb: format "xml" is neither "table" nor "json"\n'),
        (["pull"], "ptb: Missing argument 'IMAGE'"),
        (["pull", "--policy", "often", "x"], 'ptb: policy "often" is none of always, missing, never\n'),
        (["rm"], "ptb: name a container\n"),
        (["rmi"], "ptb: name the images to remove, or use --all\n"),
        (["enter", ""], "ptb: a name is empty\n"),
        (["rm", "no\x1b[31mbox"], 'ptb: "no\\x1b[31mbox" is neither a container nor a box\n'),
        (["toolbox", "run", "--preserve-fds", "x", "true"], "ptb: Invalid value for '--preserve-fds'"),
        (["toolbox", "create", "--image", "x", "--release", "1"], "ptb: --image does not go with"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = _ptb(*arguments, home=tmp_path)
    assert done.returncode == (1 if "neither a container" in said else 125)
    assert done.stdout == ""
    assert done.stderr.startswith(said), done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == [], "nothing was written"


def test_help(tmp_path: Path) -> None:
    overview = _ptb(home=tmp_path).stdout
    assert overview == _ptb("--help", home=tmp_path).stdout == _ptb("help", home=tmp_path).stdout
    for name in COMMANDS:
        assert f"  {name.split()[0]} " in overview
    assert _ptb("help", "enter", home=tmp_path).stdout == _ptb("enter", "--help", home=tmp_path).stdout
    assert "  create " in _ptb("toolbox", "--help", home=tmp_path).stdout
    assert _ptb("--version", home=tmp_path).stdout == _ptb("toolbox", "--version", home=tmp_path).stdout


def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    done = _ptb("--debug", "rm", "nope", home=tmp_path)
    assert "Traceback" in done.stderr
    assert done.stderr.endswith('ptb: "nope" is neither a container nor a box\nhint: ptb ps -a, ptb list\n')


def test_a_reader_that_went_away_is_no_error(tmp_path: Path) -> None:
    line = f"{sys.executable} -m toolbox --help | true; echo ${{PIPESTATUS[0]}}"
    environ = {"HOME": str(tmp_path), "PYTHONPATH": os.getcwd(), "PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", "-c", line], env=environ, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout in ("141\n", "0\n")


@pytest.mark.parametrize(
    ("words", "name", "rest"),
    [
        (["toolbox"], "toolbox enter", []),
        (["toolbox", "-y", "create", "x"], "toolbox create", ["-y", "x"]),
        (["toolbox", "--verbose"], "toolbox enter", ["--verbose"]),
        (["ls", "-q"], "list", ["-q"]),
    ],
)
def test_spellings(words: list[str], name: str, rest: list[str]) -> None:
    assert program._resolve(words) == (name, rest)


def test_every_error_has_a_status_of_its_own() -> None:
    def below(kind: type[PtbError]) -> list[type[PtbError]]:
        return [kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))]

    assert {kind.exit_status for kind in below(PtbError)} == {125, 126, 127}
