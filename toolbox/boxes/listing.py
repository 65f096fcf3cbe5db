"""`ptb list`: the boxes, which of them run, and what they are made of."""

from __future__ import annotations

from rootless import system as os
from toolbox import output
from toolbox.boxes import store


def show(*, format: str, quiet: bool) -> int:  # noqa: A002 - the option's name
    """Print the boxes as a table, as JSON, or with `quiet` their names only."""
    rows = []
    for name in store.names():
        summary = store.summary_of(name)
        if summary is None:
            continue
        running = store.running(name)
        if running is not None:
            os.close(running[1])
        rows.append((*summary, running is not None))
    if quiet:
        for row in rows:
            print(row[1])
    elif output.check_format(format) == "json":
        output.print_json(
            [
                {"id": box_id, "name": name, "image": image, "created": created, "running": alive}
                for box_id, name, image, created, alive in rows
            ]
        )
    else:
        output.print_table(
            ("NAME", "IMAGE", "CREATED", "STATUS"),
            [
                (name, image, output.age(created), "running" if alive else "stopped")
                for _box_id, name, image, created, alive in rows
            ],
        )
    return 0
