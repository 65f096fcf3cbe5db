"""Making a box from an image, or from the machine itself. Copies nothing: a box is a record and an empty upper layer."""

from __future__ import annotations

import time

from rootless import ids
from rootless import system as os
from rootless.errors import InvalidDocument, NotFound
from toolbox import names
from toolbox.boxes import desktop, hostbox, store
from toolbox.boxes.remove import sweep
from toolbox.boxes.store import NO_HOME, SHARED_HOME, BoxRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def create(
    image: str,
    *,
    name: str = "",
    volumes: Sequence[str] = (),
    env: Sequence[str] = (),
    home: str = "",
    no_home: bool = False,
    ephemeral: bool = False,
) -> BoxRecord:
    """Make a box from `image`, pulled if it is not stored yet; `host` is the machine's own root.

    Raises AlreadyExists for a name that is taken, InvalidDocument for one that cannot be, and what pulling raises.
    """
    if ephemeral and not name:
        name = f"{store.name_for(image)}-{os.urandom(3).hex()}"
    name = store.check_name(name or store.name_for(image))
    volumes = _absolute(volumes)
    for text in env:
        if "=" not in text or text.startswith("="):
            raise InvalidDocument(f'environment variable "{text}" is not NAME=VALUE')
    if home and not os.path.isdir(home):
        raise NotFound(f'home "{home}" is not there', hint=f"mkdir -p {home}")
    ids.subordinates()
    if names.id_of(name) is not None:
        raise names.taken(name)
    home_policy = NO_HOME if no_home else os.path.abspath(home) if home else SHARED_HOME

    def add(image_name: str, digest: str, layers: Sequence[str], image_env: Sequence[str]) -> BoxRecord:
        box = BoxRecord(
            id=store.new_id(),
            name=name,
            image=image_name,
            asked=image,
            image_digest=digest,
            layers=tuple(layers),
            image_env=tuple(image_env),
            env=tuple(env),
            volumes=tuple(volumes),
            home=home_policy,
            ephemeral=ephemeral,
            created=int(time.time()),
        )
        os.close(store.add(box))
        return box

    sweep()
    if image == hostbox.IMAGE:
        return add(image, "", (), ())
    from toolbox.images import stored

    for missing in (True, False):
        # Nobody can remove the image's layers before the box refers to them.
        with stored.keeping_layers():
            found = stored.find(image)
            if found is not None:
                return add(found.name, found.digest, found.config.diff_ids, found.config.env)
        if missing:
            from toolbox.images import pull  # with the HTTP client, a third of the time of a first enter

            pull.ensure(image)
    raise NotFound(f'image "{image}" was removed meanwhile', hint=f"ptb pull {image}")


def _absolute(volumes: Sequence[str]) -> list[str]:
    """The volumes with their sources made absolute, checked now rather than at the first start."""
    made = []
    for text in volumes:
        source, target, options = desktop.parse_volume(text)
        made.append(":".join([source, target, *([",".join(options)] if options else [])]))
    desktop.volumes(tuple(made))
    return made
