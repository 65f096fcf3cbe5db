"""`--filter KEY=VALUE`, as podman understands several: one key's values are alternatives, keys are conditions.

What a key means is a function from the value to a test of a row; it raises UsageError for a value that makes no sense.
"""

from __future__ import annotations

from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeVar

    Row = TypeVar("Row")
    Test = Callable[[Row], bool]
    Key = Callable[[str], Test[Row]]

_ALL = ("label", "label!")
"""A row must have all labels that are named, and none that is excluded; of any other key's values one will do."""


def parse(texts: Sequence[str], known: Mapping[str, Key[Row]]) -> Test[Row]:
    """The test that the filters are together; without filters every row passes it.

    `KEY!=VALUE` is the key "KEY!". Raises UsageError for what is not KEY=VALUE or no known key.
    """
    tests: dict[str, list[Test[Row]]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f'filter "{text}" is not KEY=VALUE', hint=_hint(known))
        if key not in known:
            raise UsageError(f'there is no filter "{key}"', hint=_hint(known))
        tests.setdefault(key, []).append(known[key](value))

    def passes(row: Row) -> bool:
        return all(
            (all if key in _ALL else any)(test(row) for test in alternatives) for key, alternatives in tests.items()
        )

    return passes


def labels(of: Callable[[Row], Mapping[str, str]]) -> dict[str, Key[Row]]:
    """The keys label=NAME, label=NAME=VALUE and label!=…, given where a row has its labels.

    As in podman an empty value is any value.
    """

    def has(wanted: str) -> Test[Row]:
        name, _equals, value = wanted.partition("=")
        return lambda row: name in of(row) and value in ("", of(row)[name])

    def has_not(unwanted: str) -> Test[Row]:
        found = has(unwanted)
        return lambda row: not found(row)

    return {"label": has, "label!": has_not}


def _hint(known: Mapping[str, object]) -> str:
    return f"there are {', '.join(f'{key}=' for key in known)}"
