#!/bin/sh
# Verdict's accept beside the same accept in FastAPI, Express, Fastify and plain axum. Installs the peers
# into target/peers, pinned, and measures all of them in turns, on one private Postgres.
#
#   benches/peers/run.sh [--rounds N] [--seconds N] [--connections N]
#
# Needs Python 3 with venv, and Node 18 or newer with npm.
set -eu
cd "$(dirname "$0")/../.."
scripts/prepare.sh
room=${CARGO_TARGET_DIR:-target}/peers
mkdir -p "$room"
room=$(cd "$room" && pwd)
peers=$PWD/benches/peers

if ! cmp -s "$peers/python/requirements.txt" "$room/venv/requirements.txt"; then
    echo "Installing FastAPI into $room, once ..." >&2
    rm -rf "$room/venv"
    python3 -m venv "$room/venv"
    "$room/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        -r "$peers/python/requirements.txt"
    cp "$peers/python/requirements.txt" "$room/venv"
fi
if ! cmp -s "$peers/node/package-lock.json" "$room/node/installed.json"; then
    echo "Installing Express and Fastify into $room, once ..." >&2
    rm -rf "$room/node"
    mkdir -p "$room/node"
    cp "$peers/node/package.json" "$peers/node/package-lock.json" "$room/node"
    (cd "$room/node" && npm ci --no-audit --no-fund --silent --ignore-scripts)
    cp "$peers/node/package-lock.json" "$room/node/installed.json"
fi
# Node looks for packages beside the program.
cp "$peers"/node/*.js "$room/node"
mkdir -p "$room/python"
cp "$peers/python/peer.py" "$room/python"

exec cargo bench --locked --bench load -- peers --installed "$room" "$@"
