"""Every command as it is typed, with the module and the function that carry it out: the only list of them."""

from __future__ import annotations

COMMANDS = {
    "enter": ("toolbox.commands.boxes", "enter"),
    "list": ("toolbox.commands.boxes", "list_boxes"),
    "rm": ("toolbox.commands.boxes", "remove"),
    "pull": ("toolbox.commands.images", "pull"),
    "images": ("toolbox.commands.images", "images"),
    "rmi": ("toolbox.commands.images", "remove"),
    "toolbox create": ("toolbox.commands.toolbx", "create"),
    "toolbox enter": ("toolbox.commands.toolbx", "enter"),
    "toolbox run": ("toolbox.commands.toolbx", "run"),
    "toolbox list": ("toolbox.commands.toolbx", "list_all"),
    "toolbox rm": ("toolbox.commands.toolbx", "remove"),
    "toolbox rmi": ("toolbox.commands.toolbx", "remove_images"),
    "version": ("toolbox.commands.version", "version"),
}

ALIASES = {"ls": "list"}

GROUPS = {"toolbox": "The same boxes, spelled as toolbox's users know them: alias toolbox='ptb toolbox'"}

DEFAULTS = {"toolbox": "toolbox enter"}
"""What a group's name alone does."""
