#!/bin/sh
# Goes back one version of the binary, and forward again: the new version migrates and serves, then the
# previous one serves on the new schema, then the new one. The previous version must serve, or refuse
# with a sentence. Nothing may be lost on the way. docs/proof.md has the results.
#
#   scripts/rollback-check.sh [REV]
#   OLD=path scripts/rollback-check.sh
#
# REV: the previous version, which is built; the newest commit without the newest migrations if not
# given. OLD: its binary. Uses target/debug/verdict as the new one, or VERDICT=path. Needs Postgres'
# programs, curl and jq. Old and new processes side by side: scripts/upgrade-check.sh.
set -eu
# psql reads the variables of libpq.
if env | grep -q '^PG[A-Z]'; then exec "$(dirname "$0")/without-libpq.sh" "$0" "$@"; fi
cd "$(dirname "$0")/.."
new=${VERDICT:-$(pwd)/target/debug/verdict}
# shellcheck source=scripts/lib/installation.sh
. scripts/lib/installation.sh
# shellcheck source=scripts/lib/previous.sh
. scripts/lib/previous.sh
has jq || skip 'jq is missing: install it'
[ -x "$new" ] || fail "$new is missing: cargo build, or VERDICT=path"
if [ -n "${OLD:-}" ]; then old=$OLD; else
    build_previous "$@"
    old=$previous_binary
fi
bin=${PG_BIN:-$(find /usr/lib/postgresql /usr/pgsql-* -path '*/bin/initdb' 2>/dev/null | sort -V | tail -1)}
bin=${bin%/initdb}
[ -x "$bin/initdb" ] || fail "Postgres' programs are missing: install them, or set PG_BIN to the folder that holds initdb and psql"

make_folder rollback
port=$(free_port)
initialize "$data/postgres"
start_postgres
database=postgres sql -c 'create database verdict'
tell "$("$old" --version) before, $("$new" --version) after"

verification() { sql -c "select v.id from verifications v join callbacks c on c.verification_id = v.id where c.message_id = 'message-$1'"; }
# sends FIRST SCRIPT…: a callback for each script, numbered from FIRST.
sends() {
    n=$1
    shift
    for script in "$@"; do
        send "$n" "$script-person-$n" || fail "a callback is refused: $(tail -1 "$home/posted")"
        n=$((n + 1))
    done
}
stop() {
    kill "$service"
    wait "$service" && code=0 || code=$?
    check "$1 stops with 0" [ "$code" = 0 ]
}
erase() { run erase --verification "$1" --purpose 'a request' >/dev/null; }
# shown FIRST LAST: what the API says of the verifications, in which both versions must agree.
shown() {
    for n in $(seq "$1" "$2"); do
        get "/v1/verifications/$(cat "$home/id-$n")" |
            jq -c '[.id, .state, .biz_type, .biz_id, .attempts, .decision.outcome, .decision.reasons]'
    done
}
note_ids() { for n in $(seq "$1" "$2"); do verification "$n" >"$home/id-$n"; done; }
says_erased() { [ "$(get "/v1/verifications/$1/material" | jq -r .code)" = erased ]; }
is_open() { [ "$(sql -c "select due_at is not null from verifications where id = '$(cat "$home/id-$1")'")" = t ]; }
is_decided() { [ "$(get "/v1/verifications/$(cat "$home/id-$1")" | jq -r .state)" = decided ]; }

# --- the previous version ---
verdict=$new
configure rollback
verdict=$old
run migrate >/dev/null
serve
api_key=$(run keys create --name rollback --scopes decisions:read,material:read,events:read,reviews:write | head -1)
sends 1 pass-97 pass-88 status-2 status-3 status-12 expired invalidbiz pass-97
until_so 60 'all is decided, with images' settled
note_ids 1 8
erase "$(cat "$home/id-8")"
sends 9 quit-3-then-pass-97
note_ids 9 9
shown 1 8 >"$home/by-old"
epoch=$(get '/v1/events?after=0&limit=1' | jq -r .epoch)
stop 'the previous version'
check 'it leaves one verification open' is_open 9

# --- the new version: it grows the schema and serves ---
verdict=$new
run migrate | tail -1 | indented
serve
shown 1 8 >"$home/by-new"
check 'the new version shows what the previous one decided' diff "$home/by-old" "$home/by-new"
sends 11 pass-97 pass-88 status-2 status-3 status-12 expired invalidbiz pass-97
settled_but_9() { [ "$(sql -c "select (select count(*) from verifications where due_at is not null
    and id <> '$(cat "$home/id-9")') + (select count(*) from tasks)")" = 0 ]; }
until_so 60 'all is decided, with images' settled_but_9
note_ids 11 18
erase "$(cat "$home/id-18")"
curl -sS -H "authorization: Bearer $api_key" -H 'content-type: application/json' -o /dev/null \
    -d '{"outcome":"reject","reason":"forged-card"}' \
    "http://127.0.0.1:$http/v1/verifications/$(cat "$home/id-15")/reviews"
until_so 60 'images of erased persons are deleted' sh -c "! find '$home/images' -path '*$(cat "$home/id-18")*' -type f | grep -q ."
shown 11 18 >"$home/by-new"
is_reviewed() { grep -F "\"$(cat "$home/id-15")\"" "$home/by-new" | grep -q '"reject"'; }
check 'the review decides' is_reviewed
# Two refusals would also be alike.
tells_all() { [ "$(grep -cE '^\["[0-9a-f-]{36}","(decided|expired|failed|erased)"' "$home/by-new")" = 8 ]; }
check 'the new version shows 8 verifications, all settled' tells_all
sends 19 quit-3-then-pass-97
note_ids 19 19
audit_head=$(run audit verify | grep -oE '[0-9]+:[0-9a-f]{64}' | tail -1)
stop 'the new version'
check 'it leaves one verification open' is_open 19

# --- back ---
verdict=$old
"$verdict" serve --config "$home/verdict.toml" >"$home/back.log" 2>&1 &
service=$!
processes="$processes $service"
ready_or_ended() { curl -fsS "http://127.0.0.1:$operations/readyz" || ! kill -0 "$service" 2>/dev/null; }
until_so 60 'the previous version serves or ends' ready_or_ended
if kill -0 "$service" 2>/dev/null; then
    tell "the previous version serves; /readyz says of the schema: $(curl -sS "http://127.0.0.1:$operations/readyz" | jq -r .schema)"
    check 'its migrate changes nothing' run migrate
    shown 11 18 >"$home/by-old"
    check 'it shows what the new version decided, reviewed and erased' diff "$home/by-new" "$home/by-old"
    check 'it takes a repeated callback of the new version' send 11 pass-97-person-11
    sends 21 pass-97 status-2 status-12 pass-97
    until_so 120 'it decides what it accepts, and what the new version left open' settled
    note_ids 21 24
    check 'what the previous version left open is decided' is_decided 9
    check 'what the new version left open is decided' is_decided 19
    erase "$(cat "$home/id-24")"
    stop 'the previous version'
else
    wait "$service" && code=0 || code=$?
    sentence=$(grep -o 'too new for this binary[^"]*' "$home/back.log" | head -1)
    tell "the previous version refuses with exit code $code: $sentence"
    check 'it refuses with a sentence' [ -n "$sentence" ]
fi

# --- forward again ---
verdict=$new
check 'migrate of the new version changes nothing' run migrate
serve
sends 31 pass-97 status-3
until_so 120 'all is decided' settled
note_ids 31 32
check 'what the previous version left open is decided' is_decided 9
check 'what the new version left open is decided' is_decided 19
shown 11 18 >"$home/again"
check 'the new version shows what it decided before' diff "$home/by-new" "$home/again"
for n in 8 18 24; do
    if [ -e "$home/id-$n" ]; then check "person $n is erased" says_erased "$(cat "$home/id-$n")"; fi
done
lost=0
while read -r n; do
    [ -n "$(sql -c "select id from verifications where id = '$(cat "$home/id-$n")'")" ] || lost=$((lost + 1))
done <<IDS
$(sort -un "$home/accepted")
IDS
check "no accepted callback is lost ($(sort -un "$home/accepted" | wc -l) were accepted)" [ "$lost" = 0 ]
check 'no result has two decisions' [ "$(sql -c "select count(*) from (select from decisions
    where decided_by = 'policy' group by result_id having count(*) > 1) d")" = 0 ]
numbered() { [ "$(get '/v1/events?after=0&limit=1' | jq .head)" = "$(sql -c 'select (select count(*) from decisions) + (select count(*) from event_notes)')" ]; }
until_so 60 'all events are numbered' numbered
check 'the log of events has no gap, and the same epoch' [ "$(get '/v1/events?after=0&limit=1000' |
    jq -r "([.items[].sequence] == [range(1; .head + 1)]) and .epoch == \"$epoch\"")" = true ]
check 'the audit verifies, with its head from before' run audit verify --strict --expect "$audit_head"
check 'decisions come out the same in a replay' run policy replay --full-speed
stop 'the new version'
check 'the store of images holds what the database says' run images check
run doctor >"$home/doctor.txt" && sound=yes || sound=no
check 'verdict doctor finds no fault' [ "$sound" = yes ]
[ "$wrong" = 0 ] || fail "$wrong checks failed"
tell 'all of it held'
