"""All modules of the program precompiled in one file, found and read in a fraction of what a file for each costs.

Importing a module the usual way is a dozen system calls and as many steps of the import system: a tenth of the time that a
container takes to start. The archive is believed for the same reason as the files in `__pycache__`, where it lies: a
module whose source has another time or size than when it was precompiled is imported as usual.

    code       marshalled, one module after another
    index      marshalled: module name → (path, is a package, mtime in ns, size, length, offset)
    length     of the index, 8 bytes

`python3 -m rootless.precompiled` writes it. The launchers use it; a checkout without it works, and is slower.
"""

import marshal
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

PACKAGES = ("fuse_overlay", "rootless", "toolbox")


def use(root: str) -> None:
    """Import the packages in the directory `root` from their archive, as far as there is one and it is up to date."""
    path = archive_path(root)
    try:
        size = posix.stat(path).st_size
        length = int.from_bytes(_read(path, 8, size - 8), "little")
        if not 0 < length < size:
            return
        index = marshal.loads(_read(path, length, size - 8 - length))  # noqa: S302 # as trusted as __pycache__
    except (OSError, ValueError, EOFError, TypeError):
        return
    sys.meta_path.insert(0, _Archive(root, path, index))


def archive_path(root: str) -> str:
    """Where the archive of the packages in `root` is for this interpreter."""
    return f"{root}/rootless/__pycache__/all.{sys.implementation.cache_tag}"


def _read(path: str, length: int, offset: int) -> bytes:
    """From the file, which is not kept open: who forks or executes need not know of it."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.pread(fd, length, offset)
    finally:
        posix.close(fd)


class _Archive:
    """Finds and loads modules (importlib.abc.MetaPathFinder, Loader)."""

    def __init__(self, root: str, path: str, index: dict[str, tuple[str, bool, int, int, int, int]]) -> None:
        self._root = root
        self._path = path
        self._index = index
        self._specification = type(sys.__spec__)

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> "ModuleSpec | None":
        """The specification of a module that is in the archive as it is on disk."""
        entry = self._index.get(name)
        if entry is None:
            return None
        origin = f"{self._root}/{entry[0]}"
        try:
            status = posix.stat(origin)
        except OSError:
            return None
        if (status.st_mtime_ns, status.st_size) != entry[2:4]:
            return None
        found = self._specification(name, self, origin=origin, is_package=entry[1])  # type: ignore[arg-type]
        found.has_location = True
        if found.submodule_search_locations is not None:
            found.submodule_search_locations.append(origin.rpartition("/")[0])
        return found

    def create_module(self, _specification: "ModuleSpec") -> None:
        """The usual module object."""

    def exec_module(self, module: "ModuleType") -> None:
        """Load the module's code and execute it."""
        code = marshal.loads(_read(self._path, *self._index[module.__name__][4:6]))  # noqa: S302
        exec(code, module.__dict__)  # noqa: S102 # this is what importing is


def build(root: str) -> None:
    """Write the archive of the packages in `root`. Raises OSError, SyntaxError."""
    import os
    from pathlib import Path

    sources = {}
    for package in PACKAGES:
        for path in sorted(Path(root, package).rglob("*.py")):
            status = path.stat()
            sources[path.relative_to(root)] = (path.name == "__init__.py", status.st_mtime_ns, status.st_size)
    code, index = b"", {}
    for relative, (is_package, *stamp) in sources.items():
        name = ".".join(relative.parent.parts if is_package else relative.with_suffix("").parts)
        path = Path(root, relative)
        one = marshal.dumps(compile(path.read_bytes(), str(path), "exec", dont_inherit=True))
        index[name] = (str(relative), is_package, *stamp, len(one), len(code))
        code += one
    place = Path(archive_path(root))
    place.parent.mkdir(exist_ok=True)
    temporary = place.with_name(f"{place.name}.{os.getpid()}")
    listed = marshal.dumps(index)
    temporary.write_bytes(code + listed + len(listed).to_bytes(8, "little"))
    temporary.rename(place)


if __name__ == "__main__":
    build(__file__.rpartition("/")[0].rpartition("/")[0] or ".")
