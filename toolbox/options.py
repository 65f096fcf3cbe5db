"""The vocabulary of options and arguments, for the commands to pick from. With typer_app.py the only door to Typer."""

from __future__ import annotations

from typing import Annotated

import typer

from rootless.record import record


@record
class Completes:
    """What the shell offers for a parameter: the name of a list that `ptb __complete` prints, or the words themselves."""

    kind: str
    words: tuple[str, ...] = ()


AFTER_DASHES = "what follows -- belongs to this argument, whatever it looks like"
ENDS_OPTIONS = "options end at the first word that is none: the rest belongs to a command"

SWITCH = "an option that is on or off: alone it is true, and its value is never the next word"

_BOXES = Completes("boxes")
_IMAGES = Completes("images")

# --- boxes ---

Target = Annotated[
    str | None,
    typer.Argument(metavar="NAME|IMAGE", help="A box, or an image to make one from.", show_default=False),
    Completes("targets"),
]
Command = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- COMMAND", help="What to run in place of your shell.", show_default=False),
    Completes("commands"),
    AFTER_DASHES,
]
Name = Annotated[str, typer.Option("--name", "-n", metavar="NAME", help="Name the box; by default after its image.")]
Volumes = Annotated[
    list[str] | None,
    typer.Option(
        "--volume",
        "-v",
        metavar="SOURCE[:TARGET[:ro]]",
        help="Mount a directory or file of this machine in the box (at creation).",
    ),
    Completes("files"),
]
Env = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", metavar="NAME=VALUE", help="Set an environment variable; given at creation, it stays."),
]
Home = Annotated[
    str,
    typer.Option("--home", metavar="DIR", help="Use DIR in place of your home directory (at creation)."),
    Completes("directories"),
]
NoHome = Annotated[
    bool, typer.Option("--no-home", help="Give the box an empty home directory of its own (at creation).")
]
Root = Annotated[bool, typer.Option("--root", "-r", help="Be root in the box.")]
Ephemeral = Annotated[
    bool, typer.Option("--ephemeral", help="Make a box for this one time and remove it when the command ends.")
]
BoxNames = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Boxes, by name or id.", show_default=False), _BOXES
]
AnyNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="Containers and boxes, by name or id.", show_default=False),
    Completes("removable"),
]
AllBoxes = Annotated[bool, typer.Option("--all", "-a", help="Remove every box.")]
ForceBoxes = Annotated[
    bool, typer.Option("--force", "-f", help="Remove boxes that are in use, ending what runs in them.")
]

# --- images ---

ImageNames = Annotated[list[str], typer.Argument(metavar="IMAGE", help="Images, as NAME[:TAG][@DIGEST]."), _IMAGES]
ImageName = Annotated[str, typer.Argument(metavar="IMAGE", help="The image, by name or id."), _IMAGES]
ImageIds = Annotated[
    list[str] | None, typer.Argument(metavar="IMAGE", help="Images, by name or id.", show_default=False), _IMAGES
]
Platform = Annotated[
    str,
    typer.Option("--platform", metavar="OS/ARCH[/VARIANT]", help="Pull for this platform, not for this machine's."),
    Completes("words", ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/ppc64le", "linux/riscv64", "linux/s390x")),
]
PullPolicy = Annotated[
    str,
    typer.Option("--policy", metavar="always|missing|never", help="When to ask the registry."),
    Completes("words", ("always", "missing", "never")),
]
QuietPull = Annotated[bool, typer.Option("--quiet", "-q", help="Print the image's id only.")]
AllImages = Annotated[bool, typer.Option("--all", "-a", help="Remove every image.")]
ForceImages = Annotated[bool, typer.Option("--force", "-f", help="Remove images that boxes use, and those boxes too.")]

# --- listings ---

Format = Annotated[
    str,
    typer.Option("--format", metavar="table|json", help="How to print."),
    Completes("words", ("table", "json")),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print names or ids only.")]

# --- toolbox's spelling ---

ContainerArgument = Annotated[
    str | None,
    typer.Argument(metavar="CONTAINER", help="The box's name; by default after its image.", show_default=False),
    _BOXES,
]
Container = Annotated[str, typer.Option("--container", "-c", metavar="NAME", help="Run in this box."), _BOXES]
CommandAfterOptions = Annotated[
    list[str],
    typer.Argument(metavar="COMMAND", help="The command and its arguments."),
    Completes("commands"),
    ENDS_OPTIONS,
]
Distro = Annotated[
    str,
    typer.Option("--distro", "-d", metavar="DISTRO", help="The distribution: arch, fedora, rhel or ubuntu."),
    Completes("words", ("arch", "fedora", "rhel", "ubuntu")),
]
Release = Annotated[str, typer.Option("--release", "-r", metavar="RELEASE", help="The distribution's release.")]
ImageOption = Annotated[str, typer.Option("--image", "-i", metavar="IMAGE", help="The image to make it from."), _IMAGES]
AuthFile = Annotated[
    str,
    typer.Option("--authfile", metavar="FILE", help="Read the registry's credentials from FILE."),
    Completes("files"),
]
PreserveFds = Annotated[
    int,
    typer.Option(
        "--preserve-fds", metavar="N", min=0, help="Accepted: open descriptors are always passed on to the command."
    ),
]
AssumeYes = Annotated[bool, typer.Option("--assumeyes", "-y", help="Accepted: ptb does not ask.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Accepted: ptb --debug shows where an error came from.")]
ListContainers = Annotated[bool, typer.Option("--containers", "-c", help="List boxes only.")]
ListImages = Annotated[bool, typer.Option("--images", "-i", help="List images only.")]
