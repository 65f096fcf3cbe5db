"""`linux.resources.devices` as the eBPF program that guards the devices of a cgroup (BPF_PROG_TYPE_CGROUP_DEVICE).

The rules are read as runc reads them: in order, a later one over an earlier one, absent type, major, minor and access
meaning all, starting from "nothing is allowed" and ending with the devices every container has. Each kind of access, of
reading, writing and making the node, is decided by itself, by the last rule that names it: a device inside an allowed
range can be denied, where runc's emulation of cgroup v1 refuses to, and "rw" is allowed where one rule gives "r" and
another "w". An `a` rule speaks of every device whatever its numbers (runtime-spec 1.2, "Allowed Device list").

The program is that list from its end: R3 holds the accesses not decided yet. Instruction encoding is the kernel's
bpf/standardization/instruction-set.rst, the context `struct bpf_cgroup_dev_ctx` of linux/bpf.h.
"""

from __future__ import annotations

import sys
from struct import pack

from rootless.errors import InvalidDocument, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL = 7
_TYPES = {"b": 1, "c": 2}

_LOAD_WORD = 0x61
_AND_IMMEDIATE = 0x54
_SHIFT_RIGHT = 0x74
_MOVE = 0xB4
_MOVE_REGISTER = 0xBC
_JUMP_NOT_EQUAL = 0x56
_JUMP_EQUAL = 0x16
_EXIT = 0x95

ALWAYS_ALLOWED: tuple[dict[str, Any], ...] = (
    *({"allow": True, "type": kind, "access": "m"} for kind in "cb"),
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        # null, zero, full, random, urandom; tty, console, ptmx; pts/*
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, -1))
    ),
)
"""What a container may use whatever its rules say: runc's and crun's list, without crun's tun."""


def program(rules: list[dict[str, Any]]) -> bytes:
    """The instructions that enforce `rules`, to be loaded into the kernel. Raises InvalidDocument for rules it cannot read."""
    code = [
        _instruction(_LOAD_WORD, 2, 1, 0),
        _instruction(_MOVE_REGISTER, 3, 2),
        _instruction(_AND_IMMEDIATE, 2, immediate=0xFFFF),
        _instruction(_SHIFT_RIGHT, 3, immediate=16),
        _instruction(_LOAD_WORD, 4, 1, 4),
        _instruction(_LOAD_WORD, 5, 1, 8),
    ]
    for rule in reversed([*rules, *ALWAYS_ALLOWED]):
        kind, major, minor, access = _parsed(rule)
        allow = bool(rule.get("allow"))
        if kind is None and access == _ALL:
            # the kernel refuses instructions that nothing reaches, so whatever comes earlier is left out
            return b"".join([*code, *_verdict(allow=allow)])
        code += _block(kind, major, minor, access, allow=allow)
    return b"".join([*code, *_verdict(allow=False)])


def attach(program: bytes, cgroup_fd: int) -> None:
    """Guard the cgroup that the directory `cgroup_fd` is with `program`, in place of what guarded it before.

    Raises KernelError; EPERM is what everyone but root gets, who cannot be given a device they may not open anyhow.
    """
    from rootless import kernel

    try:
        kernel.load_device_program(program, cgroup_fd)
    except OSError as error:
        raise KernelError("bpf", "device filter", error.errno or 0) from None


def allows_everything(rules: list[dict[str, Any]]) -> bool:
    """Whether the rules end in "everything is allowed", so that no program is needed."""
    for rule in reversed(rules):
        kind, _major, _minor, access = _parsed(rule)
        if not rule.get("allow"):
            return False
        if kind is None and access == _ALL:
            return True
    return False


def _block(kind: int | None, major: int | None, minor: int | None, access: int, *, allow: bool) -> list[bytes]:
    """If it is this device: strike the accesses allowed here from R3, or fail if one denied here is still wanted."""
    if allow:
        decision = [
            _instruction(_AND_IMMEDIATE, 3, immediate=_ALL & ~access),
            _instruction(_JUMP_NOT_EQUAL, 3, offset=2),
            *_verdict(allow=True),
        ]
    else:
        decision = [
            _instruction(_MOVE_REGISTER, 0, 3),
            _instruction(_AND_IMMEDIATE, 0, immediate=access),
            _instruction(_JUMP_EQUAL, 0, offset=2),
            *_verdict(allow=False),
        ]
    conditions = [(register, value) for register, value in ((2, kind), (4, major), (5, minor)) if value is not None]
    tests = [
        _instruction(_JUMP_NOT_EQUAL, register, offset=len(conditions) - 1 - index + len(decision), immediate=value)
        for index, (register, value) in enumerate(conditions)
    ]
    return tests + decision


def _verdict(*, allow: bool) -> list[bytes]:
    return [_instruction(_MOVE, 0, immediate=int(allow)), _instruction(_EXIT)]


def _parsed(rule: dict[str, Any]) -> tuple[int | None, int | None, int | None, int]:
    name = rule.get("type") or "a"
    if name != "a" and name not in _TYPES:
        raise InvalidDocument(f'linux.resources.devices: type "{name}" is none of a, b and c')
    access = 0
    for letter in rule.get("access") or "rwm":
        if letter not in _ACCESS:
            raise InvalidDocument(f'linux.resources.devices: access "{rule["access"]}" is not made of r, w and m')
        access |= _ACCESS[letter]
    if name == "a":
        return None, None, None, access
    return _TYPES[name], _number(rule, "major"), _number(rule, "minor"), access


def _number(rule: dict[str, Any], name: str) -> int | None:
    value = rule.get(name)
    if value is None or value == -1:
        return None
    # the kernel's device numbers have 12 and 20 bits; the immediate of an instruction has 31
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise InvalidDocument(f"linux.resources.devices: {name} {value!r} is not a device number")
    return value


def _instruction(opcode: int, target: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    registers = target | source << 4 if sys.byteorder == "little" else target << 4 | source
    return pack("=BBhi", opcode, registers, offset, immediate)
