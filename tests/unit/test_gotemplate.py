"""Templates: what Go itself printed for them (data/gotemplate.jsonl, made by gotemplate.go), and what is ptb's own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import UsageError
from toolbox import gotemplate_values
from toolbox.gotemplate import parse, render

ROW = {
    "ID": "0123456789ab",
    "Names": "web",
    "Pid": 42,
    "Labels": {"com.example/tier": "front"},
    "State": {"Status": "running"},
    "Ports": [8080, 443],
    "Label": lambda name: f"label {name}",
}


def _by_go() -> list[Any]:
    value = None
    cases = []
    for line in (Path(__file__).parent.parent / "data/gotemplate.jsonl").read_bytes().splitlines():
        read = json.loads(line)
        if isinstance(read, dict):
            value = read["value"]
        else:
            cases.append(pytest.param(read[0], value, read[1], id=read[0]))
    return cases


def _rendered(text: str, value: object) -> str:
    return render(parse(text), value)


@pytest.mark.parametrize(("text", "value", "output"), _by_go())
def test_as_go_has_it(text: str, value: object, output: str | None) -> None:
    if output is None:
        with pytest.raises(UsageError):
            _rendered(text, value)
    else:
        assert _rendered(text, value) == output


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("{{.Label `x`}}", "label x"),
        ("{{`x` | .Label | upper}}", "LABEL X"),
        ("{{with .State}}{{$.Label .Status}}{{end}}", "label running"),
        ("{{json .State}}{{json .Labels}}", '{"Status":"running"}{"com.example/tier":"front"}'),
        ("{{json `a\b\f<>&`}}", '"a\\b\\f<>&"'),
        ("{{.Labels.nope}} {{.Labels.nope.more}}", "<no value> <no value>"),
        ("{{with .Labels.nope}}a{{else with .Names}}b{{.}}{{else}}c{{end}}", "bweb"),
        ("{{$x := 1}}{{range $i, $x = .Ports}}{{end}}{{$x}}", None),
        ("{{$i := 0}}{{$x := 1}}{{range $i, $x = .Ports}}{{end}}{{$i}} {{$x}}", "1 443"),
        ("{{range $i, $x := .Labels.nope}}{{else}}{{$x}}{{end}}", "<no value>"),
        ("{{join .Labels.nope `,`}}", ""),
        ("{{slice `é` 1}}", "\ufffd"),
        ("{{truncate `aé` 2}}", "a\ufffd"),
        ("{{len `é`}}", "2"),
        ("{{printf `%x` `é`}}", "c3a9"),
        ("{{printf `%.f|%.s|%.d` 2.5 `a` 0}}", "2||"),
    ],
)
def test_beyond_what_go_was_asked(text: str, output: str | None) -> None:
    if output is None:
        with pytest.raises(UsageError):
            _rendered(text, ROW)
    else:
        assert _rendered(text, ROW) == output


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("{{.ID}", 'template: unexpected "}", at {{.ID}', None),
        ("a {{.ID}} {{.Name}}", 'template: there is no field "Name", at {{.Name', "did you mean .Names?"),
        ("{{.id}}", 'template: there is no field "id", at {{.id', "did you mean .ID?"),
        (
            "{{.Zzzzzz}}",
            'template: there is no field "Zzzzzz", at {{.Zzzzzz',
            "there are .ID, .Names, .Pid, .Labels, .State, .Ports, .Label",
        ),
        (
            "{{with .State}}{{$.Nmaes}}{{end}}",
            'template: there is no field "Nmaes", at {{$.Nmaes',
            "did you mean .Names?",
        ),
        ("{{.Names.X}}", 'template: string has no field "X", at {{.Names.X', None),
        ("{{jsno .}}", 'template: there is no function "jsno", at {{jsno', "did you mean json?"),
        ("{{.Labels.com-x}}", 'template: unexpected "-x" in operand, at {{.Labels.com-x', None),
        ("{{if .ID}}x", "template: {{if}} has no {{end}}, at {{if .ID}}x", None),
        ("{{if .ID}}{{else}}{{else}}{{end}}", "template: {{if}} has a second {{else}}, at {{else", None),
        ("{{end}}", "template: unexpected {{end}}, at {{end", None),
        ('{{template "x"}}', 'template: "template" is not supported, at {{template', None),
        ('{{define "x"}}{{end}}', 'template: "define" is not supported, at {{define', None),
        ("{{.ID | 1}}", "template: only a function takes arguments, at {{.ID | 1", None),
        ("{{.ID 1}}", "template: .ID takes no arguments, at {{.ID", None),
        ("{{.Label}}", "template: .Label takes other arguments, at {{.Label", None),
        ("{{split .ID}}", "template: wrong number of arguments for split: expected 2, got 1, at {{split", None),
        ("{{upper .Pid}}", "template: upper: expected string, got int, at {{upper", None),
        ("{{index .Ports 2}}", "template: index: index out of range: 2, at {{index", None),
        ("{{range .Pid}}{{end}}", "template: range can't iterate over int, at {{range .Pid}}", None),
        ("{{eq .Pid `42`}}", "template: eq: incompatible types for comparison: int and string, at {{eq", None),
        ("{{printf `%*d` 5 .Pid}}", 'template: printf: "%*" is not supported, at {{printf', None),
        ("{{printf `%#v` .Pid}}", 'template: printf: "%#v" is not supported, at {{printf', None),
        ("{{pad .ID 9999999 0}}", "template: pad: 9999999 is not a number of characters, at {{pad", None),
        ("{{99999999999999999999}}", "template: invalid number, at {{99999999999999999999", None),
        (
            "{{print .ID .Names .Pid .Labels .State $x}}",
            'template: undefined variable "$x", at …{print .ID .Names .Pid .Labels .State $x',
            None,
        ),
    ],
)
def test_what_is_wrong_is_shown(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        _rendered(text, ROW)
    assert caught.value.message == message
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    "text",
    ["{{" + "(" * 9999 + "1" + ")" * 9999 + "}}", "{{if 1}}" * 9999 + "{{end}}" * 9999],
    ids=["pipelines", "blocks"],
)
def test_what_is_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="^template: nested too deeply, at "):
        _rendered(text, ROW)


def test_methods_are_not_printed() -> None:
    assert _rendered("{{json .}} {{.}}", {"b": 1, "Label": str, "a": [2]}) == '{"a":[2],"b":1} map[a:[2] b:1]'


def test_elements_of_a_list_are_rows_too() -> None:
    assert _rendered("{{range .}}{{.ID}}{{end}}", [{"ID": 1}, {"ID": 2}]) == "12"
    with pytest.raises(UsageError) as caught:
        _rendered("{{range .}}{{.Id}}{{end}}", [{"ID": 1}])
    assert caught.value.hint == "did you mean .ID?"


def test_text_between_actions_can_be_changed_before_it_is_trimmed() -> None:
    template = parse("a\\n{{- `\\\\n` -}}\\nb", plain=lambda text: text.replace("\\n", "\n"))
    assert render(template, {}) == "a\\\\nb"


_text = st.text(st.characters(exclude_categories=["Cs"]))
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9).filter(lambda value: value % 1) | _text,
    lambda members: st.lists(members) | st.dictionaries(_text, members),
)
_garbage = st.lists(
    st.sampled_from(
        "{{ }} {{- -}} . .ID $ $x := = , | ( ) if else end range with break continue nil true print printf json index"
        " and len eq 1 -1 0x 1.5 'a' \" ` \\ /* */ %d %5s a".split(" ")
        + [" ", '"a"', "`%v`"]
    )
).map("".join)


@given(_text.filter(lambda text: "{{" not in text))
def test_text_is_itself(text: str) -> None:
    assert _rendered(text, {}) == text


@given(_values)
def test_json_says_the_value(value: object) -> None:
    line = _rendered("{{json .}}", value)
    assert json.loads(line) == value
    assert "\n" not in line
    assert json.loads(gotemplate_values.json(value, indent=4)) == value


@given(_text)
def test_a_quoted_string_is_the_string(text: str) -> None:
    assert _rendered("{{" + gotemplate_values.quote(text) + "}}", {}) == text


@given(st.floats(allow_nan=False))
def test_a_float_is_printed_in_full(value: float) -> None:
    assert float(gotemplate_values.text(value)) == float(gotemplate_values.json(value)) == value


@given(st.dictionaries(_text, _text))
def test_maps_are_gone_over_in_order(value: dict[str, str]) -> None:
    assert _rendered("{{range $k, $v := .}}{{json $k}},{{end}}", value) == "".join(
        f"{gotemplate_values.json(key)}," for key in sorted(value)
    )


@given(_garbage | st.text())
def test_nothing_but_a_usage_error_comes_of_garbage(text: str) -> None:
    try:
        _rendered(text, ROW)
    except UsageError as error:
        assert error.message.startswith("template: ")


def test_it_imports_little() -> None:
    code = "import sys, toolbox.listing, toolbox.listing_templates; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"re", "json", "typing", "difflib", "urllib", "dataclasses", "collections"} & set(modules)
