"""`ptb pull`, `ptb images`, `ptb rmi`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.container_options import InspectArgs, ShortTemplateFormat
    from toolbox.options import (
        AllImages,
        ForceImages,
        Format,
        ImageIds,
        ImageName,
        ImageNames,
        Platform,
        PullPolicy,
        Quiet,
        QuietPull,
    )


def pull(
    names: ImageNames,
    *,
    platform: Platform = "",
    policy: PullPolicy = "always",
    quiet: QuietPull = False,
) -> int:
    """Pull images from a registry and unpack them."""
    from toolbox.images import pull

    return pull.show(names, quiet=quiet, platform=platform or None, policy=policy)


def images(*, format: Format = "table", quiet: Quiet = False) -> int:  # noqa: A002
    """List the images."""
    from toolbox.images import listing

    return listing.show(format=format, quiet=quiet)


def remove(
    names: ImageIds = None,
    *,
    all: AllImages = False,  # noqa: A002
    force: ForceImages = False,
) -> int:
    """Remove images, and the layers that nothing uses any more."""
    from toolbox.images import remove

    return remove.remove(names or [], all=all, force=force)


def exists(name: ImageName) -> int:
    """Exit with 0 if there is such an image, else with 1."""
    from toolbox.images import lookup

    return 0 if lookup.find(name) is not None else 1


def inspect(names: InspectArgs = None, *, format: ShortTemplateFormat = "") -> int:  # noqa: A002
    """Show everything about images."""
    from toolbox.containers import inspect

    return inspect.show(names or [], format=format, latest=False, size=False, type="image")
