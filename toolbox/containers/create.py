"""Making a container: temporary."""

from __future__ import annotations
import os, time
from rootless import capabilities
from rootless.errors import NotFound
from toolbox.containers import store
from toolbox.containers.record import *


def create(image, command, **o):
    from toolbox.images import stored

    found = stored.find(image)
    if found is None:
        from toolbox.images import pull

        found = pull.ensure(image)
    c = found.config
    identity = os.urandom(32).hex()
    name = o.get("name") or f"ptb-{identity[:8]}"
    cmd = tuple(command) or c.cmd
    mounts = []
    for v in o.get("volume") or ():
        a, _, b = v.partition(":")
        mounts.append(Mount("bind", b, os.path.abspath(a)) if "/" in a else Mount("volume", b, name=a))
    caps = capabilities.NAMES if o.get("privileged") else sorted(capabilities.DEFAULT)
    rec = ContainerRecord(
        id=identity,
        name=store.check_name(name),
        created=time.time_ns(),
        image=found.name,
        image_id=found.manifest.config.digest,
        image_digest=found.digest,
        layers=c.diff_ids,
        arguments=c.entrypoint + cmd,
        entrypoint=c.entrypoint,
        command=cmd,
        environment=(*c.env, *(o.get("env") or ())),
        directory=o.get("workdir") or c.working_dir or "/",
        user=o.get("user") or c.user,
        hostname=o.get("hostname") or identity[:12],
        security=Security(tuple(caps), privileged=bool(o.get("privileged"))),
        terminal=bool(o.get("tty")),
        open_stdin=bool(o.get("interactive")),
        stdin_once=bool(o.get("interactive")) and not o.get("detach"),
        remove=bool(o.get("rm")),
        mounts=tuple(mounts),
        network=NetworkChoice(o.get("network") or "host"),
        ids=IdMapping(o.get("userns") or ""),
        init=bool(o.get("init")),
        runtime=o.get("runtime") or "",
    )
    os.close(store.add(rec))
    return rec
