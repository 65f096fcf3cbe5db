"""The files of containers: diff, cp, commit, export, import, mount."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.container_options import (
        All,
        Archive,
        Author,
        Change,
        ContainerArg,
        ContainerArgs,
        CopySource,
        CopyTarget,
        FollowLink,
        ForceUnmount,
        IidFile,
        ImageFormat,
        ImportArch,
        ImportOs,
        ImportSource,
        ImportVariant,
        IncludeVolumes,
        Latest,
        Message,
        NewImage,
        NoTrunc,
        OneContainer,
        Output,
        Overwrite,
        Pause,
        QuietVerb,
        Squash,
        TemplateFormat,
    )


def diff(
    name: ContainerArg = None,
    *,
    format: TemplateFormat = "",  # noqa: A002
    latest: Latest = False,
) -> int:
    """Show what was changed in a container."""
    from toolbox.containers import diff

    return diff.show(name, format=format, latest=latest)


def copy(
    source: CopySource,
    target: CopyTarget,
    *,
    archive: Archive = "true",
    follow_link: FollowLink = False,
    overwrite: Overwrite = False,
    pause: Pause = "true",
    quiet: QuietVerb = False,
) -> int:
    """Copy files between a container and the host."""
    from toolbox.containers import copy

    return copy.copy(
        source, target, archive=archive, follow_link=follow_link, overwrite=overwrite, pause=pause, quiet=quiet
    )


def commit(
    name: OneContainer,
    image: NewImage = None,
    *,
    author: Author = "",
    change: Change = None,
    format: ImageFormat = "",  # noqa: A002
    iidfile: IidFile = "",
    include_volumes: IncludeVolumes = False,
    message: Message = "",
    pause: Pause = "true",
    quiet: QuietVerb = False,
    squash: Squash = False,
) -> int:
    """Make an image of a container."""
    from toolbox.containers import commit

    return commit.commit(
        name,
        image,
        author=author,
        change=change,
        format=format,
        iidfile=iidfile,
        message=message,
        pause=pause,
        quiet=quiet,
        squash=squash,
    )


def export(
    name: OneContainer,
    *,
    output: Output = "",
) -> int:
    """Write a container's files as an archive."""
    from toolbox.containers import export

    return export.export(name, output=output)


def import_image(
    source: ImportSource,
    reference: NewImage = None,
    *,
    change: Change = None,
    message: Message = "",
    quiet: QuietVerb = False,
    arch: ImportArch = "",
    os: ImportOs = "",
    variant: ImportVariant = "",
) -> int:
    """Make an image of an archive."""
    from toolbox.containers import export

    return export.import_image(
        source, reference, change=change, message=message, quiet=quiet, arch=arch, os=os, variant=variant
    )


def mount(
    names: ContainerArgs = None,
    *,
    all: All = False,  # noqa: A002
    format: TemplateFormat = "",  # noqa: A002
    latest: Latest = False,
    no_trunc: NoTrunc = False,
) -> int:
    """Mount the root file systems of containers and print where."""
    from toolbox.containers import mount

    return mount.mount(names or [], all=all, format=format, latest=latest, no_trunc=no_trunc)


def unmount(
    names: ContainerArgs = None,
    *,
    all: All = False,  # noqa: A002
    force: ForceUnmount = False,
    latest: Latest = False,
) -> int:
    """Undo mount."""
    from toolbox.containers import mount

    return mount.unmount(names or [], all=all, force=force, latest=latest)
