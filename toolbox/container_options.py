"""The vocabulary of options and arguments of the verbs about containers and volumes. A door to Typer, like options.py."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from toolbox.options import ENDS_OPTIONS, SWITCH, Completes


def _option(names: str, metavar: str | None, text: str) -> Any:
    return typer.Option(*names.split(), metavar=metavar, help=text, show_default=False)


def _argument(metavar: str, text: str) -> Any:
    return typer.Argument(metavar=metavar, help=text, show_default=False)


RunCommand = Annotated[
    list[str] | None,
    _argument("COMMAND", "What to run in place of what the image says."),
    Completes("commands"),
    ENDS_OPTIONS,
]
ExecCommand = Annotated[
    list[str] | None,
    _argument("CONTAINER COMMAND", "The container, the command and its arguments."),
    Completes("exec"),
    ENDS_OPTIONS,
]
TopArgs = Annotated[
    list[str] | None,
    _argument("CONTAINER [DESCRIPTOR]", "The container, and what to show of its processes."),
    Completes("containers"),
    ENDS_OPTIONS,
]
All = Annotated[bool, _option("--all -a", None, "Every container.")]
Archive = Annotated[str, _option("--archive -a", "true,false", "Keep owners, true by default."), SWITCH]
Author = Annotated[str, _option("--author -a", "AUTHOR", "Who made the image.")]
Change = Annotated[
    list[str] | None,
    _option(
        "--change -c", "INSTRUCTION", "Apply an instruction of a Dockerfile: CMD, ENV, ENTRYPOINT, EXPOSE, LABEL, …"
    ),
]
CidFiles = Annotated[list[str] | None, _option("--cidfile", "FILE", "Read ids from FILE as well."), Completes("files")]
Color = Annotated[bool, _option("--color", None, "Tell containers apart by colour.")]
Condition = Annotated[
    list[str] | None,
    _option("--condition", "STATE", "What to wait for, stopped by default."),
    Completes(
        "words", ("created", "running", "paused", "exited", "stopped", "removing", "restarting", "healthy", "unhealthy")
    ),
]
Depend = Annotated[bool, _option("--depend", None, "Remove containers that depend on it as well.")]
Details = Annotated[bool, _option("--details", None, "Show the log's labels too.")]
ExecDetach = Annotated[bool, _option("--detach -d", None, "Leave the process to itself.")]
External = Annotated[bool, _option("--external", None, "Accepted: there are no containers but ptb's own.")]
Filter = Annotated[
    list[str] | None, _option("--filter -f", "KEY=VALUE", "Only what this is true of."), Completes("filters")
]
LongFilter = Annotated[
    list[str] | None, _option("--filter", "KEY=VALUE", "Only what this is true of."), Completes("filters")
]
Follow = Annotated[bool, _option("--follow -f", None, "Go on with what is to come.")]
Force = Annotated[bool, _option("--force -f", None, "Even if it runs.")]
ForceUnmount = Annotated[bool, _option("--force -f", None, "Even if it is in use.")]
DoNotAsk = Annotated[bool, _option("--force -f", None, "Do not ask.")]
TemplateFormat = Annotated[str, _option("--format", "TEMPLATE", "table, json or a Go template.")]
ShortTemplateFormat = Annotated[str, _option("--format -f", "TEMPLATE", "json or a Go template.")]
FollowLink = Annotated[bool, _option("--follow-link -L", None, "Follow a link at the source.")]
Ignore = Annotated[bool, _option("--ignore -i", None, "Names of no container are no error.")]
IidFile = Annotated[str, _option("--iidfile", "FILE", "Write the image's id to FILE."), Completes("files")]
ImageFormat = Annotated[
    str,
    _option("--format -f", "oci,docker", "The image's format, oci by default."),
    Completes("words", ("oci", "docker")),
]
ImportArch = Annotated[str, _option("--arch", "ARCH", "The image's architecture.")]
ImportOs = Annotated[str, _option("--os", "OS", "The image's operating system.")]
ImportVariant = Annotated[str, _option("--variant", "VARIANT", "The architecture's variant.")]
IncludeVolumes = Annotated[bool, _option("--include-volumes", None, "Accepted: volumes are not part of an image.")]
Interval = Annotated[str, _option("--interval -i", "SECONDS", "Time between two looks.")]
Last = Annotated[str, _option("--last -n", "NUMBER", "The last NUMBER containers, whatever their state.")]
Latest = Annotated[bool, _option("--latest -l", None, "The container made last.")]
Message = Annotated[str, _option("--message -m", "TEXT", "A remark for the image's history.")]
NamesInLog = Annotated[bool, _option("--names", None, "Begin each line with the container's name.")]
Namespaces = Annotated[bool, _option("--namespace --ns", None, "Show the namespaces.")]
NoHeading = Annotated[bool, _option("--noheading", None, "Leave the headings out.")]
NoReset = Annotated[bool, _option("--no-reset", None, "Do not clear the screen between two looks.")]
NoStdin = Annotated[bool, _option("--no-stdin", None, "Do not pass standard input on.")]
NoStream = Annotated[bool, _option("--no-stream", None, "Look once.")]
NoTrunc = Annotated[bool, _option("--no-trunc --notruncate", None, "Show ids and commands whole.")]
Output = Annotated[str, _option("--output -o", "FILE", "Write to FILE, not to standard output."), Completes("files")]
Overwrite = Annotated[
    bool, _option("--overwrite", None, "Let a file take a directory's place and the other way round.")
]
Pause = Annotated[
    str, _option("--pause -p", "true,false", "Hold the container still meanwhile, true by default."), SWITCH
]
PodColumn = Annotated[bool, _option("--pod -p", None, "Accepted: there are no pods yet.")]
PrivilegedExec = Annotated[bool, _option("--privileged", None, "All capabilities, no filter.")]
QuietIds = Annotated[bool, _option("--quiet -q", None, "Ids only.")]
QuietVerb = Annotated[bool, _option("--quiet -q", None, "Say less.")]
RemoveVolumes = Annotated[bool, _option("--volumes -v", None, "Its anonymous volumes as well.")]
Running = Annotated[bool, _option("--running", None, "Only containers that run.")]
Since = Annotated[str, _option("--since", "TIME", "From then on: a time, or how long ago.")]
Size = Annotated[bool, _option("--size -s", None, "Show how much it has written.")]
Sort = Annotated[
    str,
    _option("--sort", "BY", "What to sort by."),
    Completes("words", ("command", "created", "id", "image", "names", "runningfor", "size", "status")),
]
Squash = Annotated[bool, _option("--squash -s", None, "One layer of everything, the image's own files included.")]
StartAttach = Annotated[bool, _option("--attach -a", None, "Show its output until it ends.")]
SignalOption = Annotated[str, _option("--signal -s", "SIGNAL", "Which signal."), Completes("signals")]
Stream = Annotated[str, _option("--stream", "true,false", "Go on with what is to come, true by default."), SWITCH]
Sync = Annotated[bool, _option("--sync", None, "Accepted: what is shown is always what is.")]
Tail = Annotated[str, _option("--tail -n", "NUMBER", "Only so many lines from the end, or all.")]
Time = Annotated[str, _option("--time -t", "SECONDS", "How long it has to end before it is killed.")]
Timestamps = Annotated[bool, _option("--timestamps -t", None, "Show when each line was written.")]
Type = Annotated[
    str,
    _option("--type", "TYPE", "What the name is of."),
    Completes("words", ("all", "container", "image", "volume", "network", "pod")),
]
Until = Annotated[str, _option("--until", "TIME", "Up to then: a time, or how long ago.")]
UpdateRestart = Annotated[
    str,
    _option("--restart", "POLICY", "no, on-failure[:N], always or unless-stopped."),
    Completes("words", ("no", "on-failure", "always", "unless-stopped")),
]
Watch = Annotated[str, _option("--watch -w", "SECONDS", "Show it again and again.")]
VolumeDriver = Annotated[str, _option("--driver -d", "DRIVER", "local is the one there is.")]
VolumeIgnore = Annotated[bool, _option("--ignore", None, "That it exists already is no error.")]
VolumeOpt = Annotated[list[str] | None, _option("--opt -o", "NAME=VALUE", "An option of the driver's.")]
ContainerArgs = Annotated[
    list[str] | None, _argument("CONTAINER", "Containers, by name or id."), Completes("containers")
]
ContainerArg = Annotated[str | None, _argument("CONTAINER", "The container, by name or id."), Completes("containers")]
OneContainer = Annotated[str, _argument("CONTAINER", "The container, by name or id."), Completes("containers")]
NewName = Annotated[str, _argument("NAME", "The new name.")]
ImageToRun = Annotated[str, _argument("IMAGE", "The image to run."), Completes("images")]
PortArg = Annotated[str | None, _argument("PORT[/PROTOCOL]", "One of its ports.")]
CopySource = Annotated[
    str, _argument("SOURCE", "A path, CONTAINER:PATH, or - for an archive."), Completes("container_paths")
]
CopyTarget = Annotated[
    str, _argument("TARGET", "A path, CONTAINER:PATH, or - for an archive."), Completes("container_paths")
]
NewImage = Annotated[str | None, _argument("IMAGE", "The image's name."), Completes("images")]
ImportSource = Annotated[str, _argument("FILE", "An archive, a URL, or - for standard input."), Completes("files")]
VolumeArgs = Annotated[list[str] | None, _argument("VOLUME", "Volumes, by name."), Completes("volumes")]
OneVolume = Annotated[str, _argument("VOLUME", "The volume's name."), Completes("volumes")]
VolumeName = Annotated[str | None, _argument("NAME", "The volume's name; a random one if there is none.")]
InspectArgs = Annotated[
    list[str] | None, _argument("NAME", "Containers, images or volumes, by name or id."), Completes("inspectable")
]
LongIgnore = Annotated[bool, _option("--ignore", None, "Names of no container are no error.")]
OneSecret = Annotated[str, _argument("NAME", "The secret's name."), Completes("secrets")]
SecretArgs = Annotated[list[str] | None, _argument("NAME", "Secrets, by name."), Completes("secrets")]
SecretSource = Annotated[str, _argument("FILE", "The file that holds it, or - for standard input."), Completes("files")]
SecretReplace = Annotated[bool, _option("--replace", None, "Take the place of one with the same name.")]
AllSecrets = Annotated[bool, _option("--all -a", None, "Every secret.")]
