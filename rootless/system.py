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
    import posix
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

    def makedirs(name, mode=0o777, *, exist_ok=False):
        parent = name.rstrip("/").rpartition("/")[0]
        if parent and not path.exists(parent):
            makedirs(parent, exist_ok=True)
        try:
            posix.mkdir(name, mode)
        except FileExistsError:
            if not exist_ok or not path.isdir(name):
                raise

    class _Path:
        """The few of os.path that look at files; the others are os.path's own."""

        def __getattr__(self, name):
            import os.path

            return getattr(os.path, name)

        @staticmethod
        def exists(name):
            try:
                posix.stat(name)
            except (OSError, ValueError):
                return False
            return True

        @staticmethod
        def lexists(name):
            try:
                posix.lstat(name)
            except (OSError, ValueError):
                return False
            return True

        @staticmethod
        def samefile(name, other):
            one, two = posix.stat(name), posix.stat(other)
            return (one.st_ino, one.st_dev) == (two.st_ino, two.st_dev)

        @staticmethod
        def isdir(name):
            return _kind(name) == 0o040000

        @staticmethod
        def isfile(name):
            return _kind(name) == 0o100000

        @staticmethod
        def basename(name):
            return name.rpartition("/")[2]

        @staticmethod
        def dirname(name):
            head = name[: name.rfind("/") + 1]
            return head.rstrip("/") or head

    path = _Path()

    def _kind(name):
        try:
            return posix.stat(name).st_mode & 0o170000
        except (OSError, ValueError):
            return 0

    def __getattr__(name):
        import os

        return getattr(os, name)
