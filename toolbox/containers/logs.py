"""`logs`: what containers have said."""

from __future__ import annotations

from rootless import processes
from rootless.errors import UsageError
from toolbox.containers import log_reader, sizes, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolbox.containers.log_reader import LogLine
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
    for index, container in enumerate(containers):
        if container.log.driver == "none":
            raise UsageError(
                f'container "{container.name}" keeps no output: it was made with --log-driver none',
                hint=f"ptb attach {container.name} shows what is to come",
            )
        lines = _lines(
            container,
            count,
            sizes.moment(since) if since else None,
            sizes.moment(until) if until else None,
            follow=follow,
        )
        name = container.name if names_in_log or len(containers) > 1 else ""
        log_reader.show(lines, timestamps=timestamps, name=name, color=index if color else None)
    return 0


def _lines(
    container: ContainerRecord, count: int | None, since: float | None, until: float | None, *, follow: bool
) -> Iterator[LogLine]:
    directory, driver = store.directory(container.id), container.log.driver
    if not follow:
        return log_reader.read(directory, driver, tail=count, since=since, until=until, identity=container.id)
    status = store.status(container)
    monitor = processes.open_process(status.monitor, status.monitor_started) if status.monitor else None

    def alive() -> bool:
        return store.status(container).state in ("running", "starting", "restarting")

    return log_reader.follow(
        directory,
        driver,
        alive,
        tail=count,
        since=since,
        until=until,
        identity=container.id,
        wake=-1 if monitor is None else monitor,
    )


def _number(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f'--tail takes a number of lines or all, not "{text}"')
    return int(text)
