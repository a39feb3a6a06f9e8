#!/bin/sh
# Does the API do what its description says? Starts the demo and has schemathesis send it what the
# description allows and what it forbids: no 5xx, no answer that is not described, nothing wrong
# accepted, nothing right refused.
#
#   scripts/api-check.sh              25 examples of each operation, always the same: half a minute
#   scripts/api-check.sh 2000         the long form: an hour, other ones each time
#
# Needs Python 3.10 or newer, which is installed where that may be; everything is kept below
# target/api-check.
set -eu
cd "$(dirname "$0")/.."
examples=${1:-25}
# ./check must not depend on luck, so its seed is fixed.
seed=
[ $# -gt 0 ] || seed=--seed=20261125
scripts/prepare.sh
scripts/build.sh
target=${CARGO_TARGET_DIR:-target}
room=$target/api-check
mkdir -p "$room"
room=$(cd "$room" && pwd)
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy

# --- schemathesis, pinned, once ---
# unless a CI asks for it, a machine where it cannot be had may go without
go_without() {
    [ -z "${CI:-}" ] || { echo "error: $1" >&2; exit 1; }
    echo "skipped: $1, so the API is not held against its description" >&2
    exit 0
}
python=$room/venv/bin/python
if [ "$(cat "$room/venv/requirements" 2>/dev/null)" != "$(cat tests/api/requirements.txt)" ]; then
    echo "Installing schemathesis into $room, once ..." >&2
    rm -rf "$room/venv"
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null && command -v apt-get >/dev/null; then
        root='sudo -n'
        [ "$(id -u)" -ne 0 ] || root=
        # shellcheck disable=SC2086 # nothing, for root
        { $root apt-get -q update && $root env DEBIAN_FRONTEND=noninteractive \
            apt-get -q install -y --no-install-recommends python3-venv; } >&2 || true
    fi
    python3 -m venv "$room/venv" || go_without 'python3 with venv is missing: apt-get install python3-venv'
    "$python" -m pip install --quiet --disable-pip-version-check -r tests/api/requirements.txt ||
        go_without 'schemathesis cannot be installed'
    cp tests/api/requirements.txt "$room/venv/requirements"
fi

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
VERDICT_API_KEY=$("$target/debug/verdict" --config "$room/demo/verdict.toml" keys create --name api-check \
    --scopes decisions:read,results:read,material:read,images:read,reviews:write,verifications:write,policies:write,erasures:write,events:read,webhooks:write |
    head -1)
export VERDICT_URL VERDICT_SECRET VERDICT_API_KEY

# That a created resource is there is left out: another test case may have removed it.
# schemathesis writes its state below target, not into the tree.
here=$PWD/tests/api
cd "$room"
SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 \
    HYPOTHESIS_STORAGE_DIRECTORY="$room/hypothesis" \
    "$room/venv/bin/schemathesis" --config-file "$here/schemathesis.toml" \
    run "$VERDICT_URL/openapi.json" \
    --header "Authorization: Bearer $VERDICT_API_KEY" --max-examples "$examples" \
    --checks all --exclude-checks ensure_resource_availability \
    --continue-on-failure --workers 1 ${seed:+"$seed"} --report-dir "$room/report" --no-shrink
