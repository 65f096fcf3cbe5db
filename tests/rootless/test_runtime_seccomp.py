"""What a process meets when a filter of linux.seccomp decides on its calls, on the real kernel."""

from __future__ import annotations

import errno
import os
import platform

import pytest

from rootless import default_spec
from tests import bundles

ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}

pytestmark = pytest.mark.skipif(platform.machine() not in ARCHITECTURES, reason="names this machine's architecture")

CALL = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.personality.argtypes = [ctypes.c_ulong]
result = libc.personality(int(sys.argv[1], 0))
print(result if result >= 0 else -ctypes.get_errno(), flush=True)
"""
"""Calls personality(2), whose argument may be anything: with 0xffffffff it changes nothing."""

ASK = 0xFFFFFFFF


@pytest.fixture
def filtered(runtime, bundle):
    """Runs a call of personality(2) under a rule for it; returns what the container ended with."""
    bundles.with_programs_of_the_host(bundle)

    def run(rule: dict, argument: int = ASK, **profile: object):
        bundle.linux["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": [ARCHITECTURES[platform.machine()]],
            "syscalls": [{"names": ["personality"], **rule}],
            **profile,
        }
        return runtime.run(bundle.command("/usr/bin/python3", "-ISc", CALL, hex(argument)))

    return run


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"action": "SCMP_ACT_ALLOW"}, 0),
        ({"action": "SCMP_ACT_LOG"}, 0),
        ({"action": "SCMP_ACT_ERRNO"}, -errno.EPERM),
        ({"action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS}, -errno.ENOSYS),
        ({"action": "SCMP_ACT_ERRNO", "errnoRet": 0}, 0),
        ({"action": "SCMP_ACT_TRACE", "errnoRet": 7}, -errno.ENOSYS),
    ],
)
def test_a_call_returns_what_the_action_says(filtered, rule, said):
    """SCMP_ACT_TRACE without a tracer is ENOSYS (seccomp(2))."""
    result = filtered(rule)
    assert (result.returncode, result.stdout) == (0, f"{said}\n")


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"])
def test_a_call_ends_the_process(filtered, action):
    """By SIGSYS, which is 31, and so 159."""
    result = filtered({"action": action})
    assert (result.returncode, result.stdout) == (128 + 31, "")


@pytest.mark.parametrize(
    ("operator", "value", "refused", "let"),
    [
        ("SCMP_CMP_EQ", {"value": 7}, [7], [8, 7 << 32]),
        ("SCMP_CMP_NE", {"value": ASK}, [7, ASK | 1 << 32], [ASK]),
        ("SCMP_CMP_LT", {"value": ASK}, [7], [ASK]),
        ("SCMP_CMP_LE", {"value": 8}, [7, 8], [ASK]),
        ("SCMP_CMP_GT", {"value": ASK}, [1 << 32], [ASK]),
        ("SCMP_CMP_GE", {"value": 1 << 32}, [1 << 32, 5 << 32], [ASK]),
        ("SCMP_CMP_MASKED_EQ", {"value": 0xF0, "valueTwo": 0x50}, [0x50, 0x1057], [ASK]),
    ],
)
def test_arguments_are_compared_whole(filtered, operator, value, refused, let):
    """As unsigned numbers of 64 bits. What a rule is not for goes to the kernel, which takes 32 of them."""
    rule = {"action": "SCMP_ACT_ERRNO", "errnoRet": errno.EDOM, "args": [{"index": 0, "op": operator, **value}]}
    for argument in refused:
        assert filtered(rule, argument).stdout == f"{-errno.EDOM}\n", hex(argument)
    for argument in let:
        assert filtered(rule, argument).stdout != f"{-errno.EDOM}\n", hex(argument)


def test_the_default_action_is_for_what_no_rule_names(filtered, bundle):
    """The profile that `spec` writes lets personality(2) ask and set a few domains, none of them 7."""
    rules = default_spec.document(rootless=True)["linux"]["seccomp"]["syscalls"]
    usual = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}
    assert filtered({}, ASK, **usual).stdout == "0\n"
    assert filtered({}, 7, **usual).stdout == f"{-errno.EPERM}\n"
    assert filtered({}, 7, **usual, defaultErrnoRet=errno.EXDEV).stdout == f"{-errno.EXDEV}\n"


def test_exec_is_filtered_too(runtime, bundle):
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EXDEV}
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    runtime("run", "--detach", "server", bundle=bundle.command("sleep", "1000"), check=True)
    refused = runtime("exec", "server", "busybox", "mkdir", "/tmp/new")
    assert os.strerror(errno.EXDEV) in refused.stderr
