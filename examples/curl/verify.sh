#!/bin/sh
# Posts a signed callback and prints the decision: verify.sh BIZ_TYPE BIZ_ID [--start]
# With --start it first starts a verification of face-verify; BIZ_ID is then a new order number.
# Needs curl 7.84 or newer, openssl and jq. Whoever may run `ps` on this machine sees the key and
# the secret: good for trying out, not for production.
set -eu
url=${VERDICT_URL:?is not set} secret=${VERDICT_SECRET:?is not set} key=${VERDICT_API_KEY:?is not set}
biz_type=${1:?BIZ_TYPE BIZ_ID are needed} biz_id=${2:?BIZ_ID is needed} start=${3:-}
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
        case $after in *[!0-9]*) after= ;; esac
        case $status$after in 000* | 408* | 429* | 5* | ???[0-9]*) ;; *) break ;; esac
        after=${after:-$pause}
        [ "$pause" = 0 ] || sleep "$after"
    done
    case $status in
        2??) ;;
        000) fail "no answer from $url" ;;
        *) fail "Verdict refused: $status $(jq -r .code "$answer" 2>/dev/null)" ;;
    esac
}

# Name and number come from your database, meta_info from the SDK in the app. They go into the body,
# never into a URL or a log. Nothing is started twice: a repetition gets the same answer.
start() {
    jq -cn --arg type "$biz_type" --arg id "$biz_id" '{product: "face-verify", biz_type: $type,
        biz_id: $id, product_code: "ID_PRO", cert_type: "IDENTITY_CARD",
        cert_name: env.CERT_NAME, cert_no: env.CERT_NO, meta_info: env.META_INFO}' |
        call "$url/v1/verifications" -d @- -H 'content-type: application/json' \
            -H "authorization: Bearer $key"
}

if [ "$start" = --start ]; then
    : "${CERT_NAME:?is not set}" "${CERT_NO:?is not set}" "${META_INFO:?is not set}"
    persist start
    # The app goes on with .certify_id, and tells your backend when the user has finished. Then:
fi

# The same id for every try: what was accepted already is not accepted twice.
id=msg_$(openssl rand -hex 16)
body=$(jq -cn --arg type "$biz_type" --arg id "$biz_id" --arg start "$start" \
    '{biz_type: $type, biz_id: $id} + if $start == "" then {} else {product: "face-verify"} end')
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
