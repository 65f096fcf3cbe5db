"""`ptb version` and `ptb system migrate`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.container_options import ShortTemplateFormat


def version(*, format: ShortTemplateFormat = "") -> int:  # noqa: A002
    """Print the version; with --format as podman's clients read it."""
    from toolbox import versions

    return versions.show(format=format)


def migrate() -> int:
    """Do nothing: nothing that ptb keeps has to be migrated (podman's clients call it after an upgrade)."""
    return 0
