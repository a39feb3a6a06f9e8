#!/bin/sh
# Fails the primary of a Patroni cluster over and over under load, and checks that nothing acknowledged
# is lost. docs/proof.md has the results.
#
#   scripts/failover.sh [--rounds N] [--seed S] [--asynchronous] [--table]
#
# Each run is a part: it appends its rounds to target/failover/parts.jsonl, and --table prints all
# parts. --asynchronous plants a defect: without a synchronous standby the checks must find losses.
# Everything runs in a network namespace without a way out, so it needs root, and no port of the
# machine. Needs Patroni, etcd, HAProxy and Postgres, which it installs with apt-get where it may;
# else it is skipped with one sentence. Uses target/debug/verdict, or VERDICT=path.
set -eu
# psql reads the variables of libpq.
if env | grep -q '^PG[A-Z]'; then exec "$(dirname "$0")/without-libpq.sh" "$0" "$@"; fi
cd "$(dirname "$0")/.."

skip() {
    printf 'skipped: %s\n' "$1" >&2
    exit 0
}
has() { command -v "$1" >/dev/null 2>&1; }
case " $* " in *' --table '* | *' --help '* | *' -h '*) exec python3 scripts/failover.py "$@" ;; esac

[ "$(id -u)" -eq 0 ] || skip 'failover needs root, for a network namespace'
unshare --net ip link set lo up 2>/dev/null || skip 'failover cannot make a network namespace here (unshare, ip)'
if ! has patroni || ! has etcd || ! has haproxy; then
    has apt-get || skip 'Patroni, etcd and HAProxy are missing: install them'
    # Debian would start what it installs.
    policy=/usr/sbin/policy-rc.d
    made=
    if [ ! -e "$policy" ]; then
        made=$policy
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    apt-get -q update >&2 || true
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends --no-upgrade \
        patroni etcd-server haproxy iproute2 >&2 || true
    [ -z "$made" ] || rm "$made"
    if ! has patroni || ! has etcd || ! has haproxy; then
        skip 'Patroni, etcd or HAProxy cannot be installed here'
    fi
fi
PG_BIN=${PG_BIN:-$(find /usr/lib/postgresql /usr/pgsql-* -path '*/bin/initdb' 2>/dev/null | sort -V | tail -1)}
export PG_BIN="${PG_BIN%/initdb}"
[ -x "$PG_BIN/initdb" ] || skip "Postgres' programs are missing: install them, or set PG_BIN to their folder"
exec unshare --net python3 scripts/failover.py "$@"
