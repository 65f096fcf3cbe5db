"""Names for containers that nobody named: an adjective and a mountain."""

from __future__ import annotations

from rootless import system as os

_ADJECTIVES = (
    *(
        "able",
        "amber",
        "brave",
        "bright",
        "brisk",
        "calm",
        "civil",
        "clear",
        "clever",
        "cosy",
        "crisp",
        "daring",
        "deft",
    ),
    *(
        "eager",
        "early",
        "easy",
        "fair",
        "fancy",
        "fond",
        "frank",
        "fresh",
        "gentle",
        "glad",
        "golden",
        "grand",
        "green",
    ),
    *(
        "happy",
        "hardy",
        "humble",
        "ideal",
        "jolly",
        "keen",
        "kind",
        "lively",
        "loyal",
        "lucid",
        "merry",
        "mild",
        "neat",
    ),
    *("noble", "patient", "plain", "polite", "proud", "quick", "quiet", "rapid", "ready", "sharp", "silent", "sincere"),
    *("smart", "solid", "sound", "steady", "still", "sunny", "swift", "tidy", "true", "vivid", "warm", "wise", "witty"),
)
_MOUNTAINS = (
    *("aneto", "ararat", "athos", "bernina", "cervino", "cook", "damavand", "denali", "dom", "eiger", "elbrus", "etna"),
    *(
        "fuji",
        "galdhopiggen",
        "grossglockner",
        "hekla",
        "helvellyn",
        "hood",
        "jungfrau",
        "kazbek",
        "kenya",
        "kilimanjaro",
    ),
    *(
        "kinabalu",
        "lhotse",
        "logan",
        "makalu",
        "matterhorn",
        "mulhacen",
        "musala",
        "nevis",
        "olympus",
        "ortler",
        "rainier",
    ),
    *("rigi", "robson", "rysy", "saentis", "scafell", "shasta", "snezka", "snowdon", "stelvio", "teide", "triglav"),
    *("ushba", "vesuvius", "vihren", "watzmann", "weisshorn", "whitney", "zugspitze"),
)


def invent() -> str:
    """One of some three thousand, or with a number when they get scarce."""
    first, second, third = os.urandom(3)
    name = f"{_ADJECTIVES[first % len(_ADJECTIVES)]}_{_MOUNTAINS[second % len(_MOUNTAINS)]}"
    return name if third & 1 else f"{name}{third % 100}"
