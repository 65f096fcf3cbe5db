"""Id maps of a container's own: `--uidmap`, `--gidmap` and `--userns=nomap` (podman-run(1)).

As with rootless podman the ids outside are those under the default map: 0 is the caller, 1, 2, … are the subordinate ids;
`@` before one means an id of the host's. The container is in a user namespace below the default map's.
"""

from __future__ import annotations

from rootless import ids
from rootless.errors import UsageError
from rootless.ids import IdRange
from toolbox.containers.record import IdMapping

Ranges = tuple[tuple[int, int, int], ...]

_LARGEST = (1 << 32) - 2


def mapping(uid_maps: list[str], gid_maps: list[str]) -> IdMapping:
    """What the options mean; one that is not given is as the other. Raises UsageError."""
    who = ids.subordinates()
    uids = _ranges(uid_maps or gid_maps, "--uidmap" if uid_maps else "--gidmap", who.uid, who.uid_ranges)
    gids = _ranges(gid_maps or uid_maps, "--gidmap" if gid_maps else "--uidmap", who.gid, who.gid_ranges)
    return IdMapping("maps", uids=uids, gids=gids)


def without_caller() -> IdMapping:
    """`nomap`: the subordinate ids only."""
    who = ids.subordinates()
    uids, gids = (((0, 1, sum(count for _first, count in found)),) for found in (who.uid_ranges, who.gid_ranges))
    return IdMapping("maps", uids=uids, gids=gids)


def records(ranges: Ranges) -> tuple[IdRange, ...]:
    """The ranges as `ids` has them."""
    return tuple(IdRange(*part) for part in ranges)


def _ranges(texts: list[str], option: str, own: int, subordinate: tuple[tuple[int, int], ...]) -> Ranges:
    available = 1 + sum(count for _first, count in subordinate)
    found: list[tuple[int, int, int]] = []
    for text in texts:
        inside, outside, length = _parse(text, option, own, subordinate)
        if outside + length > available:
            raise UsageError(
                f'{option} "{text}": there are {available} ids to map, 0 to {available - 1}',
                hint="0 is you, the others are your subordinate ids: see /etc/subuid and /etc/subgid",
            )
        for other, (its_inside, its_outside, its_length) in zip(texts, found, strict=False):
            if inside < its_inside + its_length and its_inside < inside + length:
                raise UsageError(f'{option} "{text}" and "{other}" overlap in the container')
            if outside < its_outside + its_length and its_outside < outside + length:
                raise UsageError(f'{option} "{text}" and "{other}" map the same ids')
        found.append((inside, outside, length))
    return tuple(found)


def _parse(text: str, option: str, own: int, subordinate: tuple[tuple[int, int], ...]) -> tuple[int, int, int]:
    fields = text.split(":")
    if not 2 <= len(fields) <= 3:
        raise UsageError(f'{option} "{text}" must be CONTAINER:HOST[:SIZE]', hint=f"{option} 0:1:1000")
    of_host = fields[1].startswith("@")
    numbers = [fields[0], fields[1].removeprefix("@"), *(fields[2:] or ["1"])]
    if not all(number.isascii() and number.isdecimal() and int(number) <= _LARGEST for number in numbers):
        raise UsageError(f'{option} "{text}" must be three numbers, CONTAINER:HOST[:SIZE]', hint=f"{option} 0:1:1000")
    inside, outside, length = map(int, numbers)
    if not length:
        raise UsageError(f'{option} "{text}" maps no id')
    if of_host:
        first = ids.position_of(outside, own, list(subordinate))
        if first is None or ids.position_of(outside + length - 1, own, list(subordinate)) != first + length - 1:
            raise UsageError(f'{option} "{text}": those ids of the host are not yours')
        outside = first
    return inside, outside, length
