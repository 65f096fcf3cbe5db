"""`ptb volume …`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.container_options import (
        All,
        DoNotAsk,
        Filter,
        Force,
        LongFilter,
        NoHeading,
        OneVolume,
        QuietIds,
        ShortTemplateFormat,
        TemplateFormat,
        Time,
        VolumeArgs,
        VolumeDriver,
        VolumeIgnore,
        VolumeName,
        VolumeOpt,
    )
    from toolbox.run_options import (
        Labels,
    )


def volume_create(
    name: VolumeName = None,
    *,
    driver: VolumeDriver = "",
    ignore: VolumeIgnore = False,
    label: Labels = None,
    opt: VolumeOpt = None,
) -> int:
    """Make a volume."""
    from toolbox.containers import volume_verbs

    return volume_verbs.create(name, driver=driver, ignore=ignore, label=label, opt=opt)


def volume_ls(
    *,
    filters: Filter = None,
    format: TemplateFormat = "",  # noqa: A002
    noheading: NoHeading = False,
    quiet: QuietIds = False,
) -> int:
    """List volumes."""
    from toolbox.containers import volume_verbs

    return volume_verbs.show(filters=filters, format=format, noheading=noheading, quiet=quiet)


def volume_inspect(
    names: VolumeArgs = None,
    *,
    all: All = False,  # noqa: A002
    format: ShortTemplateFormat = "",  # noqa: A002
) -> int:
    """Show everything about volumes."""
    from toolbox.containers import volume_verbs

    return volume_verbs.inspect(names or [], all=all, format=format)


def volume_rm(
    names: VolumeArgs = None,
    *,
    all: All = False,  # noqa: A002
    force: Force = False,
    time: Time = "",
) -> int:
    """Remove volumes."""
    from toolbox.containers import lifecycle, volume_verbs

    return lifecycle.removal(lambda: volume_verbs.remove(names or [], all=all, force=force, time=time))


def volume_prune(
    *,
    all: All = False,  # noqa: A002
    force: DoNotAsk = False,
    filters: LongFilter = None,
) -> int:
    """Remove the volumes that no container uses."""
    from toolbox.containers import volume_verbs

    return volume_verbs.prune(all=all, force=force, filters=filters)


def volume_exists(
    name: OneVolume,
) -> int:
    """Exit with 0 if there is such a volume, else with 1."""
    from toolbox.containers import volume_verbs

    return volume_verbs.exists(name)
