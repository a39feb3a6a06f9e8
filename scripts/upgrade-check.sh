#!/bin/sh
# Can the previous version be replaced by this one while it serves? Builds it, starts it, posts
# signed callbacks and reads without a pause, migrates, brings up the new version, takes down the
# old one, and counts: no request may fail, and all that was accepted is decided exactly once.
#
#   [ROWS=1000000] scripts/upgrade-check.sh [REV]
#
# REV: the previous version; the newest commit without the newest migrations if not given.
# ROWS: so many verifications are there before, and the longest wait of accepts and reads during each
# migration is printed. REV must have the columns that tests/scenarios/upgrade_rows.rs fills.
#
# Needs what `cargo test` needs. Not part of ./check: it builds everything once more.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)

without_the_newest_migrations() {
    newest=$(git log -1 --format=%H --diff-filter=A -- migrations)
    git rev-parse "$newest^"
}
previous=$(git rev-parse --verify "${1:-$(without_the_newest_migrations)}^{commit}")
source=$root/target/upgrade/source
echo "== previous: $(git log -1 --format='%h %s' "$previous")"

rm -rf "$source"
mkdir -p "$source"
# As of now (-m): cargo looks at the times of files, and another version may have been built before.
git archive "$previous" | tar -x -m -C "$source"

echo '== build'
(cd "$source" && CARGO_TARGET_DIR=$root/target/upgrade/target cargo build --locked --bin verdict)
echo '== upgrade under load'
VERDICT_PREVIOUS_SOURCE=$source VERDICT_PREVIOUS_BINARY=$root/target/upgrade/target/debug/verdict \
    cargo test --locked --test scenarios upgrade:: -- --nocapture
