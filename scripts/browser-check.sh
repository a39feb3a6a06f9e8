#!/bin/sh
# Does it work in a browser? Goes from the start of a verification over the provider's hosted page and
# the return to the decision, and through every page of the console, in the system's Chromium without a
# window, with the demo as a newcomer runs it. No request may leave this machine.
#
#   scripts/browser-check.sh [FILE…]        all of tests/browser, or those of its files; with the book,
#                                           if scripts/book.sh has built it
#   UPDATE=1 scripts/browser-check.sh       the same, and takes the documentation's pictures anew
#
# Needs Chromium, and Node 18 or newer with npm. A CI installs them where apt-get can; elsewhere they are
# not installed, and without them there is nothing to do. Screenshots of what failed are kept below
# target/browser-check.
set -eu
cd "$(dirname "$0")/.."
has() { command -v "$1" >/dev/null 2>&1; }

# Nobody sees what a CI leaves out.
go_without() {
    [ -z "${CI:-}" ] || { echo "error: $1" >&2; exit 1; }
    echo "skipped: $1, so no page is tried in a browser" >&2
    exit 0
}

# --- Tools ---

find_chromium() {
    for name in ${CHROMIUM:-} chromium chromium-browser google-chrome-stable google-chrome; do
        has "$name" && command -v "$name" && return
    done
    return 1
}

install() {
    [ -n "${CI:-}" ] && has apt-get || return 1
    root='sudo -n'
    [ "$(id -u)" -ne 0 ] || root=
    # shellcheck disable=SC2086 # nothing, for root
    { $root apt-get -q update && $root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends "$@"; } >&2
}

find_chromium >/dev/null || install chromium || go_without 'Chromium is missing: apt-get install chromium'
CHROMIUM=$(find_chromium) || go_without 'Chromium is missing: apt-get install chromium'
if ! has node || ! has npm; then
    install nodejs npm || go_without 'node or npm is missing: apt-get install nodejs npm'
fi
version=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
[ "$version" -ge 18 ] || go_without "Node $version is too old: 18 or newer is needed"

scripts/prepare.sh
target=${CARGO_TARGET_DIR:-target}
room=$target/browser-check
mkdir -p "$room"
room=$(cd "$room" && pwd)
target=$(cd "$target" && pwd)
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy

# Node looks for packages beside the program.
if ! cmp -s tests/browser/package-lock.json "$room/installed.json"; then
    cp tests/browser/package.json tests/browser/package-lock.json "$room"
    (cd "$room" && npm ci --no-audit --no-fund --silent) ||
        go_without 'the packages of tests/browser cannot be installed'
    cp tests/browser/package-lock.json "$room/installed.json"
fi
rm -rf "$room"/*.mjs "$room/failed"
cp tests/browser/*.mjs "$room"

# --- Run ---

export VERDICT_BOOK="${VERDICT_BOOK:-$target/book}"
if [ -e "$VERDICT_BOOK/policy.txt" ]; then
    scripts/build.sh --features book
else
    [ -z "${CI:-}" ] || { echo 'error: the book is missing: run scripts/book.sh first' >&2; exit 1; }
    unset VERDICT_BOOK
    scripts/build.sh
fi
# By a name that no other build takes: cargo replaces the binary of other features.
cp "$target/debug/verdict" "$room/verdict"
export CHROMIUM VERDICT_BINARY="$room/verdict" VERDICT_SCREENSHOTS="$room/failed"
export VERDICT_PICTURES="$PWD/docs/images"
mkdir -p "$VERDICT_PICTURES/console"
cd "$room"
[ $# -gt 0 ] || set -- *.test.mjs
exec node --test --test-reporter=spec "$@"
