#!/bin/sh
# Makes the random secrets docker-compose.yml needs, once: what exists is kept.
set -eu
umask 077
cd "$(dirname "$0")/.."
folder=.verdict/compose
mkdir -p "$folder"

random_base64() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }

# keep NAME: writes standard input to the secret NAME unless there is one.
# Readable for all: the containers' accounts are not ours. The folder keeps other users out.
keep() {
    if [ -s "$folder/$1" ]; then cat >/dev/null; return; fi
    cat >"$folder/$1.new"
    chmod 644 "$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1"
    echo "made $folder/$1"
}

random_base64 | tr '+/' '-_' | tr -d '=' | keep postgres-password
printf 'postgres://verdict:%s@postgres:5432/verdict' "$(cat "$folder/postgres-password")" |
    keep database-url
printf 'whsec_%s' "$(random_base64)" | keep webhook-secrets
random_base64 | keep vault-key

# Tells docker compose where they are.
if ! grep -qs '^VERDICT_SECRETS=' .env; then
    echo "VERDICT_SECRETS=./$folder" >>.env
fi
