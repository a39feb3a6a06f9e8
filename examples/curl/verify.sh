#!/bin/sh
# Posts a signed callback and prints the decision: verify.sh BIZ_TYPE BIZ_ID
# Needs curl 7.84 or newer, openssl and jq. Whoever may run `ps` on this machine sees the key and
# the secret: good for trying out, not for production.
set -eu
url=${VERDICT_URL:?is not set} secret=${VERDICT_SECRET:?is not set} key=${VERDICT_API_KEY:?is not set}
biz_type=${1:?BIZ_TYPE BIZ_ID are needed} biz_id=${2:?BIZ_ID is needed}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

fail() {
    echo "$1" >&2
    exit 1
}

call() { curl -s -m 40 -o "$answer" -w '%{http_code} %header{retry-after}' "$@"; }

# Does "$@", a call, again where that may help; the answer's body is in $answer.
persist() {
    for pause in 1 2 4 8 0; do
        told=$("$@") || told='000 '
        status=${told%% *} after=${told#* }
        case $status in 000 | 408 | 429 | 5??) ;; *) break ;; esac
        case $after in '' | *[!0-9]*) after=$pause ;; esac
        [ "$pause" = 0 ] || sleep "$after"
    done
    case $status in
        2??) ;;
        000) fail "no answer from $url" ;;
        *) fail "Verdict refused: $status $(jq -r .code "$answer" 2>/dev/null)" ;;
    esac
}

# The same id for every try: what was accepted already is not accepted twice.
id=msg_$(openssl rand -hex 16)
body=$(jq -cn --arg type "$biz_type" --arg id "$biz_id" '{biz_type: $type, biz_id: $id}')
hex=$(printf %s "${secret#whsec_}" | base64 -d | od -An -v -tx1 | tr -d ' \n')

# Signed anew for every try: an old timestamp is refused.
post() {
    time=$(date +%s)
    mac=$(printf '%s.%s.%s' "$id" "$time" "$body" |
        openssl dgst -sha256 -mac HMAC -macopt "hexkey:$hex" -binary | base64)
    call "$url/v1/callbacks/${VERDICT_SOURCE:-app}" -d "$body" -H 'content-type: application/json' \
        -H "webhook-id: $id" -H "webhook-timestamp: $time" -H "webhook-signature: v1,$mac"
}

persist post
verification=$(jq -r .id "$answer")
while jq -e '.state | IN("pending", "unfinished")' "$answer" >/dev/null; do
    # Held until there is something to tell, 30 seconds at most.
    persist call "$url/v1/verifications/$verification?wait=30" -H "authorization: Bearer $key"
done
jq -r '"\(.state) \(.decision.outcome // "-") \(.decision.reasons // ["-"] | join(","))"' "$answer"
