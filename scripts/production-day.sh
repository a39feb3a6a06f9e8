#!/bin/sh
# Runs a day in production, compressed: mixed load, and everything that operators do and suffer in a day.
# At the end nothing acknowledged may be lost or doubled, and memory, descriptors, connections and tables
# may not have grown without a reason. docs/proof.md has the results.
#
#   [MINUTES=90] scripts/production-day.sh [--seed S] [--folder FOLDER] [--rate N] [--table]
#
# A day has two parts on one data folder. Each call runs the next part, for MINUTES (90; at most 100).
# Below 20 minutes both parts run in one call, in half of MINUTES each: MINUTES=6 is the short form.
# scripts/production_day/timetable.py says what happens when.
#
# A pair of private Postgres servers, the simulated provider, two api processes, two workers and two
# receivers of events, all on loopback and stopped at the end of a part. Needs Linux, Postgres' programs
# and Python 3. As root it also fills a disk, for which it mounts a small filesystem; otherwise that is
# left out with a sentence. Uses target/debug/verdict, or VERDICT=path; OLD=path is the version with which
# the day begins, otherwise the same one under another path.
set -eu
# psql reads the variables of libpq.
if env | grep -q '^PG[A-Z]'; then exec "$(dirname "$0")/without-libpq.sh" "$0" "$@"; fi
cd "$(dirname "$0")/.."
case " $* " in *' --table '* | *' --help '* | *' -h '*) exec python3 -B scripts/production_day "$@" ;; esac

skip() {
    printf 'skipped: %s\n' "$1" >&2
    exit 0
}
[ -r /proc/self/smaps_rollup ] || skip 'the measures come from /proc of Linux'
PG_BIN=${PG_BIN:-$(find /usr/lib/postgresql /usr/pgsql-* -path '*/bin/initdb' 2>/dev/null | sort -V | tail -1)}
export PG_BIN="${PG_BIN%/initdb}"
verdict=${VERDICT:-target/debug/verdict}
for binary in "$verdict" "${OLD:-$verdict}"; do
    if [ ! -x "$binary" ]; then
        printf 'error: %s is missing: cargo build, or VERDICT=path\n' "$binary" >&2
        exit 1
    fi
done
[ -x "$PG_BIN/initdb" ] || skip "Postgres' programs are missing: install them, or set PG_BIN to their folder"
exec python3 -B scripts/production_day "$@"
