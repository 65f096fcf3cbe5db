"""A pytest plugin for the guest: each test's outcome goes to the host as a line of JSON when it is known."""

from __future__ import annotations

import json
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pytest

_REPORT = Path("/mnt/report")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    entry = {"test": report.nodeid, "outcome": report.outcome, "text": report.longreprtext}
    with _REPORT.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")
