"""What the verbs about containers do with their options; the work is in `lifecycle`, `run` and `execute`."""

from __future__ import annotations

from rootless import system as os
from rootless.errors import InUse, NotFound, PtbError, UsageError
from toolbox import names as shared_names
from toolbox.containers import lifecycle, store
from toolbox.containers.record import ContainerRecord, renamed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def chosen(
    names: list[str],
    *,
    all: bool = False,  # noqa: A002 - the option's name
    latest: bool = False,
    ignore: bool = False,
    cidfile: Sequence[str] | None = None,
    filters: Sequence[str] | None = None,
    states: tuple[str, ...] = (),
) -> list[ContainerRecord]:
    """The containers that are meant; of `--all` only those in one of `states`, if any are given."""
    wanted = [*names, *map(_read_id, cidfile or ())]
    if ignore:
        wanted = [name for name in wanted if store.find(name) is not None]
        if not wanted and not all and not latest:
            return []
    if filters:
        from toolbox.containers import selection

        found = selection.matching(store.everything(), list(filters))
        if wanted:
            found = [container for container in found if container in store.chosen(wanted)]
        return found
    found = store.chosen(wanted, all=all, latest=latest)
    return [one for one in found if not all or not states or _state(one) in states]


def _read_id(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read().strip()
    except OSError as error:
        raise NotFound(f'--cidfile "{path}": {os.strerror(error.errno or 0)}') from error


def _state(container: ContainerRecord) -> str:
    state = store.status(container).state
    return "paused" if state == "running" and store.is_paused(container) else state


def seconds(text: str, option: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f'{option} takes a number of seconds, not "{text}"') from None
    return value if value >= 0 else 10.0**9


def start(
    names: list[str],
    *,
    all: bool,  # noqa: A002 - the option's name
    attach: bool,
    interactive: bool,
    latest: bool,
    detach_keys: str,
    sig_proxy: str,
    filters: list[str] | None,
) -> int:
    """`start`: prints each name as it was given; with --attach the container's own exit status."""
    containers = chosen(names, all=all, latest=latest, filters=filters, states=("created", "exited"))
    if attach or interactive:
        from toolbox.containers import run

        if len(containers) != 1:
            raise UsageError("only one container can be attached to at once")
        return run.attached(
            containers[0],
            stdin=interactive and containers[0].open_stdin,
            detach_keys=run.keys(detach_keys),
            sig_proxy=run.is_on(sig_proxy),
        )
    given = dict(zip((container.id for container in containers), names, strict=False)) if not all else {}

    def work(container: ContainerRecord) -> str:
        lifecycle.start(container)
        return given.get(container.id, container.id)

    return lifecycle.each(containers, work)


def stop(
    names: list[str],
    *,
    all: bool,  # noqa: A002 - the option's name
    ignore: bool,
    latest: bool,
    time: str,
    signal: str,
    cidfile: list[str] | None,
    filters: list[str] | None,
) -> int:
    """`stop`: all at once, each with its own wait."""
    containers = chosen(names, all=all, latest=latest, ignore=ignore, cidfile=cidfile, filters=filters)
    wait_for = seconds(time, "--time")
    waiting = [
        (container, lifecycle.ask_to_stop(container, signal=signal, seconds=wait_for)) for container in containers
    ]
    given = dict(zip((container.id for container in containers), names, strict=False)) if not all else {}
    for container, connection in waiting:
        if connection is not None:
            lifecycle.await_end(connection)
        print(given.get(container.id, container.id if all or latest else container.name), flush=True)
    return 0


def restart(
    names: list[str],
    *,
    all: bool,  # noqa: A002 - the option's name
    latest: bool,
    running: bool,
    time: str,
    signal: str,
    cidfile: list[str] | None,
    filters: list[str] | None,
) -> int:
    """`restart`."""
    containers = chosen(
        names,
        all=all or running,
        latest=latest,
        cidfile=cidfile,
        filters=filters,
        states=("running",) if running else (),
    )
    wait_for = seconds(time, "--time")

    def work(container: ContainerRecord) -> str:
        lifecycle.stop(container, signal=signal, seconds=wait_for)
        lifecycle.start(container)
        return container.name if not all else container.id

    return lifecycle.each(containers, work)


def kill(
    names: list[str],
    *,
    all: bool,  # noqa: A002 - the option's name
    latest: bool,
    signal: str,
    cidfile: list[str] | None,
) -> int:
    """`kill`."""
    containers = chosen(names, all=all, latest=latest, cidfile=cidfile, states=("running", "paused"))

    def work(container: ContainerRecord) -> str:
        lifecycle.kill(container, signal or "KILL")
        return container.name

    return lifecycle.each(containers, work)


def pause(
    names: list[str],
    *,
    all: bool,  # noqa: A002 - the option's name
    latest: bool,
    cidfile: list[str] | None,
    filters: list[str] | None,
) -> int:
    """`pause`."""
    containers = chosen(names, all=all, latest=latest, cidfile=cidfile, filters=filters, states=("running",))

    def work(container: ContainerRecord) -> str:
        lifecycle.pause(container)
        return container.name

    return lifecycle.each(containers, work)


def unpause(
    names: list[str],
    *,
    all: bool,  # noqa: A002 - the option's name
    latest: bool,
    cidfile: list[str] | None,
    filters: list[str] | None,
) -> int:
    """`unpause`."""
    containers = chosen(names, all=all, latest=latest, cidfile=cidfile, filters=filters, states=("paused",))

    def work(container: ContainerRecord) -> str:
        lifecycle.pause(container, resume=True)
        return container.name

    return lifecycle.each(containers, work)


def wait(names: list[str], *, condition: list[str] | None, ignore: bool, interval: str, latest: bool) -> int:
    """`wait`: prints an exit status a line; the interval is accepted, since nothing is looked at again and again."""
    missing = [name for name in names if store.find(name) is None]
    if missing and not ignore:
        raise NotFound(f'no container with name or ID "{missing[0]}" found: no such container', hint="ptb ps -a")
    for name in names if not latest else [store.newest().id]:
        container = store.find(name)
        print(-1 if container is None else lifecycle.wait(container, tuple(condition or ("stopped",))), flush=True)
    return 0


def rename(name: str, new_name: str) -> int:
    """`rename`: the new name is claimed before the old one is given up."""
    container = store.need(name)
    store.check_name(new_name)
    held = store.lock(container)
    try:
        shared_names.claim(new_name, container.id)
        store.save(renamed(container, new_name))
        if new_name != container.name:
            shared_names.release(container.name)
    finally:
        os.close(held)
    return 0


def execute(
    command: list[str],
    *,
    detach: bool,
    detach_keys: str,
    env: list[str] | None,
    env_file: list[str] | None,
    interactive: bool,
    latest: bool,
    preserve_fds: int,
    privileged: bool,
    tty: bool,
    user: str,
    workdir: str,
    pidfile: str,
) -> int:
    """`exec`."""
    from toolbox.containers import execute, process_options

    container = store.newest() if latest else store.need(command[0] if command else "")
    words = command if latest else command[1:]
    if not words:
        raise UsageError("exec: a command is missing", hint=f"ptb exec -it {container.name} sh")
    return execute.execute(
        container,
        tuple(words),
        terminal=tty,
        interactive=interactive,
        detach=detach,
        environment=process_options.environment(env or [], env_file or [], dict(os.environ)),
        user=user,
        directory=workdir,
        privileged=privileged,
        preserve_fds=preserve_fds,
        pid_file=pidfile,
    )


def attach(name: str | None, *, detach_keys: str, latest: bool, no_stdin: bool, sig_proxy: str) -> int:
    """`attach`."""
    from rootless import attachment, terminal_relay
    from toolbox.containers import run

    container = store.newest() if latest else store.need(name or "")
    connection = lifecycle.monitor_of(container)
    if connection is None or store.status(container).state != "running":
        raise InUse(f'container "{container.name}" is not running: nobody can be attached to it')
    attachment.tell(connection, attachment.ATTACH)
    proxy = run.is_on(sig_proxy)
    signals = terminal_relay.catch_signals() if proxy or container.terminal else None
    stdin = container.open_stdin and not no_stdin
    return run.finish(container, run.follow(container, connection, stdin, run.keys(detach_keys), signals, (True, True)))


def init(names: list[str], *, all: bool, latest: bool) -> int:  # noqa: A002 - the option's name
    """`init`: everything is made at the start anyway; what can be checked before is checked now."""
    from toolbox.containers import start

    def work(container: ContainerRecord) -> str:
        if store.status(container).state not in ("created", "exited"):
            raise InUse(f'container "{container.name}" runs already: it cannot be initialised')
        start.check_layers(container)
        return container.name

    return lifecycle.each(chosen(names, all=all, latest=latest, states=("created", "exited")), work)


def exists(name: str, *, external: bool = False) -> int:
    """`container exists`."""
    return 0 if store.find(name) is not None else 1


def check_health(name: str) -> int:
    """`healthcheck run`: 0 when healthy, 1 when not (podman-healthcheck-run(1))."""
    from rootless.health import command_of
    from toolbox.containers import execute

    container = store.need(name)
    if container.health is None:
        raise PtbError(f'container "{container.name}" has no health check', hint="ptb run --health-cmd …")
    return 0 if execute.execute(container, command_of(container.health.test)) == 0 else 1
