#!/bin/sh
# Loses a database under load and restores it to a random second with pgBackRest, then does what
# docs/backups.md says for a restore, and checks each step. docs/proof.md has the results.
#
#   scripts/restore.sh [SEED]
#
# Persons are verified while a base backup and an archive of WAL are made. Some are erased before the
# second to which the database is restored, some after it. The latter come back with the backup; after
# `verdict erasures reapply` nothing of them may be left: not in a dump, not in the store of images.
#
# A private Postgres, the simulated provider and the service, all on loopback and stopped at the end.
# Needs Postgres' programs, curl, jq, and pgBackRest, which is installed with apt-get where it may; else
# this is skipped with one sentence. Uses target/debug/verdict, or VERDICT=path.
set -eu
# psql reads the variables of libpq.
if env | grep -q '^PG[A-Z]'; then exec "$(dirname "$0")/without-libpq.sh" "$0" "$@"; fi
cd "$(dirname "$0")/.."
seed=${1:-1}
verdict=${VERDICT:-$(pwd)/target/debug/verdict}

# shellcheck source=scripts/lib/installation.sh
. scripts/lib/installation.sh
if ! has pgbackrest; then
    if ! has apt-get || [ "$(id -u)" -ne 0 ]; then skip 'pgBackRest is missing: install pgbackrest'; fi
    apt-get -q update >&2 || true
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends --no-upgrade pgbackrest >&2 ||
        skip 'pgBackRest cannot be installed here'
fi
[ -x "$verdict" ] || fail "$verdict is missing: cargo build, or VERDICT=path"
bin=${PG_BIN:-$(find /usr/lib/postgresql /usr/pgsql-* -path '*/bin/initdb' 2>/dev/null | sort -V | tail -1)}
bin=${bin%/initdb}
[ -x "$bin/initdb" ] || fail "Postgres' programs are missing: install them, or set PG_BIN to the folder that holds initdb and psql"

make_folder restore

# --- Postgres with an archive of WAL ---
port=$(free_port)
cat >"$data/pgbackrest.conf" <<CONF
[global]
repo1-path=$data/repository
lock-path=$data/lock
log-path=$data
spool-path=$data/spool
repo1-retention-full=2
start-fast=y
log-level-console=warn
[verdict]
pg1-path=$data/postgres
pg1-port=$port
pg1-socket-path=$data
pg1-user=verdict
CONF
backrest() { as_postgres pgbackrest --config="$data/pgbackrest.conf" --stanza=verdict "$@"; }
initialize "$data/postgres"
cat <<CONF | as_postgres tee -a "$data/postgres/postgresql.conf" >/dev/null
archive_mode = on
archive_command = 'pgbackrest --config=$data/pgbackrest.conf --stanza=verdict archive-push %p'
archive_timeout = 5s
CONF
start_postgres
database=postgres sql -c 'create database verdict'
backrest stanza-create

# --- provider and service ---
configure restore
run migrate >/dev/null
serve
api_key=$(run keys create --name restore --scopes decisions:read,material:read,events:read | head -1)
post() { send "$1" "pass-97-person-$1"; }
posts() { for n in $(seq "$1" "$2"); do post "$n"; done; }
verification() { sql -c "select id from verifications where biz_id = 'pass-97-person-$1'"; }
erase() { run erase --verification "$(verification "$1")" --purpose 'a request' >/dev/null; }

posts 1 10
until_so 60 'the first persons are decided, with their images' settled
backrest --type=full backup
tell "base backup made: $(backrest --output=json info | jq -r '.[0].backup[0].label')"

# --- load, erasures, and the second to which the database is restored ---
flow() {
    n=100
    while [ ! -e "$home/quiet" ]; do
        n=$((n + 1))
        post "$n" || true
    done
}
flow &
processes="$processes $!"
flow=$!
erase 1
erase 2
before=$(awk "BEGIN { srand($seed); print 2 + int(rand() * 6) }")
sleep "$before"
# Deleted: what the images of the person are in the moment of the restore is not what the store has then.
target=$(sql -c "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'")
sleep 1
for n in 3 4 5; do erase "$n"; done
posts 11 13
sleep 3
touch "$home/quiet"
wait "$flow" || true
until_so 60 'all is decided, and erased images are deleted' settled
receipts=$(sql -c 'select count(*) from erasures where completed_at is not null')
run erasures export >"$home/erasures.jsonl"
tell "restored to $target, $before s after the backup; the list holds $((($(wc -l <"$home/erasures.jsonl")) - 1)) erasures, $receipts of them completed"
check 'the list holds no reference and no number' sh -c "! grep -q -e canary -e person '$home/erasures.jsonl'"
accepted=$(sort -u "$home/accepted" | wc -l)
epoch=$(get '/v1/events?after=0&limit=1' | jq -r .epoch)
head=$(get '/v1/events?after=0&limit=1' | jq -r .head)

# --- the database is lost ---
until_so 60 'the last WAL is archived' sh -c "[ \"\$('$bin/psql' -h 127.0.0.1 -p $port -U verdict -d verdict -qAtX -c \
    \"select last_archived_wal >= pg_walfile_name(pg_switch_wal()) from pg_stat_archiver\")\" = t ]"
kill -9 "$service"
wait "$service" 2>/dev/null || true
stop_postgres immediate
rm -rf "$data/postgres"
tell "the database is lost: $accepted callbacks were accepted, $head events numbered"
backrest --type=time --target="$target" --target-action=promote restore
start_postgres
writable() { [ "$(sql -c 'select pg_is_in_recovery()')" = f ]; }
until_so 120 'the restored database takes writes' writable
back=$(sql -c "select count(*) from data_keys k join verifications v on v.id = k.verification_id
    where v.biz_id in ('pass-97-person-3', 'pass-97-person-4', 'pass-97-person-5')")
lost=$(sql -c "select $accepted - (select count(*) from callbacks)")
tell "restored. Callbacks that were accepted after that second: $lost"
check "the three persons erased later are back ($back keys)" [ "$back" = 3 ]
check 'the two persons erased earlier are not' [ "$(sql -c "select count(*) from verifications where state = 'erased'")" = 2 ]

# --- before it serves ---
# First, so that the erasures are events of the new epoch.
run events new-epoch --purpose 'a restore' | indented
tell 'verdict erasures reapply:'
sed '2d' "$home/erasures.jsonl" >"$home/shortened.jsonl"
refused() { ! run erasures reapply "$home/shortened.jsonl" --purpose 'a restore' >"$home/refused.txt" 2>&1; }
check 'a list that lacks a line is refused' refused
indented <"$home/refused.txt"
run erasures reapply "$home/erasures.jsonl" --purpose 'a restore' | indented

# --- the images are compared before the workers run, which then delete those of erased persons ---
# A row without an object, as after a restore of the store.
victim=$(find "$home/images" -path "*$(verification 6)*" -type f | sort | head -1)
rm "$victim"
tell 'verdict images check:'
run images check >"$home/check.txt" 2>&1 || true
sed 's/.*: verification.*//' "$home/check.txt" | grep . | indented
rows=$(grep -c 'image without an object' "$home/check.txt" || true)
objects=$(grep -c 'object without an image' "$home/check.txt" || true)
check "it lists the image that was taken away, and the images of persons after that second ($objects)" \
    [ "$rows" -ge 1 ] 
run images check --fix --purpose 'a restore' >"$home/fixed.txt" 2>&1 || true
tail -1 "$home/fixed.txt" | indented
serve
until_so 120 'all is decided' settled
check 'afterwards the store holds what the database says' run images check

# --- what must hold ---
"$bin/pg_dump" -h 127.0.0.1 -p "$port" -U verdict verdict >"$home/dump.sql"
for n in 1 2 3 4 5; do
    id=$(verification "$n")
    check "person $n: nothing in a dump but ids" sh -c "! grep -q 'canary-$n-x' '$home/dump.sql'"
    check "person $n: no key, no material, no image" [ "$(sql -c "select
        (select count(*) from data_keys where verification_id = '$id') +
        (select count(*) from material where verification_id = '$id') +
        (select count(*) from images where verification_id = '$id')")" = 0 ]
    check "person $n: no object in the store" sh -c "! find '$home/images' -path '*$id*' -type f | grep -q ."
    check "person $n: the API says that they were erased" [ "$(get "/v1/verifications/$id/material" | jq -r .code)" = erased ]
done
check 'another person is still there' [ "$(get "/v1/verifications/$(verification 7)/material" | jq -r '.number != null')" = true ]
now=$(get '/v1/events?after=0&limit=1')
check 'the epoch of events is another one, and begins with 1' \
    [ "$(echo "$now" | jq -r ".epoch != \"$epoch\" and .items[0].sequence == 1")" = true ]
sort -u "$home/accepted" >"$home/all"
while read -r n; do
    case $n in 1 | 2 | 3 | 4 | 5) ;; *) post "$n" || echo "$n" >>"$home/refused-again" ;; esac
done <"$home/all"
check 'callbacks that senders repeat under their ids are accepted' [ ! -e "$home/refused-again" ]
until_so 120 'all is decided' settled
check 'each accepted callback has one verification and one decision' [ "$(sql -c "select count(*) from (
    select v.id from verifications v left join decisions d on d.verification_id = v.id
    group by v.id having count(d.id) <> 1) odd")" = 0 ]
check 'the audit verifies' run audit verify --strict
kill "$service"
wait "$service" || true
check 'verdict doctor finds no fault' run doctor >"$home/doctor.txt"
[ "$wrong" = 0 ] || fail "$wrong checks failed"
tell 'all of it held'
