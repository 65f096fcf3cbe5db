"""What `ptb-runtime features` prints (runtime-spec, features.md): what is implemented, whatever the host can do."""

from __future__ import annotations

from rootless import __version__, capabilities, mount_options, seccomp, seccomp_load, spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def document() -> dict[str, Any]:
    """The features document."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": spec.VERSION,
        "hooks": list(spec.HOOKS),
        "mountOptions": list(mount_options.KNOWN),
        "linux": {
            "namespaces": sorted(spec.NAMESPACES),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {"v1": False, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(seccomp.ACTIONS),
                "operators": sorted(seccomp.OPERATORS),
                "archs": sorted(seccomp.ARCHITECTURES),
                "knownFlags": sorted(seccomp_load.FLAGS),
                "supportedFlags": sorted(seccomp_load.FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {"org.ptb.runtime.version": __version__},
    }
