"""Subordinate ids and the two id maps every container uses.

The *default map* gives container root to the caller and 1, 2, … to the caller's subordinate ids in order; layers are
unpacked under it. The *swap map* differs in one pair: root and the caller's own id trade places, so that inside a box
you are yourself and root is somebody else. `overlay_mapping` says how to show a tree written under the first to
processes that live under the second, which is what lets one copy of a layer serve both.
"""

from __future__ import annotations

from rootless import system as os
from rootless.errors import HostUnfit
from rootless.record import record

OVERFLOW_ID = 65534
"""What the kernel shows for an id that has no mapping (/proc/sys/kernel/overflowuid)."""


ALL = (1 << 32) - 1
"""How many ids there are: the last is none (user_namespaces(7))."""


@record
class IdRange:
    """`length` ids from `inside` on in the namespace are the ids from `outside` on in its parent (user_namespaces(7))."""

    inside: int
    outside: int
    length: int


@record
class IdMaps:
    """The uid and gid mapping of one user namespace."""

    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]


def subordinate_ranges(path: str, names: tuple[str, ...]) -> list[tuple[int, int]]:
    """The (first id, count) lines of `path` that belong to any of `names` (subuid(5)); broken lines are skipped."""
    ranges = []
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                fields = line.strip().split(":")
                if len(fields) == 3 and fields[0] in names and fields[1].isdecimal() and fields[2].isdecimal():
                    ranges.append((int(fields[1]), int(fields[2])))
    except FileNotFoundError:
        pass
    return [(first, count) for first, count in ranges if count > 0]


def default_ranges(own: int, subordinate: list[tuple[int, int]]) -> tuple[IdRange, ...]:
    """0 is `own`, 1 and up are the subordinate ids in the order they are listed."""
    ranges = [IdRange(0, own, 1)]
    inside = 1
    for first, count in subordinate:
        ranges.append(IdRange(inside, first, count))
        inside += count
    return tuple(ranges)


def swap_slot(own: int, subordinate: list[tuple[int, int]]) -> int:
    """The id of the default map that trades places with root: `own`, or the last one where `own` is beyond the range."""
    return min(own, sum(count for _first, count in subordinate))


def swap_ranges(own: int, subordinate: list[tuple[int, int]], inside: int = -1) -> tuple[IdRange, ...]:
    """The default map with 0 and `inside` exchanged: `own` is `inside`, by default itself, and root is the subordinate id
    that stood there."""
    inside = own if inside < 0 else inside
    slot = swap_slot(inside, subordinate)
    ranges: list[IdRange] = []
    for part in default_ranges(own, subordinate):
        if part.inside == 0:
            ranges.append(IdRange(inside, own, 1))
        elif part.inside <= slot < part.inside + part.length:
            before = slot - part.inside
            if before:
                ranges.append(IdRange(part.inside, part.outside, before))
            ranges.append(IdRange(0, part.outside + before, 1))
            after = part.length - before - 1
            if after:
                ranges.append(IdRange(slot + 1, part.outside + before + 1, after))
        else:
            ranges.append(part)
    return tuple(ranges)


def overlay_mapping(inside: int, subordinate: list[tuple[int, int]]) -> str:
    """fuse-overlayfs's `uidmapping=` that shows a default-map tree under the swap map in which the caller is `inside`.

    Each part of it is A:B:N, A on disk, B shown.
    """
    slot = swap_slot(inside, subordinate)
    total = sum(count for _first, count in subordinate)
    parts = [(inside, 0, 1), (0, inside, 1)]
    if slot > 1:
        parts.append((1, 1, slot - 1))
    if total > slot:
        parts.append((slot + 1, slot + 1, total - slot))
    return ":".join(f"{disk}:{shown}:{length}" for disk, shown, length in parts)


def nested_mapping(ranges: tuple[IdRange, ...]) -> str:
    """The `uidmapping=` that shows a default-map tree to a namespace below the default map's, with these `ranges` of it."""
    return ":".join(f"{part.inside}:{part.outside}:{part.length}" for part in ranges)


def outside_of(inside: int, ranges: tuple[IdRange, ...]) -> int:
    """What an id of a namespace with these ranges is outside; the overflow id where it is nothing."""
    for part in ranges:
        if part.inside <= inside < part.inside + part.length:
            return part.outside + inside - part.inside
    return OVERFLOW_ID


def position_of(host: int, own: int, subordinate: list[tuple[int, int]]) -> int | None:
    """What an id of the host is under the default map; None where it is not among the caller's."""
    for part in default_ranges(own, subordinate):
        if part.outside <= host < part.outside + part.length:
            return part.inside + host - part.outside
    return None


def host_mapping(own: int, subordinate: list[tuple[int, int]]) -> str:
    """The `uidmapping=` of a box whose lower layer is the machine's own root.

    Whatever belongs to the real root, or to anyone else outside the namespace, arrives as the overflow id and is shown
    as root's; ids of the namespace are shown as they are. 0 comes first: it is where root's own writes must go.
    """
    total = sum(count for _first, count in subordinate)
    parts = [(0, 0, 1), (OVERFLOW_ID, 0, 1)]
    last = max(total, own)
    for first, end in ((1, min(last, OVERFLOW_ID - 1)), (OVERFLOW_ID + 1, last)):
        if end >= first:
            parts.append((first, first, end - first + 1))
    return ":".join(f"{disk}:{shown}:{length}" for disk, shown, length in parts)


@record
class Subordinates:
    """Who the caller is and which subordinate ids are theirs."""

    uid: int
    gid: int
    name: str
    uid_ranges: tuple[tuple[int, int], ...]
    gid_ranges: tuple[tuple[int, int], ...]

    def default_maps(self) -> IdMaps:
        """The map of `run`, `build` and unpacking."""
        return IdMaps(default_ranges(self.uid, list(self.uid_ranges)), default_ranges(self.gid, list(self.gid_ranges)))

    def swap_maps(self, uid: int = -1, gid: int = -1) -> IdMaps:
        """The map of `enter`; with `uid` and `gid` the caller has these ids in it."""
        return IdMaps(
            swap_ranges(self.uid, list(self.uid_ranges), uid), swap_ranges(self.gid, list(self.gid_ranges), gid)
        )


def subordinates(etc: str = "/etc") -> Subordinates:
    """The caller's subordinate ids from /etc/subuid and /etc/subgid (subuid(5), subgid(5)).

    Raises HostUnfit with the command that grants them if there are none, and for root, whose own id must never be
    mapped into a container.
    """
    import pwd

    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        raise HostUnfit("ptb keeps its boxes for ordinary users, not for root", hint="run it as yourself, without sudo")
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    owners = (name, str(uid))
    uid_ranges = subordinate_ranges(f"{etc}/subuid", owners)
    gid_ranges = subordinate_ranges(f"{etc}/subgid", owners)
    for kind, found in (("subuid", uid_ranges), ("subgid", gid_ranges)):
        if not found:
            raise HostUnfit(
                f'user "{name}" has no subordinate ids in {etc}/{kind}',
                hint=f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}",
            )
    return Subordinates(uid, gid, name, tuple(uid_ranges), tuple(gid_ranges))


def map_ids(pid: int, maps: IdMaps) -> None:
    """Give the new user namespace of process `pid` any maps that the caller may (user_namespaces(7)).

    Directly where the caller has the capability, or maps nothing but itself; else through newuidmap(1) and
    newgidmap(1). Raises HostUnfit.
    """
    own = len(maps.uids) == len(maps.gids) == 1 and maps.uids[0].length == maps.gids[0].length == 1
    own = own and maps.uids[0].outside == os.geteuid() and maps.gids[0].outside == os.getegid()
    if os.geteuid() == 0 or own:
        try:
            if os.geteuid() != 0:
                _write_proc(pid, "setgroups", "deny")
            _write_proc(pid, "uid_map", _map_text(maps.uids))
            _write_proc(pid, "gid_map", _map_text(maps.gids))
        except OSError as error:
            if own or error.errno != _EPERM:
                raise HostUnfit(f"the id map was refused: {os.strerror(error.errno or 0)}") from error
        else:
            return
    write_maps(pid, Subordinates(os.geteuid(), os.getegid(), str(os.geteuid()), (), ()), maps)


_EPERM = 1


def _map_text(ranges: tuple[IdRange, ...]) -> str:
    return "".join(f"{part.inside} {part.outside} {part.length}\n" for part in ranges)


def _write_proc(pid: int, name: str, text: str) -> None:
    fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def write_maps(pid: int, who: Subordinates, maps: IdMaps) -> None:
    """Give the new user namespace of process `pid` its maps, through newuidmap(1) and newgidmap(1).

    Raises HostUnfit when the helpers are missing or refuse.
    """
    await_maps(start_maps(pid, maps), who)


Helpers = tuple[tuple[str, int, int], ...]
"""Running helpers: the program, its pid, and the pipe of what it says."""


def start_maps(pid: int, maps: IdMaps) -> Helpers:
    """Start the helpers that map the ids of process `pid`, without waiting. Raises HostUnfit when they are missing."""
    helpers = []
    for program, ranges in (("newuidmap", maps.uids), ("newgidmap", maps.gids)):
        arguments = [program, str(pid)]
        for part in ranges:
            arguments += [str(part.inside), str(part.outside), str(part.length)]
        read_end, write_end = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, write_end, 2)]
        try:
            helper = os.posix_spawnp(program, arguments, os.environ, file_actions=actions)
        except FileNotFoundError:
            raise HostUnfit(
                f"{program} is not installed: a user namespace cannot get its ids without it",
                hint="sudo apt install uidmap (Debian, Ubuntu) or sudo dnf install shadow-utils (Fedora)",
            ) from None
        finally:
            os.close(write_end)
        helpers.append((program, helper, read_end))
    return tuple(helpers)


def await_maps(helpers: Helpers, who: Subordinates) -> None:
    """Wait until the helpers have mapped the ids. Raises HostUnfit when they refuse."""
    failure = None
    for program, helper, read_end in helpers:
        said = b""
        while chunk := os.read(read_end, 4096):
            said += chunk
        os.close(read_end)
        if os.waitstatus_to_exitcode(os.waitpid(helper, 0)[1]) != 0 and failure is None:
            failure = (program, said.decode(errors="replace").strip().splitlines())
    if failure is not None:
        program, lines = failure
        raise HostUnfit(
            f"{program} refused the id map: {lines[-1] if lines else 'no reason given'}",
            hint=f"check that /etc/subuid and /etc/subgid give {who.name} a range no one else has, and that {program} is setuid",
        )
