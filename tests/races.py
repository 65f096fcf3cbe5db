"""A process that exchanges names as fast as it can, as an attacker in another container would (CVE-2021-30465)."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_EXCHANGER = """
import ctypes, itertools, sys
rename = ctypes.CDLL(None).renameat2
pairs = [tuple(name.encode() for name in pair.split("\\n")) for pair in sys.argv[1:]]
print("ready", flush=True)
for first, second in itertools.cycle(pairs):
    rename(-100, first, -100, second, 2)
"""


@contextlib.contextmanager
def exchanging(*pairs: tuple[Path, Path]) -> Iterator[None]:
    """While the block runs, the two names of each pair trade places over and over, as soon as both exist."""
    arguments = ["\n".join(map(str, pair)) for pair in pairs]
    attacker = subprocess.Popen([sys.executable, "-c", _EXCHANGER, *arguments], stdout=subprocess.PIPE)
    try:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == b"ready\n"
        yield
    finally:
        attacker.kill()
        attacker.communicate()
