#!/bin/sh
# The long forms of the checks, each bounded: what ./check has no time for. docs/proof.md has the results
# of longer ones. Takes about two hours on two cores after ./check.
#
#   scripts/ci-long.sh [STEP...]
#
# All steps if none is named; the list is in `run` below. A step whose tools cannot be had is skipped with a
# sentence; in a CI that is a failure. After a failed step the others still run. The output of each is in target/ci-long/STEP.log.
set -eu
cd "$(dirname "$0")/.."
out=$(pwd)/target/ci-long
mkdir -p "$out"
seed=${SEED:-1}

run() {
    case $1 in
        failover) scripts/failover.sh --rounds 5 --seed "$seed" ;;
        restore) scripts/restore.sh "$seed" ;;
        upgrade) scripts/upgrade-check.sh ;;
        rollback) scripts/rollback-check.sh ;;
        faults)
            FAULTS=300 SEED=$seed cargo test --locked --test scenarios faults::random -- --nocapture
            ;;
        simulation)
            SEED=$((seed * 1000)) SEEDS=500 JOBS=2 \
                cargo test --locked --test simulation no_seed_breaks_a_promise -- --nocapture
            ;;
        api) scripts/api-check.sh 100 ;;
        postgres) scripts/postgres-matrix.sh ;;
        pg-upgrade) scripts/pg-upgrade.sh ;;
        day) MINUTES=6 scripts/production-day.sh --seed "$seed" ;;
        fuzz)
            if cargo +nightly fuzz --version >/dev/null 2>&1; then
                scripts/fuzz.sh 60
            else
                echo 'skipped: a nightly toolchain or cargo-fuzz is missing'
            fi
            ;;
        *)
            printf 'error: there is no step %s; scripts/ci-long.sh names them\n' "$1" >&2
            return 2
            ;;
    esac
}

[ $# -gt 0 ] || set -- failover restore upgrade rollback faults simulation api postgres pg-upgrade day fuzz
scripts/build.sh
failed=
for step in "$@"; do
    printf '== %s\n' "$step"
    code=0
    (run "$step") >"$out/$step.log" 2>&1 || code=$?
    tail -n 5 "$out/$step.log" | sed 's/^/   /'
    # Nobody sees what a CI leaves out.
    if [ -n "${CI:-}" ] && grep -q '^skipped: ' "$out/$step.log"; then code=1; fi
    [ "$code" -eq 0 ] || failed="$failed $step"
done
[ -z "$failed" ] || {
    printf 'failed:%s; the output is in %s\n' "$failed" "$out" >&2
    exit 1
}
