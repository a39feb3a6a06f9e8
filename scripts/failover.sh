#!/bin/sh
# Fails the primary of a Patroni cluster over and over under load, and checks that nothing acknowledged
# is lost. docs/proof.md has the results.
#
#   scripts/failover.sh [--rounds N] [--seed S] [--asynchronous] [--table]
#
# Each run is a part: it appends its rounds to target/failover/parts.jsonl, and --table prints all
# parts. --asynchronous plants a defect: without a synchronous standby the checks must find losses.
# Everything runs in a network namespace without a way out, so it needs root, and no port of the
# machine. Needs etcd, HAProxy and Postgres, which it installs with apt-get where it may, and Patroni
# 3.1 or newer, which it installs with pip into target/failover/patroni where the system has none;
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
case " $* " in *' --table '* | *' --help '* | *' -h '*) exec python3 -B scripts/failover.py "$@" ;; esac

[ "$(id -u)" -eq 0 ] || skip 'failover needs root, for a network namespace'
unshare --net ip link set lo up 2>/dev/null || skip 'failover cannot make a network namespace here (unshare, ip)'
# Before 3.1, a primary that was frozen takes the leader's key back from its successor, and what the
# successor has acknowledged is lost: docs/proof.md.
patroni_is_new() {
    version=$("$1" --version 2>/dev/null | sed -n 's/^patroni //p')
    [ -n "$version" ] && [ "$(printf '3.1.0\n%s\n' "$version" | sort -V | head -1)" = 3.1.0 ]
}
room=$PWD/target/failover/patroni
PATRONI=${PATRONI:-patroni}
patroni_is_new "$PATRONI" || PATRONI=$room/bin/patroni
# The system's Python: the user postgres cannot run one in a home.
python=$(PATH=/usr/bin:/bin command -v python3 || echo python3)
venv=
patroni_is_new "$PATRONI" || "$python" -c 'import ensurepip, venv' 2>/dev/null || venv=python3-venv
if [ -n "$venv" ] || ! has etcd || ! has haproxy || ! has setpriv; then
    has apt-get || skip 'etcd, HAProxy or python3 with venv are missing: install them'
    # Debian would start what it installs.
    policy=/usr/sbin/policy-rc.d
    made=
    if [ ! -e "$policy" ]; then
        made=$policy
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    apt-get -q update >&2 || true
    # shellcheck disable=SC2086 # nothing, or one package
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends --no-upgrade \
        etcd-server haproxy iproute2 util-linux $venv >&2 || true
    [ -z "$made" ] || rm "$made"
    if ! has etcd || ! has haproxy; then
        skip 'etcd or HAProxy cannot be installed here'
    fi
fi
if ! patroni_is_new "$PATRONI"; then
    echo "Installing Patroni into $room, once ..." >&2
    rm -rf "$room"
    { "$python" -m venv "$room" && "$room/bin/python" -m pip install --quiet --disable-pip-version-check \
        'patroni[etcd3,psycopg2-binary]==4.1.5'; } >&2 || skip 'Patroni 3.1 or newer cannot be installed here'
fi
# As a child of another program of this user, as Patroni starts itself.
# shellcheck disable=SC2016 # $1 is of the inner shell
setpriv --reuid=postgres --regid=postgres --init-groups sh -c '"$1" --version; exit $?' sh "$PATRONI" >/dev/null ||
    skip "the user postgres cannot run $PATRONI: set PATRONI to a Patroni that it can run"
export PATRONI
PG_BIN=${PG_BIN:-$(find /usr/lib/postgresql /usr/pgsql-* -path '*/bin/initdb' 2>/dev/null | sort -V | tail -1)}
export PG_BIN="${PG_BIN%/initdb}"
[ -x "$PG_BIN/initdb" ] || skip "Postgres' programs are missing: install them, or set PG_BIN to their folder"
exec unshare --net python3 -B scripts/failover.py "$@"
