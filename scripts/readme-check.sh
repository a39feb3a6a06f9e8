#!/bin/bash
# Do the commands of the README and of the pages of docs/ below work, in order? Takes every block of
# shell commands out of them and runs them one after the other in one shell, as a newcomer would
# paste them. A command that fails ends the check, and so does an HTTP answer with an error.
#
#   scripts/readme-check.sh
#
# The blocks run in a copy of this folder below target/readme-check. Three things are replaced: the
# addresses, by free ones; `./demo`, by one in the background; and the database, by one on the
# demo's Postgres. `docker compose` is left out: scripts/container-check.sh runs it.
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

scripts/build.sh
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
room=$target/readme-check
rm -rf "$room"
mkdir -p "$room/copy" "$room/blocks" "$room/bin"
tar -c --exclude=./target --exclude=./.verdict --exclude=./.git . | tar -x -C "$room/copy"
ln -s "$target" "$room/copy/target"

# --- The blocks ---

# In this order: a page uses the variables of those before it.
pages='README.md docs/tutorial.md docs/integrate.md docs/events.md docs/policies.md docs/personal-data.md docs/configure.md docs/install.md docs/api-keys.md docs/sandbox.md'

# One file for each block, named by its page's number and the line it begins in.
# shellcheck disable=SC2086 # one name for each page
awk -v folder="$room/blocks" '
    FNR == 1 { page++; file = ""; ended = 0 }
    /^```sh$/ { file = block = sprintf("%s/%02d-%04d", folder, page, FNR + 1); blocks[page]++; next }
    # Its output, where that is one line of JSON.
    /^```json$/ { if (ended && FNR <= ended + 2) answer = block ".answer"; next }
    /^```/ { if (file) ended = FNR; file = answer = ""; next }
    file { print > file }
    answer { print > answer }
    END {
        for (n = 1; n < ARGC; n++) {
            if (!blocks[n]) { print "error: no block of commands in " ARGV[n]; exit 1 }
        }
    }
' $pages
count=$(find "$room/blocks" -type f ! -name '*.answer' | wc -l)
[ "$count" -ge 20 ] || { echo "error: only $count blocks of commands" >&2 && exit 1; }

# --- The newcomer's machine, simulated ---

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
# README shows decisions that the demo printed; only the times differ.
sed -n 's/^ *[0-9]* ms \( .*[^ ]\) *$/\1/p' README.md >"$room/shown"
[ -s "$room/shown" ] || { echo 'error: README.md shows no decisions of the demo' >&2 && exit 1; }
while IFS= read -r line; do
    grep -qF -- "$line" "$room/demo.log" || { echo "FAILED: the demo did not print what README.md shows: $line" >&2 && exit 1; }
done <"$room/shown"
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
for port in 8082 9465 9000; do
    addresses="$addresses; s|127\.0\.0\.1:$port|127.0.0.1:$(free_port)|g"
done

# --- Run ---

# All in this shell, so that a block sees the variables of those before it.
exec 3>&2
for block in "$room"/blocks/*-????; do
    # shellcheck disable=SC2086 # one name for each page
    page=$(printf '%s\n' $pages | sed -n "$(basename "$block" | cut -d- -f1)p")
    place=$page:$(basename "$block" | sed 's/^[0-9]*-0*//')
    first=$(head -1 "$block")
    case $first in
        ./demo* | 'docker compose '*)
            echo "left out: $place: $first"
            continue
            ;;
    esac
    sed "$addresses" "$block" >"$room/block"
    echo "== $place: $first"
    started=$SECONDS
    trap 'echo "FAILED: the block at $place" >&3; cat "$room/block" "$room/out" >&3' ERR
    # shellcheck disable=SC1091 # made above
    . "$room/block" >"$room/out" 2>&1 </dev/null
    trap - ERR
    if [ -e "$block.answer" ] && [ "$(wc -l <"$block.answer")" = 1 ] &&
        [ "$(tail -1 "$room/out")" != "$(cat "$block.answer")" ]; then
        echo "FAILED: $place answers otherwise than the page says:" >&2
        cat "$room/out" >&2
        exit 1
    fi
    [ $((SECONDS - started)) -lt 5 ] || echo "   took $((SECONDS - started)) s"
done
echo "$count blocks, all as the pages say"
