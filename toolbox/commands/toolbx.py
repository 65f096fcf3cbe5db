"""`ptb toolbox …`: toolbox's commands with toolbox's options, over the same boxes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.options import (
        AllBoxes,
        AllImages,
        AssumeYes,
        AuthFile,
        BoxNames,
        CommandAfterOptions,
        Container,
        ContainerArgument,
        Distro,
        ForceBoxes,
        ForceImages,
        ImageIds,
        ImageOption,
        ListContainers,
        ListImages,
        PreserveFds,
        Release,
        Verbose,
    )


def create(
    container: ContainerArgument = None,
    *,
    image: ImageOption = "",
    distro: Distro = "",
    release: Release = "",
    authfile: AuthFile = "",
    assumeyes: AssumeYes = False,
    verbose: Verbose = False,
) -> int:
    """Make a box, of this machine's distribution unless told otherwise."""
    from toolbox.boxes import toolbx

    return toolbx.create(container or "", image=image, distro=distro, release=release, authfile=authfile)


def enter(
    container: ContainerArgument = None,
    *,
    distro: Distro = "",
    release: Release = "",
    assumeyes: AssumeYes = False,
    verbose: Verbose = False,
) -> int:
    """Enter a box with a shell."""
    from toolbox.boxes import toolbx

    return toolbx.run(container or "", [], distro=distro, release=release)


def run(
    command: CommandAfterOptions,
    *,
    container: Container = "",
    distro: Distro = "",
    release: Release = "",
    preserve_fds: PreserveFds = 0,
    assumeyes: AssumeYes = False,
    verbose: Verbose = False,
) -> int:
    """Run a command in a box."""
    from toolbox.boxes import toolbx

    return toolbx.run(container, command, distro=distro, release=release)


def list_all(
    *,
    containers: ListContainers = False,
    images: ListImages = False,
    assumeyes: AssumeYes = False,
    verbose: Verbose = False,
) -> int:
    """List images and boxes."""
    from toolbox.boxes import toolbx

    return toolbx.show(containers=containers, images=images)


def remove(
    names: BoxNames = None,
    *,
    all: AllBoxes = False,  # noqa: A002
    force: ForceBoxes = False,
    assumeyes: AssumeYes = False,
    verbose: Verbose = False,
) -> int:
    """Remove boxes."""
    from toolbox.boxes import remove

    return remove.remove(names or [], all=all, force=force)


def remove_images(
    names: ImageIds = None,
    *,
    all: AllImages = False,  # noqa: A002
    force: ForceImages = False,
    assumeyes: AssumeYes = False,
    verbose: Verbose = False,
) -> int:
    """Remove images."""
    from toolbox.images import remove

    return remove.remove(names or [], all=all, force=force)
