"""The XDG directories agree with the libraries that define them."""

from __future__ import annotations

import importlib

import platformdirs
import pytest
import xdg_base_dirs

from toolbox import paths


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="defaults"),
        pytest.param({f"XDG_{kind}_HOME": f"/x/{kind}" for kind in ("DATA", "CONFIG", "STATE", "CACHE")}, id="all set"),
        pytest.param({"XDG_DATA_HOME": "relative"}, id="relative is ignored"),
    ],
)
def test_same_answers_as_the_libraries(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("DATA", "CONFIG", "STATE", "CACHE"):
        monkeypatch.delenv(f"XDG_{kind}_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ann")
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    importlib.reload(xdg_base_dirs)
    assert paths.data_home() == f"{xdg_base_dirs.xdg_data_home()}/ptb"
    assert paths.config_home() == f"{xdg_base_dirs.xdg_config_home()}/ptb"
    assert paths.state_home() == f"{xdg_base_dirs.xdg_state_home()}/ptb"
    assert paths.cache_home() == f"{xdg_base_dirs.xdg_cache_home()}/ptb"
    if "relative" not in environment.values():
        assert paths.data_home() == platformdirs.user_data_dir("ptb")
        assert paths.cache_home() == platformdirs.user_cache_dir("ptb")
