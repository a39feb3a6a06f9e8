#!/bin/sh
# Injects one fault, shows what the alerts, `verdict doctor`, the log and the callers report, repairs
# the fault, and checks that no accepted callback was lost. docs/game-day.md has the results.
#
#   scripts/game-day.sh EXPERIMENT
#
# provider-down, credentials-revoked, postgres-failover, disk-full-database, disk-full-images,
# clock-off, poison-answers, poison-callbacks, poison-policy, key-missing-at-start,
# key-missing-in-part
#
# A private Postgres, the simulated provider, the service and a Prometheus, all on loopback and
# stopped at the end; files in target/game-day/EXPERIMENT, the log of each process among them. Needs Postgres'
# programs, Python 3 for a free port, curl, and target/debug/verdict (or VERDICT=path). Prometheus
# and faketime come from Debian's packages where there are none, unpacked, not installed. disk-full-*
# mounts a small tmpfs, so it needs root.
#
# The rules of deploy/prometheus run fifteen times as fast: scraped each second instead of each 15
# (each 3 s without Postgres, because a scrape then takes 2 s), every window and every `for` a
# fifteenth. Thresholds are unchanged. With REAL=1 nothing is changed, and an experiment takes as
# long as a real incident.
set -eu
# psql reads the variables of libpq.
if env | grep -q '^PG[A-Z]'; then exec "$(dirname "$0")/without-libpq.sh" "$0" "$@"; fi
cd "$(dirname "$0")/.."
experiment=${1:?which experiment? The head of this script names them}
home=$(pwd)/target/game-day/$experiment
tools=$(pwd)/target/tools
verdict=${VERDICT:-$(pwd)/target/debug/verdict}
slower=1
if [ -n "${REAL:-}" ]; then slower=15; fi
failed=0
processes=

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# --- what it says: seconds since the experiment began ---
began=$(date +%s%N)
tell() { printf '%6.1f s  %s\n' "$((($(date +%s%N) - began) / 100000000))e-1" "$*"; }
indented() { sed 's/^/            /'; }

# wait_for SECONDS WHAT COMMAND...: until it succeeds; what does not happen is a failure.
wait_for() {
    limit=$(($(date +%s) + $1))
    what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ "$(date +%s)" -ge "$limit" ]; then
            tell "NOT SEEN: $what"
            failed=1
            return 0
        fi
        sleep 0.2
    done
    tell "$what"
}

# --- programs ---
[ -x "$verdict" ] || fail "$verdict is missing: cargo build, or VERDICT=path"
# unpacked PROGRAM PACKAGE: its path, from Debian's package if need be
unpacked() {
    program=$1
    shift
    if has "$program"; then
        command -v "$program"
        return
    fi
    if [ ! -x "$tools/$1/usr/bin/$program" ]; then
        mkdir -p "$tools/$1"
        (cd "$tools/$1" && apt-get -qq download "$@" 2>/dev/null) || fail "$program is missing: install $1"
        for package in "$tools/$1"/*.deb; do dpkg-deb -x "$package" "$tools/$1"; done
        rm "$tools/$1"/*.deb
    fi
    echo "$tools/$1/usr/bin/$program"
}
prometheus=$(unpacked prometheus prometheus)
promtool=${prometheus%prometheus}promtool
bin=${PG_BIN:-$(find /usr/lib/postgresql /usr/pgsql-* -path '*/bin/initdb' 2>/dev/null | sort -V | tail -1)}
bin=${bin%/initdb}
[ -x "$bin/initdb" ] || fail "Postgres' programs are missing: install them, or set PG_BIN to the folder that holds initdb and psql"
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# --- places; Postgres does not run as root, and its user must get to its data ---
rm -rf "$home"
mkdir -p "$home"
data=$(mktemp -d "${TMPDIR:-/tmp}/game-day.XXXXXX")
as_postgres() { if [ "$(id -u)" -eq 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
if [ "$(id -u)" -eq 0 ]; then chown postgres "$data"; fi
mounted=
mount_small() {
    [ "$(id -u)" -eq 0 ] || fail 'this experiment mounts a small tmpfs: run it as root'
    mkdir -p "$2"
    mount -t tmpfs -o "size=$1" game-day "$2"
    mounted="$mounted $2"
}

cleanup() {
    trap - EXIT INT TERM
    touch "$home/quiet"
    for pid in $processes; do kill "$pid" 2>/dev/null || true; done
    find "$data" -maxdepth 3 -name postmaster.pid | while read -r pid; do
        as_postgres "$bin/pg_ctl" -D "${pid%/postmaster.pid}" -m immediate stop </dev/null >/dev/null 2>&1 || true
    done
    wait
    for folder in $mounted; do umount "$folder"; done
    rm -rf "$data"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# --- Postgres ---
postgres_port=$(free_port)
# postgres_start NAME PORT [OPTIONS]
postgres_start() {
    as_postgres "$bin/pg_ctl" -D "$data/$1" -l "$data/$1.log" -w \
        -o "-h 127.0.0.1 -p $2 -k $data ${3:-}" start >/dev/null
}
postgres_make() {
    as_postgres "$bin/initdb" -D "$data/$1" -U verdict -A trust -E UTF8 --locale=C --wal-segsize=1 >/dev/null
    printf 'max_wal_size = 16MB\nmin_wal_size = 2MB\nmax_replication_slots = 2\n' |
        as_postgres tee -a "$data/$1/postgresql.conf" >/dev/null
    postgres_start "$1" "$postgres_port"
}
sql() { "$bin/psql" -h 127.0.0.1 -p "$postgres_port" -U verdict -d "${database:-verdict}" -qAtX -v ON_ERROR_STOP=1 "$@"; }

# --- the simulated provider ---
provider_port=$(free_port)
# provider_start SECRET [OPTIONS]
provider_start() {
    secret=$1
    shift
    VERDICT_SANDBOX_ACCESS_KEY_SECRET=$secret "$verdict" sandbox --listen "127.0.0.1:$provider_port" \
        --access-key-id game-day "$@" >>"$home/provider.log" 2>&1 &
    provider=$!
    processes="$processes $provider"
}
provider_stop() {
    kill "$provider"
    wait "$provider" || true
}

# --- the service ---
http=$(free_port)
operations=$(free_port)
operations2=$(free_port)
key() { head -c 32 /dev/urandom | base64; }
configure() {
    printf 'first-secret' >"$home/provider-secret"
    key >"$home/key-k1"
    chmod 600 "$home/provider-secret" "$home/key-k1"
    cat >"$home/verdict.toml" <<TOML
[http]
listen = "127.0.0.1:$http"
[operations]
listen = "127.0.0.1:$operations"
[database]
url = "postgres://verdict@127.0.0.1:$postgres_port/verdict"
[sources.app]
secrets = ["whsec_$(key)"]
[provider]
endpoint = "http://127.0.0.1:$provider_port"
access_key_id = "game-day"
access_key_secret_file = "$home/provider-secret"
queries_per_second = 50
[images]
store = "file://${images:-$home/images}"
[[vault.keys]]
id = "k1"
secret_file = "$home/key-k1"
TOML
}
# serve NAME [ENV OR OPTIONS...]: options after --; its log is NAME.log
serve() {
    name=$1
    shift
    settings=
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        settings="$settings $1"
        shift
    done
    [ $# -eq 0 ] || shift
    # shellcheck disable=SC2086 # a list
    env $settings "$verdict" serve --config "${config:-$home/verdict.toml}" "$@" >>"$home/$name.log" 2>&1 &
    service=$!
    processes="$processes $service"
}
# shellcheck disable=SC2120 # wait_for gives it a port
ready() { curl -fsS "http://127.0.0.1:${1:-$operations}/readyz"; }
readyz() {
    tell "readyz: $(curl -sS -w ' HTTP %{http_code}' "http://127.0.0.1:$operations/readyz" 2>&1)"
}
doctor() {
    tell "verdict doctor${1:+ ($1)}:"
    # shellcheck disable=SC2086 # a list
    env ${doctor_settings:-} "$verdict" doctor --config "${config:-$home/verdict.toml}" >"$home/doctor.txt" 2>&1 || true
    # That the owner serves is of this set-up.
    sed '/^warning  rights/,+1d' "$home/doctor.txt" | grep -A1 -E '^(warning|FAILED|error)' | grep -v -E '^(--|ok|skipped)' | indented
}
# How long each answer takes, a callback twice.
timings() {
    tell "$1:"
    for what in healthz readyz metrics; do
        curl -sS -m 60 -o /dev/null -w "GET /$what: HTTP %{http_code} after %{time_total} s\n" \
            "http://127.0.0.1:$operations/$what" 2>&1 | indented
    done
    for n in 1 2; do
        asked=$(date +%s%N)
        if post "timed-$n-$asked" "pass-97-timed-$n-$asked"; then said=accepted; else said=$(tail -1 "$home/refusals"); fi
        echo "a callback: $said after $((($(date +%s%N) - asked) / 1000000)) ms" | indented
    done
}
logged() { grep -h "$1" "$home/${2:-verdict}.log"; }
# The first line of the log with that message, without its time.
log() { logged "$@" | head -1 | sed 's/"timestamp":"[^"]*",//' | indented; }
# Warnings and errors, counted by what they say.
warnings() {
    tell 'the log says, counted:'
    grep -h -E '"level":"(WARN|ERROR)"' "$home/verdict.log" |
        sed 's/"timestamp":"[^"]*",//; s/"verification":"[^"]*"/"verification":"…"/; s/"\(leases\|again_in_ms\)":[0-9]*/"\1":…/' |
        sort | uniq -c | sort -rn | head -10 | indented
}

# --- callers ---
# post MESSAGE-ID BIZ-ID: one signed callback, noted as accepted or refused
post() {
    message=$1 task=$2
    # shellcheck disable=SC2086 # a list
    if answer=$(env ${sender_settings:-} "$verdict" callback send --config "$home/verdict.toml" \
        --to "http://127.0.0.1:$http" --biz-type game-day --biz-id "$task" --id "$message" ${sender_options:-} 2>&1); then
        echo "$message" >>"$home/accepted"
    else
        echo "$message $task" >>"$home/refused"
        echo "$answer" | grep -o -E '"code":"[^"]*"|no answer.*' >>"$home/refusals" || echo "$answer" >>"$home/refusals"
        return 1
    fi
}
# A person about every third of a second, until `quiet`.
traffic() {
    (
        n=0
        rm -f "$home/quiet"
        while [ ! -e "$home/quiet" ]; do
            n=$((n + 1))
            post "flow-$1-$n" "pass-97-flow-$1-$n" || true
            sleep 0.2
        done
    ) &
    flow=$!
    processes="$processes $flow"
}
quiet() {
    touch "$home/quiet"
    wait "$flow" || true
}
refusals() {
    tell "callers saw: $(wc -l <"$home/accepted") accepted; refused:"
    sort "$home/refusals" 2>/dev/null | uniq -c | indented
}
# As every sender should: what got no 2xx once more, under the same ids.
repeat_refused() {
    [ -s "$home/refused" ] || return 0
    mv "$home/refused" "$home/repeated"
    while read -r message task; do post "$message" "$task" || true; done <"$home/repeated"
    tell "repeated under the same ids: $(wc -l <"$home/repeated"), refused again: $(if [ -s "$home/refused" ]; then wc -l <"$home/refused"; else echo 0; fi)"
}
open_work() { sql -c "select count(*) from verifications where due_at is not null"; }
nothing_open() { [ "$(open_work)" = 0 ]; }
# Every accepted callback is stored, and its verification is settled.
reckon() {
    sort -u "$home/accepted" >"$home/ledger"
    tell 'reckoned up:'
    sql <<SQL | indented
create temp table ledger (id text primary key);
\\copy ledger from '$home/ledger'
select 'accepted ' || count(*) || ', of them not in the database ' ||
    count(*) filter (where not exists (select from callbacks c where c.message_id = ledger.id)) from ledger;
select 'verifications: ' || string_agg(state || ' ' || n, ', ' order by state)
    from (select state, count(*) n from verifications group by state) s;
select 'decided without a decision ' || count(*) from verifications v
    where state = 'decided' and not exists (select from decisions d where d.verification_id = v.id);
SQL
    lost=$(sql -c 'create temp table ledger (id text primary key)' -c "\\copy ledger from '$home/ledger'" \
        -c 'select count(*) from ledger where not exists (select from callbacks c where c.message_id = ledger.id)')
    [ "$lost" = 0 ] || failed=1
}

# --- alerts ---
prometheus_start() {
    interval=${scraped_each:-1s}
    # A fifteenth: 15 s become 1 s.
    for minutes in 1m=4s 2m=8s 5m=20s 10m=40s 15m=60s 30m=120s 1h=240s 6h=1440s; do
        printf 's/(for: |\\[|offset )%s/\\1%s/g\n' "${minutes%=*}" "${minutes#*=}"
    done >"$home/faster.sed"
    sed -E -f "$home/faster.sed" deploy/prometheus/rules.yml >"$home/rules.yml"
    if [ "$slower" -gt 1 ]; then
        interval=15s
        cp deploy/prometheus/rules.yml "$home/rules.yml"
    fi
    cat >"$home/prometheus.yml" <<YAML
global: { scrape_interval: $interval, evaluation_interval: $interval }
rule_files: [rules.yml]
scrape_configs:
  - job_name: verdict
    static_configs:
      - targets: ["127.0.0.1:$operations", "127.0.0.1:$operations2"]
        labels: { namespace: game-day }
YAML
    prometheus_port=$(free_port)
    "$prometheus" --config.file="$home/prometheus.yml" --storage.tsdb.path="$home/prometheus" \
        --web.listen-address="127.0.0.1:$prometheus_port" >"$home/prometheus.log" 2>&1 &
    processes="$processes $!"
}
query() { "$promtool" query instant "http://127.0.0.1:$prometheus_port" "$1" 2>/dev/null; }
fires() { query "ALERTS{alertname=\"$1\", alertstate=\"firing\"}" | grep -q .; }
is_over() { ! fires "$1"; }
alerts() {
    tell "firing: $(query 'ALERTS{alertstate="firing"}' | sed 's/.*alertname="\([^"]*\)".*severity="\([^"]*\)".*/\1 (\2)/' | sort -u | paste -sd' ' -)"
}
alert() { wait_for "$((${2:-120} * slower))" "alert $1 fires" fires "$1"; }
alert_over() { wait_for "$((${2:-120} * slower))" "alert $1 is over" is_over "$1"; }

# --- all of it, in good order ---
everything() {
    configure
    postgres_make "${1:-postgres}"
    database=postgres sql -c 'create database verdict'
    sql -c "alter database verdict set idle_in_transaction_session_timeout = '60s'"
    "$verdict" migrate --config "$home/verdict.toml" >/dev/null
    # shellcheck disable=SC2086 # a list
    provider_start first-secret ${provider_options:-}
    serve verdict
    wait_for 30 'the service is ready' ready
    prometheus_start
    touch "$home/accepted" "$home/refusals"
    post first pass-97-first || fail 'not even the first callback is accepted'
    wait_for 30 'the first callback is decided, Prometheus scrapes' settled_and_scraped
}
settled_and_scraped() { nothing_open && query verdict_build_info | grep -q .; }

case $experiment in
provider-down)
    everything
    traffic a
    sleep 3
    tell '== the provider is stopped'
    provider_stop
    alert VerdictProviderOutage
    readyz
    doctor
    log 'calls to the provider stop'
    logged '"message":"fetch"' | grep no-answer | head -1 | indented
    quiet
    tell "waiting: $(open_work)"
    tell '== the provider is started'
    provider_start first-secret
    wait_for 60 'it is asked again' grep -q 'breaker closed' "$home/verdict.log"
    wait_for 60 'nothing is open any more' nothing_open
    alert_over VerdictProviderOutage
    ;;
credentials-revoked)
    everything
    traffic a
    sleep 3
    tell '== the provider no longer knows the secret'
    provider_stop
    provider_start second-secret
    alert VerdictCredentialsRefused
    readyz
    doctor
    log 'calls to the provider stop'
    logged '"message":"fetch"' | grep credentials | head -1 | indented
    quiet
    tell "waiting: $(open_work)"
    tell '== the new secret is written into access_key_secret_file'
    printf second-secret >"$home/provider-secret"
    wait_for 60 'it is asked again, without a restart' grep -q 'breaker closed' "$home/verdict.log"
    wait_for 60 'nothing is open any more' nothing_open
    wait_for 60 'the process is ready' ready
    alert_over VerdictCredentialsRefused
    ;;
postgres-failover)
    scraped_each=3s
    everything
    as_postgres "$bin/pg_basebackup" -D "$data/standby" -c fast -R -X stream \
        -d "host=127.0.0.1 port=$postgres_port user=verdict application_name=standby"
    standby_port=$(free_port)
    postgres_start standby "$standby_port"
    # On the command line, so that the promoted standby does not wait for a standby itself.
    as_postgres "$bin/pg_ctl" -D "$data/postgres" -m fast stop >/dev/null
    postgres_start postgres "$postgres_port" '-c synchronous_standby_names=standby'
    synchronous() { sql -c 'select sync_state from pg_stat_replication' | grep -qx sync; }
    wait_for 30 'the standby is synchronous' synchronous
    traffic a
    traffic_a=$flow
    traffic b
    sleep 4
    timings 'all is well'
    tell '== the primary freezes'
    postmaster=$(head -1 "$data/postgres/postmaster.pid")
    frozen="$postmaster $(pgrep -P "$postmaster" | paste -sd' ' -)"
    # shellcheck disable=SC2086 # a list
    kill -STOP $frozen
    sleep 6
    timings 'frozen'
    # shellcheck disable=SC2086 # a list
    kill -CONT $frozen
    wait_for 60 'a callback is accepted again' post thawed pass-97-thawed
    wait_for 60 'the process is ready' ready
    tell '== the primary is lost'
    as_postgres "$bin/pg_ctl" -D "$data/postgres" -m immediate stop >/dev/null
    alert VerdictCallbacksFail 60
    alerts
    timings 'stopped'
    tell 'requests that got 503, by how long it took:'
    grep '"status":503' "$home/verdict.log" | grep -o '"duration_ms":[0-9]*' | cut -d: -f2 |
        awk '{ n[$1 < 100 ? "below 0.1 s" : $1 < 1000 ? "0.1 to 1 s" : $1 < 5500 ? "1 to 5.5 s" : "longer"]++ } END { for (k in n) print n[k], k }' | sort -rn | indented
    readyz
    doctor
    warnings
    tell '== the standby is promoted, and takes over the address'
    as_postgres "$bin/pg_ctl" -D "$data/standby" -w promote >/dev/null
    as_postgres "$bin/pg_ctl" -D "$data/standby" -m fast stop >/dev/null
    postgres_start standby "$postgres_port"
    tell 'the address answers'
    wait_for 60 'a callback is accepted again' post probe pass-97-probe
    wait_for 60 'the process is ready' ready
    quiet
    wait "$traffic_a" || true
    wait_for 60 'nothing is open any more' nothing_open
    refusals
    alert_over VerdictCallbacksFail
    alerts
    doctor 'after it'
    ;;
disk-full-database)
    scraped_each=3s
    mount_small 160m "$data/disk"
    chown postgres "$data/disk"
    everything disk/postgres
    traffic a
    sleep 3
    tell "== the disk of Postgres is filled; free before: $(df -h --output=avail "$data/disk" | tail -1)"
    as_postgres dd if=/dev/zero of="$data/disk/ballast" bs=64k >/dev/null 2>&1 || true
    wait_for 60 'Postgres refuses to write' grep -q 53100 "$home/verdict.log"
    readyz
    doctor 'while Postgres still answers'
    # Either alert may fire: Postgres refuses writes for a while, or shuts down at once.
    one_of_two() { fires VerdictCallbacksFail || fires VerdictNotScraped; }
    wait_for "$((180 * slower))" 'alert VerdictCallbacksFail or VerdictNotScraped fires' one_of_two
    alerts
    readyz
    doctor
    warnings
    tell 'Postgres says:'
    grep -E 'No space|PANIC|shut down' "$data/disk/postgres.log" | tail -4 | indented
    tell '== room is made'
    rm "$data/disk/ballast"
    if ! sql -c 'select 1' >/dev/null 2>&1; then
        tell 'Postgres had ended: it is started'
        postgres_start disk/postgres "$postgres_port"
    fi
    wait_for 60 'a callback is accepted again' post probe pass-97-probe
    quiet
    wait_for 60 'the process is ready' ready
    wait_for 60 'nothing is open any more' nothing_open
    refusals
    alert_over VerdictCallbacksFail
    alert_over VerdictNotScraped
    ;;
disk-full-images)
    images=$data/disk
    mount_small 2m "$images"
    provider_options='--image-seconds 100'
    everything
    kept() { sql -c "select count(*) from tasks" | grep -qx 0; }
    wait_for 30 'the first images are kept' kept
    tell "== the disk of the images is filled; free before: $(df -h --output=avail "$images" | tail -1)"
    dd if=/dev/zero of="$images/ballast" bs=4k >/dev/null 2>&1 || true
    for n in 1 2 3 4 5; do post "full-$n" "pass-97-full-$n"; done
    wait_for 60 'five are decided all the same' nothing_open
    doctor
    warnings
    alert VerdictTasksFail 180
    alert VerdictImagesLate 180
    died() { sql -c 'select count(*) from tasks where deadline < now()' | grep -qx 5; }
    wait_for 240 'all links have died' died
    alert VerdictImagesPastDeadline 180
    alerts
    doctor
    warnings
    tell "images: $(sql -c "select string_agg(state || ' ' || n, ', ') from (select state, count(*) n from images group by 1) i"); answers whose images wait: $(sql -c 'select count(*) from tasks'); new links asked for: $(sql -c 'select sum(minted) from tasks')"
    tell '== room is made'
    rm "$images/ballast"
    wait_for 240 'no image waits any more' kept
    tell "images: $(sql -c "select string_agg(state || ' ' || n, ', ') from (select state, count(*) n from images group by 1) i")"
    log '"then":"ask-again"'
    alert_over VerdictImagesPastDeadline
    alert_over VerdictTasksFail
    ;;
clock-off)
    library=$tools/faketime/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketimeMT.so.1
    [ -e "$library" ] || library=/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketimeMT.so.1
    if [ ! -e "$library" ]; then
        (mkdir -p "$tools/faketime" && cd "$tools/faketime" && apt-get -qq download libfaketime 2>/dev/null && dpkg-deb -x libfaketime_*.deb . && rm libfaketime_*.deb) ||
            fail 'libfaketime is missing: install faketime'
        library=$tools/faketime/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketimeMT.so.1
    fi
    everything
    echo +0 >"$home/clock"
    wrong="LD_PRELOAD=$library FAKETIME_TIMESTAMP_FILE=$home/clock FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1"
    kill "$service"
    wait "$service" || true
    # shellcheck disable=SC2086 # a list
    serve verdict $wrong
    wait_for 30 'the service is ready, on a clock of its own' ready
    traffic a
    sleep 3
    tell '== the clock of the service jumps 20 minutes ahead'
    echo +20m >"$home/clock"
    wait_for 30 'callbacks are refused' grep -q timestamp-out-of-tolerance "$home/verdict.log"
    sender_settings=$wrong
    post same-machine-1 pass-97-same-machine-1 && tell 'a sender on the same machine is accepted'
    sender_settings=
    alert VerdictClockRefused
    alert VerdictCallbacksRefused
    alerts
    readyz
    doctor_settings=$wrong
    doctor 'on that machine'
    doctor_settings=
    log 'calls to the provider stop'
    logged '"class":"clock"' | head -1 | indented
    logged timestamp-out-of-tolerance | head -1 | indented
    tell '== the clock is put right, without a restart'
    echo +0 >"$home/clock"
    wait_for 60 'a callback is accepted again' post probe pass-97-probe
    wait_for 60 'the provider is asked again' grep -q 'breaker closed' "$home/verdict.log"
    quiet
    wait_for 60 'nothing is open any more' nothing_open
    refusals
    alert_over VerdictClockRefused
    alert_over VerdictCallbacksRefused
    ;;
poison-answers)
    everything
    traffic a
    sleep 3
    tell '== three answers never become readable'
    for n in 1 2 3; do post "poison-$n" "garbage_$n"; done
    gave_up() { [ "$(sql -c "select count(*) from verifications where state = 'failed'")" = 3 ]; }
    wait_for 120 'three are given up' gave_up
    alert VerdictFailedVerifications
    doctor
    one=$(sql -c "select id from verifications where biz_id = 'garbage_1'")
    logged "$one" | grep '"message":"fetch"' | sed 's/"timestamp":"[^"]*",//' | indented
    quiet
    api_key=$("$verdict" keys create --config "$home/verdict.toml" --name game-day --scopes decisions:read,results:read,verifications:write | head -1)
    tell "a reader sees: $(curl -sS -H "authorization: Bearer $api_key" "http://127.0.0.1:$http/v1/verifications/$one")"
    curl -sS -H "authorization: Bearer $api_key" "http://127.0.0.1:$http/v1/verifications/$one/results" | head -c 600 | indented
    echo
    tell "the breaker opened $(grep -c 'calls to the provider stop' "$home/verdict.log") times meanwhile; others decided: $(sql -c "select count(*) from verifications where state = 'decided'")"
    tell '== asked again, with an eye on it; the provider still answers the same'
    "$verdict" refetch --config "$home/verdict.toml" --state failed --purpose 'game day' --dry-run | indented
    "$verdict" refetch --config "$home/verdict.toml" --state failed --purpose 'game day' | indented
    wait_for 120 'nothing is open any more' nothing_open
    alert_over VerdictFailedVerifications 240
    ;;
poison-callbacks)
    everything
    tell '== the sender has changed its secret, and we have not'
    other="whsec_$(key)"
    sender_options="--secret $other"
    traffic a
    alert VerdictSignaturesRefused
    alerts
    log signature-invalid
    doctor
    tell '== the new secret is written beside the old one, without a restart'
    sed -i "s|^secrets = \[\(.*\)\]|secrets = [\1, \"$other\"]|" "$home/verdict.toml"
    wait_for 60 'changed configuration applied' grep -q 'changed configuration applied' "$home/verdict.log"
    quiet
    refusals
    repeat_refused
    alert_over VerdictSignaturesRefused
    tell '== one message comes again and again, with another body each time'
    sender_options=
    n=0
    same() {
        n=$((n + 1))
        post same "pass-97-same-$n" || true
        query 'ALERTS{alertname="VerdictCallbacksRefused", code="idempotency-mismatch", alertstate="firing"}' | grep -q .
    }
    wait_for 180 'alert VerdictCallbacksRefused fires for idempotency-mismatch' same
    log idempotency-mismatch
    # Nothing to be repeated: the first one of that id was accepted, and the rest is the sender's fault.
    rm -f "$home/refused"
    alert_over VerdictCallbacksRefused
    ;;
poison-policy)
    everything
    traffic a
    sleep 3
    tell '== a policy that this version cannot follow is activated, as a newer version might'
    digest=sha256:$(printf 'name = "from the future"\nlanguage = 99\n' | sha256sum | cut -d' ' -f1)
    sql -c "insert into policies (digest, name, body, added_at) values ('$digest', 'from the future', E'name = \"from the future\"\nlanguage = 99\n', now())"
    sql -c "insert into policy_activations (digest, activated_at, activated_by) values ('$digest', now(), 'game day')"
    alert VerdictActivationRefused
    doctor
    logged '"level":"ERROR"' | sed 's/"timestamp":"[^"]*",//' | sort | uniq -c | indented
    before=$(sql -c 'select count(*) from decisions')
    decides_on() { [ "$(sql -c 'select count(*) from decisions')" -gt "$((before + 3))" ]; }
    wait_for 60 'decisions go on, by the policy before' decides_on
    tell "policies that decided: $(sql -c 'select count(distinct policy_digest) from decisions')"
    tell '== a process is restarted meanwhile'
    kill "$service"
    wait "$service" || true
    serve restarted
    restarted=$service
    wait_for 40 'it has ended, or is ready' sh -c "! kill -0 $restarted || curl -fsS http://127.0.0.1:$operations/readyz"
    tail -3 "$home/restarted.log" | indented
    tell '== undone'
    "$verdict" policy rollback --config "$home/verdict.toml" --purpose 'game day' 2>&1 | indented
    if ! ready "$operations" >/dev/null 2>&1; then serve restarted; fi
    wait_for 30 'the service is ready' ready
    quiet
    wait_for 60 'nothing is open any more' nothing_open
    refusals
    repeat_refused
    wait_for 60 'nothing is open any more' nothing_open
    alert_over VerdictActivationRefused 300
    doctor 'after it'
    ;;
key-missing-at-start)
    everything
    traffic a
    sleep 3
    quiet
    tell '== the vault key is lost, and the process starts anew with another one'
    mv "$home/key-k1" "$home/key-k1.kept"
    kill "$service"
    wait "$service" || true
    sed 's/id = "k1"/id = "k2"/; s/key-k1/key-k2/' "$home/verdict.toml" >"$home/without.toml"
    key >"$home/key-k2"
    chmod 600 "$home/key-k2"
    config=$home/without.toml
    serve refused
    code=0
    wait "$service" || code=$?
    tell "exit code $code"
    tail -3 "$home/refused.log" | indented
    doctor
    "$verdict" vault status --config "$config" 2>&1 | indented
    tell '== another file is put in its place, under its name'
    config=$home/verdict.toml
    cp "$home/key-k2" "$home/key-k1"
    serve other-bytes
    code=0
    wait "$service" || code=$?
    tell "exit code $code"
    tail -3 "$home/other-bytes.log" | indented
    doctor
    "$verdict" vault status --config "$config" 2>&1 | indented
    rm "$home/key-k1"
    tell '== an api process alone can serve: it has no keys'
    sed '/^\[\[vault.keys\]\]/,$d' "$home/verdict.toml" >"$home/api.toml"
    config=$home/api.toml
    serve api -- --role api
    wait_for 30 'the api process is ready' ready
    traffic b
    alert VerdictNoWorker
    alerts
    tell "waiting: $(open_work)"
    tell '== the key is put back'
    mv "$home/key-k1.kept" "$home/key-k1"
    config=$home/verdict.toml
    serve verdict "VERDICT__OPERATIONS__LISTEN=127.0.0.1:$operations2" -- --role worker
    wait_for 30 'a worker is ready' ready "$operations2"
    quiet
    wait_for 60 'nothing is open any more' nothing_open
    alert_over VerdictNoWorker
    doctor_settings="VERDICT__OPERATIONS__LISTEN=127.0.0.1:$operations2"
    doctor 'after it'
    ;;
key-missing-in-part)
    everything
    first=$service
    key >"$home/key-k2"
    chmod 600 "$home/key-k2"
    printf '[[vault.keys]]\nid = "k2"\nsecret_file = "%s"\n' "$home/key-k2" >"$home/k2"
    { sed '/^\[\[vault.keys\]\]/,$d' "$home/verdict.toml"; cat "$home/k2"; sed -n '/^\[\[vault.keys\]\]/,$p' "$home/verdict.toml"; } >"$home/both.toml"
    tell '== a second process gets a new key in front; the first one was forgotten'
    config=$home/both.toml
    serve second "VERDICT__OPERATIONS__LISTEN=127.0.0.1:$operations2" "VERDICT__HTTP__LISTEN=127.0.0.1:$(free_port)"
    second=$service
    wait_for 30 'the second is ready' ready "$operations2"
    under_k2() { [ "$(sql -c "select count(*) from data_keys where key_id = 'k2'")" -ge 5 ]; }
    some() {
        n=$((${n:-0} + 1))
        post "part-$n" "status-7-part-$n"
        under_k2
    }
    wait_for 60 'five persons are sealed under the new key' some
    alert VerdictVaultKeyMissing
    config=$home/verdict.toml
    doctor 'with the configuration of the first'
    "$verdict" vault status --config "$config" 2>&1 | indented
    tell '== the second one stops; those persons come again'
    kill "$second"
    wait "$second" || true
    m=0
    sql -c "select biz_id from verifications v join data_keys d on d.verification_id = v.id where key_id = 'k2' and biz_id like 'status-7%' limit 5" >"$home/theirs"
    while read -r task; do m=$((m + 1)); post "again-$m" "$task"; done <"$home/theirs"
    post other pass-97-other
    alert VerdictFetchesRescheduled
    alerts
    log 'rescheduled'
    tell "open: $(open_work); the other one: $(sql -c "select state from verifications where biz_id = 'pass-97-other'")"
    tell '== the first one gets both keys'
    kill "$first"
    wait "$first" || true
    config=$home/both.toml
    serve verdict
    wait_for 30 'the process is ready' ready
    wait_for 90 'nothing is open any more' nothing_open
    alert_over VerdictVaultKeyMissing
    alert_over VerdictFetchesRescheduled
    "$verdict" vault rotate --config "$config" 2>&1 | tail -2 | indented
    doctor 'after it'
    ;;
*)
    fail "there is no experiment $experiment: the head of this script names them"
    ;;
esac
repeat_refused
wait_for 60 'nothing is open any more' nothing_open
reckon
[ "$failed" = 0 ] || fail 'something did not happen, or was lost: see above'
