#!/bin/sh
# Makes sure of what a build and a private Postgres need: cargo, a C compiler, Postgres' programs.
# Installs the latter two where it may, else says in one sentence what to install.
set -eu
cd "$(dirname "$0")/.."

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# --- Rust: never installed behind anybody's back ---
wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
if ! has cargo; then
    fail "Rust is not installed: get version $wanted or newer from https://rustup.rs"
fi
found=$(cargo --version | sed 's/^cargo \([0-9]*\.[0-9]*\).*/\1/')
if [ "${found%.*}" -lt "${wanted%%.*}" ] ||
    { [ "${found%.*}" -eq "${wanted%%.*}" ] && [ "${found#*.}" -lt "$(echo "$wanted" | cut -d. -f2)" ]; }; then
    fail "Rust $found is too old: version $wanted or newer is needed (rustup update)"
fi

# --- Postgres' programs: the same places as in crates/private-postgres/src/programs.rs ---
is_bin() { [ -x "$1/initdb" ] && [ -x "$1/postgres" ]; }

has_postgres() {
    if [ -n "${PG_BIN:-}" ]; then
        is_bin "$PG_BIN" && return
        fail "PG_BIN names $PG_BIN, which does not hold both initdb and postgres"
    fi
    has initdb && return
    has pg_config && is_bin "$(pg_config --bindir 2>/dev/null)" && return
    for bin in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin \
        /usr/local/opt/postgresql*/bin /Applications/Postgres.app/Contents/Versions/*/bin; do
        is_bin "$bin" && return
    done
    return 1
}

# --- Installing: as root, or with a sudo that asks nothing ---
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() { [ "$(id -u)" -eq 0 ] || { has sudo && sudo -n true 2>/dev/null; }; }

# Debian's package would create and start a cluster on port 5432.
no_default_cluster() {
    settings=/etc/postgresql-common/createcluster.conf
    [ -e "$settings" ] && return
    as_root mkdir -p "${settings%/*}"
    echo 'create_main_cluster = false' | as_root tee "$settings" >/dev/null
}

# install DEBIAN FEDORA ALPINE HOMEBREW (each a list of packages)
install() {
    # shellcheck disable=SC2086 # the lists are meant to be split
    if has brew && [ "$(id -u)" -ne 0 ]; then
        loudly brew install $4
    elif ! may_install; then
        return 1
    elif has apt-get; then
        as_root apt-get -q update >&2
        loudly as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y \
            --no-install-recommends -o Dpkg::Options::=--force-confold $1
    elif has dnf; then
        loudly as_root dnf install -y $2
    elif has apk; then
        loudly as_root apk add $3
    else
        return 1
    fi
}

loudly() {
    echo "+ $*" >&2
    "$@" >&2
}

has cc || install 'gcc libc6-dev' 'gcc glibc-devel' 'gcc musl-dev' gcc ||
    fail 'a C compiler is missing: apt-get install gcc libc6-dev, dnf install gcc, or xcode-select --install'

if ! has_postgres; then
    if has apt-get && may_install; then no_default_cluster; fi
    install postgresql postgresql-server postgresql postgresql ||
        fail "PostgreSQL's programs are missing: apt-get install postgresql, dnf install postgresql-server or brew install postgresql; or set PG_BIN to the folder that holds initdb and postgres"
    has_postgres || fail 'PostgreSQL was installed but initdb and postgres are nowhere to be found: set PG_BIN to their folder'
fi

# A scenario tries the real PgBouncer where it is there. Nobody sees what a CI leaves out, so a CI tries to
# get it; without it the scenario is skipped with a sentence.
if [ -n "${CI:-}" ] && has apt-get && may_install && ! has pgbouncer; then
    install pgbouncer '' '' '' || echo 'skipped: pgbouncer cannot be installed, so no pooler is tried' >&2
fi
