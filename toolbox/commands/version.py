"""`ptb version`."""

from __future__ import annotations


def version() -> int:
    """Print the version."""
    from toolbox import __version__

    print(f"ptb {__version__}")
    return 0
