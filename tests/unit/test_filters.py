"""`--filter`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import UsageError
from toolbox import filters

ROWS = [
    {"name": "web", "state": "running", "labels": {"tier": "front", "env": "prod"}},
    {"name": "db", "state": "running", "labels": {"tier": "back", "env": ""}},
    {"name": "old", "state": "exited", "labels": {}},
]


def _state(value):
    if value not in ("running", "exited"):
        raise UsageError(f'"{value}" is no state')
    return lambda row: row["state"] == value


KNOWN = {
    "name": lambda value: lambda row: value in row["name"],
    "status": _state,
    **filters.labels(lambda row: row["labels"]),
}


def _passing(*texts: str) -> list[str]:
    passes = filters.parse(texts, KNOWN)
    return [row["name"] for row in ROWS if passes(row)]


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        ((), ["web", "db", "old"]),
        (("name=web",), ["web"]),
        (("name=web", "name=old"), ["web", "old"]),
        (("name=web", "name=old", "status=running"), ["web"]),
        (("status=running", "status=exited"), ["web", "db", "old"]),
        (("label=tier",), ["web", "db"]),
        (("label=tier=front",), ["web"]),
        (("label=tier=",), ["web", "db"]),
        (("label=tier=front", "label=env=prod"), ["web"]),
        (("label=tier=front", "label=tier=back"), []),
        (("label=env", "label=tier=back"), ["db"]),
        (("label!=tier",), ["old"]),
        (("label!=tier=front",), ["db", "old"]),
        (("label!=tier=front", "label!=tier=back"), ["old"]),
        (("label=tier", "label!=tier=front"), ["db"]),
        (("label=nope",), []),
    ],
)
def test_what_passes(texts: tuple[str, ...], names: list[str]) -> None:
    assert _passing(*texts) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name", 'filter "name" is not KEY=VALUE'),
        ("", 'filter "" is not KEY=VALUE'),
        ("colour=red", 'there is no filter "colour"'),
        ("name!=web", 'there is no filter "name!"'),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        filters.parse([text], KNOWN)
    assert caught.value.message == message
    assert caught.value.hint == "there are name=, status=, label=, label!="


def test_a_key_refuses_a_value_before_any_row_is_looked_at() -> None:
    with pytest.raises(UsageError, match='"gone" is no state'):
        filters.parse(["status=gone"], KNOWN)


@given(st.lists(st.sampled_from(["name=w", "name=b", "status=exited", "label=tier", "label!=env=prod"])))
def test_neither_order_nor_repetition_matters(texts: list[str]) -> None:
    assert _passing(*texts) == _passing(*reversed(texts)) == _passing(*texts, *texts)
