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
# shellcheck source=scripts/lib/previous.sh
. scripts/lib/previous.sh
build_previous "$@"
echo '== upgrade under load'
VERDICT_PREVIOUS_SOURCE=$source VERDICT_PREVIOUS_BINARY=$previous_binary \
    cargo test --locked --test scenarios upgrade:: -- --nocapture
