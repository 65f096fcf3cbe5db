"""The interpreter in a form that no container can write to.

Until it executes the container's own program, the process inside is this interpreter, and an image can have it executed
there: `#!/proc/self/exe` is resolved by the kernel, behind every check of ours. From then on that file is open inside,
and whoever owns it outside, root without a user namespace above all, could overwrite what the host runs next
(CVE-2019-5736). So where the caller could write to the file, a sealed copy in memory goes on in its place.
"""

from __future__ import annotations

import fcntl
import sys

from rootless import system as os
from rootless.errors import HostUnfit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_EINVAL = 22
_MFD_EXEC = 0x10
_F_ADD_SEALS, _F_GET_SEALS = 1033, 1034
_SEAL_SEAL, _SEAL_SHRINK, _SEAL_GROW, _SEAL_WRITE = 1, 2, 4, 8


def seal() -> None:
    """Start this command line again in a sealed copy of the interpreter (memfd_create(2)), unless it runs in one.

    Nothing is done for a caller who cannot write to the interpreter: then no container of theirs can. Raises HostUnfit.
    """
    own = "/proc/self/exe"
    fd = os.open(own, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _is_sealed(fd):
            from rootless import kernel

            kernel.set_process_name(b"ptb-runtime")  # execveat(2) named it after a descriptor
        elif os.fstat(fd).st_uid == os.geteuid() or os.access(own, os.W_OK, effective_ids=True):
            _execute_copy(fd)
    finally:
        os.close(fd)


def _is_sealed(fd: int) -> bool:
    try:
        return bool(fcntl.fcntl(fd, _F_GET_SEALS) & _SEAL_WRITE)
    except OSError:
        return False


def _execute_copy(fd: int) -> NoReturn:
    try:
        copy = _new_memory_file()
        while os.sendfile(copy, fd, None, 1 << 30):
            pass
        fcntl.fcntl(copy, _F_ADD_SEALS, _SEAL_SEAL | _SEAL_SHRINK | _SEAL_GROW | _SEAL_WRITE)
        os.execve(copy, [sys.executable, *sys.orig_argv[1:]], os.environ)
    except OSError as error:
        mended = "sudo sysctl -w vm.memfd_noexec=1, if it is 2"
        raise HostUnfit(
            "a container could overwrite the Python that runs this, and a sealed copy of it cannot be executed: "
            f"{os.strerror(error.errno or 0)}",
            hint=mended if os.geteuid() == 0 else "use the distribution's Python, which is root's",
        ) from error


def _new_memory_file() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("ptb-runtime", flags | _MFD_EXEC)
    except OSError as error:
        if error.errno != _EINVAL:
            raise
        return os.memfd_create("ptb-runtime", flags)  # before Linux 6.3 all are executable
