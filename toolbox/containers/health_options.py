"""A container's health check: the image's, with what the --health options change (podman-run(1))."""

from __future__ import annotations

from rootless.errors import UsageError
from rootless.monitor_plan import Health, Startup
from toolbox.containers import sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_ACTIONS = ("none", "kill", "restart", "stop")


def health(given: Mapping[str, Any], image: Mapping[str, Any] | None) -> Health | None:
    """The check to make, None for none; `image` is the image's Healthcheck. Raises UsageError."""
    action = given.get("health_on_failure") or "none"
    if action not in _ACTIONS:
        raise UsageError(f'--health-on-failure takes one of {", ".join(_ACTIONS)}, not "{action}"')
    if given.get("no_healthcheck"):
        return None
    own = given.get("health_cmd")
    image = image or {}
    if own is not None:
        test = _test(own)
    else:
        test = tuple(image.get("Test") or ())
    if not test or test == ("NONE",):
        for option in ("health_on_failure", "health_startup_cmd"):
            if given.get(option) not in (None, "", "none"):
                raise UsageError(f"--{option.replace('_', '-')} needs a check", hint="give a --health-cmd")
        return None

    def seconds(option: str, key: str, default: float) -> float:
        text = given.get(option) or ""
        if text == "disable":
            return float("inf")
        if text:
            return sizes.duration(text, f"--{option.replace('_', '-')}")
        return (image.get(key) or 0) / 10**9 or default

    tries = _count(given.get("health_retries") or image.get("Retries") or 3, "--health-retries")
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
        startup=_startup(given),
    )


def _startup(given: Mapping[str, Any]) -> Startup | None:
    test = _test(given.get("health_startup_cmd") or "", "--health-startup-cmd")
    if not test or test == ("NONE",):
        for option in ("interval", "retries", "success", "timeout"):
            if given.get(f"health_startup_{option}"):
                raise UsageError(f"--health-startup-{option} needs a --health-startup-cmd")
        return None
    interval, timeout = (
        sizes.duration(given.get(f"health_startup_{name}") or "30s", f"--health-startup-{name}")
        for name in ("interval", "timeout")
    )
    retries, success = (
        _count(given.get(f"health_startup_{name}") or 0, f"--health-startup-{name}") for name in ("retries", "success")
    )
    return Startup(test, interval, timeout, retries, max(success, 1))


def _count(value: Any, option: str) -> int:
    text = str(value)
    if not text.isascii() or not text.isdecimal():
        raise UsageError(f'{option} takes a number, not "{text}"')
    return int(text)


def _test(text: str, option: str = "--health-cmd") -> tuple[str, ...]:
    if text in ("", "none"):
        return ()
    if text.startswith("["):
        from rootless import json_text

        words = json_text.parse(text, option)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UsageError(f"{option} {text} is not a list of words")
        return tuple(words) if words[:1] in (["CMD"], ["CMD-SHELL"], ["NONE"]) else ("CMD", *words)
    return ("CMD-SHELL", text)
