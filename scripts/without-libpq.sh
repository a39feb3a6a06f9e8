#!/bin/sh
# Runs a command without the environment variables of libpq. sqlx and Postgres' programs read them, so
# a variable that a person has set for another Postgres must not reach the tests and ./demo.
# Cargo starts every program and test through it (.cargo/config.toml).
#
#   scripts/without-libpq.sh COMMAND…
set -eu
for name in $(env | sed -n 's/^\(PG[A-Z][A-Za-z0-9_]*\)=.*/\1/p'); do
    unset "$name"
done
exec "$@"
