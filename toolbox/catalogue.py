"""Every command as it is typed, with the module and the function that carry it out: the only list of them."""

from __future__ import annotations

COMMANDS = {
    "enter": ("toolbox.commands.boxes", "enter"),
    "list": ("toolbox.commands.boxes", "list_boxes"),
    "rm": ("toolbox.commands.remove", "remove"),
    "pull": ("toolbox.commands.images", "pull"),
    "images": ("toolbox.commands.images", "images"),
    "rmi": ("toolbox.commands.images", "remove"),
    "run": ("toolbox.commands.run", "run"),
    "create": ("toolbox.commands.run", "create"),
    **{
        name: ("toolbox.commands.containers", name)
        for name in ("ps", "start", "stop", "restart", "kill", "pause", "unpause", "wait", "rename", "attach", "init")
    },
    "exec": ("toolbox.commands.containers", "execute"),
    **{name: ("toolbox.commands.reports", name) for name in ("logs", "top", "stats", "inspect", "port", "events")},
    **{name: ("toolbox.commands.files", name) for name in ("diff", "commit", "export", "mount", "unmount")},
    "cp": ("toolbox.commands.files", "copy"),
    "import": ("toolbox.commands.files", "import_image"),
    "update": ("toolbox.commands.update", "update"),
    "container exists": ("toolbox.commands.containers", "container_exists"),
    "container inspect": ("toolbox.commands.reports", "container_inspect"),
    "container prune": ("toolbox.commands.containers", "container_prune"),
    "image exists": ("toolbox.commands.images", "exists"),
    "image inspect": ("toolbox.commands.images", "inspect"),
    "healthcheck run": ("toolbox.commands.reports", "healthcheck_run"),
    **{
        f"volume {name}": ("toolbox.commands.volumes", f"volume_{name}")
        for name in ("create", "ls", "inspect", "rm", "prune", "exists")
    },
    **{f"secret {name}": ("toolbox.commands.secrets", name) for name in ("create", "ls", "inspect", "rm", "exists")},
    "toolbox create": ("toolbox.commands.toolbx", "create"),
    "toolbox enter": ("toolbox.commands.toolbx", "enter"),
    "toolbox run": ("toolbox.commands.toolbx", "run"),
    "toolbox list": ("toolbox.commands.toolbx", "list_all"),
    "toolbox rm": ("toolbox.commands.toolbx", "remove"),
    "toolbox rmi": ("toolbox.commands.toolbx", "remove_images"),
    "version": ("toolbox.commands.version", "version"),
    "system migrate": ("toolbox.commands.version", "migrate"),
}

ALIASES = {"ls": "list", "umount": "unmount"}

GROUPS = {
    "container": "The commands about containers once more, as docker and podman group them",
    "healthcheck": "Containers' health",
    "image": "Images",
    "secret": "Secrets: what containers get to know and nobody else",
    "system": "What concerns all of it",
    "toolbox": "The same boxes, spelled as toolbox's users know them: alias toolbox='ptb toolbox'",
    "volume": "Volumes: directories that outlive the containers that use them",
}

DEFAULTS = {"toolbox": "toolbox enter"}
"""What a group's name alone does."""

IMAGE_FORMS = {"ls": "images", "list": "images", "pull": "pull", "rm": "rmi", "import": "import"}
"""What may follow `image`, and the command it is."""

CONTAINER_FORMS = {
    name: name
    for name in (
        *(
            "attach",
            "commit",
            "cp",
            "create",
            "diff",
            "exec",
            "export",
            "init",
            "kill",
            "logs",
            "mount",
            "pause",
            "port",
        ),
        *(
            "ps",
            "rename",
            "restart",
            "rm",
            "run",
            "start",
            "stats",
            "stop",
            "top",
            "unmount",
            "unpause",
            "update",
            "wait",
        ),
    )
} | {"ls": "ps", "list": "ps", "umount": "unmount"}
"""What may follow `container`, and the command it is."""
