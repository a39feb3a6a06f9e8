#!/bin/sh
# Generates the typed clients of clients/ from docs/openapi.json, into target/clients.
#
#   scripts/clients.sh          both
#   scripts/clients.sh check    both, and tries them against a demo of target/debug/verdict
#
# Needs Python 3.10 with venv, and Node 18 with npm. Not part of ./check.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
mkdir -p "${CARGO_TARGET_DIR:-target}/clients"
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
room=$target/clients

# --- Python ---
if ! cmp -s clients/python/requirements.txt "$room/venv/requirements.txt"; then
    rm -rf "$room/venv"
    python3 -m venv "$room/venv"
    "$room/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r clients/python/requirements.txt
    cp clients/python/requirements.txt "$room/venv/requirements.txt"
fi
# It warns of what it leaves out; clients/README.md lists that.
PATH=$room/venv/bin:$PATH openapi-python-client generate --path docs/openapi.json \
    --output-path "$room/python" --overwrite >"$room/python.log" 2>&1 || { cat "$room/python.log" >&2; exit 1; }
cp clients/python/*.py "$room/python"

# --- TypeScript ---
mkdir -p "$room/typescript"
cp clients/typescript/* "$room/typescript"
cd "$room/typescript"
if ! cmp -s package-lock.json installed; then
    npm ci --silent --no-audit --no-fund >&2
    cp package-lock.json installed
fi
npx openapi-typescript "$root/docs/openapi.json" -o schema.d.ts >"$room/typescript.log" 2>&1 ||
    { cat "$room/typescript.log" >&2; exit 1; }
npx tsc --strict --target es2022 --module nodenext --skipLibCheck --outDir built verdict.ts check.ts

echo "generated: $room/python, $room/typescript"
[ "${1:-}" = check ] || exit 0

# --- Against a demo ---
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy DATABASE_URL
demo=
clean_up() {
    [ -z "$demo" ] || { kill "$demo" 2>/dev/null || true; wait "$demo" 2>/dev/null || true; }
}
trap clean_up EXIT
trap 'exit 130' INT TERM
rm -rf "$room/demo" "$room/demo.log"
"$target/debug/verdict" demo --folder "$room/demo" >"$room/demo.log" 2>&1 &
demo=$!
until grep -qs "^It stays up" "$room/demo.log"; do
    kill -0 "$demo" 2>/dev/null || { cat "$room/demo.log" >&2; exit 1; }
    sleep 0.2
done
VERDICT_URL=$(sed -n 's/.* verdict on \(http:[^,]*\),.*/\1/p' "$room/demo.log")
VERDICT_SECRET=$(sed -n 's/^secrets = \["\(.*\)"\]/\1/p' "$room/demo/verdict.toml")
VERDICT_API_KEY=$("$target/debug/verdict" --config "$room/demo/verdict.toml" keys create --name clients \
    --scopes decisions:read,events:read | head -1)
export VERDICT_URL VERDICT_SECRET VERDICT_API_KEY
(cd "$room/python" && "$room/venv/bin/python" check.py)
(cd "$room/typescript" && node built/check.js)
