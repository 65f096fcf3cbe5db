"""Pulling an image: find it in a registry, check it, unpack the layers that are missing while they download, name it.

Order of events: resolve the name · fetch the manifest (through an index, for this platform) and the configuration ·
fork the unpackers, one per layer at a time, while there is one thread · start the threads that feed them · write the
manifest and the configuration · point the name at them. Until the last step nothing is visible, and what an
unfinished pull leaves is removed by it, or by the next one if it was killed.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import sys
import threading
from collections import deque

from fuse_overlay import layers, layout, oci
from fuse_overlay.unpacker import Unpacker
from rootless.errors import IntegrityError, InvalidDocument, NotFound, PtbError, RegistryError, UsageError
from toolbox import reference
from toolbox.images import remove, stored
from toolbox.progress import Progress, pull_progress, say
from toolbox.reference import Reference
from toolbox.registry import credentials, registries_conf
from toolbox.registry.client import Document, Repository
from toolbox.registry.registries_conf import Endpoint, Settings
from toolbox.registry.transport import Patience, host_of, is_loopback, shown

POLICIES = ("always", "missing", "never")
_AT_ONCE = 3
_INDEX_DEPTH = 3
_LAST_WORDS = 2.0
"""Seconds that a thread has to end after it was told to; one that is stuck connecting ends with the process."""


def pull(
    name: str,
    *,
    quiet: bool = False,
    platform: str | None = None,
    policy: str = "always",
    patience: Patience | None = None,
) -> oci.Image:
    """Make the image `name` present here and return it; progress goes to standard error unless `quiet`.

    `platform` is `linux[/ARCH[/VARIANT]]`, this machine's by default. `policy` "missing" pulls only what is not here,
    "never" raises NotFound for it. Raises InvalidDocument (reference, manifest, configuration file), NotFound,
    RegistryError, IntegrityError, HostUnfit, and what unpacking raises.
    """
    asked = reference.parse(name)
    if policy != "always" and (found := stored.find(name)) is not None:
        return found
    if policy == "never":
        raise NotFound(f'image "{name}" is not here', hint=f"ptb pull {name}")
    wanted = oci.parse_platform(platform) if platform else oci.host_platform()
    stop = threading.Event()
    settings = registries_conf.load()
    patience = patience or Patience()
    try:
        with stored.keeping_layers():
            source, repository, document = _find(settings, asked, patience, stop, quiet=quiet)
            with contextlib.closing(repository):
                document = _choose(repository, document, wanted)
                return _fetch(source, repository, document, wanted, stop, quiet=quiet)
    except BaseException:
        stop.set()
        # The failure itself is what must be told, not what else may be wrong with the store.
        with contextlib.suppress(PtbError):
            remove.collect()
        raise


def ensure(name: str) -> oci.Image:
    """The image, pulled if it is not here yet. Raises what `pull` raises."""
    return pull(name, policy="missing")


def show(names: list[str], *, quiet: bool = False, platform: str | None = None, policy: str = "always") -> int:
    """Pull each image and print its id. Raises UsageError for a policy that there is not, and what `pull` raises."""
    if policy not in POLICIES:
        raise UsageError(f'policy "{policy}" is none of {", ".join(POLICIES)}')
    for name in names:
        print(pull(name, quiet=quiet, platform=platform, policy=policy).manifest.config.digest.partition(":")[2])
    return 0


def full_name(text: str) -> str:
    """The full reference that `text` means here: the stored image's, else the first that a pull would try."""
    found = stored.find(text)
    if found is not None:
        return found.name
    return str(registries_conf.candidates(registries_conf.load(), reference.parse(text))[0])


def _find(
    settings: Settings, asked: Reference, patience: Patience, stop: threading.Event, *, quiet: bool
) -> tuple[Reference, Repository, Document]:
    """The first of the candidates, and of each one's mirrors and itself, that has the manifest."""
    candidates = registries_conf.candidates(settings, asked)
    failed: list[PtbError] = []
    for candidate in candidates:
        say(f"pulling {candidate}", quiet=quiet)
        places = registries_conf.endpoints(settings, candidate)
        for place in places:
            repository = _open(settings, candidate, place, patience, stop)
            try:
                return candidate, repository, repository.manifest(candidate.wanted)
            except (RegistryError, NotFound, IntegrityError) as error:
                repository.close()
                failed.append(error)
                if place is not places[-1]:
                    say(f"mirror {repository}: {error.message}", quiet=quiet)
    if len(candidates) == 1:
        raise failed[-1]
    reasons = "; ".join(error.message for error in failed)
    kind = NotFound if all(isinstance(error, NotFound) for error in failed) else RegistryError
    raise kind(f'"{asked}" is in none of the configured registries: {reasons}', hint="give the full name")


def _open(
    settings: Settings, candidate: Reference, place: Endpoint, patience: Patience, stop: threading.Event
) -> Repository:
    def lenient(host: str) -> bool:
        return is_loopback(host) or registries_conf.insecure(settings, host)

    ask = functools.partial(credentials.find, place.host, place.repository, settings.credential_helpers)
    return Repository(place, credentials=ask, lenient=lenient, patience=patience, stop=stop)


def _choose(repository: Repository, document: Document, wanted: oci.Platform) -> Document:
    """The manifest for the platform, by way of indexes if need be. Raises NotFound listing what platforms exist."""
    for _level in range(_INDEX_DEPTH):
        if document.media_type not in oci.INDEX_TYPES:
            return document
        found = oci.parse_index(document.data)
        chosen = oci.select(found, wanted)
        if chosen is None:
            offered = sorted({str(item.platform) for item in found if item.platform and item.platform.os != "unknown"})
            raise NotFound(
                f'"{repository}" has no image for {wanted}, only for {shown(", ".join(offered)) or "no platform at all"}',
                hint=f"--platform {shown(offered[0])}" if offered else None,
            )
        document = repository.manifest(chosen.digest, size=chosen.size)
    raise InvalidDocument(f'"{repository}" is an index of indexes of indexes')


def _fetch(
    source: Reference,
    repository: Repository,
    document: Document,
    wanted: oci.Platform,
    stop: threading.Event,
    *,
    quiet: bool,
) -> oci.Image:
    """Bring the configuration and the missing layers of a manifest here, and name it."""
    if document.media_type not in oci.MANIFEST_TYPES:
        raise InvalidDocument(f'"{source}" is not an image but {shown(document.media_type) or "of unknown type"}')
    manifest = oci.parse_manifest(document.data)
    if manifest.config.media_type not in (oci.OCI_CONFIG, oci.DOCKER_CONFIG):
        raise InvalidDocument(f'"{source}" is not an image: its configuration is {shown(manifest.config.media_type)}')
    for descriptor in manifest.layers:
        if "foreign" in descriptor.media_type or "nondistributable" in descriptor.media_type:
            where = f", only at {shown(host_of(descriptor.urls[0]))}" if descriptor.urls else ""
            raise InvalidDocument(f'layer "{_short(descriptor)}" of "{source}" may not be kept in registries{where}')
    image = oci.image(str(source), document.data, repository.blob(manifest.config))
    if image.config.os != "linux":
        raise InvalidDocument(f'"{source}" is an image for {shown(image.config.os) or "no system"}, not for linux')
    if image.config.architecture != wanted.architecture:
        say(
            f'warning: "{source}" is for {shown(image.config.architecture)}, not {wanted.architecture}',
            quiet=quiet,
        )
    # A layer may stand in an image twice; it is unpacked once.
    work = dict(zip(image.config.diff_ids, manifest.layers, strict=True))
    _unpack(repository, work, stop, quiet=quiet)
    layout.add(stored.store(), image.name, document.media_type, document.data, image.config.raw)
    return image


def _unpack(repository: Repository, work: dict[str, oci.Descriptor], stop: threading.Event, *, quiet: bool) -> None:
    """Download and unpack the layers that are not here yet, by diff id, several at a time."""
    missing = {diff_id: layer for diff_id, layer in work.items() if not layers.present(stored.store(), diff_id)}
    if not missing:
        return
    total = sum(layer.size for layer in missing.values())
    # The largest first: the last to finish should be a small one.
    order = deque(sorted(missing.items(), key=lambda item: -item[1].size))
    results: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    with contextlib.ExitStack() as stack:
        unpackers = [stack.enter_context(Unpacker(stored.store())) for _ in range(min(_AT_ONCE, len(missing)))]
        progress = stack.enter_context(pull_progress(tty=sys.stderr.isatty(), quiet=quiet, total=total))
        threads = [
            threading.Thread(target=_work, args=(repository, unpacker, order, results, progress), daemon=True)
            for unpacker in unpackers
        ]
        try:
            for thread in threads:
                thread.start()
            for _thread in threads:
                if (failure := results.get()) is not None:
                    raise failure
        finally:
            stop.set()
            repository.interrupt()
            for thread in threads:
                thread.join(_LAST_WORDS)


def _work(
    repository: Repository,
    unpacker: Unpacker,
    order: deque[tuple[str, oci.Descriptor]],
    results: queue.SimpleQueue[BaseException | None],
    progress: Progress,
) -> None:
    """One thread: take layers until there are none; what goes wrong is the main thread's to raise."""
    try:
        while True:
            try:
                diff_id, layer = order.popleft()
            except IndexError:
                break
            _one_layer(repository, unpacker, diff_id, layer, progress)
    except BaseException as error:  # noqa: BLE001 - carried to the main thread
        results.put(error)
    else:
        results.put(None)


def _one_layer(
    repository: Repository, unpacker: Unpacker, diff_id: str, layer: oci.Descriptor, progress: Progress
) -> None:
    pipe = unpacker.begin(diff_id, layer.media_type)
    shown_layer = progress.layer(_short(layer), layer.size)
    if pipe is None:
        shown_layer.done("already here")
        return
    try:
        with open(pipe, "wb", buffering=0, closefd=False) as stream:

            def sink(chunk: bytes) -> None:
                view = memoryview(chunk)
                while view:
                    view = view[stream.write(view) :]
                shown_layer.advance(len(chunk))

            try:
                repository.stream(layer, sink)
            except BrokenPipeError:
                pass  # the unpacker gave up before the end: `commit` knows why
        unpacker.commit()
    except BaseException:
        unpacker.abort()
        raise
    shown_layer.done()


def _short(layer: oci.Descriptor) -> str:
    return layer.digest.partition(":")[2][:12]
