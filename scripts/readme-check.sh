#!/bin/bash
# Do README's commands work, in the order they are in? Takes every block of shell commands out of it
# and runs them one after the other in one shell, as a newcomer would paste them: a command that
# fails ends it, and so does an answer of HTTP with an error.
#
#   scripts/readme-check.sh
#
# The blocks run in a copy of this folder below target/readme-check. Three things are put in their
# place: the addresses, for which free ones are taken; `./demo`, which stays up in the background;
# and the database, made on the demo's Postgres. Left out are ./check, which calls this script, and
# docker compose, which scripts/container-check.sh runs.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prepare.sh
for tool in curl openssl jq python3; do
    if ! command -v "$tool" >/dev/null; then
        # Nobody sees what a CI leaves out.
        if [ -n "${CI:-}" ]; then echo "error: $tool is missing" >&2 && exit 1; fi
        echo "skipped: $tool is missing"
        exit 0
    fi
done
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
unset DATABASE_URL "${!VERDICT@}" "${!PG@}"

cargo build --quiet --locked --bin verdict
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
room=$target/readme-check
rm -rf "$room"
mkdir -p "$room/copy" "$room/blocks" "$room/bin"
tar -c --exclude=./target --exclude=./.verdict --exclude=./.git . | tar -x -C "$room/copy"
ln -s "$target" "$room/copy/target"

# --- The blocks ---

# One file for each, named by the line it begins in.
awk -v folder="$room/blocks" '
    /^```sh$/ { file = sprintf("%s/%04d", folder, NR + 1); next }
    /^```/ { file = ""; next }
    file { print > file }
' README.md
count=$(find "$room/blocks" -type f | wc -l)
[ "$count" -ge 20 ] || { echo "error: README.md has only $count blocks of commands" >&2 && exit 1; }

# --- What stands in for the newcomer's machine ---

# An answer with an error is a failure here.
real=$(command -v curl)
printf '#!/bin/sh\nexec %s --fail-with-body "$@"\n' "$real" >"$room/bin/curl"
chmod +x "$room/bin/curl"
PATH=$room/bin:$PATH

demo=
clean_up() {
    # shellcheck disable=SC2046 # one number for each
    kill $(jobs -p) 2>/dev/null || true
    wait 2>/dev/null || true
}
trap clean_up EXIT
trap 'exit 130' INT TERM

cd "$room/copy"
"$target/debug/verdict" demo >"$room/demo.log" 2>&1 &
demo=$!
for _ in $(seq 1200); do
    grep -q 'It stays up' "$room/demo.log" && break
    kill -0 "$demo" 2>/dev/null || break
    sleep 0.1
done
grep -q 'It stays up' "$room/demo.log" || { cat "$room/demo.log" >&2 && exit 1; }
listens=$(sed -n 's|.*verdict on http://\([^,]*\),.*|\1|p' "$room/demo.log")

# psql is beside the programs that the demo runs.
psql=$(command -v psql || find /usr/lib/postgresql /usr/pgsql-* "${PG_BIN:-/nonexistent}" -name psql 2>/dev/null | head -1)
[ -n "$psql" ] || { echo 'error: psql is missing' >&2 && exit 1; }
server=$(sed -n 's|.*@\(127.0.0.1:[0-9]*\)/.*|\1|p' .verdict/demo/verdict.toml)
password=$(cat .verdict/demo/postgres/server/password)
PGPASSWORD=$password "$psql" -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "${server#*:}" -U verdict -d postgres \
    -c "create role verdict_owner login password 'password'" -c 'create database verdict owner verdict_owner'

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
addresses="s|127\.0\.0\.1:8080|$listens|g; s|127\.0\.0\.1:5432|$server|g"
for port in 8081 9465 9000; do
    addresses="$addresses; s|127\.0\.0\.1:$port|127.0.0.1:$(free_port)|g"
done

# --- Run ---

# All in this shell, so that a block sees the variables of those before it.
exec 3>&2
for block in "$room"/blocks/*; do
    line=$(basename "$block" | sed 's/^0*//')
    first=$(head -1 "$block")
    case $first in
        ./demo* | 'docker compose '*)
            echo "left out: README.md:$line: $first"
            continue
            ;;
    esac
    sed "$addresses" "$block" >"$room/block"
    echo "== README.md:$line: $first"
    started=$SECONDS
    trap 'echo "FAILED: README.md, the block at line $line" >&3; cat "$room/block" "$room/out" >&3' ERR
    # shellcheck disable=SC1091 # made above
    . "$room/block" >"$room/out" 2>&1 </dev/null
    trap - ERR
    [ $((SECONDS - started)) -lt 5 ] || echo "   took $((SECONDS - started)) s"
done
echo "$count blocks, all as README.md says"
