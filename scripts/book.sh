#!/bin/sh
# Builds the book of docs/SUMMARY.md into target/book/html, and follows all of its links. A build with
# `--features book` takes it from there and serves it.
#
#   scripts/book.sh
#
# Needs Python 3. Where there is no mdBook, a pinned one is built into target/tools, once.
set -eu
cd "$(dirname "$0")/.."
version=0.5.4
target=${CARGO_TARGET_DIR:-target}
tools=$target/tools

mdbook=$tools/bin/mdbook
if [ ! -x "$mdbook" ] || [ "$("$mdbook" --version)" != "mdbook v$version" ]; then
    echo "Building mdBook $version into $tools, once ..." >&2
    # Not optimised, without debug information: compiles faster than it takes longer to run.
    if CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --debug --locked --version "$version" \
        --no-default-features --root "$tools" --target-dir "$tools/build" mdbook; then
        rm -rf "$tools/build"
    elif [ -n "${CI:-}" ]; then
        echo 'error: mdBook could not be built' >&2
        exit 1
    else
        echo 'skipped: mdBook could not be built, so neither is the book' >&2
        exit 0
    fi
fi

python3 scripts/book.py prepare "$target/book"
"$mdbook" build "$target/book" 2>"$target/book/log" || { cat "$target/book/log" >&2 && exit 1; }
# mdBook only warns of a chapter that it cannot read.
if grep -E 'WARN|ERROR' "$target/book/log" >&2; then exit 1; fi
python3 scripts/book.py check "$target/book"
