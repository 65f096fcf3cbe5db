"""A registry that wants to know who asks: the real one, with basic authentication."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rootless import images
from tests.rootless.environment import UserEnvironment
from tests.rootless.images import ImageRegistry, busybox_layer

SECRET = "me:$2b$04$7PWaFVDFWVFG0Yb7G2w9E.e2SqcHfBqvg.rzq9a23qGevMeS6Uly."
"""htpasswd(1) for user "me" with password "secret"."""


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRegistry]:
    place = tmp_path_factory.mktemp("private")
    with images.serving(place) as public:
        public.add("test/private:1", [busybox_layer()])
    with images.serving(place, password=SECRET) as registry:
        yield registry


def _log_in(account: UserEnvironment, host: str, password: str) -> Path:
    path = account.home / ".docker/config.json"
    path.parent.mkdir(exist_ok=True)
    token = base64.b64encode(f"me:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": token}}}))
    return path


def test_with_the_password_it_is_pulled(user_env: UserEnvironment, private: ImageRegistry) -> None:
    _log_in(user_env, private.host, "secret")
    assert user_env.ptb("enter", f"{private.host}/test/private:1", "--", "echo", "in").stdout == "in\n"


def test_an_authfile_that_is_named(user_env: UserEnvironment, private: ImageRegistry) -> None:
    path = _log_in(user_env, private.host, "secret").rename(user_env.home / "elsewhere.json")
    image = f"{private.host}/test/private:1"
    assert user_env.ptb("toolbox", "create", "-i", image).status == 125
    assert user_env.ptb("toolbox", "create", "-i", image, "--authfile", str(path)).status == 0


@pytest.mark.parametrize("password", ["", "wrong"])
def test_without_it_the_registry_is_named_and_nothing_is_left(
    user_env: UserEnvironment, private: ImageRegistry, password: str
) -> None:
    if password:
        _log_in(user_env, private.host, password)
    result = user_env.ptb("enter", f"{private.host}/test/private:1", "--", "true")
    assert result.status == 125
    assert private.host in result.stderr
    assert "needs a login" in result.stderr
    assert "wrong" not in result.stderr, "passwords are not printed"
    assert user_env.ptb("images", "-q").stdout == ""
