"""`version`: ptb's own, and for programs that drive podman the version of podman whose commands and JSON ptb speaks."""

from __future__ import annotations

from toolbox import __version__

SPOKEN = "5.4.2"
"""The podman that options, output and JSON follow; its clients decide by it what they may ask for."""


def show(*, format: str) -> int:  # noqa: A002 - the option's name
    """Print a line, or the fields of podman's `version --format`."""
    if not format:
        print(f"ptb {__version__}")
        return 0
    import os

    from toolbox import output

    document = {
        "Client": {
            "APIVersion": SPOKEN,
            "Version": SPOKEN,
            "Engine": "ptb",
            "EngineVersion": __version__,
            "GoVersion": "",
            "GitCommit": "",
            "BuiltTime": "",
            "Built": 0,
            "OsArch": f"linux/{os.uname().machine}",
            "Os": "linux",
        }
    }
    if format == "json":
        output.print_json(document)
    else:
        from toolbox import gotemplate

        print(gotemplate.render(gotemplate.parse(format), document))
    return 0
