# What `sh packaging/try` and `sh packaging/test` share: have the machine ready, then go on as an ordinary user.
# Counts on nothing but a POSIX shell and the package manager. Whatever is there already is left as it is.

ACCOUNT=ptb
RUN_PACKAGES="ca-certificates fuse-overlayfs python3 python3-venv slirp4netns uidmap"
TEST_PACKAGES="busybox-static dbus-daemon distrobox docker-registry e2fsprogs fish git inotify-tools libseccomp2 man-db mmdebstrap openssl passt podman-toolbox procps runc skopeo sudo systemd tzdata user-mode-linux xz-utils zsh"
TEST_DISK=/run/ptb-test-disk

fail() { # fail MESSAGE [HINT]
    printf 'ptb set-up: %s\n' "$1" >&2
    [ -z "${2:-}" ] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

privileged() { # privileged COMMAND…: as root
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "root must do this, and there is no sudo: $*" "have it done, then run this again"
    fi
}

have_packages() { # have_packages NAME…
    command -v apt-get >/dev/null || other_distribution
    # shellcheck disable=SC2016 # dpkg's own variables
    installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "$@" 2>/dev/null || true) "
    missing=
    for package; do
        case "$installed" in *" installed:$package "*) ;; *) missing="$missing $package" ;; esac
    done
    [ -n "$missing" ] || return 0
    printf 'ptb set-up: installing%s\n' "$missing" >&2
    # shellcheck disable=SC2086 # names without blanks
    privileged sh -c 'export DEBIAN_FRONTEND=noninteractive
        apt-get update -q >/dev/null && apt-get install -q -y --no-install-recommends "$@" >/dev/null </dev/null' sh $missing ||
        fail "could not install$missing" "sudo apt-get update && sudo apt-get install$missing"
    case "$missing" in *docker-registry*)
        # Debian starts it as a service; the tests start their own.
        if [ -d /run/systemd/system ]; then privileged systemctl disable -q --now docker-registry; fi ;;
    esac
}

other_distribution() {
    absent=
    for program in fuse-overlayfs newuidmap slirp4netns python3; do
        command -v "$program" >/dev/null || absent=1
    done
    python3 -c 'import venv, ensurepip' 2>/dev/null || absent=1
    if [ -z "$absent" ] && [ "$KIND" = try ]; then return; fi
    for manager in dnf zypper pacman apk; do
        command -v "$manager" >/dev/null || continue
        case "$manager" in
            dnf) packages="sudo dnf install fuse-overlayfs shadow-utils slirp4netns python3" ;;
            zypper) packages="sudo zypper install fuse-overlayfs shadow slirp4netns python3" ;;
            pacman) packages="sudo pacman -S fuse-overlayfs shadow slirp4netns python" ;;
            apk) packages="sudo apk add fuse-overlayfs shadow-subids slirp4netns python3" ;;
        esac
        [ "$KIND" = try ] || fail "the tests need Debian or Ubuntu: their images are made from its packages"
        fail "packages are missing" "$packages"
    done
    fail "packages are missing: fuse-overlayfs, slirp4netns, newuidmap, Python 3.11 with venv"
}

have_subordinate_ids() { # have_subordinate_ids USER
    for file in subuid subgid; do
        ! grep -q "^$1:" "/etc/$file" 2>/dev/null || continue
        first=$(cat /etc/subuid /etc/subgid 2>/dev/null |
            awk -F: '$2 + $3 > end { end = $2 + $3 } END { print (end > 100000 ? end : 100000) }')
        privileged usermod "--add-${file}s" "$first-$((first + 65535))" "$1" ||
            fail "could not give $1 subordinate ids" "man usermod, --add-${file}s"
    done
}

have_devices() {
    for device in /dev/fuse /dev/net/tun; do
        [ -e "$device" ] || privileged modprobe "$(basename "$device")" 2>/dev/null || true
        [ "$(stat -c %a "$device" 2>/dev/null)" = 666 ] || { [ -r "$device" ] && [ -w "$device" ] && [ "$(id -u)" != 0 ]; } ||
            privileged chmod 666 "$device" || printf 'ptb set-up: warning: %s cannot be used\n' "$device" >&2
    done
}

have_runtime_directory() { # have_runtime_directory UID
    [ -d "/run/user/$1" ] || privileged install -d -m 0700 -o "$1" -g "$(getent passwd "$1" | cut -d: -f4)" "/run/user/$1" ||
        fail "could not make /run/user/$1"
}

have_test_disk() { # have_test_disk UID GID: a small file system that the tests may fill
    mountpoint -q "$TEST_DISK" && [ "$(stat -c %u "$TEST_DISK")" = "$1" ] && return
    mountpoint -q "$TEST_DISK" && privileged umount "$TEST_DISK"
    privileged mkdir -p "$TEST_DISK" &&
        privileged mount -t tmpfs -o "size=24m,mode=0700,uid=$1,gid=$2" ptb-test-disk "$TEST_DISK" ||
        printf 'ptb set-up: warning: no file system to fill: the test of a full disk is skipped\n' >&2
}

have_venv() { # have_venv GROUP…: what pyproject.toml names, in a virtual environment of the user's own
    venv=${XDG_DATA_HOME:-$HOME/.local/share}/ptb-venv
    wanted=$(python3 - "$CHECKOUT/pyproject.toml" "$@" <<'PYTHON'
import sys
if sys.version_info < (3, 11):
    sys.exit("ptb set-up: Python 3.11 or newer is needed, this is " + sys.version.split()[0])
import tomllib
with open(sys.argv[1], "rb") as stream:
    project = tomllib.load(stream)
lines = list(project["project"]["dependencies"])
for group in sys.argv[2:]:
    lines += project["dependency-groups"][group]
print("# Python", *sys.version_info[:2])
print("\n".join(lines))
PYTHON
    ) || exit 1
    mkdir -p "$venv"
    exec 9>"$venv/lock"
    flock 9 # two at once: the second waits, and finds everything done
    if ! printf '%s\n' "$wanted" | cmp -s - "$venv/installed" && ! covers "$wanted"; then
        printf 'ptb set-up: making the virtual environment %s\n' "$venv" >&2
        rm -f "$venv/installed"
        rm -rf "${venv:?}/bin" "${venv:?}/lib" "${venv:?}/lib64" "${venv:?}/include"
        printf '%s\n' "$wanted" >"$venv/wanted"
        if python3 -m venv "$venv" &&
            "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$venv/wanted"; then
            mv "$venv/wanted" "$venv/installed"
        else
            fail "could not install what pyproject.toml names" "run this again when the package index can be reached"
        fi
    fi
    exec 9>&-
}

covers() { # covers WANTED: whether everything wanted is among what was installed
    [ -e "$venv/installed" ] || return 1
    ! printf '%s\n' "$1" | grep -qvxFf "$venv/installed"
}

go_on_as_account() { # go_on_as_account ARGUMENT…: root makes an ordinary account and gives it a copy of the checkout
    id "$ACCOUNT" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$ACCOUNT" || fail "could not add user $ACCOUNT"
    have_subordinate_ids "$ACCOUNT"
    uid=$(id -u "$ACCOUNT") gid=$(id -g "$ACCOUNT")
    have_devices
    have_runtime_directory "$uid"
    [ "$KIND" != test ] || have_test_disk "$uid" "$gid"
    home=$(getent passwd "$ACCOUNT" | cut -d: -f6)
    copy=$home/checkout
    mkdir -p "$copy"
    find "$copy" -type f ! -path '*/__pycache__/*' -delete
    (cd "$CHECKOUT" && tar -cf - --exclude=./.git --exclude=__pycache__ --exclude='./.*_cache' .) | tar -xf - -C "$copy" ||
        fail "could not copy the checkout to $copy"
    chown -R "$uid:$gid" "$copy"
    chmod -R u+rwX "$copy"
    unset XDG_DATA_HOME XDG_CONFIG_HOME XDG_STATE_HOME XDG_CACHE_HOME
    cd "$copy" && exec runuser -u "$ACCOUNT" -- env HOME="$home" USER="$ACCOUNT" LOGNAME="$ACCOUNT" SHELL=/bin/bash \
        PATH=/usr/local/bin:/usr/bin:/bin XDG_RUNTIME_DIR="/run/user/$uid" sh "$copy/packaging/$KIND" "$@"
}

set_up() { # set_up ARGUMENT…: returns with $venv made, as an ordinary user
    umask 022
    export LC_ALL="${LC_ALL:-C.UTF-8}" PATH="$PATH:/usr/sbin:/sbin"
    # shellcheck disable=SC2086 # names without blanks
    if [ "$KIND" = test ]; then have_packages $RUN_PACKAGES $TEST_PACKAGES; else have_packages $RUN_PACKAGES; fi
    [ "$(id -u)" != 0 ] || go_on_as_account "$@"
    HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
    export HOME
    have_subordinate_ids "$(id -un)"
    have_devices
    if [ ! -d "${XDG_RUNTIME_DIR:-}" ]; then
        have_runtime_directory "$(id -u)"
        XDG_RUNTIME_DIR=/run/user/$(id -u)
        export XDG_RUNTIME_DIR
    fi
    if [ "$KIND" = test ]; then
        have_test_disk "$(id -u)" "$(id -g)"
        have_venv test lint
    else
        have_venv
    fi
}
