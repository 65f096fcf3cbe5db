"""The manual page says what the runtime's options are, and man(1) has nothing to say against it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rootless import manual, runtime_options


def test_the_page_is_what_the_table_says():
    assert Path(manual.PLACE).read_text() == manual.page(), "python -m rootless.manual"


@pytest.mark.skipif(not shutil.which("man"), reason="there is no man here")
def test_the_page_is_shown_without_a_warning():
    variables = {**os.environ, "LC_ALL": "C", "MANWIDTH": "200"}
    command = ["man", "--warnings", "--local-file", manual.PLACE]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    shown = " ".join(done.stdout.split())
    for entry in runtime_options.COMMANDS:
        assert f"{entry.help[1:]}." in shown
        for option in entry.options:
            assert f"--{option.name} " in shown
            assert option.help in shown
    for section in ("DESCRIPTION", "STATE DIRECTORY", "ENVIRONMENT", "EXIT STATUS", "EXAMPLES", "FILES", "SEE ALSO"):
        assert f"\n{section}\n" in done.stdout


def test_what_troff_would_take_for_its_own_is_escaped():
    assert manual._escaped(".so it's a\\b -x") == "\\&.so it\\(aqs a\\eb \\-x"
