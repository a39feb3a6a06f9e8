# shellcheck shell=sh
# A version before this one, built in target/upgrade. Sourced by upgrade-check.sh and rollback-check.sh,
# in the root of the repository.
#
# build_previous [REV]: sets `previous` (its commit), `source` (its config/roles.sql) and `previous_binary`.
# A version that was built before is not built again. All share one target folder: delete target/upgrade
# when you are done.

# The newest commit without the newest migrations.
without_the_newest_migrations() {
    newest=$(git log -1 --format=%H --diff-filter=A -- migrations)
    git rev-parse "$newest^"
}

build_previous() {
    previous=$(git rev-parse --verify "${1:-$(without_the_newest_migrations)}^{commit}")
    source=$(pwd)/target/upgrade/$previous
    previous_binary=$source/verdict
    echo "== previous: $(git log -1 --format='%h %s' "$previous")"
    if [ -x "$previous_binary" ]; then return; fi
    echo '== build'
    # In one place, for cargo to build again only what differs.
    rm -rf target/upgrade/source
    mkdir -p target/upgrade/source "$source"
    # As of now (-m): cargo looks at the times of files, and another version may have been built before.
    git archive "$previous" | tar -x -m -C target/upgrade/source
    # Else cargo looks for its workspace in the folders above, and finds this version's.
    grep -q '^\[workspace' target/upgrade/source/Cargo.toml || echo '[workspace]' >>target/upgrade/source/Cargo.toml
    (cd target/upgrade/source && CARGO_TARGET_DIR=../target CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=none \
        cargo build --locked --bin verdict)
    git archive "$previous" config/roles.sql | tar -x -C "$source"
    # Whole or not at all, for the next run.
    cp target/upgrade/target/debug/verdict "$previous_binary.new"
    mv "$previous_binary.new" "$previous_binary"
}
