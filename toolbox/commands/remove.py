"""`ptb rm`, for containers and boxes alike."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.container_options import All, CidFiles, Depend, Force, Ignore, Latest, LongFilter, RemoveVolumes, Time
    from toolbox.options import AnyNames


def remove(
    names: AnyNames = None,
    *,
    all: All = False,  # noqa: A002
    force: Force = False,
    volumes: RemoveVolumes = False,
    ignore: Ignore = False,
    time: Time = "",
    latest: Latest = False,
    depend: Depend = False,
    cidfile: CidFiles = None,
    filters: LongFilter = None,
) -> int:
    """Remove containers or boxes, and everything that was changed in them; --all is every container and no box."""
    from toolbox.containers import lifecycle, remove

    return lifecycle.removal(
        lambda: remove.remove(
            names or [],
            all=all,
            force=force,
            volumes=volumes,
            ignore=ignore,
            time=time,
            latest=latest,
            depend=depend,
            cidfile=cidfile,
            filters=filters,
        )
    )
