#!/bin/sh
# Runs a command without the variables of libpq, which sqlx and Postgres' programs read: what a
# person has set for a Postgres of theirs must not reach the private ones of the tests and of ./demo.
# Cargo starts every program and test through it (.cargo/config.toml).
#
#   scripts/without-libpq.sh COMMAND…
set -eu
for name in $(env | sed -n 's/^\(PG[A-Z][A-Za-z0-9_]*\)=.*/\1/p'); do
    unset "$name"
done
exec "$@"
