#!/bin/sh
# Runs every fuzz target for a while, one after the other. An input that breaks an invariant ends the
# run, and is kept; inputs that reach new code are kept as well, so that the next run goes on there.
#
#   scripts/fuzz.sh                  a minute for each target
#   scripts/fuzz.sh 600              ten minutes for each: the long form, a little over an hour
#   scripts/fuzz.sh 600 image        one target alone
#
# Needs a nightly toolchain and cargo-fuzz (cargo install cargo-fuzz). Not part of ./check.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
targets=${2:-$(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | grep -v '^verdict-fuzz$')}
cargo +nightly fuzz --version >/dev/null 2>&1 || {
    echo 'error: cargo +nightly fuzz is missing: rustup toolchain install nightly, cargo install cargo-fuzz' >&2
    exit 2
}

# seeds TARGET: a folder with inputs to begin with, where there is one.
seeds() {
    case $1 in
        decoder) echo crates/cloudauth/tests/fixtures/responses ;;
        face_verify) echo crates/cloudauth/tests/fixtures/face_verify ;;
        image) echo crates/cloudauth-sandbox/src/pictures ;;
    esac
}

for target in $targets; do
    printf '== %s, %s seconds\n' "$target" "$seconds"
    mkdir -p "fuzz/corpus/$target"
    # shellcheck disable=SC2046 # one folder, or none
    cargo +nightly fuzz run "$target" "fuzz/corpus/$target" $(seeds "$target") -- \
        -max_total_time="$seconds" -max_len=16384 -rss_limit_mb=2048 -timeout=10 -print_final_stats=1
done
