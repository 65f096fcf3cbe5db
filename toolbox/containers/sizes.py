"""Sizes, durations and moments as docker's and podman's options take them."""

from __future__ import annotations

from rootless.errors import UsageError

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def bytes_of(text: str, option: str) -> int:
    """A number of bytes, with an optional fraction and unit: 64m, 1.5g, 512KiB. Raises UsageError naming the option."""
    lowered = text.strip().lower()
    for ending in ("ib", "b"):
        if len(lowered) > len(ending) and lowered.endswith(ending) and lowered[-len(ending) - 1] in "kmgtp":
            lowered = lowered.removesuffix(ending)
    digits = lowered.rstrip("bkmgtp")
    unit = lowered[len(digits) :]
    number = _number(digits)
    if number is None or unit not in _UNITS:
        raise UsageError(f'{option} takes a size such as 512m or 2g, not "{text}"')
    return int(number * _UNITS[unit])


def _number(text: str) -> float | None:
    if not text.isascii() or not text.replace(".", "", 1).isdecimal():
        return None
    return float(text) if "." in text else int(text)


def duration(text: str, option: str) -> float:
    """Seconds of a duration as Go has it (1h30m, 500ms), or of a plain number. Raises UsageError naming the option."""
    seconds = go_duration(text)
    if seconds is None:
        raise UsageError(f'{option} takes a duration such as 30s or 1m30s, not "{text}"')
    return seconds


def go_duration(text: str) -> float | None:
    """Seconds; None for what is no duration."""
    if text.isascii() and text.isdecimal():
        return float(text)
    total, rest = 0.0, text.removeprefix("-")
    if not rest:
        return None
    while rest:
        digits = 0
        while digits < len(rest) and (rest[digits].isdecimal() or rest[digits] == "."):
            digits += 1
        number, rest = rest[:digits], rest[digits:]
        letters = 0
        while letters < len(rest) and not rest[letters].isdecimal() and rest[letters] != ".":
            letters += 1
        unit, rest = rest[:letters], rest[letters:]
        value = _number(number)
        if value is None or unit not in _SECONDS:
            return None
        total += value * _SECONDS[unit]
    return -total if text.startswith("-") else total


def moment(text: str) -> float:
    """Seconds since 1970 of a time (RFC 3339, a date, seconds since 1970) or of how long ago. Raises UsageError."""
    import datetime
    import time

    if text.replace(".", "", 1).isdecimal() and len(text.partition(".")[0]) > 6:
        return float(text)
    ago = go_duration(text)
    if ago is not None:
        return time.time() - ago
    try:
        found = datetime.datetime.fromisoformat(_to_microseconds(text.strip()))
    except ValueError:
        raise UsageError(
            f'"{text}" is no time', hint="give 2026-11-25T10:00:00, seconds since 1970, or 10m for ten minutes ago"
        ) from None
    return found.timestamp()


def _to_microseconds(text: str) -> str:
    """The time without what is finer than a microsecond, which Python does not keep."""
    head, dot, tail = text.partition(".")
    if not dot:
        return text
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"
