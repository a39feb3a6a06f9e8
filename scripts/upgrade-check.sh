#!/bin/sh
# Can a previous version be replaced by this one while it serves? Builds it, makes data in every state
# that it knows, posts signed callbacks and reads without a pause, migrates, brings up the new version,
# and takes down the old one. No request may fail, all that was accepted is decided exactly once, the
# new version tells everything as the old one did, and carries on what was begun.
#
#   [ROWS=1000000] scripts/upgrade-check.sh [REV...]
#
# REV: a previous version; the newest commit without the newest migrations if none is given. Each that
# is given adds a line to the table in docs/proof.md. One whose line for this commit is there is left
# out, so the same command continues a list that was interrupted. If this version refuses to upgrade from
# one, the refusal must name a remedy, and the old version must go on serving.
# ROWS: so many verifications are there before, and the longest wait of accepts and reads during each
# migration is printed. REV must have the columns that tests/scenarios/upgrade/rows.rs fills.
#
# Needs what `cargo test` needs. Not part of ./check: it builds everything once more.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/previous.sh
. scripts/lib/previous.sh
page=docs/proof.md
marker='<!-- scripts/upgrade-check.sh adds its lines above this one. -->'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
new=$(git rev-parse --short=8 HEAD)
[ -z "$(git status --porcelain -- src crates migrations config tests/scenarios Cargo.lock)" ] || new="$new and changes"

# Of `previous`: `code` is that of the test, whose output is in `log`.
upgrade() {
    echo '== upgrade under load'
    code=0
    VERDICT_PREVIOUS_SOURCE=$source VERDICT_PREVIOUS_BINARY=$previous_binary \
        cargo test --locked --test scenarios upgrade:: -- --nocapture >"$log" 2>&1 || code=$?
    cat "$log"
}
migrations_between() {
    git ls-tree --name-only "$previous" migrations/ >"$log.migrations"
    git ls-tree --name-only HEAD migrations/ | grep -cvxFf "$log.migrations" || true
    rm "$log.migrations"
}
add_line() {
    # row: states made | what came of it | requests | accepted | deliveries repeated
    result=$(sed -n 's/^row: //p' "$log")
    wrong=0
    if [ "$code" != 0 ]; then
        wrong="1: $(sed -n '/panicked at/{n;p;q;}' "$log" | tr '|' ' ' | cut -c 1-300)"
        result=${result:-' | | | | '}
    fi
    row="| $(date +%F) | $short | $new | $(migrations_between) | $result | $wrong |" \
        marker=$marker awk '$0 == ENVIRON["marker"] { print ENVIRON["row"] } { print }' "$page" >"$log"
    cat "$log" >"$page"
}

if [ $# = 0 ]; then
    build_previous
    upgrade
    exit "$code"
fi
failed=
for rev in "$@"; do
    short=$(git rev-parse --short=8 --verify "$rev^{commit}")
    if grep -q "^|[^|]*| $short | $new |.*| 0 |\$" "$page"; then
        echo "== $short: its line is there"
        continue
    fi
    build_previous "$rev"
    upgrade
    if [ -z "${ROWS:-}" ]; then add_line; fi
    [ "$code" = 0 ] || failed="$failed $short"
done
[ -z "$failed" ] || {
    echo "error: the upgrade failed from$failed" >&2
    exit 1
}
