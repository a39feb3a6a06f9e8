#!/bin/sh
# Licences, bans, sources and known vulnerabilities of the dependency tree, by deny.toml. Where there is no cargo-deny, a
# pinned one is built into target/tools, once.
set -eu
cd "$(dirname "$0")/.."
version=0.20.2
tools=${CARGO_TARGET_DIR:-target}/tools

deny=$tools/bin/cargo-deny
if [ ! -x "$deny" ] || [ "$("$deny" --version)" != "cargo-deny $version" ]; then
    deny=$(command -v cargo-deny || true)
fi
if [ -z "$deny" ]; then
    echo "Building cargo-deny $version into $tools, once ..." >&2
    # Lightly optimised, without debug information: compiles in half the time, checks in seconds.
    if CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=1 \
        cargo install --quiet --debug --locked --version "$version" \
        --root "$tools" --target-dir "$tools/build" cargo-deny; then
        rm -rf "$tools/build"
        deny=$tools/bin/cargo-deny
    elif [ -n "${CI:-}" ]; then
        echo 'error: cargo-deny could not be built' >&2
        exit 1
    else
        echo 'skipped: cargo-deny could not be built, so licences, bans and sources are unchecked' >&2
        exit 0
    fi
fi

"$deny" --all-features check --hide-inclusion-graph bans licenses sources

# The database of advisories comes from GitHub, which not every machine reaches. `fetch` alone tells
# an unreachable database from a vulnerability that was found.
if "$deny" fetch db >/dev/null 2>&1; then
    exec "$deny" --all-features check --hide-inclusion-graph --disable-fetch advisories
fi
echo 'skipped: the database of advisories is out of reach, so known vulnerabilities are unchecked' >&2
# A release is made where the database can be had.
[ -z "${ADVISORIES_REQUIRED:-}" ]
