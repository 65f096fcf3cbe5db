"""Signals by name (signal(7)), without the `signal` module's enumerations."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

from rootless.errors import UsageError


def signal_number(name: str) -> int:
    """The number of a signal given as 9, KILL or SIGKILL. Raises UsageError."""
    if name.isdecimal() and 0 <= int(name) < 65:
        return int(name)
    word = name.upper().removeprefix("SIG")
    if word.startswith(("RTMIN", "RTMAX")):
        base, offset = (34 if word.startswith("RTMIN") else 64), word[5:] or "0"
        number = base + int(offset) if offset.lstrip("+-").isdecimal() else 0
    else:
        number = getattr(_signal, f"SIG{word}", 0) if word.isalnum() else 0
    if not isinstance(number, int) or not 0 < number < 65:
        raise UsageError(f'"{name}" is not a signal')
    return number
