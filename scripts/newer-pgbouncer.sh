#!/bin/sh
# Are poolers of transactions refused also by a PgBouncer that follows prepared statements (1.21 or
# newer)? Debian 12 has 1.18, so this takes the package of Debian 13 and the libraries that it needs,
# unpacks them into target/pgbouncer, and runs the scenarios with a pooler. It installs nothing.
#
#   scripts/newer-pgbouncer.sh
#
# Needs Debian's apt, on amd64. ./check tries the PgBouncer that is installed.
set -eu
cd "$(dirname "$0")/.."
room=${CARGO_TARGET_DIR:-target}/pgbouncer
mkdir -p "$room"
room=$(cd "$room" && pwd)

if [ ! -x "$room/pgbouncer" ]; then
    mkdir -p "$room/lists/partial" "$room/cache/archives/partial" "$room/unpacked"
    # From where this machine's packages come, with keys that it trusts.
    origin=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keys] $origin trixie main" >"$room/sources.list"
    apt() {
        apt-get -qq -o Dir::Etc::SourceList="$room/sources.list" -o Dir::Etc::SourceParts=/dev/null \
            -o Dir::State::Lists="$room/lists" -o Dir::Cache="$room/cache" \
            -o APT::Sandbox::User="$(id -un)" "$@" >&2
    }
    apt update
    (
        cd "$room" && apt download pgbouncer libc6 libcares2 libevent-2.1-7t64 libpam0g libssl3t64 \
            libsystemd0 libcap2 libaudit1 libcap-ng0 libgcrypt20 libgpg-error0 libzstd1 liblz4-1 \
            liblzma5 zlib1g
    )
    for package in "$room"/*.deb; do dpkg-deb -x "$package" "$room/unpacked"; done
    {
        echo '#!/bin/sh'
        echo "there=$room/unpacked"
        # shellcheck disable=SC2016 # of the program that this writes
        echo 'exec "$there/usr/lib64/ld-linux-x86-64.so.2" --library-path "$there/usr/lib/x86_64-linux-gnu" \
            "$there/usr/sbin/pgbouncer" "$@"'
    } >"$room/pgbouncer.new"
    chmod +x "$room/pgbouncer.new"
    "$room/pgbouncer.new" --version >/dev/null
    mv "$room/pgbouncer.new" "$room/pgbouncer"
fi
"$room/pgbouncer" --version | head -n 1
VERDICT_PGBOUNCER=$room/pgbouncer cargo test --locked --test scenarios -- --nocapture any_postgres::pooler
