"""References as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import InvalidDocument
from toolbox.reference import Reference, parse

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("centos", Reference("", "centos")),
        ("centos:7", Reference("", "centos", "7")),
        ("library/centos:7", Reference("", "library/centos", "7")),
        ("docker.io/centos:7", Reference("docker.io", "library/centos", "7")),
        ("index.docker.io/centos", Reference("docker.io", "library/centos")),
        ("docker.io/a/b", Reference("docker.io", "a/b")),
        ("docker://quay.io/a/b:1", Reference("quay.io", "a/b", "1")),
        ("localhost/foo", Reference("localhost", "foo")),
        ("localhost:5000/foo/bar:x", Reference("localhost:5000", "foo/bar", "x")),
        ("host:5000/foo", Reference("host:5000", "foo")),
        ("host:5000", Reference("", "host", "5000")),
        ("[::1]:5000/foo", Reference("[::1]:5000", "foo")),
        ("Host/foo", Reference("Host", "foo")),
        ("a@" + DIGEST, Reference("", "a", "", DIGEST)),
        ("q.io/a/b:7@" + DIGEST, Reference("q.io", "a/b", "7", DIGEST)),
        ("a__b/c--d.e", Reference("", "a__b/c--d.e")),
    ],
)
def test_parts(text: str, expected: Reference) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is empty"),
        ("Centos", '"Centos" has capital letters'),
        ("quay.io/A/b", '"A" has capital letters'),
        ("centos:", 'tag "" is not'),
        ("centos:a b", 'tag "a b" is not'),
        ("centos:" + "x" * 129, "is not 1 to 128"),
        ("centos@sha256:12", 'digest "sha256:12" is not'),
        ("centos@", 'digest "" is not'),
        ("-bad.io/x", '"-bad.io" is not a host name'),
        ("a.b:port/x", '"a.b:port" is not a host name'),
        ("quay.io/", "the repository is missing"),
        ("quay.io//x", 'nothing between two "/"'),
        ("a/../b", '".." is not'),
        ("_x", '"_x" is not'),
        ("a" * 300, "longer than 255"),
        ("ab" * 32, "image id"),
        ("x\n\x1b[31m", "\\x1b[31m"),
    ],
)
def test_what_is_wrong_is_named(text: str, part: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        parse(text)
    assert part in caught.value.message
    assert caught.value.message.isprintable()


_component = st.from_regex(r"[a-z0-9]{1,6}(?:(?:[._]|__|-{1,3})[a-z0-9]{1,6}){0,2}", fullmatch=True)


@given(
    registry=st.sampled_from(["", "quay.io", "localhost", "localhost:5000", "[::1]:80", "a.b.c:1"]),
    components=st.lists(_component, min_size=1, max_size=4),
    tag=st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)),
    digest=st.sampled_from(["", DIGEST]),
)
def test_what_is_written_reads_back(registry: str, components: list[str], tag: str, digest: str) -> None:
    if not registry and len(components) > 1 and ("." in components[0] or components[0] == "localhost"):
        registry = "quay.io"
    made = Reference(registry, "/".join(components), tag, digest)
    assert parse(str(made)) == made


@given(st.text(max_size=80))
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    try:
        parse(text)
    except InvalidDocument as error:
        assert error.message.isprintable()
