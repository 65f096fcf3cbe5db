"""Which containers a `--filter` means (podman-ps(1)): values of one key add up, different keys all must hold."""

from __future__ import annotations

from rootless.errors import UsageError
from toolbox.containers import described, sizes, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from toolbox.containers.record import ContainerRecord

_STATES = (
    "created",
    "running",
    "paused",
    "restarting",
    "exited",
    "stopped",
    "dead",
    "removing",
    "unknown",
    "initialized",
)


def matching(containers: list[ContainerRecord], filters: list[str]) -> list[ContainerRecord]:
    """The containers that all filters are true of, in their order. Raises UsageError for a filter there is not."""
    by_key: dict[str, list[str]] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        negated = key.endswith("!")
        if not equals:
            raise UsageError(f'filter "{text}" is not KEY=VALUE')
        if key.rstrip("!") not in _TESTS:
            raise UsageError(f'there is no filter "{key}"', hint=f"known are {', '.join(sorted(_TESTS))}")
        if negated and key != "label!":
            raise UsageError(f'filter "{key}=" cannot be negated: only label can')
        by_key.setdefault(key, []).append(value)
    return [one for one in containers if all(_holds(one, key, values) for key, values in by_key.items())]


def _holds(container: ContainerRecord, key: str, values: list[str]) -> bool:
    test = _TESTS[key.rstrip("!")]
    if key == "label":
        return all(test(container, value) for value in values)
    if key == "label!":
        return not any(test(container, value) for value in values)
    return any(test(container, value) for value in values)


def _label(container: ContainerRecord, value: str) -> bool:
    key, equals, wanted = value.partition("=")
    return key in container.labels and (not equals or container.labels[key] == wanted)


def _name(container: ContainerRecord, value: str) -> bool:
    import re

    try:
        return re.search(value, container.name) is not None
    except re.error as error:
        raise UsageError(f'filter "name={value}" is no regular expression: {error}') from error


def _status(container: ContainerRecord, value: str) -> bool:
    if value not in _STATES:
        raise UsageError(f'filter "status={value}": there is no such state', hint=f"known are {', '.join(_STATES)}")
    state = described.state_of(container, store.status(container))
    return state == value or (value == "stopped" and state == "exited")


def _exited(container: ContainerRecord, value: str) -> bool:
    if not value.lstrip("-").isdecimal():
        raise UsageError(f'filter "exited={value}": an exit status is a number')
    status = store.status(container)
    return status.state == "exited" and status.exit_code == int(value)


def _image(container: ContainerRecord, value: str) -> bool:
    wanted = value.partition("@")[0]
    names = {container.image, container.image.rpartition("/")[2], container.image.rpartition(":")[0]}
    names.add(container.image.rpartition("/")[2].partition(":")[0])
    digest = container.image_id.partition(":")[2]
    return wanted in names or wanted in container.image or (len(value) >= 3 and digest.startswith(value))


def _volume(container: ContainerRecord, value: str) -> bool:
    return any(value in (mount.name, mount.source, mount.target) for mount in container.mounts)


def _before(container: ContainerRecord, value: str) -> bool:
    return container.created < store.need(value).created


def _since(container: ContainerRecord, value: str) -> bool:
    return container.created > store.need(value).created


def _until(container: ContainerRecord, value: str) -> bool:
    return container.created / 10**9 < sizes.moment(value)


def _health(container: ContainerRecord, value: str) -> bool:
    return (store.status(container).health or "none") == value


def _network(container: ContainerRecord, value: str) -> bool:
    return container.network.mode == value


def _restart(container: ContainerRecord, value: str) -> bool:
    return container.restart.policy == value


def _ancestor(container: ContainerRecord, value: str) -> bool:
    return _image(container, value)


def _command(container: ContainerRecord, value: str) -> bool:
    return bool(container.arguments) and container.arguments[0] == value


_TESTS: dict[str, Callable[[ContainerRecord, str], bool]] = {
    "ancestor": _ancestor,
    "before": _before,
    "command": _command,
    "exited": _exited,
    "health": _health,
    "id": lambda container, value: container.id.startswith(value),
    "label": _label,
    "name": _name,
    "network": _network,
    "pod": lambda _container, value: value == "",
    "restart-policy": _restart,
    "since": _since,
    "status": _status,
    "until": _until,
    "volume": _volume,
}
