#!/bin/sh
# Installs what the tests need beyond Python wheels: Redis 7, bubblewrap, git, Chromium. Safe to run again; never fails the build.
missing=""
if ! { command -v redis-server >/dev/null 2>&1 && ! redis-server --version | grep -q 'v=[1-6]\.' || [ -x /usr/bin/redis-server ]; }; then
    missing="redis-server"
fi
command -v bwrap >/dev/null 2>&1 || missing="$missing bubblewrap"
command -v git >/dev/null 2>&1 || missing="$missing git"
missing=${missing# }
browser=chromium
for one in chromium chromium-browser google-chrome; do
    command -v "$one" >/dev/null 2>&1 && browser=""
done
[ -n "$missing$browser" ] || exit 0

say_skipped() {
    echo "tests: $1 not installed ($2); tests that need it are skipped" >&2
}

as_root=""
if ! command -v apt-get >/dev/null 2>&1; then
    say_skipped "$missing $browser" "no apt-get here"
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true >/dev/null 2>&1; then
        say_skipped "$missing $browser" "neither root nor passwordless sudo"
        exit 0
    fi
    as_root="sudo -n"
fi

install() {
    # A policy that says no keeps Debian from starting the server that it installs.
    # shellcheck disable=SC2086 # words on purpose
    $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends $1 >/dev/null 2>&1
}

# The browser by itself: where it cannot be had, the rest still can.
for wanted in "$missing" "$browser"; do
    [ -n "$wanted" ] || continue
    install "$wanted" || { $as_root apt-get update -qq >/dev/null 2>&1; install "$wanted"; } || say_skipped "$wanted" "apt-get could not"
done
exit 0
