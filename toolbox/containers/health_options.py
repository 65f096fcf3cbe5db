"""A container's health check: the image's, with what the --health options change (podman-run(1))."""

from __future__ import annotations

from rootless.errors import UsageError
from rootless.monitor_plan import Health
from toolbox.containers import sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_ACTIONS = ("none", "kill", "restart", "stop")
_STARTUP = (
    *("health_startup_cmd", "health_startup_interval", "health_startup_retries"),
    *("health_startup_success", "health_startup_timeout"),
)


def health(given: Mapping[str, Any], image: Mapping[str, Any] | None) -> Health | None:
    """The check to make, None for none; `image` is the image's Healthcheck. Raises UsageError."""
    action = given.get("health_on_failure") or "none"
    if action not in _ACTIONS:
        raise UsageError(f'--health-on-failure takes one of {", ".join(_ACTIONS)}, not "{action}"')
    if any(given.get(option) for option in _STARTUP):
        raise UsageError("--health-startup-*: use --health-start-period, in which failures do not count")
    if given.get("no_healthcheck"):
        return None
    own = given.get("health_cmd")
    image = image or {}
    if own is not None:
        test = _test(own)
    else:
        test = tuple(image.get("Test") or ())
    if not test or test == ("NONE",):
        if action != "none":
            raise UsageError("--health-on-failure needs a check", hint="give a --health-cmd")
        return None

    def seconds(option: str, key: str, default: float) -> float:
        text = given.get(option) or ""
        if text == "disable":
            return float("inf")
        if text:
            return sizes.duration(text, f"--{option.replace('_', '-')}")
        return (image.get(key) or 0) / 10**9 or default

    retries = given.get("health_retries") or image.get("Retries") or 3
    try:
        tries = int(retries)
    except ValueError:
        raise UsageError(f'--health-retries takes a number, not "{retries}"') from None
    if tries < 1:
        raise UsageError("--health-retries is 1 at least")
    return Health(
        test=test,
        interval=seconds("health_interval", "Interval", 30.0),
        timeout=seconds("health_timeout", "Timeout", 30.0),
        start_period=seconds("health_start_period", "StartPeriod", 0.0),
        start_interval=seconds("", "StartInterval", 5.0),
        retries=tries,
        on_failure=action,
    )


def _test(text: str) -> tuple[str, ...]:
    if text in ("", "none"):
        return ()
    if text.startswith("["):
        from rootless import json_text

        words = json_text.parse(text, "--health-cmd")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UsageError(f"--health-cmd {text} is not a list of words")
        return tuple(words) if words[:1] in (["CMD"], ["CMD-SHELL"], ["NONE"]) else ("CMD", *words)
    return ("CMD-SHELL", text)
