# shellcheck shell=sh
# The version before this one, built in target/upgrade. Sourced by upgrade-check.sh and rollback-check.sh,
# in the root of the repository.
#
# build_previous [REV]: sets `previous` (its commit), `source` (its files) and `previous_binary`.

# The newest commit without the newest migrations.
without_the_newest_migrations() {
    newest=$(git log -1 --format=%H --diff-filter=A -- migrations)
    git rev-parse "$newest^"
}

build_previous() {
    previous=$(git rev-parse --verify "${1:-$(without_the_newest_migrations)}^{commit}")
    source=$(pwd)/target/upgrade/source
    previous_binary=$(pwd)/target/upgrade/target/debug/verdict
    echo "== previous: $(git log -1 --format='%h %s' "$previous")"
    rm -rf "$source"
    mkdir -p "$source"
    # As of now (-m): cargo looks at the times of files, and another version may have been built before.
    git archive "$previous" | tar -x -m -C "$source"
    echo '== build'
    (cd "$source" && CARGO_TARGET_DIR=${previous_binary%/debug/verdict} cargo build --locked --bin verdict)
}
