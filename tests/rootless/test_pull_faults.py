"""Pulls that fail: one clear line, nothing left behind, and the next pull simply works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.rootless import faulty_registry
from tests.rootless.faulty_registry import OCI, Handler, Registry, cut, digest_of, instead, layer_of, stall

if TYPE_CHECKING:
    from tests.rootless.environment import UserEnvironment

DRIVER = """
import sys
from rootless.errors import PtbError
from toolbox.images import pull
from toolbox.registry.transport import Patience
try:
    image = pull.pull(sys.argv[1], patience=Patience(connect=5, idle=float(sys.argv[2]), tries=3, pause=0.001))
except PtbError as error:
    print(error.message, file=sys.stderr)
    sys.exit(error.exit_status)
print(image.digest)
"""
"""`ptb pull` with less patience than people have."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    with faulty_registry.serving() as serving:
        yield serving


@pytest.fixture
def start(user_env: UserEnvironment) -> Callable[..., subprocess.Popen[str]]:
    """Starts a pull in a process (and process group) of its own."""

    def starter(name: str, idle: float = 5.0) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, name, str(idle)],
            env=dict(user_env.environ) | {"PYTHONPATH": os.getcwd()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return starter


class Puller:
    """Pulls and looks at what is left."""

    def __init__(self, start: Callable[..., subprocess.Popen[str]], data: Path) -> None:
        self.start = start
        self.layers = data / "ptb/layers"
        self.images = data / "ptb/images"

    def succeeds(self, name: str) -> str:
        process = self.start(name)
        out, err = process.communicate()
        assert process.returncode == 0, err
        return out.strip()

    def fails(self, name: str, idle: float = 5.0) -> str:
        """The last line that was said."""
        process = self.start(name, idle)
        out, err = process.communicate()
        assert process.returncode == 125, err
        assert out == ""
        assert "Traceback" not in err
        return err.splitlines()[-1]

    def left(self) -> list[str]:
        """Layers, partial layers, names and blobs."""
        layers = sorted(os.listdir(self.layers)) if self.layers.exists() else []
        blobs = self.images / "blobs/sha256"
        return layers + (sorted(os.listdir(blobs)) if blobs.exists() else [])


@pytest.fixture
def puller(start: Callable[..., subprocess.Popen[str]], user_env: UserEnvironment) -> Puller:
    return Puller(start, user_env.data)


def noise(size: int) -> bytes:
    """Bytes that do not compress."""
    return os.urandom(size)


def blob_path(manifest: dict[str, Any], index: int = 0) -> str:
    return f"/v2/test/image/blobs/{manifest['layers'][index]['digest']}"


def test_a_cut_connection_is_resumed_while_unpacking(registry: Registry, puller: Puller) -> None:
    data = noise(4 << 20)
    manifest = registry.add("test/image", [layer_of({"data": data})])
    registry.fail(blob_path(manifest), cut(1_000_000), stall(1_500_000))
    process = puller.start(f"{registry.host}/test/image:1", 0.3)
    _out, err = process.communicate()
    assert process.returncode == 0, err
    (layer,) = puller.layers.iterdir()
    assert (layer / "diff/data").read_bytes() == data
    assert len(registry.asked(blob_path(manifest))) == 3


def other_bytes(handler: Handler) -> None:
    data = handler.registry.blobs[handler.path.rpartition("/")[2]]
    handler.answer(200, data[:-1] + bytes([data[-1] ^ 1]))


def half(handler: Handler) -> None:
    data = handler.registry.blobs[handler.path.rpartition("/")[2]]
    handler.answer(200, data[: len(data) // 2])


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        pytest.param([other_bytes], "arrived as sha256:", id="wrong digest"),
        pytest.param([half], "the manifest says", id="truncated"),
        pytest.param([cut(0)] * 9, "cut the connection", id="always cut"),
        pytest.param([stall(1000)] * 9, "sent nothing for 0.3 seconds", id="silent"),
        pytest.param([instead(b"", 500)] * 9, "server error 500", id="server error"),
        pytest.param([instead(b"", 404)], "does not exist in registry", id="layer missing"),
    ],
)
def test_a_layer_that_does_not_come(registry: Registry, puller: Puller, faults: list[Any], said: str) -> None:
    good = [layer_of({f"file{number}": noise(200_000)}) for number in range(3)]
    manifest = registry.add("test/image", [*good, layer_of({"bad": noise(300_000)})])
    registry.fail(blob_path(manifest, 3), *faults)
    name = f"{registry.host}/test/image:1"
    message = puller.fails(name, 0.3)
    assert said in message
    assert puller.left() == []
    registry.faults.clear()
    puller.succeeds(name)
    assert len(os.listdir(puller.layers)) == 4


def test_a_layer_that_unpacks_to_something_else(registry: Registry, puller: Puller) -> None:
    manifest = registry.add("test/image", [layer_of({"a": b"1"})])
    config = json.loads(registry.blobs[manifest["config"]["digest"]])
    config["rootfs"]["diff_ids"] = [digest_of(b"something else")]
    described = registry.blob(json.dumps(config).encode(), f"{OCI}.config.v1+json")
    changed = json.dumps(manifest | {"config": described}).encode()
    registry.put("test/image", "liar", str(manifest["mediaType"]), changed)
    message = puller.fails(f"{registry.host}/test/image:liar")
    assert digest_of(b"something else")[7:19] in message
    assert puller.left() == []


def test_what_is_no_layer(registry: Registry, puller: Puller) -> None:
    manifest = registry.add("test/image", [layer_of({"a": b"1"})])
    junk = registry.blob(noise(100_000), f"{OCI}.layer.v1.tar+gzip")
    registry.put("test/image", "junk", manifest["mediaType"], json.dumps(manifest | {"layers": [junk]}).encode())
    puller.fails(f"{registry.host}/test/image:junk")
    assert puller.left() == []


def test_images_that_are_not_for_us(registry: Registry, puller: Puller) -> None:
    name = f"{registry.host}/test/image"
    manifest = registry.add("test/image", [layer_of({"a": b"1"})], tag="windows", os="windows")
    assert "is an image for windows, not for linux" in puller.fails(f"{name}:windows")

    foreign = manifest["layers"][0] | {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "urls": ["https://mcr.example/layer"],
    }
    registry.put("test/image", "foreign", manifest["mediaType"], json.dumps(manifest | {"layers": [foreign]}).encode())
    assert "may not be kept in registries, only at mcr.example" in puller.fails(f"{name}:foreign")

    chart = registry.blob(b"{}", "application/vnd.cncf.helm.config.v1+json")
    registry.put("test/image", "chart", manifest["mediaType"], json.dumps(manifest | {"config": chart}).encode())
    assert "is not an image: its configuration is application/vnd.cncf.helm" in puller.fails(f"{name}:chart")

    twice = registry.add("test/image", [layer_of({"a": b"1"})], tag="x")
    more = twice | {"layers": twice["layers"] * 2}
    registry.put("test/image", "more", manifest["mediaType"], json.dumps(more).encode())
    assert "2 layers in the manifest, 1 in the configuration" in puller.fails(f"{name}:more")

    index = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.index.v1+json",
        "manifests": [
            {"mediaType": manifest["mediaType"], "digest": digest_of(b"1"), "size": 1, "platform": platform}
            for platform in (
                {"os": "linux", "architecture": "s390x"},
                {"os": "linux", "architecture": "mips64le"},
                {"os": "unknown", "architecture": "unknown"},
            )
        ],
    }
    registry.put("test/image", "index", index["mediaType"], json.dumps(index).encode())  # type: ignore[arg-type]
    message = puller.fails(f"{name}:index")
    assert "has no image for linux/" in message
    assert message.endswith("only for linux/mips64le, linux/s390x")
    assert puller.left() == []


def begun(registry: Registry, path: str) -> None:
    """Wait until the registry has been asked for `path`."""
    waiting = threading.Event()
    while not registry.asked(path):
        waiting.wait(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_a_pull_that_is_interrupted(registry: Registry, puller: Puller, number: signal.Signals) -> None:
    data = noise(3 << 20)
    manifest = registry.add("test/image", [layer_of({"small": b"x"}), layer_of({"data": data})])
    registry.fail(blob_path(manifest, 1), stall(2_000_000))
    name = f"{registry.host}/test/image:1"
    process = puller.start(name, 600)
    begun(registry, blob_path(manifest, 1))
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    process.communicate()
    assert process.returncode == -number
    with pytest.raises(ProcessLookupError):
        # Nothing of it lives on: its unpackers end with it.
        deadline = threading.Event()
        for _attempt in range(500):
            os.killpg(process.pid, 0)
            deadline.wait(0.01)
    if number == signal.SIGINT:
        assert puller.left() == []
    puller.succeeds(name)
    assert {layer.name for layer in puller.layers.iterdir() if layer.suffix} == set()
    assert len(os.listdir(puller.layers)) == 2


def test_two_pulls_of_one_image_at_once(registry: Registry, puller: Puller) -> None:
    layers = [layer_of({"data": noise(8 << 20)}), layer_of({"more": noise(1 << 20)})]
    manifest = registry.add("test/image", layers)
    name = f"{registry.host}/test/image:1"
    both = [puller.start(name), puller.start(name)]
    for process in both:
        _out, err = process.communicate()
        assert process.returncode == 0, err
    assert len(os.listdir(puller.layers)) == 2
    assert len(registry.asked(blob_path(manifest, 0))) == 1
