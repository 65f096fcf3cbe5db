"""What a container may do: capabilities, --security-opt, devices, user namespaces, and whose namespaces it shares."""

from __future__ import annotations

from rootless import capabilities
from rootless import system as os
from rootless.errors import NotFound, UsageError
from toolbox.containers.record import Device, IdMapping, Namespace, Security

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def security(added: Iterable[str], dropped: Iterable[str], options: Iterable[str], *, privileged: bool) -> Security:
    """--cap-add, --cap-drop, --security-opt and --privileged together. Raises UsageError, NotFound."""
    names = [_capability(name, "--cap-add") for name in added]
    without = [_capability(name, "--cap-drop") for name in dropped]
    held = set(capabilities.NAMES) if privileged or "ALL" in names else set(capabilities.DEFAULT)
    if "ALL" in without:
        held = set()
    both = (set(names) & set(without)) - {"ALL"}
    if both:
        raise UsageError(f"{min(both)} is both added and dropped")
    held |= {name for name in names if name != "ALL"}
    held -= set(without)
    settings: dict[str, object] = {"no_new_privileges": False, "seccomp": "", "apparmor": ""}
    label: list[str] = []
    masked: list[str] = []
    unmasked: list[str] = []
    for option in options:
        name, value = _option(option)
        if name == "no-new-privileges":
            settings["no_new_privileges"] = value.lower() in ("", "true", "1")
        elif name == "seccomp":
            settings["seccomp"] = value if value == "unconfined" else _profile(value)
        elif name == "apparmor":
            settings["apparmor"] = value
        elif name == "label":
            label.append(value)
        elif name == "mask":
            masked += value.split(":")
        elif name == "unmask":
            unmasked += ["ALL"] if value.upper() == "ALL" else value.replace(",", ":").split(":")
        elif name == "systempaths" and value == "unconfined":
            unmasked.append("ALL")
        else:
            raise UsageError(
                f'--security-opt "{option}" is not known',
                hint="known are no-new-privileges, seccomp=, apparmor=, label=, mask=, unmask=, systempaths=unconfined",
            )
    return Security(
        capabilities=tuple(sorted(held)),
        added=tuple(sorted(capabilities.NAMES if "ALL" in names else set(names))),
        privileged=privileged,
        label=tuple(label),
        masked=tuple(masked),
        unmasked=tuple(unmasked),
        **settings,  # type: ignore[arg-type] # each of its own type
    )


def _option(text: str) -> tuple[str, str]:
    """(name, value); docker also takes a colon between them."""
    for separator in ("=", ":"):
        name, found, value = text.partition(separator)
        if found:
            return name, value
    return text, ""


def _capability(text: str, option: str) -> str:
    name = text.upper()
    if name == "ALL":
        return name
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in capabilities.NAMES:
        raise UsageError(f'{option}: "{text}" is no capability', hint="man 7 capabilities")
    return name


def _profile(path: str) -> str:
    """The text of a seccomp profile, docker's or the OCI's, as linux.seccomp."""
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except OSError as error:
        raise NotFound(f'--security-opt seccomp="{path}": {os.strerror(error.errno or 0)}') from error
    from rootless import json_text
    from toolbox.containers import seccomp_profile

    return json_text.dump(seccomp_profile.from_docker(json_text.parse(text, f'seccomp profile "{path}"')))


def devices(texts: Iterable[str]) -> tuple[Device, ...]:
    """--device `HOST[:CONTAINER[:rwm]]`; a directory means all devices in it. Raises UsageError, NotFound."""
    import stat

    found: list[Device] = []
    for text in texts:
        parts = text.split(":")
        if len(parts) > 3 or not parts[0].startswith("/"):
            raise UsageError(f'--device "{text}" is not HOST[:CONTAINER[:rwm]]')
        source = parts[0]
        access = "rwm"
        if len(parts) > 1 and not parts[-1].startswith("/"):
            access = parts.pop()
            if not access or set(access) - set("rwm"):
                raise UsageError(f'--device "{text}": "{access}" is not made of r, w and m')
        target = parts[1] if len(parts) > 1 else source
        try:
            mode = os.stat(source).st_mode
        except OSError as error:
            raise NotFound(f'--device "{source}": {os.strerror(error.errno or 0)}') from error
        if stat.S_ISDIR(mode):
            for name in sorted(os.listdir(source)):
                inner = os.stat(f"{source}/{name}").st_mode
                if stat.S_ISCHR(inner) or stat.S_ISBLK(inner):
                    found.append(Device(f"{source}/{name}", f"{target}/{name}", access))
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            found.append(Device(source, target, access))
        else:
            raise UsageError(f'--device "{source}" is no device')
    return tuple(found)


_MODES = {
    "--pid": ("private", "host"),
    "--ipc": ("private", "shareable", "none", "host"),
    "--uts": ("private", "host"),
    "--cgroupns": ("private", "host"),
}


def namespace(text: str, option: str) -> Namespace:
    """--pid, --ipc, --uts and --cgroupns. Raises UsageError, NotFound for a path that is not there."""
    if not text:
        return Namespace("private")
    kind, colon, value = text.partition(":")
    if colon and kind == "container":
        from toolbox.containers import store

        return Namespace("container", store.need(value).id)
    if colon and kind == "ns":
        if not os.path.exists(value):
            raise NotFound(f'{option} "{text}": "{value}" is not there')
        return Namespace("path", value)
    if text not in _MODES[option]:
        known = ", ".join((*_MODES[option], "container:NAME", "ns:PATH"))
        raise UsageError(f'{option} takes one of {known}, not "{text}"')
    return Namespace(text)


def user_namespace(text: str, uid_maps: list[str], gid_maps: list[str]) -> IdMapping:
    """--userns, --uidmap and --gidmap. Raises UsageError for what an ordinary user cannot have."""
    mode, _colon, options = text.partition(":")
    if uid_maps or gid_maps:
        if mode not in ("", "private"):
            raise UsageError("--userns and --uidmap or --gidmap exclude each other")
        from toolbox.containers import id_maps

        return id_maps.mapping(uid_maps, gid_maps)
    if mode in ("", "private", "host"):
        return IdMapping("host" if mode == "host" else "")
    if mode == "auto":
        return IdMapping("")
    if mode == "nomap":
        from toolbox.containers import id_maps

        return id_maps.without_caller()
    if mode != "keep-id":
        raise UsageError(f'--userns takes host, keep-id, nomap or auto, not "{text}"')
    wanted = {"uid": -1, "gid": -1}
    for option in options.split(",") if options else ():
        name, _equals, value = option.partition("=")
        if name == "size":
            continue
        if name not in wanted or not value.isdecimal():
            raise UsageError(f'--userns "{text}": "{option}" is neither uid=N nor gid=N')
        wanted[name] = int(value)
    return IdMapping("keep-id", wanted["uid"], wanted["gid"])
