"""Our filters decide as libseccomp's do, for every call of every architecture; and say what is wrong with a profile."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rootless import capabilities, hashing, seccomp, seccomp_default, seccomp_load
from rootless.errors import InvalidDocument
from tests import bpf, libseccomp

ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
TABLES = seccomp._read_tables({entry[0] for entry in seccomp._ARCHITECTURES.values()})
EDGES = (0, 1, 8, 9, 16, 0x20000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 32) + 9, (1 << 64) - 1)

# libseccomp 2.5.4, the oldest in use, does not know these: what it leaves out, no comparison can be made of.
NEWER = {
    *("cachestat", "fchmodat2", "map_shadow_stack", "futex_wake", "futex_wait", "futex_requeue", "statmount"),
    *("listmount", "lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules", "mseal", "setxattrat"),
    *("getxattrat", "listxattrat", "removexattrat", "riscv_hwprobe", "uretprobe", "set_mempolicy_home_node"),
    "listns",
}


def numbers(architecture: str) -> list[int]:
    column = seccomp._ARCHITECTURES[architecture][0]
    offset = 0x40000000 if column == "x32" else 0
    known = {number for name, number in TABLES[column].items() if name not in NEWER}
    newer = {number for name, number in TABLES[column].items() if name in NEWER}
    around = {number + step for number in known for step in (-1, 1)} - newer
    return [number + offset for number in sorted(known | around) if number >= 0]


def is_unheard_of(profile: dict, architecture: str, number: int) -> bool:
    """Whether the call is newer than any that a profile which denies by default names: there libseccomp differs."""
    if profile["defaultAction"] in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"):
        return False
    column = seccomp._ARCHITECTURES[architecture][0]
    named = {name for entry in profile["syscalls"] for name in entry["names"]}
    if column in seccomp._HAVE_MULTIPLEX:
        named |= {seccomp._MULTIPLEXED[name][0] for name in named if name in seccomp._MULTIPLEXED}
    known = [TABLES[column][name] for name in named if name in TABLES[column]]
    return bool(known) and number - (0x40000000 if column == "x32" else 0) > max(known)


def assert_same(profile: dict, architectures: list[str], arguments: list[tuple[int, ...]]) -> None:
    ours, theirs = seccomp.compile_profile(profile, "x86_64"), libseccomp.compile_profile(profile)
    assert len(ours) <= 4096 * 8
    for architecture in architectures:
        audit = seccomp._ARCHITECTURES[architecture][1]
        for number in numbers(architecture):
            for values in arguments:
                got = bpf.verdict(ours, number, audit, values)
                wanted = ENOSYS if is_unheard_of(profile, architecture, number) else None
                wanted = wanted or bpf.verdict(theirs, number, audit, values)
                assert got == wanted, (architecture, number, values, hex(got), hex(wanted))


@pytest.mark.parametrize(
    "held", [capabilities.DEFAULT, frozenset(), frozenset(capabilities.NAMES)], ids=["default", "none", "all"]
)
def test_the_default_policy_decides_as_libseccomp_compiles_it(held):
    profile = seccomp_default.default_profile(held, "x86_64")
    arguments = [(), *((value, 0, other) for value in (0, 8, 16, 0x20008, 0xFFFFFFFF) for other in (0, 9))]
    assert_same(profile, profile["architectures"], arguments)


def resolved(held: frozenset[str], machine: str) -> dict:
    """podman's file for these capabilities, as containers/common reads it."""
    document = json.loads((Path(__file__).parents[1] / "data/containers-seccomp.json").read_text())
    name = {"x86_64": "amd64", "aarch64": "arm64"}[machine]
    rules = []
    for rule in document["syscalls"]:
        includes, excludes = rule["includes"], rule["excludes"]
        if includes.get("arches") and name not in includes["arches"]:
            continue
        if not held.issuperset(includes.get("caps", ())) or held & set(excludes.get("caps", ())):
            continue
        rules.append({key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key) is not None})
    native = seccomp.native(machine)
    known = {each["architecture"]: each["subArchitectures"] for each in document["archMap"]}
    return {
        "defaultAction": document["defaultAction"],
        "defaultErrnoRet": document["defaultErrnoRet"],
        "architectures": [native, *known[native]],
        "syscalls": rules,
    }


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    "held",
    [
        frozenset(),
        capabilities.DEFAULT,
        frozenset(capabilities.NAMES),
        *(frozenset({name}) for name in capabilities.NAMES),
    ],
    ids=lambda held: ",".join(sorted(held)) if len(held) == 1 else str(len(held)),
)
def test_the_default_policy_is_the_one_podman_ships(held, machine):
    theirs = resolved(held, machine)
    ours = seccomp_default.default_profile(held, machine)
    assert set(ours["architectures"]) == set(theirs["architectures"])
    first, second = seccomp.compile_profile(ours, machine), seccomp.compile_profile(theirs, machine)
    # With CAP_PERFMON and without CAP_SYS_ADMIN that file both permits and forbids this call; ours permits it.
    contradictory = {"perf_event_open"} if held == {"CAP_PERFMON"} else set()
    for architecture in ours["architectures"]:
        audit = seccomp._ARCHITECTURES[architecture][1]
        table = TABLES[seccomp._ARCHITECTURES[architecture][0]]
        offset = 0x40000000 if architecture == "SCMP_ARCH_X32" else 0
        for number in set(numbers(architecture)) - {table.get(name, 0) + offset for name in contradictory}:
            for values in ((), (16, 0, 9), (8, 0, 0)):
                assert bpf.verdict(first, number, audit, values) == bpf.verdict(second, number, audit, values)


conditions = st.lists(
    st.builds(
        lambda index, operator, value, second: {
            "index": index,
            "op": operator,
            "value": value,
            **({"valueTwo": second & value} if operator == "SCMP_CMP_MASKED_EQ" else {}),
        },
        st.integers(0, 5),
        st.sampled_from(seccomp.OPERATORS),
        st.sampled_from(EDGES),
        st.sampled_from(EDGES),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60, deadline=None)
@given(
    chosen=conditions,
    names=st.lists(
        st.sampled_from(["read", "mount", "clone", "ioctl", "nonsense"]), min_size=1, max_size=3, unique=True
    ),
    action=st.sampled_from(sorted(seccomp.ACTIONS)),
    extra=st.lists(st.sampled_from(sorted(set(TABLES["x86_64"]) - NEWER)), max_size=30, unique=True),
    arguments=st.lists(st.tuples(*[st.sampled_from(EDGES)] * 6), min_size=1, max_size=4),
)
def test_any_conditions_decide_as_in_libseccomp(chosen, names, action, extra, arguments):
    # libseccomp 2.5.4 denies 1 where it is to allow what is below 0 or below 1 << 32: ours is not to be as wrong.
    ordered = [each["index"] for each in chosen if each["op"][9:] in ("LT", "LE", "GT", "GE")]
    assume(len(set(ordered)) == len(ordered))
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": names, "action": action, "args": chosen},
            {"names": ["getpid", *(name for name in extra if name not in names)], "action": "SCMP_ACT_LOG"},
        ],
    }
    assert_same(profile, ["SCMP_ARCH_X86_64"], arguments)
    narrow = [tuple(value & 0xFFFFFFFF for value in values) for values in arguments]
    if all(each["value"] < 1 << 32 for each in chosen):
        assert_same(profile, ["SCMP_ARCH_X86"], narrow)


_AS_OLD_AS_LIBSECCOMP = [
    name
    for name in seccomp.ARCHITECTURES
    if name not in ("SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_SH", "SCMP_ARCH_SHEB")
]


@pytest.mark.parametrize("architecture", _AS_OLD_AS_LIBSECCOMP)
def test_every_architecture_decides_as_in_libseccomp(architecture):
    little = bool(seccomp._ARCHITECTURES[architecture][1] & 0x40000000)
    rules = [{"names": sorted({*TABLES["x86_64"], *TABLES["x86"]} - NEWER)[::3], "action": "SCMP_ACT_ALLOW"}]
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "architectures": [architecture], "syscalls": rules}
    if little:
        assert_same(profile, [architecture], [(), (1,), (11,)])
    else:
        # One filter cannot hold both byte orders in libseccomp; that ours compiles is what can be seen here.
        program = seccomp.compile_profile(profile, "x86_64")
        column, audit, _wide = seccomp._ARCHITECTURES[architecture]
        allowed = next(name for name in rules[0]["names"] if name in TABLES[column])
        assert bpf.verdict(program, TABLES[column][allowed], audit) == ALLOW


def test_calls_of_an_architecture_that_is_not_named_are_killed():
    program = seccomp.compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}, "x86_64")
    assert bpf.verdict(program, 1, 0xC000003E) == ALLOW
    assert bpf.verdict(program, 1, 0x40000003) == 0
    assert bpf.verdict(program, 1 | 0x40000000, 0xC000003E) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"defaultAction": "SCMP_ACT_MAYBE"}, 'linux.seccomp.defaultAction: "SCMP_ACT_MAYBE" is not one of'),
        ({"architectures": ["SCMP_ARCH_PDP11"]}, "linux.seccomp.architectures[0]"),
        ({"syscalls": [{"names": ["read"], "action": "NO"}]}, "linux.seccomp.syscalls[0].action"),
        ({"syscalls": [{"names": [], "action": "SCMP_ACT_LOG"}]}, "linux.seccomp.syscalls[0].names"),
        ({"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": -1}]}, "errnoRet: -1"),
        (
            {
                "syscalls": [
                    {"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}]}
                ]
            },
            "linux.seccomp.syscalls[0].args[0].index must be from 0 to 5",
        ),
        (
            {"syscalls": [{"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1, "op": "="}]}]},
            "linux.seccomp.syscalls[0].args[0].op",
        ),
    ],
)
def test_what_is_wrong_with_a_profile_is_named(change, said):
    with pytest.raises(InvalidDocument) as failure:
        seccomp.compile_profile({"defaultAction": "SCMP_ACT_ALLOW", **change}, "x86_64")
    assert said in failure.value.message


def test_flags_are_checked():
    assert seccomp_load.filter_flags({"flags": ["SECCOMP_FILTER_FLAG_LOG"]}) == 2
    assert seccomp_load.filter_flags({"syscalls": [{"names": ["a"], "action": "SCMP_ACT_NOTIFY"}]}) == 8
    for bad in ({"flags": ["FAST"]}, {"listenerMetadata": "x"}, {"defaultAction": "SCMP_ACT_NOTIFY"}):
        with pytest.raises(InvalidDocument):
            seccomp_load.filter_flags(bad)


PROFILE = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]}


def test_a_cached_program_is_read_back_and_a_spoilt_one_is_not_trusted(tmp_path):
    cache = str(tmp_path / "cache")
    wanted = seccomp.compile_profile(PROFILE, "x86_64")
    assert seccomp_load.cached_program(PROFILE, "x86_64", cache) == wanted
    (kept,) = (tmp_path / "cache").iterdir()
    kept.chmod(0o600)
    other = seccomp.compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}, "x86_64")
    kept.write_bytes(other + hashing.sha256(other).encode())
    assert seccomp_load.cached_program(PROFILE, "x86_64", cache) == other, "a hit compiles nothing"
    for spoilt in (b"", wanted[:-8], b"\0" * 72, wanted + b"0" * 64):
        kept.write_bytes(spoilt)
        assert seccomp_load.cached_program(PROFILE, "x86_64", cache) == wanted
    kept.write_bytes(other + hashing.sha256(other).encode())
    kept.chmod(0o666)
    assert seccomp_load.cached_program(PROFILE, "x86_64", cache) == wanted, "others could have written it"
    kept.unlink()
    os.symlink("/dev/zero", kept)
    assert seccomp_load.cached_program(PROFILE, "x86_64", cache) == wanted


def test_versions_agree():
    assert seccomp_load._VERSION == seccomp.COMPILER_VERSION
