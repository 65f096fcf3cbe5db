"""The one error hierarchy. Raised where the cause is known, printed in `toolbox.__main__` only.

PtbError(message, hint)             exit 125: what failed, on which thing, and why; hint = the command that mends it
├─ UsageError                       the command line itself is wrong
├─ NotFound · AlreadyExists · InUse a named thing is missing, taken, or busy
├─ InvalidDocument                  a file, name, reference or manifest that does not parse
├─ KernelError                      a syscall said no
├─ HostUnfit                        the machine lacks something ptb needs (subordinate ids, user namespaces, FUSE)
├─ RegistryError                    the registry said no, or nothing
├─ IntegrityError                   bytes are not what their digest or size says
├─ CommandNotRunnable               exit 126
└─ CommandNotFound                  exit 127
"""


class PtbError(Exception):
    """Something failed in a way the user can act on.

    Messages are one line: lower case, no full stop, the failing thing quoted, the cause last.
    """

    exit_status = 125

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def warn(message: str) -> None:
    """Tell on stderr of something that changes nothing."""
    import posix

    posix.write(2, f"ptb-runtime: warning: {message}\n".encode(errors="replace"))


class UsageError(PtbError):
    """The command line is wrong."""


class NotFound(PtbError):
    """A box, image or tag that was named does not exist."""


class AlreadyExists(PtbError):
    """The name is taken."""


class InUse(PtbError):
    """The thing is busy and would break if it were changed."""


class InvalidDocument(PtbError):
    """A reference, name, manifest, archive or configuration file does not parse."""


class KernelError(PtbError):
    """A syscall failed; `errno` keeps its number (errno(3))."""

    def __init__(self, call: str, subject: str, errno: int, *, hint: str | None = None) -> None:
        from posix import strerror

        super().__init__(f"{call} {subject}: {strerror(errno)}".replace(" :", ":"), hint=hint)
        self.errno = errno


class HostUnfit(PtbError):
    """The machine lacks something ptb needs; `hint` is the one command that gives it."""


class RegistryError(PtbError):
    """A registry refused, failed or could not be reached; `status` is its HTTP status, 0 for none."""

    def __init__(self, message: str, *, status: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class IntegrityError(PtbError):
    """Content does not match the digest or size that named it."""


class CommandNotRunnable(PtbError):
    """The command exists but cannot be executed."""

    exit_status = 126


class CommandNotFound(PtbError):
    """The command does not exist in the box."""

    exit_status = 127
