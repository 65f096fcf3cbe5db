"""The real libseccomp, asked to compile the same profiles: the oracle of our compiler."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import Any

from rootless import seccomp

_OPERATORS = {name: value for value, name in enumerate(seccomp.OPERATORS, 1)}
_ERRNO, _TRACE = 0x00050000, 0x7FF00000


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    for name in ("seccomp_release", "seccomp_arch_add", "seccomp_export_bpf"):
        getattr(library, name).argtypes = [ctypes.c_void_p, ctypes.c_int][: 1 if name == "seccomp_release" else 2]
    library.seccomp_rule_add_array.argtypes = [
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int),
        *(ctypes.c_uint, ctypes.POINTER(_Comparison)),
    ]
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    return library


def _action(entry: Mapping[str, Any], key: str, errno_key: str) -> int:
    base = seccomp.ACTIONS[entry[key]]
    return base | entry.get(errno_key, 1) if base in (_ERRNO, _TRACE) else base


def compile_profile(profile: Mapping[str, Any]) -> bytes:
    """The program that runc would load for `profile`."""
    library = _load()
    default = _action(profile, "defaultAction", "defaultErrnoRet")
    context = library.seccomp_init(ctypes.c_uint32(default))
    for name in profile.get("architectures", ()):
        token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
        assert token, name
        status = library.seccomp_arch_add(context, token)
        assert status in (0, -17), (name, status)
    for entry in profile["syscalls"]:
        action = _action(entry, "action", "errnoRet")
        if action == default:
            continue
        comparisons = [
            _Comparison(each["index"], _OPERATORS[each["op"]], each["value"], each.get("valueTwo", 0))
            for each in entry.get("args", ())
        ]
        several = len({each.arg for each in comparisons}) != len(comparisons)
        sets = [[each] for each in comparisons] if several else [comparisons]
        for name in entry["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == -1:
                continue
            for chosen in sets:
                array = (_Comparison * len(chosen))(*chosen)
                status = library.seccomp_rule_add_array(context, action, number, len(chosen), array)
                assert status == 0, (name, status)
    output = os.memfd_create("program")
    assert library.seccomp_export_bpf(context, output) == 0
    library.seccomp_release(context)
    program = os.pread(output, 1 << 20, 0)
    os.close(output)
    return program
