"""`@record` behaves as the frozen dataclass that type checkers take it for."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.record import record


@record
class Point:
    x: int
    y: int = 7

    def moved(self, by: int) -> Point:
        return Point(self.x + by, self.y)


@dataclasses.dataclass(frozen=True)
class Oracle:
    x: int
    y: int = 7


@given(st.integers(), st.integers(), st.integers())
def test_equality_and_hash_agree_with_dataclasses(a: int, b: int, c: int) -> None:
    assert (Point(a, b) == Point(a, c)) == (Oracle(a, b) == Oracle(a, c))
    assert hash(Point(a, b)) == hash(Point(x=a, y=b))


def test_construction_repr_match_and_methods() -> None:
    assert repr(Point(1)) == "Point(x=1, y=7)"
    assert Point(1).moved(2) == Point(3)
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)


@pytest.mark.parametrize("arguments", [((), {}), ((1, 2, 3), {}), ((1,), {"x": 2}), ((1,), {"z": 2})])
def test_wrong_arguments_are_refused(arguments: tuple[tuple[int, ...], dict[str, int]]) -> None:
    positional, named = arguments
    with pytest.raises(TypeError):
        Point(*positional, **named)


def test_nothing_can_be_assigned_or_added() -> None:
    point = Point(1)
    for name in ("x", "new"):
        with pytest.raises(AttributeError):
            setattr(point, name, 2)
    assert not hasattr(point, "__dict__")
