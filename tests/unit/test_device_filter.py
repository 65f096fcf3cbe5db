"""The device program decides as its rules do, each kind of access by the last rule that names it."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless import device_filter
from rootless.errors import InvalidDocument

_BITS = {"m": 1, "r": 2, "w": 4}


def _run(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """What the kernel's interpreter does with the few instructions there are; every jump must stay inside."""
    wanted = sum(_BITS[letter] for letter in access)
    context = struct.pack("=III", {"b": 1, "c": 2}[kind] | wanted << 16, major, minor)
    code = [program[at : at + 8] for at in range(0, len(program), 8)]
    registers = [0] * 11
    at = 0
    while True:
        opcode, both, offset, immediate = struct.unpack("=BBhi", code[at])
        target, source = (both & 15, both >> 4) if sys.byteorder == "little" else (both >> 4, both & 15)
        at += 1
        match opcode:
            case 0x61:
                assert source == 1
                registers[target] = struct.unpack_from("=I", context, offset)[0]
            case 0x54:
                registers[target] &= immediate
            case 0x74:
                registers[target] >>= immediate
            case 0xB4:
                registers[target] = immediate
            case 0xBC:
                registers[target] = registers[source]
            case 0x56:
                at += offset if registers[target] != immediate else 0
            case 0x16:
                at += offset if registers[target] == immediate else 0
            case 0x95:
                return bool(registers[0])
            case _:
                pytest.fail(f"unknown instruction {opcode:#x}")


def _reached(program: bytes) -> set[int]:
    """The instructions some path reaches: the kernel refuses a program with others (check_cfg)."""
    code = [struct.unpack("=BBhi", program[at : at + 8]) for at in range(0, len(program), 8)]
    seen: set[int] = set()
    waiting = [0]
    while waiting:
        at = waiting.pop()
        assert at < len(code), "a jump leaves the program"
        if at in seen:
            continue
        seen.add(at)
        opcode, _both, offset, _immediate = code[at]
        if opcode != 0x95:
            waiting.append(at + 1)
        if opcode in (0x56, 0x16):
            waiting.append(at + 1 + offset)
    return seen


def _expected(rules, kind, major, minor, access):
    def decide(letter):
        for rule in reversed([*rules, *device_filter.ALWAYS_ALLOWED]):
            everything = rule.get("type", "a") == "a"
            if letter not in (rule.get("access") or "rwm") or not (everything or rule["type"] == kind):
                continue
            if everything or (rule.get("major", -1) in (-1, major) and rule.get("minor", -1) in (-1, minor)):
                return rule["allow"]
        return False

    return all(map(decide, access))


_numbers = st.one_of(st.just(-1), st.integers(1, 4), st.sampled_from([136, 4095]))
_access = st.text("rwm", min_size=1, max_size=3).map(lambda letters: "".join(sorted(set(letters))))
_rules = st.lists(
    st.fixed_dictionaries(
        {"allow": st.booleans()},
        optional={"type": st.sampled_from("abc"), "major": _numbers, "minor": _numbers, "access": _access},
    ),
    max_size=8,
)


@given(
    rules=_rules,
    kind=st.sampled_from("bc"),
    major=st.sampled_from([1, 2, 3, 4, 5, 136, 4095]),
    minor=st.integers(0, 5),
    access=_access,
)
def test_the_last_rule_that_names_an_access_decides_it(rules, kind, major, minor, access):
    program = device_filter.program(rules)
    assert _run(program, kind, major, minor, access) == _expected(rules, kind, major, minor, access)


@given(rules=_rules)
def test_no_instruction_is_out_of_reach(rules):
    program = device_filter.program(rules)
    assert _reached(program) == set(range(len(program) // 8))


def test_no_rules_leave_the_devices_that_every_container_has():
    program = device_filter.program([])
    for minor in (3, 5, 7, 8, 9):
        assert _run(program, "c", 1, minor, "rw")
    assert _run(program, "c", 136, 77, "rw")
    assert _run(program, "b", 8, 0, "m")
    assert not _run(program, "b", 8, 0, "r")
    assert not _run(program, "c", 1, 1, "r")
    assert not _run(program, "c", 10, 200, "rw")


def test_a_hole_can_be_denied_in_what_is_allowed():
    program = device_filter.program(
        [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 10, "access": "rw"},
            {"allow": False, "type": "c", "major": 10, "minor": 200, "access": "w"},
        ]
    )
    assert _run(program, "c", 10, 1, "rw")
    assert _run(program, "c", 10, 200, "r")
    assert not _run(program, "c", 10, 200, "rw")


def test_a_rule_for_everything_wins_over_those_before_it():
    program = device_filter.program([{"allow": False, "type": "c", "major": 1}, {"allow": True, "access": "rwm"}])
    assert _run(program, "c", 1, 1, "rwm")
    assert device_filter.allows_everything([{"allow": True}])
    assert not device_filter.allows_everything([{"allow": True}, {"allow": False, "type": "c", "major": 1}])
    assert not device_filter.allows_everything([])


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"allow": True, "type": "p"}, 'type "p"'),
        ({"allow": True, "type": "c", "access": "rx"}, 'access "rx"'),
        ({"allow": True, "type": "c", "major": 2**31}, "major 2147483648"),
        ({"allow": True, "type": "c", "minor": -2}, "minor -2"),
        ({"allow": True, "type": "c", "minor": "3"}, "minor '3'"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(rule, said):
    with pytest.raises(InvalidDocument, match=said):
        device_filter.program([rule])
