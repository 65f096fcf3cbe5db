"""What holds for every test: in CI a test that was skipped has not passed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import bundles
from tests.bundles import Bundle, Runtime

# The checkout may belong to somebody else; and what fails here must fail everywhere.
hypothesis.settings.register_profile("ptb", database=None, deadline=None)
hypothesis.settings.load_profile("ptb")

# Whoever starts the tests in the background has interrupts ignored, and what is ignored is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report: Any = yield
    if os.environ.get("CI") and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle of busybox."""
    return bundles.make(tmp_path / "bundle")


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """`ptb-runtime` with a state directory of its own, which must be empty once everything is deleted."""
    made = Runtime(tmp_path / "state")
    yield made
    made.clear()
    assert not made.root.is_dir() or list(made.root.iterdir()) == []
