#!/bin/sh
# All tests of the workspace. A failed test is repeated alone: on a slow machine a few tests fail only
# beside others, and a broken test fails again. A test that passed only alone is named at the end, because
# the cause may be a race. With `STRICT=1` a test that failed once is a failure.
set -eu
cd "$(dirname "$0")/.."

# The message of a failed test is worth more than its stack, which pushes it out of a log.
RUST_BACKTRACE=0
export RUST_BACKTRACE

kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT
log=$kept/log

# A pipeline ends with the exit code of its last command, so the one of the tests goes through a file.
{ cargo test --locked --workspace --no-fail-fast 2>&1 || echo "$?" >"$kept/code"; } | tee "$log"
[ -e "$kept/code" ] || exit 0
code=$(cat "$kept/code")

# Cargo names each target that failed, the test runner each test.
targets=$(sed -n 's/^    `\(-p .*\)`$/\1/p' "$log" | sort -u)
names=$(awk '/^failures:$/ { list = 1; next } !/^    [a-z_0-9:]+$/ { if (NF) list = 0 }
    list && NF == 1 { print $1 }' "$log" | sort -u)
count=$(printf '%s\n' "$names" | grep -c . || true)
# A target that crashed tells no result, and has no test to repeat.
crashed=$(($(printf '%s\n' "$targets" | grep -c . || true) - $(grep -c '^test result: FAILED' "$log" || true)))
if [ -n "${STRICT:-}" ] || [ "$crashed" -ne 0 ] || [ "$count" -eq 0 ] || [ "$count" -gt 10 ]; then
    exit "$code"
fi

printf '== %s failed beside others: once more, alone\n' "$count"
: >"$log"
printf '%s\n' "$targets" | while read -r target; do
    # shellcheck disable=SC2086 # a target and a list of tests are meant to be split
    cargo test --locked $target -- --exact --test-threads=1 $names 2>&1 | tee -a "$log"
done || true
passed=$(grep -c '^test .* \.\.\. ok$' "$log" || true)
[ "$passed" -eq "$count" ] || exit "$code"
printf '%s\n' "$names" | sed 's/^/unsteady, passed alone: /'
