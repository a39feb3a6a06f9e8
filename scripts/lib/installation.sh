# shellcheck shell=sh
# An installation to try an operation of its database on: a private Postgres, the simulated provider and
# one service, on loopback, in a folder that is deleted at the end. Sourced by restore.sh and pg-upgrade.sh.
#
# They set `verdict` (the binary) and `bin` (Postgres' programs), call `make_folder`, then `initialize`,
# `start_postgres`, `configure NAME` and `serve`.

skip() {
    printf 'skipped: %s\n' "$1" >&2
    exit 0
}
fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

began=$(date +%s%N)
tell() { printf '%5d.%d s  %s\n' "$((($(date +%s%N) - began) / 1000000000))" "$((($(date +%s%N) - began) / 100000000 % 10))" "$*"; }
indented() { sed 's/^/            /'; }

# check WHAT COMMAND...: `wrong` counts what did not hold.
wrong=0
check() {
    what=$1
    shift
    if "$@"; then tell "ok      $what"; else
        tell "WRONG   $what"
        wrong=$((wrong + 1))
    fi
}
# until_so SECONDS WHAT COMMAND...
until_so() {
    limit=$(($(date +%s) + $1))
    what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$limit" ] || fail "not seen: $what"
        sleep 0.2
    done
}
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Postgres does not run as root.
as_postgres() { if [ "$(id -u)" -eq 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

# make_folder NAME: `home`, and `data` in it, which belongs to Postgres.
make_folder() {
    home=$(mktemp -d "${TMPDIR:-/tmp}/$1.XXXXXX")
    chmod 755 "$home"
    data=$home/data
    mkdir "$data"
    if [ "$(id -u)" -eq 0 ]; then chown postgres "$data"; fi
    cluster=$data/postgres
    processes=
    trap cleanup EXIT
    trap 'exit 1' INT TERM
}
cleanup() {
    trap - EXIT INT TERM
    touch "$home/quiet"
    for pid in $processes; do kill "$pid" 2>/dev/null || true; done
    stop_postgres immediate >/dev/null 2>&1 || true
    wait
    rm -rf "$home"
}

# The cluster is in `cluster`; another one may take its place.
initialize() {
    cluster=$1
    shift
    as_postgres "$bin/initdb" -D "$cluster" -U verdict -A trust -E UTF8 --locale=C "$@" >/dev/null
}
start_postgres() {
    as_postgres "$bin/pg_ctl" -D "$cluster" -l "$data/postgres.log" -w -t 120 \
        -o "-h 127.0.0.1 -p $port -k $data" start >/dev/null
}
stop_postgres() { as_postgres "$bin/pg_ctl" -D "$cluster" -m "$1" stop >/dev/null; }
sql() { "$bin/psql" -h 127.0.0.1 -p "$port" -U verdict -d "${database:-verdict}" -qAtX -v ON_ERROR_STOP=1 "$@"; }

# configure NAME: the provider runs, and the service may start. NAME is the scene.
configure() {
    scene=$1
    provider=$(free_port) http=$(free_port) operations=$(free_port)
    random() { head -c 32 /dev/urandom | base64; }
    random >"$home/key"
    chmod 600 "$home/key"
    cat >"$home/verdict.toml" <<TOML
[http]
listen = "127.0.0.1:$http"
[operations]
listen = "127.0.0.1:$operations"
[database]
url = "postgres://verdict@127.0.0.1:$port/verdict"
[sources.app]
secrets = ["whsec_$(random)"]
[provider]
endpoint = "http://127.0.0.1:$provider"
access_key_id = "$scene"
access_key_secret = "$scene"
queries_per_second = 100
[images]
store = "file://$home/images"
[[vault.keys]]
id = "k1"
secret_file = "$home/key"
TOML
    "$verdict" sandbox --listen "127.0.0.1:$provider" --access-key-id "$scene" \
        --access-key-secret "$scene" >"$home/provider.log" 2>&1 &
    processes="$processes $!"
}
run() { "$verdict" "$@" --config "$home/verdict.toml"; }
serve() {
    # Not by `run`: the pid would be that of a shell around it.
    "$verdict" serve --config "$home/verdict.toml" >>"$home/verdict.log" 2>&1 &
    service=$!
    processes="$processes $service"
    until_so 60 'the service is ready' curl -fsS "http://127.0.0.1:$operations/readyz"
}
get() { curl -sS -H "authorization: Bearer $api_key" -H "verdict-purpose: $scene" "http://127.0.0.1:$http$1"; }
# send NUMBER BIZ_ID: a callback, whose reference is a canary.
send() {
    run callback send --to "http://127.0.0.1:$http" --biz-type "$scene" --biz-id "$2" \
        --reference "canary-$1-x" --id "message-$1" >>"$home/posted" 2>&1 && echo "$1" >>"$home/accepted"
}
settled() { [ "$(sql -c "select (select count(*) from verifications where due_at is not null) + (select count(*) from tasks)")" = 0 ]; }
