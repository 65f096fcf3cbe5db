"""`ptb enter`, `ptb list`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.options import (
        Command,
        Env,
        Ephemeral,
        Format,
        Home,
        Name,
        NoHome,
        Quiet,
        Root,
        Target,
        Volumes,
    )


def enter(
    target: Target = None,
    command: Command = None,
    *,
    name: Name = "",
    volumes: Volumes = None,
    env: Env = None,
    home: Home = "",
    no_home: NoHome = False,
    root: Root = False,
    ephemeral: Ephemeral = False,
) -> int:
    """Enter a box: a shell, or a command, in any distribution.

    NAME is a box that exists, IMAGE an image that a box is made from on first use: centos:7 gives the box centos-7.
    The image "host" is this machine's own root file system: what is done to it in the box stays in the box.
    Without either, the default set in config.toml is entered, else the box used last, else "host".
    """
    from toolbox.boxes import enter

    return enter.enter(
        target,
        command or [],
        name=name,
        volumes=volumes,
        env=env,
        home=home,
        no_home=no_home,
        root=root,
        ephemeral=ephemeral,
    )


def list_boxes(*, format: Format = "table", quiet: Quiet = False) -> int:  # noqa: A002
    """List the boxes."""
    from toolbox.boxes import listing

    return listing.show(format=format, quiet=quiet)
