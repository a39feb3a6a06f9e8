#!/bin/sh
# Does the system in containers work? Builds the image, starts everything with the simulated
# provider in a separate project, posts callbacks, compares the decisions, starts a verification of
# face-verify, delivers events to a receiver, kills the worker in between, checks the logs, and
# removes everything it made. The exit code is the result.
#
#   scripts/container-check.sh
#
# Needs Docker with Compose, and curl. Not part of ./check, which needs no containers.
set -eu
cd "$(dirname "$0")/.."
# Neither the settings nor the ports nor the volumes of a system that runs already.
unset ALIBABA_CLOUD_ACCESS_KEY_ID COMPOSE_PROFILES
export VERDICT_PORT=0 VERDICT_OPERATIONS_PORT=0
project=verdict-check-$$
files=$(mktemp -d)
export VERDICT_CHECK="$files"

# Beside the services of docker-compose.yml: a receiver of webhooks, which plain http may reach.
{
    cat config/compose.toml
    printf '\n[webhooks]\nallow_private = ["receiver"]\n'
} >"$files/compose.toml"
chmod 755 "$files"
chmod 644 "$files/compose.toml"
cat >"$files/receiver.yml" <<'EOF'
services:
  api: &configured
    volumes: ["${VERDICT_CHECK}/compose.toml:/etc/verdict/config/compose.toml:ro,z"]
  worker: *configured
  receiver:
    image: postgres:17
    user: nobody
    init: true
    networks: [default]
    # Prints the body of each request, and acknowledges it.
    entrypoint:
      - perl
      - -MIO::Socket::INET
      - -e
      - |
        $$| = 1;
        my $$socket = IO::Socket::INET->new(LocalPort => 8000, Listen => 16) or die;
        while (my $$client = $$socket->accept) {
            my $$length = 0;
            while (<$$client>) { /^content-length:\s*(\d+)/i and $$length = $$1; last if /^\r?$$/ }
            read $$client, my $$body, $$length;
            print "$$body\n";
            print $$client "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
            close $$client;
        }
EOF

compose() {
    docker compose --env-file /dev/null --project-name "$project" --profile sandbox \
        --file docker-compose.yml --file "$files/receiver.yml" "$@"
}
# As the owner of the database; the API's own role could not make keys.
verdict() { compose run --rm --no-deps -T cli "$@"; }

fail() {
    printf 'FAILED: %s\n' "$1" >&2
    compose ps --all >&2 || true
    compose logs --no-color --tail 5 api worker sandbox migrate secrets >&2 || true
    exit 1
}
clean_up() {
    compose down --volumes --timeout 20 >/dev/null 2>&1 || true
    rm -rf "$files"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# until_true SECONDS WHAT COMMAND…
until_true() {
    seconds=$1 what=$2
    shift 2
    end=$(($(date +%s) + seconds))
    until "$@"; do
        [ "$(date +%s)" -lt "$end" ] || fail "$what: not within $seconds seconds"
        sleep 0.2
    done
}

echo '== build and start'
compose build --quiet
told=$(compose up --detach --no-build 2>&1) || fail "up: $told"
api=http://$(compose port loopback 8080)
operations=http://$(compose port loopback 9464)
is_ready() { curl -fsS -o /dev/null "$operations/readyz" 2>/dev/null; }
until_true 60 'the API is ready' is_ready
# The simulated provider and the worker would be left without their network.
restarts=$(docker inspect --format '{{.RestartCount}}' "$(compose ps --all --quiet loopback)")
[ "$restarts" = 0 ] || fail "loopback was restarted $restarts times"

echo '== each service sees its own secrets, and the owner is no superuser'
# seen SERVICE: the files with secrets that this service's account can read, from inside its mounts.
# The image has no shell, so another container looks through the same volumes as the same account.
seen() {
    user=65532
    [ "$1" != postgres ] || user=999
    docker run --rm --user "$user" --network none --volumes-from "$(compose ps --all --quiet "$1"):ro" \
        --entrypoint /bin/sh postgres:17 -c 'find /run/verdict -type f -readable 2>/dev/null' |
        sort | tr '\n' ' '
}
# sees SERVICE FILES
sees() {
    found=$(seen "$1")
    [ "$found" = "$2" ] || fail "$1 sees: $found"
}
database=/run/verdict/database/url
sees api "$database /run/verdict/vault/compose /run/verdict/webhooks/app "
sees worker "$database /run/verdict/vault/compose "
sees migrate "$database "
sees sandbox ''
sees postgres "/run/verdict/superuser/api.sql /run/verdict/superuser/owner.sql /run/verdict/superuser/password /run/verdict/superuser/worker.sql "
user_of() {
    docker run --rm --user 65532 --network none --volumes-from "$(compose ps --all --quiet "$1"):ro" \
        --entrypoint /bin/cat postgres:17 "$database" | sed 's,^postgres://\([^:]*\):.*,\1,'
}
[ "$(user_of api)" = verdict_api_user ] || fail 'the API has the URL of another user'
[ "$(user_of worker)" = verdict_worker_user ] || fail 'the worker has the URL of another user'
[ "$(user_of migrate)" = verdict_owner ] || fail 'migrate has the URL of another user'
# By the socket of the container, which trusts its own superuser.
asked() {
    compose exec -T --user 999 postgres sh -c \
        'PGPASSWORD=$(cat /run/verdict/superuser/password) psql -h 127.0.0.1 -U verdict -d verdict -qAtX -c "$1"' \
        sh "$1"
}
[ "$(asked "select count(*) from pg_roles where rolsuper and rolname <> 'verdict'")" = 0 ] ||
    fail 'there is a second superuser'
[ "$(asked "select string_agg(distinct tableowner, ' ') from pg_tables where schemaname = 'public'")" = verdict_owner ] ||
    fail 'somebody else owns a table'
[ "$(asked "select rolcreaterole or rolcreatedb or rolbypassrls from pg_roles where rolname = 'verdict_owner'")" = f ] ||
    fail 'the owner has a right it does not need'

echo '== the image carries neither the demo nor the simulated provider'
for command in demo sandbox; do
    if told=$(verdict "$command" 2>&1); then fail "the image runs $command"; fi
    case $told in *'this build has no '*) ;; *) fail "$command says: $told" ;; esac
done

echo '== the image has no shell, no package manager and no known critical vulnerability'
image=$(docker inspect --format '{{.Image}}' "$(compose ps --all --quiet api)")
box=$(docker create --network none "$image")
docker export "$box" | tar -tf - >"$files/list"
docker rm "$box" >/dev/null
for program in sh ash bash dash busybox apt-get apk dpkg rpm perl python3 curl wget nc; do
    if grep -Eq "(^|/)bin/$program\$" "$files/list"; then fail "the image has $program"; fi
done
grep -qx usr/local/bin/verdict "$files/list" || fail 'the list of files is not that of the image'
if command -v trivy >/dev/null; then
    trivy image --quiet --scanners vuln --severity CRITICAL --exit-code 1 "$image" ||
        fail 'a scanner knows a critical vulnerability'
elif command -v grype >/dev/null; then
    grype --quiet --fail-on critical "$image" || fail 'a scanner knows a critical vulnerability'
else
    echo 'skipped: there is neither trivy nor grype, so packages of the base image are not looked up' >&2
fi

echo '== the image carries the book'
served=$(curl -fsS "$api/docs/book/tutorial.html") || fail 'the book is not served'
case $served in *'<title>'*) ;; *) fail 'the tutorial is no page' ;; esac

echo '== keys and callbacks'
scopes=decisions:read,images:read,erasures:write,verifications:write,webhooks:write
key=$(verdict keys create --name check --scopes "$scopes" --json |
    sed -n 's/.*"key":"\([^"]*\)".*/\1/p')
[ -n "$key" ] || fail 'keys create showed no key'
refused=$(curl -sS -o /dev/null -w '%{http_code}' -X POST -H 'content-type: application/json' \
    -d '{"biz_type":"check","biz_id":"pass"}' "$api/v1/callbacks/app")
[ "$refused" = 401 ] || fail "an unsigned callback got $refused, not 401"

verification() {
    curl -sS -G -H "authorization: Bearer $key" --data-urlencode biz_type=check \
        --data-urlencode "biz_id=$1" "$api/v1/verifications"
}
post() { verdict callback send --biz-type check --biz-id "$1" >/dev/null || fail "posting $1"; }
# is BIZ_ID PATTERN
is() { verification "$1" | grep -q "$2"; }
ends() { until_true 60 "$1 shows $2" is "$1" "$2"; }

# posted PATH BODY: the answer of the API.
posted() {
    curl -sS -H "authorization: Bearer $key" -H 'content-type: application/json' \
        -H 'verdict-purpose: check' -d "$2" "$api/v1/$1"
}
endpoint=$(posted webhook-endpoints '{"url":"http://receiver:8000/hook"}')
case $endpoint in *'"status":"active"'*) ;; *) fail "the endpoint is not added: $endpoint" ;; esac

post pass_1
# By curl from this machine, as the app's backend would: the same signature.
signed=$(verdict callback send --to "$api" --biz-type check --biz-id pass_2 --curl)
accepted=$(sh -c "$signed -o /dev/null -w '%{http_code}'")
[ "$accepted" = 202 ] || fail "a signed callback by curl got $accepted, not 202"
post status-7
post review
post throttled-2-then-pass
post expired

echo '== decisions'
ends pass_1 '"outcome":"approve"'
# The simulated provider's answers are marked as such.
is pass_1 '"simulated":true' || fail 'a simulated decision does not say so'
ends pass_2 '"outcome":"approve"'
ends status-7 '"outcome":"reject"'
ends throttled-2-then-pass '"outcome":"approve"'
ends expired '"state":"expired"'

echo '== face-verify is started by the API and decided by the worker'
scene=1000000006 order=pass97ucheck
started=$(posted verifications '{
    "product": "face-verify", "biz_type": "'$scene'", "biz_id": "'$order'",
    "product_code": "ID_PRO", "cert_type": "IDENTITY_CARD",
    "cert_name": "测试甲", "cert_no": "110101190001011009",
    "meta_info": "{\"deviceType\":\"android\"}" }')
case $started in *'"certify_id":"'*) ;; *) fail 'face-verify is not started' ;; esac
verdict callback send --product face-verify --biz-type "$scene" --biz-id "$order" >/dev/null ||
    fail 'posting the callback of face-verify'
approved() {
    curl -sS -G -H "authorization: Bearer $key" --data-urlencode "biz_type=$scene" \
        --data-urlencode "biz_id=$order" "$api/v1/verifications" | grep -q '"outcome":"approve"'
}
until_true 60 'face-verify is approved' approved

echo '== every decision arrives at the receiver'
received() { compose logs --no-color --no-log-prefix receiver | grep -q "\"biz_id\":\"$1\""; }
for biz_id in pass_1 status-7 expired "$order"; do
    until_true 30 "the event of $biz_id arrives" received "$biz_id"
done

echo '== the face is kept, shown, and forgotten'
id=$(verification pass_1 | sed 's/.*"items":\[{"id":"\([^"]*\)".*/\1/')
of_the_person() { # METHOD PATH: the status
    curl -sS -o /dev/null -w '%{http_code}' -X "$1" -H "authorization: Bearer $key" \
        -H 'verdict-purpose: check' "$api/v1/verifications/$id/$2"
}
face_is() { [ "$(of_the_person GET images/face)" = "$1" ]; }
until_true 30 'the face is shown' face_is 200
[ "$(of_the_person DELETE material)" = 202 ] || fail 'the person is not forgotten'
face_is 410 || fail 'the face of somebody forgotten is not gone'

echo '== the worker is killed in the middle'
for n in 1 2 3 4 5; do post "slow-1000-pass_$n"; done
compose kill --signal KILL worker >/dev/null 2>&1
compose start worker >/dev/null 2>&1
for n in 1 2 3 4 5; do ends "slow-1000-pass_$n" '"outcome":"approve"'; done

echo '== the database is restarted'
compose restart postgres >/dev/null 2>&1
until_true 60 'the API is ready again' is_ready
post pass_3
ends pass_3 '"outcome":"approve"'

echo '== logs'
logs=$(compose logs --no-color 2>&1)
secret=$(compose run --rm --no-deps webhook-secret 2>/dev/null | tr -d '\r\n')
[ -n "$secret" ] || fail 'the webhook secret cannot be shown'
for hidden in "$key" "${secret#whsec_}" 测试 110101190001011009; do
    case $logs in *"$hidden"*) fail 'the logs hold a secret or a name' ;; esac
done
# An invented identity number: eighteen places, no place after a point.
if printf '%s' "$logs" | grep -Eq '(^|[^0-9.])000000[0-9]{11}[0-9X]'; then
    fail 'the logs hold an identity number'
fi

started=$(date +%s)
compose stop worker api >/dev/null 2>&1
echo "== stopped within $(($(date +%s) - started)) seconds; everything is as it should be"
