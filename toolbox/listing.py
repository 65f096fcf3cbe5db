"""What a listing command prints: a table, the template that `--format` says, JSON, or one field alone."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NARROWEST = 12
_BETWEEN = 2


def show(
    rows: list[dict[str, object]],
    *,
    columns: tuple[tuple[str, str], ...],
    format: str,  # noqa: A002 - as the option is called
    quiet: str | None,
    noheading: bool = False,
    json_rows: list[dict[str, object]] | None = None,
) -> None:
    """Print the rows as `format` says.

    "" or "table": the columns, each a heading and the field under it; or the field `quiet` of every row alone.
    "json": an array of `json_rows`, or of the rows. "table TEMPLATE": a table whose cells are what tabs and blanks
    separate. Any other template is printed for every row, or once if it goes over the rows itself ({{range .}}).
    Between actions `\\t` and `\\n` stand for a tab and a new line. In a table control characters of values are shown,
    not sent to the terminal.

    A row is what `gotemplate.render` takes. Raises UsageError for a template that does not parse or that names a
    field which the rows have not.
    """
    form = format.strip()
    is_table = form.startswith("table") and form[5:6] in ("", " ", "\t", "\\", "{")
    template = form[5:].strip() if is_table else form
    if _is_json(form):
        from toolbox import gotemplate_values

        print(gotemplate_values.json(rows if json_rows is None else json_rows, indent=4))
    elif template:
        from toolbox import listing_templates

        if is_table:
            headings = None if noheading else {field: heading for heading, field in columns}
            _print_table(listing_templates.table(template, [_shown(row) for row in rows], headings))
        else:
            print(listing_templates.lines(format, rows), end="")
    elif quiet is not None:
        for row in rows:
            print(_text(row[quiet]))
    else:
        above = [] if noheading else [[heading for heading, _field in columns]]
        _print_table(above + [[_text(_shown(row[field])) for _heading, field in columns] for row in rows])


def _is_json(form: str) -> bool:
    """podman takes {{json}} and {{json.}}, which are no templates, for what they were meant to be."""
    action = form[2:-2].strip() if form.startswith("{{") and form.endswith("}}") else ""
    return form == "json" or action in ("json", "json.")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    from toolbox import gotemplate_values

    return gotemplate_values.text(value)


def _shown(value: Any) -> Any:
    """A value with the characters that would do something to a terminal, or to the table, written as escapes."""
    if isinstance(value, str):
        if value.isprintable():
            return value
        return "".join(character if character.isprintable() else repr(character)[1:-1] for character in value)
    if isinstance(value, dict):
        return {_shown(key): _shown(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(member) for member in value]
    if callable(value):
        return lambda *arguments: _shown(value(*arguments))
    return value


def _print_table(lines: list[list[str]]) -> None:
    _align(lines, 0)
    for line in lines:
        print("".join(line))


def _align(lines: list[list[str]], column: int) -> None:
    """Pad the cells from this column on as a tabwriter does: neighbouring lines alike, the last of a line not."""
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and column < len(lines[end]) - 1:
            end += 1
        block = lines[start:end]
        if block:
            width = max(_NARROWEST, *(len(line[column]) + _BETWEEN for line in block))
            for line in block:
                line[column] = line[column].ljust(width)
            _align(block, column + 1)
        start = max(end, start + 1)
