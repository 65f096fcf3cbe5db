"""passwd, group, shadow and sudoers lines for images of every kind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from toolbox.boxes import identity
from toolbox.boxes.identity import Identity

ANN = Identity("ann", 1000, "ann", 1000, "Ann Example", "/home/ann", "/bin/bash")

_WORD = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=8)


def _lookup(text: str, uid: int) -> str:
    """What getpwuid(3) finds: the first entry with the uid."""
    return next(line for line in text.splitlines() if line.split(":")[2] == str(uid))


def test_an_image_without_any_passwd_gets_root_and_you() -> None:
    assert identity.passwd("", ANN) == (
        "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000:Ann Example:/home/ann:/bin/bash\n"
    )


def test_another_name_for_your_uid_is_kept_behind_yours() -> None:
    text = identity.passwd("root:x:0:0::/root:/bin/sh\nubuntu:x:1000:1000::/home/ubuntu:/bin/bash\n", ANN)
    assert _lookup(text, 1000).startswith("ann:")
    assert "ubuntu:x:1000" in text


def test_your_name_with_another_uid_becomes_you() -> None:
    text = identity.passwd("root:x:0:0::/root:/bin/sh\nann:x:500:500::/:/bin/false\n", ANN)
    assert [line for line in text.splitlines() if line.startswith("ann:")] == [
        "ann:x:1000:1000:Ann Example:/home/ann:/bin/bash"
    ]


@given(st.lists(st.tuples(_WORD, st.integers(0, 2000)), max_size=8, unique_by=lambda pair: pair[0]))
def test_everyone_else_keeps_their_line_and_a_second_time_changes_nothing(users: list[tuple[str, int]]) -> None:
    lines = [f"{name}:x:{uid}:{uid}::/:/bin/sh" for name, uid in users if name not in ("ann", "root")]
    once = identity.passwd("\n".join(lines) + "\n", ANN)
    assert set(lines) <= set(once.splitlines())
    assert _lookup(once, 1000).startswith("ann:")
    assert identity.passwd(once, ANN) == once


def test_you_join_the_groups_that_grant_sudo() -> None:
    text = identity.group("root:x:0:\nsudo:x:27:bob\nwheel:x:10:\n", ANN)
    assert "sudo:x:27:bob,ann" in text
    assert "wheel:x:10:ann" in text
    assert "ann:x:1000:" in text
    assert identity.group(text, ANN) == text


def test_root_and_you_need_no_password_and_others_keep_theirs() -> None:
    text = identity.shadow("root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n", ANN)
    assert "root::19000:0:99999:7:::" in text
    assert "daemon:*:19000:0:99999:7:::" in text
    assert "ann::" in text
    assert identity.shadow(text, ANN) == text


def test_sudo_is_granted_by_uid_since_names_may_hold_anything() -> None:
    assert "#1000 ALL=(ALL:ALL) NOPASSWD: ALL" in identity.sudoers(ANN)
