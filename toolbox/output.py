"""What commands print: tables, JSON, ages and sizes, the way docker and podman print them."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FORMATS = ("table", "json")

_UNITS = (
    ("year", 365 * 86400),
    ("month", 30 * 86400),
    ("week", 7 * 86400),
    ("day", 86400),
    ("hour", 3600),
    ("minute", 60),
    ("second", 1),
)


def check_format(text: str) -> str:
    """The format, if there is such a one; raises UsageError."""
    if text not in FORMATS:
        from rootless.errors import UsageError

        raise UsageError(f'format "{text}" is neither "table" nor "json"')
    return text


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest word, three spaces apart."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    for row in (headers, *rows):
        print("   ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())


def print_json(value: object, *, indent: int = 2) -> None:
    """JSON for people and machines."""
    import json

    print(json.dumps(value, indent=indent))


def age(moment: float) -> str:
    """How long ago a moment (seconds since 1970) was: "3 hours ago"."""
    seconds = max(0, int(time.time() - moment))
    for unit, length in _UNITS:
        count = seconds // length
        if count:
            return f"{count} {unit}{'s' if count != 1 else ''} ago"
    return "just now"


def size(count: int) -> str:
    """Bytes as people read them, in powers of 1000 as docker and podman do."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} GB"
