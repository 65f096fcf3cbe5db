"""Showing how a pull goes: bars on a terminal, plain lines elsewhere, nothing when quiet. All on standard error.

rich is imported only where bars are drawn.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol

from toolbox import output


class LayerProgress(Protocol):
    """How one layer goes; its methods may be called from any thread."""

    def advance(self, count: int) -> None:
        """`count` more bytes have come."""

    def done(self, text: str = "done") -> None:
        """Nothing more will come; `text` says how it ended."""


class Progress(Protocol):
    """How a pull goes."""

    def layer(self, name: str, size: int) -> LayerProgress:
        """Start showing a layer of `size` bytes."""

    def note(self, text: str) -> None:
        """Say one line."""


@contextlib.contextmanager
def pull_progress(*, tty: bool, quiet: bool = False, total: int = 0) -> Iterator[Progress]:
    """What shows the progress of one pull of `total` bytes.

    With `tty` it runs a thread of its own until the block ends: do not fork inside it.
    """
    if quiet:
        yield _Silent()
    elif tty:
        with _bars(total) as bars:
            yield bars
    else:
        yield _Lines()


def say(text: str, *, quiet: bool = False) -> None:
    """One line on standard error."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


class _Silent:
    def layer(self, name: str, size: int) -> LayerProgress:
        return self

    def note(self, text: str) -> None:
        return None

    def advance(self, count: int) -> None:
        return None

    def done(self, text: str = "done") -> None:
        return None


class _Lines:
    def layer(self, name: str, size: int) -> LayerProgress:
        say(f"{name}: pulling {output.size(size)}")
        return _Line(name)

    def note(self, text: str) -> None:
        say(text)


class _Line:
    def __init__(self, name: str) -> None:
        self._name = name

    def advance(self, count: int) -> None:
        return None

    def done(self, text: str = "done") -> None:
        say(f"{self._name}: {text}")


@contextlib.contextmanager
def _bars(total: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
    )
    with Bars(*columns, console=Console(stderr=True), expand=True) as bars:
        overall = bars.add_task("total".ljust(12), total=total, state="") if total else None

        class Bar:
            def __init__(self, task: TaskID, size: int) -> None:
                self._task = task
                self._size = size
                self._seen = 0

            def advance(self, count: int) -> None:
                self._seen += count
                bars.advance(self._task, count)
                if overall is not None:
                    bars.advance(overall, count)

            def done(self, text: str = "done") -> None:
                if overall is not None and text == "done":
                    bars.advance(overall, self._size - self._seen)
                bars.update(self._task, state=text)

        class OnTerminal:
            def layer(self, name: str, size: int) -> LayerProgress:
                return Bar(bars.add_task(name, total=size, state=""), size)

            def note(self, text: str) -> None:
                bars.console.print(text, markup=False, highlight=False)

        yield OnTerminal()
