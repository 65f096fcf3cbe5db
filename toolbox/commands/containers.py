"""ps, start, stop and their like: one function per command, as the catalogue names it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.container_options import (
        All,
        CidFiles,
        Condition,
        ContainerArg,
        ContainerArgs,
        DoNotAsk,
        ExecCommand,
        ExecDetach,
        External,
        Filter,
        Ignore,
        Interval,
        Last,
        Latest,
        LongFilter,
        LongIgnore,
        Namespaces,
        NewName,
        NoHeading,
        NoStdin,
        NoTrunc,
        OneContainer,
        PodColumn,
        PrivilegedExec,
        QuietIds,
        Running,
        SignalOption,
        Size,
        Sort,
        StartAttach,
        Sync,
        TemplateFormat,
        Time,
        Watch,
    )
    from toolbox.run_options import (
        DetachKeys,
        Environment,
        EnvironmentFiles,
        Interactive,
        PidFile,
        PreserveFdsNumber,
        SigProxy,
        Tty,
        User,
        WorkDirectory,
    )


def ps(
    *,
    all: All = False,  # noqa: A002
    last: Last = "",
    latest: Latest = False,
    no_trunc: NoTrunc = False,
    quiet: QuietIds = False,
    size: Size = False,
    filters: Filter = None,
    format: TemplateFormat = "",  # noqa: A002
    sort: Sort = "",
    noheading: NoHeading = False,
    namespaces: Namespaces = False,
    sync: Sync = False,
    external: External = False,
    pod: PodColumn = False,
    watch: Watch = "",
) -> int:
    """List containers."""
    from toolbox.containers import listing

    return listing.show(
        all=all,
        last=last,
        latest=latest,
        no_trunc=no_trunc,
        quiet=quiet,
        size=size,
        filters=filters,
        format=format,
        sort=sort,
        noheading=noheading,
        namespaces=namespaces,
        watch=watch,
    )


def start(
    names: ContainerArgs = None,
    *,
    all: All = False,  # noqa: A002
    attach: StartAttach = False,
    interactive: Interactive = False,
    latest: Latest = False,
    detach_keys: DetachKeys = "",
    sig_proxy: SigProxy = "true",
    filters: Filter = None,
) -> int:
    """Start containers."""
    from toolbox.containers import verbs

    return verbs.start(
        names or [],
        all=all,
        attach=attach,
        interactive=interactive,
        latest=latest,
        detach_keys=detach_keys,
        sig_proxy=sig_proxy,
        filters=filters,
    )


def stop(
    names: ContainerArgs = None,
    *,
    all: All = False,  # noqa: A002
    ignore: Ignore = False,
    latest: Latest = False,
    time: Time = "",
    signal: SignalOption = "",
    cidfile: CidFiles = None,
    filters: Filter = None,
) -> int:
    """Stop containers: their stop signal first, and KILL if that does not do."""
    from toolbox.containers import verbs

    return verbs.stop(
        names or [], all=all, ignore=ignore, latest=latest, time=time, signal=signal, cidfile=cidfile, filters=filters
    )


def restart(
    names: ContainerArgs = None,
    *,
    all: All = False,  # noqa: A002
    latest: Latest = False,
    running: Running = False,
    time: Time = "",
    signal: SignalOption = "",
    cidfile: CidFiles = None,
    filters: Filter = None,
) -> int:
    """Stop containers and start them again."""
    from toolbox.containers import verbs

    return verbs.restart(
        names or [], all=all, latest=latest, running=running, time=time, signal=signal, cidfile=cidfile, filters=filters
    )


def kill(
    names: ContainerArgs = None,
    *,
    all: All = False,  # noqa: A002
    latest: Latest = False,
    signal: SignalOption = "",
    cidfile: CidFiles = None,
) -> int:
    """Send containers a signal, KILL unless told otherwise."""
    from toolbox.containers import verbs

    return verbs.kill(names or [], all=all, latest=latest, signal=signal, cidfile=cidfile)


def pause(
    names: ContainerArgs = None,
    *,
    all: All = False,  # noqa: A002
    latest: Latest = False,
    cidfile: CidFiles = None,
    filters: Filter = None,
) -> int:
    """Hold all processes of containers still."""
    from toolbox.containers import verbs

    return verbs.pause(names or [], all=all, latest=latest, cidfile=cidfile, filters=filters)


def unpause(
    names: ContainerArgs = None,
    *,
    all: All = False,  # noqa: A002
    latest: Latest = False,
    cidfile: CidFiles = None,
    filters: Filter = None,
) -> int:
    """Let paused containers go on."""
    from toolbox.containers import verbs

    return verbs.unpause(names or [], all=all, latest=latest, cidfile=cidfile, filters=filters)


def wait(
    names: ContainerArgs = None,
    *,
    condition: Condition = None,
    ignore: LongIgnore = False,
    interval: Interval = "",
    latest: Latest = False,
) -> int:
    """Wait until containers have ended and print their exit statuses."""
    from toolbox.containers import verbs

    return verbs.wait(names or [], condition=condition, ignore=ignore, interval=interval, latest=latest)


def container_prune(
    *,
    force: DoNotAsk = False,
    filters: LongFilter = None,
) -> int:
    """Remove all containers that do not run."""
    from toolbox.containers import remove

    return remove.prune(force=force, filters=filters)


def rename(
    name: OneContainer,
    new_name: NewName,
) -> int:
    """Give a container another name."""
    from toolbox.containers import verbs

    return verbs.rename(name, new_name)


def execute(
    command: ExecCommand = None,
    *,
    detach: ExecDetach = False,
    detach_keys: DetachKeys = "",
    env: Environment = None,
    env_file: EnvironmentFiles = None,
    interactive: Interactive = False,
    latest: Latest = False,
    preserve_fds: PreserveFdsNumber = 0,
    privileged: PrivilegedExec = False,
    tty: Tty = False,
    user: User = "",
    workdir: WorkDirectory = "",
    pidfile: PidFile = "",
) -> int:
    """Run another process in a container."""
    from toolbox.containers import verbs

    return verbs.execute(
        command or [],
        detach=detach,
        detach_keys=detach_keys,
        env=env,
        env_file=env_file,
        interactive=interactive,
        latest=latest,
        preserve_fds=preserve_fds,
        privileged=privileged,
        tty=tty,
        user=user,
        workdir=workdir,
        pidfile=pidfile,
    )


def attach(
    name: ContainerArg = None,
    *,
    detach_keys: DetachKeys = "",
    latest: Latest = False,
    no_stdin: NoStdin = False,
    sig_proxy: SigProxy = "true",
) -> int:
    """Be attached to a container that runs."""
    from toolbox.containers import verbs

    return verbs.attach(name, detach_keys=detach_keys, latest=latest, no_stdin=no_stdin, sig_proxy=sig_proxy)


def init(
    names: ContainerArgs = None,
    *,
    all: All = False,  # noqa: A002
    latest: Latest = False,
) -> int:
    """Make containers ready to start."""
    from toolbox.containers import verbs

    return verbs.init(names or [], all=all, latest=latest)


def container_exists(
    name: OneContainer,
    *,
    external: External = False,
) -> int:
    """Exit with 0 if there is such a container, else with 1."""
    from toolbox.containers import verbs

    return verbs.exists(name)
