"""From linux.seccomp of a config.json to a classic BPF program, equal in effect to what libseccomp makes of it.

Per architecture, the numbers of system calls are cut into ranges of one fate each, found by binary search: five or
six comparisons for any call. Where a fate depends on arguments, rules are tried in the order they were given; a rule
without conditions beats those that have some (seccomp_rule_add(3)). Nothing here touches the kernel: `seccomp_load` does.

The numbers are in syscalls.txt, taken from libseccomp's tables; tests compare the two call by call.
"""

from __future__ import annotations

import struct

from rootless.errors import InvalidDocument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Instruction = tuple[int, int, int, int]
    Condition = tuple[int, str, int, int]
    Rule = tuple[int, tuple[Condition, ...]]

COMPILER_VERSION = 2
"""Part of the key under which programs are cached: raise it when the same profile compiles to something else."""

_LITTLE_64, _LITTLE, _64 = 0xC0000000, 0x40000000, 0x80000000
_ARCHITECTURES = {
    "SCMP_ARCH_X86_64": ("x86_64", _LITTLE_64 | 62, True),
    "SCMP_ARCH_X86": ("x86", _LITTLE | 3, False),
    "SCMP_ARCH_X32": ("x32", _LITTLE_64 | 62, False),
    "SCMP_ARCH_AARCH64": ("aarch64", _LITTLE_64 | 183, True),
    "SCMP_ARCH_ARM": ("arm", _LITTLE | 40, False),
    "SCMP_ARCH_MIPS": ("mips", 8, False),
    "SCMP_ARCH_MIPSEL": ("mips", _LITTLE | 8, False),
    "SCMP_ARCH_MIPS64": ("mips64", _64 | 8, True),
    "SCMP_ARCH_MIPSEL64": ("mips64", _LITTLE_64 | 8, True),
    "SCMP_ARCH_MIPS64N32": ("mips64n32", 0xA0000008, False),
    "SCMP_ARCH_MIPSEL64N32": ("mips64n32", 0xE0000008, False),
    "SCMP_ARCH_PPC": ("ppc", 20, False),
    "SCMP_ARCH_PPC64": ("ppc64", _64 | 21, True),
    "SCMP_ARCH_PPC64LE": ("ppc64le", _LITTLE_64 | 21, True),
    "SCMP_ARCH_S390": ("s390", 22, False),
    "SCMP_ARCH_S390X": ("s390x", _64 | 22, True),
    "SCMP_ARCH_RISCV64": ("riscv64", _LITTLE_64 | 243, True),
    "SCMP_ARCH_LOONGARCH64": ("loongarch64", _LITTLE_64 | 258, True),
    "SCMP_ARCH_PARISC": ("parisc", 15, False),
    "SCMP_ARCH_PARISC64": ("parisc", _64 | 15, True),
    "SCMP_ARCH_M68K": ("m68k", 4, False),
    "SCMP_ARCH_SH": ("sh", _LITTLE | 42, False),
    "SCMP_ARCH_SHEB": ("sh", 42, False),
}
"""Name: (column of syscalls.txt, AUDIT_ARCH of linux/audit.h, whether arguments have 64 bits)."""

ARCHITECTURES = tuple(_ARCHITECTURES)
_MACHINES = {
    "x86_64": "X86_64",
    "aarch64": "AARCH64",
    "i686": "X86",
    "armv7l": "ARM",
    "ppc64le": "PPC64LE",
    "s390x": "S390X",
    "riscv64": "RISCV64",
    "loongarch64": "LOONGARCH64",
    "ppc64": "PPC64",
    "mips64": "MIPSEL64",
}

ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
"""What a filter returns (linux/seccomp.h)."""

OPERATORS = tuple(f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))
_X32_BIT = 0x40000000
_ENOSYS = ACTIONS["SCMP_ACT_ERRNO"] | 38
_DENIES_NOTHING = tuple(ACTIONS[f"SCMP_ACT_{name}"] for name in ("ALLOW", "LOG", "TRACE"))
_BAD_ARCHITECTURE = 0
"""Kill: what libseccomp does to a call of an architecture that the profile does not name."""

_SOCKETCALL = (
    *("socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv"),
    *("sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg"),
    "sendmmsg",
)
_IPC = {
    "semop": 1,
    "semget": 2,
    "semctl": 3,
    "semtimedop": 4,
    "msgsnd": 11,
    "msgrcv": 12,
    "msgget": 13,
    "msgctl": 14,
    "shmat": 21,
    "shmdt": 22,
    "shmget": 23,
    "shmctl": 24,
}
_MULTIPLEXED = {name: ("socketcall", number) for number, name in enumerate(_SOCKETCALL, 1)} | {
    name: ("ipc", number) for name, number in _IPC.items()
}
"""Calls that old architectures also reach through one that takes their number as its first argument (socketcall(2), ipc(2))."""
_HAVE_MULTIPLEX = ("x86", "ppc", "ppc64", "ppc64le", "s390", "s390x", "mips", "m68k", "sh")

_LD, _JEQ, _JGT, _JGE, _JA, _AND, _RET = 0x20, 0x15, 0x25, 0x35, 0x05, 0x54, 0x06
_FAIL = 255
"""Stands for "this condition does not hold" in a jump until its distance is known."""


def native(machine: str) -> str:
    """The SCMP_ARCH_ name of `machine` as uname(2) says it. Raises InvalidDocument."""
    if machine not in _MACHINES:
        raise InvalidDocument(f"linux.seccomp: filters for {machine} are not supported")
    return f"SCMP_ARCH_{_MACHINES[machine]}"


def compile_profile(profile: dict[str, Any], machine: str) -> bytes:
    """The program for `profile`, the linux.seccomp object, as an array of struct sock_filter in native order.

    Raises InvalidDocument naming the field.
    """
    default = _action(profile, "defaultAction", "defaultErrnoRet", "linux.seccomp.")
    rules = _rules(profile, default)
    known = set() if default & 0xFFFF0000 in _DENIES_NOTHING else _named(profile)
    names = [native(machine)]
    for index, name in enumerate(profile.get("architectures") or ()):
        if name not in _ARCHITECTURES:
            raise InvalidDocument(f'linux.seccomp.architectures[{index}]: "{name}" is not an architecture')
        if name not in names:
            names.append(name)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in _program(names, rules, default, known))


def _named(profile: dict[str, Any]) -> set[str]:
    """The calls that a profile was written with in mind.

    Of a call newer than all of these it cannot have meant to say anything, so that does not exist (ENOSYS), whatever the
    default: a libc tries new calls first, and falls back for no other error. As in runc; a tracer decides itself.
    """
    return {name for entry in profile.get("syscalls") or () for name in entry["names"]}


def _program(names: list[str], rules: list[tuple[str, Rule]], default: int, known: set[str]) -> list[Instruction]:
    tables = _read_tables({_ARCHITECTURES[name][0] for name in names})
    sections: dict[int, list[Instruction]] = {}
    for name in names:
        _column, audit, _wide = _ARCHITECTURES[name]
        if name == "SCMP_ARCH_X32":
            continue
        body = _section(name, tables, rules, default, known)
        if name == "SCMP_ARCH_X86_64":
            if "SCMP_ARCH_X32" in names:
                other = _section("SCMP_ARCH_X32", tables, rules, default, known)
                body = [*_jump_over(_JGE, _X32_BIT, len(body)), *body, *other]
            else:
                # -1 is what a tracer sets to skip a call, and no call of another architecture.
                body = [(_JGE, 0, 2, _X32_BIT), (_JEQ, 1, 0, 0xFFFFFFFF), (_RET, 0, 0, _BAD_ARCHITECTURE), *body]
        sections[audit] = body
    code: list[Instruction] = [(_LD, 0, 0, 4)]
    for audit, body in sections.items():
        code += _jump_over(_JEQ, audit, 1 + len(body), when=False)
        code += [(_LD, 0, 0, 0), *body]
    return [*code, (_RET, 0, 0, _BAD_ARCHITECTURE)]


def _jump_over(test: int, value: int, distance: int, *, when: bool = True) -> list[Instruction]:
    """Skip the next `distance` instructions where the test holds, or with `when` false where it does not."""
    if distance <= 255:
        return [(test, distance, 0, value)] if when else [(test, 0, distance, value)]
    return [(test, 0, 1, value) if when else (test, 1, 0, value), (_JA, 0, 0, distance)]


def _read_tables(columns: set[str]) -> dict[str, dict[str, int]]:
    path = f"{__file__.rpartition('/')[0]}/syscalls.txt"
    with open(path, encoding="utf-8") as stream:
        lines = [line.split() for line in stream if not line.startswith("#")]
    places = {column: lines[0].index(column) for column in columns}
    return {
        column: {fields[0]: int(fields[place]) for fields in lines[1:] if fields[place] != "-"}
        for column, place in places.items()
    }


def _section(
    name: str, tables: dict[str, dict[str, int]], rules: list[tuple[str, Rule]], default: int, known: set[str]
) -> list[Instruction]:
    """The search over one architecture's numbers; the accumulator holds the call's number."""
    column, _audit, wide = _ARCHITECTURES[name]
    offset = _X32_BIT if column == "x32" else 0
    table = tables[column]
    by_number: dict[int, list[Rule]] = {}
    for call, rule in rules:
        if call in table:
            by_number.setdefault(table[call] + offset, []).append(rule)
        multiplexer, index = _MULTIPLEXED.get(call, ("", 0))
        if multiplexer in table and column in _HAVE_MULTIPLEX and not rule[1]:
            chosen: Condition = (0, "SCMP_CMP_EQ", index, 0)
            by_number.setdefault(table[multiplexer], []).append((rule[0], (chosen,)))
    fates: list[tuple[int, tuple[Rule, ...]]] = [(0, ((default, ()),))]
    for number in sorted(by_number):
        fate = _fate(by_number[number], default)
        if fates[-1][0] == number:
            fates.pop()
        if not fates or fates[-1][1] != fate:
            fates.append((number, fate))
        fates.append((number + 1, ((default, ()),)))
    heard_of = [table[call] + offset for call in known if call in table]
    if heard_of:
        fates.append((max(*heard_of, *by_number, 0) + 1, ((_ENOSYS, ()),)))
    return _search(_merged(fates), wide=wide, big_endian=not _ARCHITECTURES[name][1] & _LITTLE)


def _merged(fates: list[tuple[int, tuple[Rule, ...]]]) -> list[tuple[int, tuple[Rule, ...]]]:
    merged: list[tuple[int, tuple[Rule, ...]]] = []
    for start, fate in fates:
        if merged and merged[-1][0] == start:
            merged.pop()
        if not merged or merged[-1][1] != fate:
            merged.append((start, fate))
    return merged


def _fate(rules: list[Rule], default: int) -> tuple[Rule, ...]:
    """The rules of one call in the order they are tried; the last has no conditions."""
    for rule in rules:
        if not rule[1]:
            return (rule,)
    return (*dict.fromkeys(rules), (default, ()))


def _search(fates: list[tuple[int, tuple[Rule, ...]]], *, wide: bool, big_endian: bool) -> list[Instruction]:
    if len(fates) == 1:
        return _chain(fates[0][1], wide=wide, big_endian=big_endian)
    middle = len(fates) // 2
    low = _search(fates[:middle], wide=wide, big_endian=big_endian)
    high = _search(fates[middle:], wide=wide, big_endian=big_endian)
    return [*_jump_over(_JGE, fates[middle][0], len(low)), *low, *high]


def _chain(rules: tuple[Rule, ...], *, wide: bool, big_endian: bool) -> list[Instruction]:
    code: list[Instruction] = []
    for action, conditions in rules:
        block: list[Instruction] = [(_RET, 0, 0, action)]
        for condition in reversed(conditions):
            tests = _condition(condition, wide=wide, big_endian=big_endian)
            after = len(block)
            block = [
                (
                    operation,
                    _distance(yes, position, len(tests), after),
                    _distance(no, position, len(tests), after),
                    value,
                )
                for position, (operation, yes, no, value) in enumerate(tests)
            ] + block
        code += block
    return code


_PASS = 254
"""Stands for "this condition holds" likewise."""


def _distance(jump: int, position: int, length: int, after: int) -> int:
    if jump == _FAIL:
        return length - position - 1 + after
    return length - position - 1 if jump == _PASS else jump


def _condition(condition: Condition, *, wide: bool, big_endian: bool) -> list[Instruction]:
    """Instructions that go on, or to _PASS, where the condition on an argument holds and to _FAIL where not."""
    index, operator, value, second = condition
    low_place, high_place = (4, 0) if big_endian else (0, 4)
    low, high = (_LD, 0, 0, 16 + 8 * index + low_place), (_LD, 0, 0, 16 + 8 * index + high_place)
    mask = 0xFFFFFFFF
    value_low, value_high = value & mask, value >> 32 & mask
    if operator == "SCMP_CMP_MASKED_EQ":
        second_low, second_high = second & value & mask, (second & value) >> 32 & mask
        code = [high, (_AND, 0, 0, value_high), (_JEQ, 0, _FAIL, second_high)] if wide and value_high else []
        return [*code, low, (_AND, 0, 0, value_low), (_JEQ, 0, _FAIL, second_low)]
    if operator == "SCMP_CMP_EQ":
        return [*([high, (_JEQ, 0, _FAIL, value_high)] if wide else []), low, (_JEQ, 0, _FAIL, value_low)]
    if operator == "SCMP_CMP_NE":
        return [*([high, (_JEQ, 0, _PASS, value_high)] if wide else []), low, (_JEQ, _FAIL, 0, value_low)]
    above = [(_JGT, _PASS, 0, value_high), (_JEQ, 0, _FAIL, value_high)]
    below = [(_JGE, 0, _PASS, value_high), (_JEQ, 0, _FAIL, value_high)]
    first = {"SCMP_CMP_GT": above, "SCMP_CMP_GE": above, "SCMP_CMP_LT": below, "SCMP_CMP_LE": below}[operator]
    last = {
        "SCMP_CMP_GT": (_JGT, 0, _FAIL, value_low),
        "SCMP_CMP_GE": (_JGE, 0, _FAIL, value_low),
        "SCMP_CMP_LT": (_JGE, _FAIL, 0, value_low),
        "SCMP_CMP_LE": (_JGT, _FAIL, 0, value_low),
    }[operator]
    return [*([high, *first] if wide else []), low, last]


def _action(document: dict[str, Any], key: str, errno_key: str, where: str) -> int:
    name = document.get(key)
    if not isinstance(name, str) or name not in ACTIONS:
        raise InvalidDocument(f'{where}{key}: "{name}" is not one of {", ".join(ACTIONS)}')
    errno = document.get(errno_key)
    if errno is None:
        errno = 1
    elif name not in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        if errno == 0:
            errno = 1
        else:
            raise InvalidDocument(f"{where}{errno_key} is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE only")
    if type(errno) is not int or not 0 <= errno <= 0xFFFF:
        raise InvalidDocument(f"{where}{errno_key}: {errno!r} is not an error number")
    return ACTIONS[name] | (min(errno, 4095) if name == "SCMP_ACT_ERRNO" else errno if name == "SCMP_ACT_TRACE" else 0)


def _rules(profile: dict[str, Any], default: int) -> list[tuple[str, Rule]]:
    """Each (call, rule) in order; those that do what is done anyway are left out."""
    rules: list[tuple[str, Rule]] = []
    syscalls = profile.get("syscalls") or []
    if not isinstance(syscalls, list):
        raise InvalidDocument("linux.seccomp.syscalls must be a list")
    for index, entry in enumerate(syscalls):
        where = f"linux.seccomp.syscalls[{index}]."
        if not isinstance(entry, dict):
            raise InvalidDocument(f"{where[:-1]} must be an object")
        names = entry.get("names")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise InvalidDocument(f"{where}names must be a list of system calls")
        action = _action(entry, "action", "errnoRet", where)
        conditions = _conditions(entry, where)
        if action == default:
            continue
        # More than one condition on the same argument means any of them, as runc and crun read it.
        several = len({condition[0] for condition in conditions}) != len(conditions)
        sets = [(condition,) for condition in conditions] if several else [tuple(conditions)]
        rules += [(name, (action, chosen)) for chosen in sets for name in names]
    return rules


def _conditions(entry: dict[str, Any], where: str) -> list[Condition]:
    conditions: list[Condition] = []
    for place, argument in enumerate(entry.get("args") or ()):
        field = f"{where}args[{place}]."
        if not isinstance(argument, dict):
            raise InvalidDocument(f"{field[:-1]} must be an object")
        operator = argument.get("op")
        if operator not in OPERATORS:
            raise InvalidDocument(f'{field}op: "{operator}" is not one of {", ".join(OPERATORS)}')
        numbers = [argument.get("index"), argument.get("value"), argument.get("valueTwo") or 0]
        for name, number in zip(("index", "value", "valueTwo"), numbers, strict=True):
            if type(number) is not int or not 0 <= number < 1 << 64:
                raise InvalidDocument(f"{field}{name}: {number!r} is not a number of 64 bits")
        if numbers[0] > 5:  # type: ignore[operator]
            raise InvalidDocument(f"{field}index must be from 0 to 5, not {numbers[0]}")
        conditions.append((numbers[0], str(operator), numbers[1], numbers[2]))  # type: ignore[arg-type]
    return conditions
