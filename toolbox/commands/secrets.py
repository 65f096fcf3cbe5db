"""`ptb secret …`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.container_options import (
        AllSecrets,
        LongIgnore,
        NoHeading,
        OneSecret,
        QuietIds,
        SecretArgs,
        SecretReplace,
        SecretSource,
        TemplateFormat,
    )
    from toolbox.run_options import Labels


def create(name: OneSecret, source: SecretSource, *, label: Labels = None, replace: SecretReplace = False) -> int:
    """Keep a secret for containers."""
    from toolbox.containers import process_options, secrets

    return secrets.create(name, source, replace=replace, labels=process_options.pairs(label or (), "--label"))


def ls(*, format: TemplateFormat = "", noheading: NoHeading = False, quiet: QuietIds = False) -> int:  # noqa: A002
    """List secrets."""
    from toolbox.containers import secrets

    return secrets.show(format=format, noheading=noheading, quiet=quiet)


def inspect(names: SecretArgs = None) -> int:
    """Show what is known of secrets, but for what they hold."""
    from toolbox.containers import secrets

    return secrets.inspect(names or [])


def rm(names: SecretArgs = None, *, all: AllSecrets = False, ignore: LongIgnore = False) -> int:  # noqa: A002
    """Remove secrets."""
    from toolbox.containers import secrets

    return secrets.remove(names or [], all=all, ignore=ignore)


def exists(name: OneSecret) -> int:
    """Exit with 0 if there is such a secret, else with 1."""
    from toolbox.containers import secrets

    return secrets.exists(name)
