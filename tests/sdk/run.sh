#!/usr/bin/env bash
# Proves that the vendor's own SDKs work against the simulated provider, unmodified.
#
#   tests/sdk/run.sh                        starts `verdict sandbox` itself: the binary VERDICT_BINARY
#                                           names, else one built by cargo
#   tests/sdk/run.sh 127.0.0.1:9000 ID KEY  asks one that runs already
#
# Needs python3 with venv, node and npm. The SDKs go to target/sdk, in the pinned versions.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/tests/sdk
room=$PWD/target/sdk
address=${1:-} key_id=${2:-testid} secret=${3:-testsecret}

mkdir -p "$room/node"
if ! cmp -s "$here/requirements.txt" "$room/requirements.txt"; then
    python3 -m venv "$room/venv"
    "$room/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$room/"
fi
if ! cmp -s "$here/package.json" "$room/node/installed.json"; then
    cp "$here/package.json" "$room/node/"
    (cd "$room/node" && npm install --no-audit --no-fund --silent)
    cp "$here/package.json" "$room/node/installed.json"
fi

if [[ -z $address ]]; then
    binary=${VERDICT_BINARY:-}
    if [[ -z $binary ]]; then
        cargo build --quiet --bin verdict
        binary=${CARGO_TARGET_DIR:-target}/debug/verdict
    fi
    "$binary" sandbox --listen 127.0.0.1:0 \
        --access-key-id "$key_id" --access-key-secret "$secret" >"$room/sandbox.log" 2>&1 &
    sandbox=$!
    trap 'kill "$sandbox" 2>/dev/null || true' EXIT
    for _ in $(seq 100); do
        address=$(sed -n 's|.*sandbox listening on http://\([^ ]*\).*|\1|p' "$room/sandbox.log")
        [[ -n $address ]] && break
        kill -0 "$sandbox" || break
        sleep 0.1
    done
    [[ -n $address ]] || { echo "the sandbox did not start:"; cat "$room/sandbox.log"; exit 1; } >&2
fi

# The SDKs obey proxies; a simulated provider is not behind one.
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
failures=0
for script in old_python.py new_python.py; do
    "$room/venv/bin/python" "$here/$script" "$address" "$key_id" "$secret" || failures=$((failures + 1))
done
for script in pop_core.js new_node.js; do
    NODE_PATH=$room/node/node_modules node "$here/$script" "$address" "$key_id" "$secret" || failures=$((failures + 1))
done
if ((failures)); then
    echo "$failures of 4 SDKs did not work as expected" >&2
    exit 1
fi
echo "4 official SDKs work against the simulated provider"
