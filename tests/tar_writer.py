"""Tar archives made byte by byte, so that they can say what no honest writer would.

Every function returns the bytes of one member, padding included; `archive` puts members behind one another and ends
them. What a test does not name is what an ordinary writer would put there.
"""

from __future__ import annotations

_RECORD = 512


def padded(data: bytes) -> bytes:
    """`data` and zeros up to a whole record."""
    return data + bytes(-len(data) % _RECORD)


def octal(number: int, width: int) -> bytes:
    """A number as headers have it; base-256 where octal digits cannot hold it, or it is negative."""
    if 0 <= number < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, number)
    return base256(number, width)


def base256(number: int, width: int) -> bytes:
    """GNU's binary numbers: the top bit set, the rest two's complement, big-endian."""
    raw = bytearray((number % (1 << (8 * width))).to_bytes(width, "big"))
    raw[0] |= 0x80
    return bytes(raw)


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 1_000_000_000,
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    device: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """One header record; `prefix` is everything from byte 345 on."""
    record = bytearray(
        b"%-100b%b%b%b%b%b        %b%b%b%b%b%b%b"
        % (
            name[:100].ljust(100, b"\0"),
            octal(mode, 8),
            octal(uid, 8),
            octal(gid, 8),
            octal(size, 12),
            octal(mtime, 12),
            kind,
            link[:100].ljust(100, b"\0"),
            magic.ljust(8, b"\0"),
            bytes(64),
            octal(device[0], 8),
            octal(device[1], 8),
            prefix.ljust(167, b"\0"),
        )
    )
    record[148:156] = checksum if checksum is not None else b"%06o\0 " % sum(record)
    return bytes(record)


def pax_records(records: dict[bytes, bytes] | list[tuple[bytes, bytes]]) -> bytes:
    """The body of an extended header: "LENGTH KEY=VALUE\\n" for each, where the length counts itself."""
    body = b""
    for key, value in records.items() if isinstance(records, dict) else records:
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest) + 1
        while len(b"%d" % length) + len(rest) != length:
            length += 1
        body += b"%d" % length + rest
    return body


def pax(records: dict[bytes, bytes] | list[tuple[bytes, bytes]], kind: bytes = b"x") -> bytes:
    """An extended header: `kind` x for the next member, g for all that follow."""
    body = pax_records(records)
    return header(b"PaxHeaders/x", kind, size=len(body)) + padded(body)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """GNU's header for a long name (L) or link target (K)."""
    return header(b"././@LongLink", kind, size=len(name) + 1, magic=b"ustar  \0") + padded(name + b"\0")


def member(name: bytes, kind: bytes = b"0", data: bytes = b"", **fields) -> bytes:
    """A member; where its name, link target or owner do not fit the header, with an extended header in front."""
    records: dict[bytes, bytes] = dict(fields.pop("pax", {}))
    if len(name) > 100:
        records.setdefault(b"path", name)
    if len(fields.get("link", b"")) > 100:
        records.setdefault(b"linkpath", fields["link"])
    fields.setdefault("size", len(data))
    front = pax(records) if records else b""
    return front + header(name, kind, **fields) + padded(data)


def file(name: bytes, data: bytes = b"", **fields) -> bytes:
    """A regular file."""
    return member(name, b"0", data, **fields)


def directory(name: bytes, mode: int = 0o755, **fields) -> bytes:
    """A directory."""
    return member(name, b"5", mode=mode, **fields)


def symlink(name: bytes, target: bytes, **fields) -> bytes:
    """A symbolic link."""
    return member(name, b"2", link=target, mode=0o777, **fields)


def hard_link(name: bytes, target: bytes, **fields) -> bytes:
    """A hard link."""
    return member(name, b"1", link=target, **fields)


def archive(*members: bytes) -> bytes:
    """A whole archive."""
    return b"".join(members) + bytes(2 * _RECORD)
