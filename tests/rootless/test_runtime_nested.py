"""`ptb-runtime` where another container engine has been before: in containers, and in namespaces of one id."""

from __future__ import annotations

import json
import os

import pytest

from tests import bundles
from tests.bundles import Runtime


def with_a_single_id(bundle, host: int):
    """Map container root to `host` and nothing else, with what then cannot be had left out."""
    for key in ("uidMappings", "gidMappings"):
        bundle.linux[key] = [{"containerID": 0, "hostID": host, "size": 1}]
    for mount in bundle.spec["mounts"]:
        mount["options"] = [option for option in mount["options"] if not option.startswith("gid=")]
    return bundle


@pytest.mark.parametrize(
    "namespaces", [("--user",), ("--user", "--mount"), ("--user", "--pid", "--fork", "--mount-proc")]
)
def test_inside_of_a_namespace_of_one_id(runtime, bundle, namespaces):
    """As `unshare -Ur` makes one: root there, without the capabilities of the machine's root."""
    inside = Runtime(runtime.root, prefix=("unshare", "--map-root-user", *namespaces))
    bundle.shell("id -u; cat /proc/self/uid_map; echo x >/data/file && cat /data/file; test -c /dev/null && echo null")
    bundle.spec["root"]["readonly"] = False
    result = inside.run(with_a_single_id(bundle, 0), check=True)
    assert result.stdout.split() == ["0", *("0", "0", "1"), "x", "null"]


def test_what_spec_writes_for_a_single_id_runs(runtime, bundle):
    inside = Runtime(runtime.root, prefix=("unshare", "--map-root-user", "--user"))
    inside("spec", "--rootless", "--bundle", str(bundle.path), check=True)
    bundle.spec = json.loads((bundle.path / "config.json").read_text())
    bundle.spec["process"]["terminal"] = False
    assert inside.run(bundle.command("id", "-u"), check=True).stdout == "0\n"


def nested_bundle(runtime, bundle, tmp_path):
    """A bundle within another's volume, and the outer one made fit to run the runtime."""
    bundles.with_programs_of_the_host(bundle)
    inner = with_a_single_id(bundles.make(tmp_path / "volume/inner"), 0)
    bundle.mount(tmp_path / "volume", "/data").mount(bundles.REPOSITORY, "/repository", "ro")
    bundle.spec["process"]["env"] = ["PATH=/usr/bin:/bin", "PYTHONPATH=/repository"]
    bundle.spec["root"]["readonly"] = False
    command = ("/usr/bin/python3", "-m", "rootless", "--root", "/tmp/state", "run", "--bundle", "/data/inner", "inner")
    return inner, bundle.command(*command)


def test_a_container_in_a_container(runtime, bundle, tmp_path):
    inner, outer = nested_bundle(runtime, bundle, tmp_path)
    inner.shell("echo $$; id -u; cat /proc/self/uid_map; readlink /proc/self/ns/pid; ls /proc/sys").write()
    result = runtime.run(outer)
    assert result.returncode == 0, result.stderr
    words = result.stdout.split()
    assert words[1:5] == ["0", "0", "0", "1"]
    assert words[5] != os.readlink("/proc/self/ns/pid")


def test_what_the_outer_container_hides_stays_hidden(runtime, bundle, tmp_path):
    """The inner /proc is then the outer one with its masks, or none: never one without them."""
    inner, outer = nested_bundle(runtime, bundle, tmp_path)
    inner.linux["maskedPaths"] = inner.linux["readonlyPaths"] = []
    outer.linux["maskedPaths"] = ["/proc/version"]
    inner.shell("cat /proc/version; test -d /proc/1 && echo there").write()
    result = runtime.run(outer)
    assert "Linux" not in result.stdout
    assert result.returncode != 0 or "there" in result.stdout
