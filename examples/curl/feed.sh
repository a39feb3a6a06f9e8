#!/bin/sh
# Reads the events from the feed and prints a line for each: feed.sh
# A shell is no web server, so it reads instead of receiving: no signature is needed, TLS and the API
# key say whose events these are. Needs curl 7.76 or newer and jq. The key's scope: events:read.
set -eu
url=${VERDICT_URL:?is not set} key=${VERDICT_API_KEY:?is not set}
# How far it has come, as "SEQUENCE EPOCH". In your service: written in the transaction of what the
# events cause.
kept=${VERDICT_EVENTS:-events.position}
page=$(mktemp)
trap 'rm -f "$page" "$kept.new"' EXIT
after=0 epoch=
[ ! -e "$kept" ] || read -r after epoch <"$kept"
expected=$after

keep() { echo "$after $epoch" >"$kept.new" && mv "$kept.new" "$kept"; }

while :; do
    # Held until there is something, 30 seconds at most.
    if ! curl -s -m 40 --fail-with-body -o "$page" -H "authorization: Bearer $key" \
        "$url/v1/events?after=$after&limit=100&wait=${VERDICT_WAIT:-30}"; then
        # The log begins later now: read verifications again, then continue from there.
        if oldest=$(jq -re 'select(.code == "events-expired").oldest' "$page" 2>/dev/null); then
            echo "events before $oldest are no longer kept" >&2
            exit 1
        fi
        code=$(jq -r '.code // empty' "$page" 2>/dev/null || true)
        case $code in
            '' | unavailable | internal | too-many-waits | rate-limited) sleep 2 && continue ;;
        esac
        echo "Verdict refused: $code" >&2
        exit 1
    fi
    # Verdict was restored from a backup: the sequence has started again, and what was not read before
    # is not in the feed.
    now=$(jq -r .epoch "$page")
    if [ "$now" != "${epoch:=$now}" ]; then
        echo 'a new epoch: reading from its first event; look at the verifications that changed' >&2
        after=0 epoch=$now expected=0
        keep && continue
    fi
    jq -r '.items[] | [.sequence, .type, .data.biz_id, .data.verification_sequence, .data.outcome]
        | map(. // "-") | join(" ")' "$page"
    after=$(jq -r .next_after "$page")
    keep
    # With VERDICT_WAIT=0: only what there is.
    [ "${VERDICT_WAIT:-30}" != 0 ] || [ "$after" != "$expected" ] || exit 0
    expected=$after
done
