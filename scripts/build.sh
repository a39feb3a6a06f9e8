#!/bin/sh
# Builds target/debug/verdict for the checks. The examples are built with it: so cargo takes the features
# that the tests were built with, and compiles nothing a second time.
#
#   scripts/build.sh [--features book]
set -eu
cd "$(dirname "$0")/.."
exec cargo build --quiet --locked --bin verdict --examples "$@"
