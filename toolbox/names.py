"""The names of boxes and containers, which share one namespace: `$XDG_DATA_HOME/ptb/names/NAME → ../containers/ID`.

A link claims its name, atomically. What it leads to is a box if it has a record.json and a container if it has a
container.json; a link that leads to neither was left by a process that died, and gives way.
"""

from __future__ import annotations

from rootless import system as os
from rootless.errors import AlreadyExists
from toolbox import paths

BOX, CONTAINER = "record.json", "container.json"


def containers() -> str:
    """The directory of all boxes and containers."""
    return paths.data_home() + "/containers"


def _links() -> str:
    return paths.data_home() + "/names"


def id_of(name: str, *kinds: str) -> str | None:
    """The id of the box or container with this name, of one of these kinds (any by default); None if there is none."""
    if "/" in name or not name:
        return None
    try:
        identity = os.readlink(f"{_links()}/{name}").rpartition("/")[2]
    except OSError:
        return None
    found = any(os.path.exists(f"{containers()}/{identity}/{kind}") for kind in kinds or (BOX, CONTAINER))
    return identity if found else None


def all_names(*kinds: str) -> list[str]:
    """All names in use by these kinds (any by default), sorted."""
    try:
        found = os.listdir(_links())
    except FileNotFoundError:
        return []
    return sorted(name for name in found if id_of(name, *kinds) is not None)


def claim(name: str, identity: str) -> None:
    """Give the name to the box or container `identity`. Raises AlreadyExists."""
    os.makedirs(_links(), mode=0o700, exist_ok=True)
    while True:
        try:
            os.symlink(f"../containers/{identity}", f"{_links()}/{name}")
            return
        except FileExistsError:
            owner = id_of(name)
            if owner == identity:
                return
            if owner is not None:
                raise taken(name) from None
            release(name)


def taken(name: str) -> AlreadyExists:
    """The error for a name that somebody has."""
    if id_of(name, BOX) is not None:
        return AlreadyExists(f'box "{name}" exists', hint=f"ptb enter {name}, or ptb rm {name} first")
    return AlreadyExists(
        f'container "{name}" exists', hint=f"ptb rm {name}, or ptb run --replace, or choose another --name"
    )


def release(name: str) -> None:
    """Give the name up; that it is gone already is no error."""
    try:
        os.unlink(f"{_links()}/{name}")
    except FileNotFoundError:
        return
