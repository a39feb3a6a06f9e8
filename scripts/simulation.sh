#!/bin/sh
# Runs seeds of tests/simulation and adds a line to the table in docs/proof.md.
#
#     scripts/simulation.sh [FIRST_SEED [SEEDS]]
#
# The next part begins with the seed after the last one of the table.
set -eu
cd "$(dirname "$0")/.."
first=${1:-1} seeds=${2:-10000}
page=docs/proof.md
marker='<!-- scripts/simulation.sh adds its lines above this one. -->'
grep -qF "$marker" "$page" || {
    printf 'error: %s lacks the line: %s\n' "$page" "$marker" >&2
    exit 1
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
code=0
SEED=$first SEEDS=$seeds JOBS=${JOBS:-2} cargo test --quiet --locked --test simulation \
    no_seed_breaks_a_promise -- --nocapture >"$log" 2>&1 || code=$?
cat "$log"
# seeds 1 to 100: 100 seeds, 20000 steps, 60 s, 100 seeds a minute, 0 broken
line=$(sed -n 's/^seeds \([0-9]*\) to [0-9]*: \([0-9]*\) seeds, \([0-9]*\) steps, \([0-9]*\) s, \([0-9]*\) seeds a minute, \([0-9]*\) broken$/\1 \2 \3 \4 \5 \6/p' "$log")
[ -n "$line" ] || exit "$code"
# shellcheck disable=SC2086 # the numbers are meant to be split
set -- $line
commit=$(git rev-parse --short=8 HEAD)
[ -z "$(git status --porcelain -- src crates migrations tests/simulation Cargo.lock)" ] || commit="$commit and changes"
machine="$(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg 2>/dev/null || echo unknown)"
row="| $(date +%F) | $machine | $commit | $1 to $(($1 + $2 - 1)) | $3 | $4 s | $5 | $6 |"
sed -i "s#^$marker\$#$row\n&#" "$page"
exit "$code"
