"""What listings print."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import UsageError
from toolbox import listing, listing_templates

COLUMNS = (("CONTAINER ID", "ID"), ("IMAGE", "Image"), ("NAMES", "Names"))
ROWS: list[dict[str, Any]] = [
    {"ID": "0123456789ab", "Image": "docker.io/library/busybox:latest", "Names": "web", "Pid": 7, "CreatedAt": "now"},
    {"ID": "ba9876543210", "Image": "x", "Names": "a\x1b[2J\tb", "Pid": 12, "CreatedAt": "then"},
]


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Any:
    def shown(rows: list[dict[str, Any]] = ROWS, form: str = "", quiet: str | None = None, **options: Any) -> str:
        listing.show(rows, columns=COLUMNS, format=form, quiet=quiet, **options)
        return capsys.readouterr().out

    return shown


TABLE = """\
CONTAINER ID  IMAGE                             NAMES
0123456789ab  docker.io/library/busybox:latest  web
ba9876543210  x                                 a\\x1b[2J\\tb
"""


@pytest.mark.parametrize("form", ["", "table", " table "])
def test_the_table(show: Any, form: str) -> None:
    assert show(form=form) == TABLE
    assert show(form=form, noheading=True) == "".join(TABLE.splitlines(keepends=True)[1:])
    assert show(form=form, quiet="ID") == "0123456789ab\nba9876543210\n"


@pytest.mark.parametrize(
    ("form", "output"),
    [
        ("table {{.Names}}\\t{{.ID}}", "NAMES        CONTAINER ID\nweb          0123456789ab\na\\x1b[2J\\tb  ba98"),
        ("table {{.ID}} {{.Pid}}", "CONTAINER ID  PID\n0123456789ab  7\nba9876543210  12\n"),
        ("table {{ .Pid }}\t{{.CreatedAt}}", "PID         CREATED AT\n7           now\n12          then\n"),
        ("table {{upper .Names | json}}", "NAMES\n"),
        ("table {{slice .ID 0 4}}", "CONTAINER ID\n0123\nba98\n"),
        ("table {{if gt .Pid 10}}{{.Pid}}{{end}}", "PID\n\n12\n"),
        ("table {{printf `%s` .ID}}\\n", "CONTAINER ID\n0123456789ab\nba9876543210\n"),
        ("table {{.ID}}{{`\\t`}}", "CONTAINER ID\\t\n"),
        ('table {{.ID}}{{"\\t"}}{{.Pid}}', "CONTAINER ID  PID\n"),
        ("{{.ID}}", "0123456789ab\nba9876543210\n"),
        ("{{.ID}}\\n", "0123456789ab\nba9876543210\n"),
        ("{{.ID}}\\t{{.Pid}}", "0123456789ab\t7\nba9876543210\t12\n"),
        ('{{printf "%d\\n" .Pid}}', "7\n\n12\n\n"),
        ("{{range .}}{{.Pid}},{{end}}", "7,12,\n"),
        ("{{json .Names}}", '"web"\n"a\\u001b[2J\\tb"\n'),
        ("tables {{.Pid}}", "tables 7\ntables 12\n"),
    ],
)
def test_templates(show: Any, form: str, output: str) -> None:
    assert show(form=form, quiet="ID").startswith(output)


@pytest.mark.parametrize("form", ["json", "{{json}}", "{{ json. }}", " json "])
def test_json(show: Any, form: str) -> None:
    assert json.loads(show(form=form)) == ROWS
    assert show(form=form, json_rows=[{"Id": "é<", "Labels": {}}]) == (
        '[\n    {\n        "Id": "é<",\n        "Labels": {}\n    }\n]\n'
    )


def test_one_object_a_line(show: Any) -> None:
    assert [json.loads(line) for line in show(form="{{json .}}").splitlines()] == ROWS


def test_nothing_to_list(show: Any) -> None:
    assert show([]) == "CONTAINER ID  IMAGE       NAMES\n"
    assert show([], noheading=True) == ""
    assert show([], quiet="ID") == ""
    assert show([], "json") == "[]\n"
    assert show([], "table {{.Pid}}") == "PID\n"
    assert show([], "{{.Pid}}") == ""
    assert show([], "{{json .}}") == ""


def test_what_is_no_string_is_printed_as_go_does(show: Any) -> None:
    row = {"ID": True, "Image": None, "Names": ["a", "b"]}
    assert show([row], noheading=True) == "true        <nil>       [a b]\n"
    assert show([row], quiet="Names") == "[a b]\n"


def test_headings_of_what_is_no_plain_field(show: Any) -> None:
    row = {"State": {"Status": "up"}, "Label": lambda name: f"{name}\n", "Labels": {"a": "b"}, "Mounts": ["/x"]}
    form = 'table {{.State.Status}}\\t{{.Label "a.b-c"}}\\t{{index .Labels "a"}}\\t{{range .Mounts}}{{.}}{{end}}'
    assert show([row], form).splitlines() == [
        "STATUS      b c         LABELS      MOUNTS",
        "up          a.b-c\\n     b           /x",
    ]


def test_a_misspelled_field_is_an_error_before_anything_is_printed(
    show: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        show([{"ID": "1"}, {"Id": "2"}], "{{.ID}}")
    assert caught.value.hint == "did you mean .Id?"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("field", "heading"),
    [
        ("CreatedAt", "CREATED AT"),
        ("ID", "ID"),
        ("ImageID", "IMAGE ID"),
        ("PDFLoader", "PDF LOADER"),
        ("AString", "A STRING"),
        ("GL11Version", "GL 11 VERSION"),
        ("lowercase", "LOWERCASE"),
        ("MemUsage", "MEM USAGE"),
        ("x", "X"),
        ("", ""),
    ],
)
def test_headings(field: str, heading: str) -> None:
    assert listing_templates.heading(field) == heading


@given(st.lists(st.tuples(st.text("ab é", max_size=20), st.text("ab é", max_size=20)), min_size=1))
def test_columns_stand_below_each_other(cells: list[tuple[str, str]]) -> None:
    lines = [list(pair) for pair in cells]
    listing._align(lines, 0)
    assert len({len(line[0]) for line in lines}) == 1
    assert len(lines[0][0]) == max(12, *(len(first) + 2 for first, _second in cells))
    assert [line[1] for line in lines] == [second for _first, second in cells]


def test_a_line_without_a_column_parts_the_lines_around_it() -> None:
    lines = [["a", "b"], ["one cell that is long"], ["a cell that is long", "b"], ["c", "d", "e"]]
    listing._align(lines, 0)
    assert ["".join(line) for line in lines] == [
        "a           b",
        "one cell that is long",
        "a cell that is long  b",
        "c                    d           e",
    ]
