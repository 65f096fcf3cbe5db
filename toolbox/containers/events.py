"""`events`: what happens to containers, volumes and images, kept as lines of JSON in `$XDG_STATE_HOME/ptb/events`.

Each event is one write(2) to a file opened for appending, so nobody waits for anybody. A file that has grown large
becomes `events.1` and the one before it goes.
"""

from __future__ import annotations

import time

from rootless import json_text
from rootless import system as os
from rootless.errors import PtbError, UsageError
from toolbox import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_LARGEST = 1 << 20
_FILTERS = ("container", "event", "image", "label", "type", "volume")


def note(kind: str, action: str, identity: str, name: str, **attributes: object) -> None:
    """Add an event; that it cannot be kept is no reason to fail."""
    place = paths.state_home()
    entry = {"Time": time.time_ns(), "Type": kind, "Status": action, "ID": identity, "Name": name, **attributes}
    try:
        os.makedirs(place, mode=0o700, exist_ok=True)
        fd = os.open(f"{place}/events", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, json_text.dump(entry).encode(errors="surrogateescape") + b"\n")
            large = os.fstat(fd).st_size > _LARGEST
        finally:
            os.close(fd)
        if large:
            os.rename(f"{place}/events", f"{place}/events.1")
    except OSError:
        return


def show(
    *,
    filters: list[str] | None,
    format: str,  # noqa: A002 - the option's name
    no_trunc: bool,
    since: str,
    stream: str,
    until: str,
) -> int:
    """`events`: those that were from `--since` on, and those to come unless --stream=false or --until is past."""
    from toolbox.containers import sizes

    wanted = [_filter(text) for text in filters or ()]
    first = sizes.moment(since) if since else time.time()
    last = sizes.moment(until) if until else float("inf")
    goes_on = stream.lower() not in ("false", "0", "f") and last > time.time()
    template = None
    if format and format != "json":
        from toolbox import gotemplate

        template = gotemplate.parse(format)
    for event in _events(first, last, goes_on=goes_on, past=bool(since) or not goes_on):
        if not all(_holds(event, key, values) for key, values in _grouped(wanted).items()):
            continue
        if template is not None:
            from toolbox import gotemplate

            print(gotemplate.render(template, event), flush=True)
        elif format == "json":
            print(json_text.dump(event), flush=True)
        else:
            print(_line(event, whole=no_trunc), flush=True)
    return 0


def _filter(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or key not in _FILTERS:
        raise UsageError(f'there is no filter "{text}"', hint=f"known are {', '.join(_FILTERS)}")
    return key, value


def _grouped(filters: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in filters:
        found.setdefault(key, []).append(value)
    return found


def _holds(event: dict[str, Any], key: str, values: list[str]) -> bool:
    if key == "event":
        return event["Status"] in values
    if key == "type":
        return event["Type"] in values
    if key == "label":
        labels = event.get("Attributes") or {}
        pairs = [value.partition("=") for value in values]
        return all(name in labels and (not equals or labels[name] == wanted) for name, equals, wanted in pairs)
    if key == "image":
        return any(value in (event.get("Image"), event["Name"]) or value in str(event.get("Image")) for value in values)
    of_kind = event["Type"] == key
    return of_kind and any(event["Name"] == value or event["ID"].startswith(value) for value in values)


def _events(first: float, last: float, *, goes_on: bool, past: bool) -> Iterator[dict[str, Any]]:
    place = paths.state_home()
    os.makedirs(place, mode=0o700, exist_ok=True)
    if past:
        for name in ("events.1", "events"):
            try:
                with open(f"{place}/{name}", encoding="utf-8", errors="surrogateescape") as stream:
                    yield from (event for event in _parsed(stream) if first <= event["Time"] / 10**9 <= last)
            except FileNotFoundError:
                continue
    if goes_on:
        yield from _to_come(place, last)


def _parsed(lines: Iterator[str] | Any) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield json_text.parse(line, "events")
        except PtbError:
            continue


def _to_come(place: str, last: float) -> Iterator[dict[str, Any]]:
    """Events as they are written (inotify(7))."""
    import select

    from rootless import kernel

    fd = os.open(f"{place}/events", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.lseek(fd, 0, os.SEEK_END)
    watch = kernel.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    kernel.inotify_add_watch(watch, place, kernel.IN_MODIFY | kernel.IN_CREATE)
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    rest = b""
    while time.time() < last:
        remaining = None if last == float("inf") else max(0, int((last - time.time()) * 1000))
        if not poll.poll(remaining):
            return
        os.read(watch, 65536)
        while data := os.read(fd, 65536):
            *lines, rest = (rest + data).split(b"\n")
            yield from _parsed(line.decode(errors="surrogateescape") for line in lines)
        try:
            if os.stat(f"{place}/events").st_ino != os.fstat(fd).st_ino:
                os.close(fd)
                fd = os.open(f"{place}/events", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue


def _line(event: dict[str, Any], *, whole: bool) -> str:
    """As podman prints it: time, type, action, id, and what else is known in brackets."""
    from toolbox.containers import described

    moment = described.local_time(event["Time"]).split(" ")
    text = f"{moment[0]} {moment[1]}.{event['Time'] % 10**9:09} {' '.join(moment[2:])}"
    identity = event["ID"] if whole else event["ID"][:12]
    extra = [f"image={event['Image']}"] if event.get("Image") else []
    extra.append(f"name={event['Name']}")
    if "ContainerExitCode" in event:
        extra.append(f"exitCode={event['ContainerExitCode']}")
    extra += [f"{key}={value}" for key, value in (event.get("Attributes") or {}).items()]
    return f"{text} {event['Type']} {event['Status']} {identity} ({', '.join(extra)})"
