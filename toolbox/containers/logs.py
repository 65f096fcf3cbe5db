"""`logs`: what containers have said."""

from __future__ import annotations

from rootless import status as status_module
from rootless.errors import UsageError
from toolbox.containers import log_reader, sizes, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.containers.record import ContainerRecord


def show(
    names: list[str],
    *,
    color: bool,
    follow: bool,
    latest: bool,
    names_in_log: bool,
    since: str,
    until: str,
    tail: str,
    timestamps: bool,
    details: bool,
) -> int:
    """`logs`. Raises UsageError for a container whose output is kept nowhere."""
    containers = store.chosen(names, latest=latest)
    count = None if tail in ("", "all", "-1") else _number(tail)
    if follow and len(containers) > 1:
        raise UsageError("--follow takes one container")
    for container in containers:
        if container.log.driver == "none":
            raise UsageError(
                f'container "{container.name}" keeps no output: it was made with --log-driver none',
                hint="ptb attach shows what is to come",
            )
        log_reader.show(
            container_lines(container, count, since, until, follow=follow),
            timestamps=timestamps,
            name=container.name if names_in_log or len(containers) > 1 else "",
            color=color,
        )
    return 0


def container_lines(container: ContainerRecord, count: int | None, since: str, until: str, *, follow: bool):  # type: ignore[no-untyped-def] # noqa: ANN201
    """The lines that are asked for, and with `follow` those that come."""
    directory = store.directory(container.id)
    return log_reader.lines(
        directory,
        container.log.driver,
        identity=container.id,
        tail=count,
        since=sizes.moment(since) if since else None,
        until=sizes.moment(until) if until else None,
        follow=(lambda: status_module.load(directory).state in ("running", "starting", "restarting"))
        if follow
        else None,
    )


def _number(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f'--tail takes a number of lines or all, not "{text}"')
    return int(text)
