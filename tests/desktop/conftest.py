"""The tests of this directory run inside the desktop test machine, booted once for all that were chosen.

On the host each of them stands for its counterpart in the guest and has its outcome.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import Runtime
from tests.desktop import guest

_HERE = Path(__file__).parent
_INSIDE = "PTB_DESKTOP" in os.environ


class GuestTest(pytest.Item):
    """A test that runs in the guest."""

    def runtest(self) -> None:
        outcomes, console = _run_all(self.session)
        outcome = outcomes.get(self.nodeid)
        if outcome is None:
            pytest.fail(f"the guest said nothing of this test; its console:\n{console[-6000:]}", pytrace=False)
        elif outcome.outcome == "skipped":
            pytest.skip(outcome.text)
        elif outcome.outcome == "failed":
            pytest.fail(outcome.text, pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


_ran = pytest.StashKey[tuple[dict[str, guest.Outcome], str]]()


def _run_all(session: pytest.Session) -> tuple[dict[str, guest.Outcome], str]:
    if _ran not in session.stash:
        chosen = [item.nodeid for item in session.items if isinstance(item, GuestTest)]
        factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
        session.stash[_ran] = {}, "it could not be made: see what failed first"
        session.stash[_ran] = guest.run(chosen, factory.mktemp("desktop"))
    return session.stash[_ran]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _INSIDE:
        return
    for index, item in enumerate(items):
        if _HERE in item.path.parents and item.parent is not None:
            items[index] = GuestTest.from_parent(item.parent, name=item.name)


@pytest.fixture
def scoped(tmp_path: Path) -> Iterator[Runtime]:
    """`ptb-runtime --systemd-cgroup`."""
    made = Runtime(tmp_path / "state", ("--systemd-cgroup",))
    yield made
    made.clear()
