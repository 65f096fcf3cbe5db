"""An interpreter of classic BPF over struct seccomp_data, to see what a filter decides without loading it."""

from __future__ import annotations

import struct

INSTRUCTION = struct.Struct("=HBBI")


def verdict(program: bytes, number: int, audit_architecture: int, arguments: tuple[int, ...] = ()) -> int:
    """What the filter returns for a system call (seccomp(2), struct seccomp_data)."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=iIQ6Q", number - (1 << 32) if number >= 1 << 31 else number, audit_architecture, 0, *padded)
    accumulator = counter = 0
    while True:
        code, yes, no, value = INSTRUCTION.unpack_from(program, counter * 8)
        counter += 1
        if code == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif code == 0x06:
            return value
        elif code == 0x05:
            counter += value
        elif code in (0x54, 0x44, 0x04):
            accumulator = {0x54: accumulator & value, 0x44: accumulator | value, 0x04: accumulator + value}[code]
            accumulator &= 0xFFFFFFFF
        elif code in (0x15, 0x25, 0x35, 0x45):
            holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}
            counter += yes if holds.get(code, bool(accumulator & value)) else no
        else:
            raise AssertionError(f"instruction {code:#x}")
