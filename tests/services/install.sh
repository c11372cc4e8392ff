#!/bin/sh
# Installs what the tests need beyond Python wheels: Redis 7, bubblewrap and git. Safe to run again; never fails the build.
missing=""
if ! { command -v redis-server >/dev/null 2>&1 && ! redis-server --version | grep -q 'v=[1-6]\.' || [ -x /usr/bin/redis-server ]; }; then
    missing="redis-server"
fi
command -v bwrap >/dev/null 2>&1 || missing="$missing bubblewrap"
command -v git >/dev/null 2>&1 || missing="$missing git"
missing=${missing# }
[ -n "$missing" ] || exit 0

say_skipped() {
    echo "tests: $missing not installed ($1); tests that need it are skipped" >&2
    exit 0
}

command -v apt-get >/dev/null 2>&1 || say_skipped "no apt-get here"
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true >/dev/null 2>&1 || say_skipped "neither root nor passwordless sudo"
    as_root="sudo -n"
fi

install() {
    # A policy that says no keeps Debian from starting the server that it installs.
    # shellcheck disable=SC2086 # words on purpose
    $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1
}

install || { $as_root apt-get update -qq >/dev/null 2>&1; install; } || say_skipped "apt-get could not"
exit 0
