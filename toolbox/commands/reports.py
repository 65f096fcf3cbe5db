"""What containers are doing and have said: logs, top, stats, inspect, port, events."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.container_options import (
        All,
        Color,
        ContainerArg,
        ContainerArgs,
        Details,
        Filter,
        Follow,
        InspectArgs,
        Interval,
        Latest,
        NamesInLog,
        NoReset,
        NoStream,
        NoTrunc,
        OneContainer,
        PortArg,
        ShortTemplateFormat,
        Since,
        Size,
        Stream,
        Tail,
        TemplateFormat,
        Timestamps,
        TopArgs,
        Type,
        Until,
    )


def logs(
    names: ContainerArgs = None,
    *,
    color: Color = False,
    follow: Follow = False,
    latest: Latest = False,
    names_in_log: NamesInLog = False,
    since: Since = "",
    until: Until = "",
    tail: Tail = "",
    timestamps: Timestamps = False,
    details: Details = False,
) -> int:
    """Show what containers have said."""
    from toolbox.containers import logs

    return logs.show(
        names or [],
        color=color,
        follow=follow,
        latest=latest,
        names_in_log=names_in_log,
        since=since,
        until=until,
        tail=tail,
        timestamps=timestamps,
        details=details,
    )


def top(
    arguments: TopArgs = None,
    *,
    latest: Latest = False,
) -> int:
    """Show the processes of a container."""
    from toolbox.containers import top

    return top.show(arguments or [], latest=latest)


def stats(
    names: ContainerArgs = None,
    *,
    all: All = False,  # noqa: A002
    format: TemplateFormat = "",  # noqa: A002
    interval: Interval = "",
    latest: Latest = False,
    no_reset: NoReset = False,
    no_stream: NoStream = False,
    no_trunc: NoTrunc = False,
) -> int:
    """Show what containers use of the machine."""
    from toolbox.containers import stats

    return stats.show(
        names or [],
        all=all,
        format=format,
        interval=interval,
        latest=latest,
        no_reset=no_reset,
        no_stream=no_stream,
        no_trunc=no_trunc,
    )


def inspect(
    names: InspectArgs = None,
    *,
    format: ShortTemplateFormat = "",  # noqa: A002
    latest: Latest = False,
    size: Size = False,
    type: Type = "",  # noqa: A002
) -> int:
    """Show everything about containers, images or volumes."""
    from toolbox.containers import inspect

    return inspect.show(names or [], format=format, latest=latest, size=size, type=type)


def container_inspect(
    names: ContainerArgs = None,
    *,
    format: ShortTemplateFormat = "",  # noqa: A002
    latest: Latest = False,
    size: Size = False,
) -> int:
    """Show everything about containers."""
    from toolbox.containers import inspect

    return inspect.show_containers(names or [], format=format, latest=latest, size=size)


def port(
    name: ContainerArg = None,
    port: PortArg = None,
    *,
    all: All = False,  # noqa: A002
    latest: Latest = False,
) -> int:
    """Show the published ports of a container."""
    from toolbox.containers import port as ports

    return ports.show(name, port, all=all, latest=latest)


def events(
    *,
    filters: Filter = None,
    format: TemplateFormat = "",  # noqa: A002
    no_trunc: NoTrunc = False,
    since: Since = "",
    stream: Stream = "true",
    until: Until = "",
) -> int:
    """Show what happens to containers, images and volumes."""
    from toolbox.containers import events

    return events.show(filters=filters, format=format, no_trunc=no_trunc, since=since, stream=stream, until=until)


def healthcheck_run(
    name: OneContainer,
) -> int:
    """Check a container's health now."""
    from toolbox.containers import verbs

    return verbs.check_health(name)
