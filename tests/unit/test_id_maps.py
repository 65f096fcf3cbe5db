"""--uidmap and --gidmap: what is understood, and what is refused with the option's name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless import ids
from rootless.errors import UsageError
from rootless.ids import Subordinates
from toolbox.containers import id_maps

WHO = Subordinates(1000, 1000, "me", ((100000, 65536),), ((200000, 1000),))


@pytest.fixture(autouse=True)
def _caller(monkeypatch):
    monkeypatch.setattr(ids, "subordinates", lambda: WHO)


def test_one_option_stands_for_both():
    both = id_maps.mapping(["0:1:10", "10:0"], [])
    assert both.uids == both.gids == ((0, 1, 10), (10, 0, 1))
    assert id_maps.mapping([], ["0:1:10"]).uids == ((0, 1, 10),)
    assert id_maps.mapping(["0:1:10"], ["0:2:3"]).gids == ((0, 2, 3),)


def test_ids_of_the_host():
    assert id_maps.mapping(["0:@100000:5", "9:@1000"], ["0:@200010:1"]).uids == ((0, 1, 5), (9, 0, 1))
    assert id_maps.mapping(["0:1"], ["0:@200010:1"]).gids == ((0, 11, 1),)


def test_without_the_caller():
    found = id_maps.without_caller()
    assert (found.uids, found.gids) == (((0, 1, 65536),), ((0, 1, 1000),))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "must be CONTAINER:HOST[:SIZE]"),
        ("0:1:2:3", "must be CONTAINER:HOST[:SIZE]"),
        ("0:x", "must be three numbers"),
        ("-1:0:1", "must be three numbers"),
        ("0:1:0", "maps no id"),
        ("0:1:65537", "there are 65537 ids to map"),
        ("0:@5", "are not yours"),
        ("0:@165535:2", "are not yours"),
        ("99999999999:0:1", "must be three numbers"),
    ],
)
def test_refusals_name_the_option_and_the_text(text, said):
    with pytest.raises(UsageError, match=r"--uidmap \"") as raised:
        id_maps.mapping([text], [])
    assert said in raised.value.message
    assert text in raised.value.message


def test_ranges_that_overlap():
    with pytest.raises(UsageError, match="overlap"):
        id_maps.mapping(["0:1:10", "9:20:1"], ["0:1"])
    with pytest.raises(UsageError, match="map the same ids"):
        id_maps.mapping(["0:1:10", "10:10:1"], ["0:1"])


@given(st.lists(st.text(alphabet="0123456789:@+-u ", max_size=12), min_size=1, max_size=3))
def test_any_text_is_understood_or_refused(texts):
    try:
        found = id_maps.mapping(texts, [])
    except UsageError:
        return
    assert len(found.uids) == len(texts)


@given(st.integers(0, 65536), st.integers(1, 300), st.integers(0, 70000))
def test_an_id_outside_and_back(outside, length, inside):
    ranges = id_maps.records(((inside, outside, length),))
    assert ids.outside_of(inside + length - 1, ranges) == outside + length - 1
    assert ids.outside_of(inside + length, ranges) == ids.OVERFLOW_ID
    own, subordinate = WHO.uid, list(WHO.uid_ranges)
    for part in ids.default_ranges(own, subordinate):
        assert ids.position_of(part.outside + part.length - 1, own, subordinate) == part.inside + part.length - 1
