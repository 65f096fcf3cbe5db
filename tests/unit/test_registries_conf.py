"""containers-registries.conf(5), against the examples of the man page and its rules of precedence."""

from pathlib import Path

import pytest

from rootless.errors import InvalidDocument, RegistryError
from toolbox.reference import parse
from toolbox.registry import registries_conf
from toolbox.registry.registries_conf import Endpoint, Settings

DIGEST = "sha256:" + "ab" * 32


class Files:
    """A system, a user's and a cache directory to write configuration into."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def write(self, name: str, text: str) -> str:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def load(self) -> Settings:
        return registries_conf.load(str(self.top / "etc"), str(self.top / "user"), str(self.top / "cache"))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.delenv("CONTAINERS_REGISTRIES_CONF", raising=False)
    return Files(tmp_path)


def candidates(settings: Settings, text: str) -> list[str]:
    return [str(candidate) for candidate in registries_conf.candidates(settings, parse(text))]


def places(settings: Settings, text: str) -> list[tuple[str, str, bool]]:
    found: list[Endpoint] = registries_conf.endpoints(settings, parse(text))
    return [(place.host, place.repository, place.insecure) for place in found]


def test_nothing_configured_means_docker_hub(files: Files) -> None:
    settings = files.load()
    assert candidates(settings, "centos:7") == ["docker.io/library/centos:7"]
    assert candidates(settings, "someone/tool") == ["docker.io/someone/tool:latest"]
    assert candidates(settings, "quay.io/a/b") == ["quay.io/a/b:latest"]
    assert candidates(settings, f"a@{DIGEST}") == [f"docker.io/library/a@{DIGEST}"]
    assert places(settings, "docker.io/library/centos:7") == [("docker.io", "library/centos", False)]


def test_search_list_in_order_and_the_user_s_file_wins(files: Files) -> None:
    files.write("etc/registries.conf", 'unqualified-search-registries = ["a.io", "docker.io"]')
    assert candidates(files.load(), "x:1") == ["a.io/x:1", "docker.io/library/x:1"]
    files.write("etc/registries.conf.d/90-site.conf", 'unqualified-search-registries = ["site.io"]')
    assert candidates(files.load(), "x:1") == ["site.io/x:1"]
    files.write("user/registries.conf.d/my.conf", 'unqualified-search-registries = ["mine.io/team"]')
    assert candidates(files.load(), "x:1") == ["mine.io/team/x:1"]
    files.write("user/registries.conf", 'unqualified-search-registries = ["user.io"]')
    (files.top / "user/registries.conf.d/my.conf").unlink()
    assert candidates(files.load(), "x:1") == ["user.io/x:1"]


def test_aliases(files: Files) -> None:
    files.write("etc/registries.conf.d/000-shortnames.conf", '[aliases]\n"centos" = "quay.io/centos/centos"\n')
    assert candidates(files.load(), "centos:7") == ["quay.io/centos/centos:7"]
    files.write("cache/short-name-aliases.conf", '[aliases]\n"centos" = "docker.io/centos"\n')
    assert candidates(files.load(), "centos:7") == ["docker.io/library/centos:7"]
    files.write("user/registries.conf.d/off.conf", 'short-name-mode = "disabled"')
    assert candidates(files.load(), "centos:7") == ["docker.io/library/centos:7"]


def test_location_rewriting_as_in_the_man_page(files: Files) -> None:
    files.write(
        "etc/registries.conf",
        """
        [[registry]]
        prefix = "example.com/foo"
        location = "internal-registry-for-example.com/bar"
        insecure = true
        [[registry]]
        prefix = "example.com"
        [[registry]]
        prefix = "*.example.com"
        location = "wild.net"
        """,
    )
    settings = files.load()
    assert places(settings, "example.com/foo/image:latest") == [
        ("internal-registry-for-example.com", "bar/image", True)
    ]
    assert places(settings, "example.com/foobar/image") == [("example.com", "foobar/image", False)]
    assert places(settings, "reg.example.com/x") == [("wild.net", "x", False)]
    assert places(settings, "a.b.example.com:5000/x") == [("wild.net:5000", "x", False)]
    assert places(settings, "other.com/sub.example.com/x") == [("other.com", "sub.example.com/x", False)]


def test_mirrors(files: Files) -> None:
    files.write(
        "etc/registries.conf",
        """
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "127.0.0.1:5000"
        insecure = true
        [[registry.mirror]]
        location = "digests.net/hub"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "tags.net/hub"
        pull-from-mirror = "tag-only"
        """,
    )
    settings = files.load()
    assert places(settings, "docker.io/library/centos:7") == [
        ("127.0.0.1:5000", "library/centos", True),
        ("tags.net", "hub/library/centos", False),
        ("docker.io", "library/centos", False),
    ]
    assert places(settings, f"docker.io/library/centos@{DIGEST}") == [
        ("127.0.0.1:5000", "library/centos", True),
        ("digests.net", "hub/library/centos", False),
        ("docker.io", "library/centos", False),
    ]


def test_blocked(files: Files) -> None:
    path = files.write(
        "etc/registries.conf",
        '[[registry]]\nprefix = "bad.io/evil"\nlocation = "bad.io/evil"\nblocked = true\n',
    )
    settings = files.load()
    assert places(settings, "bad.io/good/x") == [("bad.io", "good/x", False)]
    with pytest.raises(RegistryError) as caught:
        places(settings, "bad.io/evil/x")
    assert caught.value.message == f'registry "bad.io/evil" is blocked by {path}'


def test_later_files_replace_a_rule(files: Files) -> None:
    files.write("etc/registries.conf", '[[registry]]\nlocation = "a.io"\ninsecure = true\n')
    assert places(files.load(), "a.io/x") == [("a.io", "x", True)]
    assert registries_conf.insecure(files.load(), "a.io")
    files.write("etc/registries.conf.d/50.conf", '[[registry]]\nlocation = "a.io"\n')
    assert places(files.load(), "a.io/x") == [("a.io", "x", False)]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("x = ", "Invalid value"),
        ("[registries.search]\nregistries = ['docker.io']", "old version 1 format"),
        ("[[registry]]\ninsecure = true", "neither prefix nor location"),
        ("[[registry]]\nlocation = 'a*.io'", "may only stand first"),
        ("[[registry]]\nlocation = 'a.io'\ninsecure = 'yes'", "insecure is neither true nor false"),
        (
            "[[registry]]\nlocation = 'a.io'\n[[registry.mirror]]\ninsecure = true",
            'a mirror of "a.io" has no location',
        ),
        ("unqualified-search-registries = 'docker.io'", "is not a list of strings"),
        ("short-name-mode = 'loud'", '"loud" is not'),
        ("registry = 3", "must be written as [[registry]]"),
    ],
)
def test_mistakes_name_the_file(files: Files, text: str, part: str) -> None:
    path = files.write("etc/registries.conf", text)
    with pytest.raises(InvalidDocument) as caught:
        files.load()
    assert path in caught.value.message
    assert part in caught.value.message
