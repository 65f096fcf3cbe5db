"""What every command that lists prints with: a table, JSON, or a Go template, as podman does (podman-ps(1), --format)."""

from __future__ import annotations

from toolbox import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def show(
    rows: Sequence[dict[str, Any]],
    *,
    columns: Sequence[tuple[str, str]],
    format: str,  # noqa: A002 - the option's name
    quiet: str | None = None,
    noheading: bool = False,
    json_rows: Sequence[dict[str, Any]] | None = None,
) -> None:
    """Print the rows.

    `columns` are (heading, field) of the table that is shown by default; `quiet` is the field that is shown alone;
    `json_rows` are what `--format json` has in their place. Raises UsageError for a template that is wrong.
    """
    if quiet and not format:
        for row in rows:
            print(row[quiet])
    elif format == "json":
        output.print_json(list(json_rows if json_rows is not None else rows), indent=4)
    elif format in ("", "table"):
        _table(
            [heading for heading, _field in columns], [[row[field] for _h, field in columns] for row in rows], noheading
        )
    else:
        _template(rows, columns, format, noheading)


def _template(rows: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str]], text: str, noheading: bool) -> None:
    from toolbox import gotemplate

    is_table = text.startswith("table ")
    text = _unescaped(text.removeprefix("table ") if is_table else text)
    template = gotemplate.parse(text)
    lines = [gotemplate.render(template, row) for row in rows]
    if not is_table:
        for line in lines:
            print(line)
        return
    headings = {field: heading for heading, field in columns}
    known = rows[0] if rows else dict.fromkeys(headings)
    head = gotemplate.render(template, _Headings({field: headings.get(field) or _heading(field) for field in known}))
    _table(head.split("\t"), [line.split("\t") for line in lines], noheading)


class _Headings(dict[str, str]):
    """Stands in for a row to make the first line: every field is its heading."""


def _heading(field: str) -> str:
    """`CreatedAt` → `CREATED AT`, as docker and podman make one of a field's name."""
    made = ""
    for index, letter in enumerate(field):
        if index and letter.isupper() and not field[index - 1].isupper():
            made += " "
        made += letter.upper()
    return made


def _unescaped(text: str) -> str:
    """`\\t` and `\\n` as people type them in a shell."""
    return text.replace("\\t", "\t").replace("\\n", "\n")


def _table(headings: Sequence[str], rows: Sequence[Sequence[Any]], noheading: bool) -> None:
    """Columns as podman's: 12 wide at least, two blanks between."""
    cells = [[_safe(str(cell)) for cell in row] for row in rows]
    lines = cells if noheading else [list(headings), *cells]
    if not lines:
        return
    count = max(map(len, lines))
    lines = [[*line, *[""] * (count - len(line))] for line in lines]
    widths = [max(10, *(len(line[index]) for line in lines)) + 2 for index in range(count)]
    for line in lines:
        print("".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _safe(text: str) -> str:
    """Without what would do something to a terminal: names and labels are anybody's."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
