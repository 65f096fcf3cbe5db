"""Id maps: what is a bijection stays one, and the two views of one tree agree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless import ids
from rootless.errors import HostUnfit

if TYPE_CHECKING:
    from pathlib import Path


def _ranges(total: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Subordinate ranges that do not overlap, as /etc/subuid lists them."""
    return st.lists(st.integers(1, total), min_size=1, max_size=3).map(
        lambda counts: [(1_000_000 * (index + 1), count) for index, count in enumerate(counts)]
    )


def _outside(inside: int, ranges: tuple[ids.IdRange, ...]) -> int | None:
    found = [part.outside + inside - part.inside for part in ranges if 0 <= inside - part.inside < part.length]
    assert len(found) <= 1, "an id is mapped twice"
    return found[0] if found else None


def _shown(disk: int, mapping: str) -> int | None:
    numbers = [int(number) for number in mapping.split(":")]
    for start, shown, length in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        if start <= disk < start + length:
            return shown + disk - start
    return None


@given(own=st.integers(1, 70000), subordinate=_ranges(66000))
def test_the_swap_map_has_the_same_outside_ids_as_the_default_map(own: int, subordinate: list[tuple[int, int]]) -> None:
    def outside(ranges: tuple[ids.IdRange, ...]) -> set[int]:
        return {part.outside + n for part in ranges for n in range(part.length)}

    assert outside(ids.default_ranges(own, subordinate)) == outside(ids.swap_ranges(own, subordinate))


@given(own=st.integers(1, 3000), subordinate=_ranges(2000), wanted=st.integers(0, 2000))
def test_a_tree_written_under_the_default_map_is_shown_unchanged_under_the_swap_map(
    own: int, subordinate: list[tuple[int, int]], wanted: int
) -> None:
    """The owner an image gives a file is the owner a box shows, but for the one id that gave its place to root."""
    kernel_id = _outside(wanted, ids.default_ranges(own, subordinate))
    if kernel_id is None:
        return
    swap = ids.swap_ranges(own, subordinate)
    seen = next(part.inside + kernel_id - part.outside for part in swap if 0 <= kernel_id - part.outside < part.length)
    shown = _shown(seen, ids.overlay_mapping(own, subordinate))
    slot = ids.swap_slot(own, subordinate)
    assert shown == (own if wanted == slot else wanted)


@given(own=st.integers(1, 70000), subordinate=_ranges(66000))
def test_in_the_swap_map_you_are_yourself_and_root_is_somebody_else(
    own: int, subordinate: list[tuple[int, int]]
) -> None:
    swap = ids.swap_ranges(own, subordinate)
    assert _outside(own, swap) == own
    assert _outside(0, swap) not in (own, None)


@given(own=st.integers(1, 70000), subordinate=_ranges(66000))
def test_the_host_view_shows_the_real_root_as_root_and_never_an_id_twice(
    own: int, subordinate: list[tuple[int, int]]
) -> None:
    mapping = ids.host_mapping(own, subordinate)
    numbers = [int(number) for number in mapping.split(":")]
    disk_ids = [
        n for start, length in zip(numbers[::3], numbers[2::3], strict=True) for n in range(start, start + length)
    ]
    assert len(disk_ids) == len(set(disk_ids))
    assert _shown(65534, mapping) == 0
    assert _shown(own, mapping) == own


def test_ranges_are_found_by_name_and_by_number_and_broken_lines_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("ann:1000:10\n# comment\nann:x:y\n77:5000:3\nbob:1:1\nann:2000:0\n\n")
    assert ids.subordinate_ranges(f"{tmp_path}/subuid", ("ann", "77")) == [(1000, 10), (5000, 3)]


def test_without_subordinate_ids_the_error_says_how_to_get_them(tmp_path: Path) -> None:
    for name in ("subuid", "subgid"):
        (tmp_path / name).write_text("somebody-else:100000:65536\n")
    with pytest.raises(HostUnfit, match="has no subordinate ids") as caught:
        ids.subordinates(str(tmp_path))
    assert caught.value.hint is not None
    assert "usermod --add-subuids" in caught.value.hint


def test_a_missing_file_counts_as_empty(tmp_path: Path) -> None:
    assert ids.subordinate_ranges(os.path.join(tmp_path, "none"), ("x",)) == []
