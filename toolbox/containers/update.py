"""`update`: other limits, or another restart policy, for a container that exists; at once where it runs."""

from __future__ import annotations

import os

from rootless import container_cgroup
from rootless import state as state_module
from rootless.errors import UsageError
from rootless.record import replace
from toolbox.containers import process_options, resource_options, store


def update(name: str, **given: object) -> int:
    """`update`: prints the id. Raises UsageError, HostUnfit where a running container has no cgroup to limit."""
    container = store.need(name)
    restart = str(given.pop("restart", "") or "")
    changed = resource_options.resources({**given, "changing": True})
    if not changed and not restart:
        raise UsageError("update: nothing to change", hint="ptb update --help")
    held = store.lock(container)
    try:
        merged = dict(container.resources)
        for key, value in changed.items():
            merged[key] = {**merged.get(key, {}), **value}
        if changed and store.status(container).state == "running":
            container_cgroup.update(state_module.read(store.runtime_root(), container.id).cgroup, changed)
        policy = process_options.restart(restart) if restart else container.restart
        store.save(replace(container, resources=merged, restart=policy))
    finally:
        os.close(held)
    print(container.id)
    return 0
