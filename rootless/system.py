"""`os` for the start path: import it as `os`.

The standard module builds `environ` and its paths on top of abstract base classes, and loading all that takes a quarter of
a bare interpreter's start. Its functions are `posix`'s own. So this offers those, and the little of the rest that every
start needs; who asks for anything else, `path` for one, gets it from `os` and has to wait. Where `os` is loaded already
this is `os`.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING or "os" in sys.modules:
    from os import *
    from os import _exit as _exit  # noqa: PLC0414
else:
    from posix import *
    from posix import _exit as _exit  # noqa: PLC0414
    from posix import environ as _environ

    defpath = "/bin:/usr/bin"
    _ENCODING = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()

    def fsencode(name):
        return name.encode(*_ENCODING) if isinstance(name, str) else name

    def fsdecode(name):
        return name.decode(*_ENCODING) if isinstance(name, bytes) else name

    environ = {fsdecode(name): fsdecode(value) for name, value in _environ.items()}

    def __getattr__(name):
        import os

        return getattr(os, name)
