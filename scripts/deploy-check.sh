#!/bin/sh
# Are the files below deploy/ right? Alert rules (promtool, with their tests), dashboard, Kubernetes
# manifests, and whether every metric they name is one that the program has. The exit code says it
# all.
#
#   scripts/deploy-check.sh
#
# Needs Python 3.11 or newer, and kustomize 5 or a kubectl that has it (1.27). promtool is taken
# from Debian's package where there is none; Python's packages go into target/tools. Not part of
# ./check: these needs are nobody's who changes the program only.
set -eu
cd "$(dirname "$0")/.."
tools=${CARGO_TARGET_DIR:-target}/tools
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# --- promtool: unpacked, not installed, so that no server is started ---
promtool=$(command -v promtool || true)
if [ -z "$promtool" ]; then
    promtool=$tools/prometheus/usr/bin/promtool
    if [ ! -x "$promtool" ]; then
        if ! has apt-get || ! has dpkg-deb; then
            fail 'promtool is missing: install Prometheus, or put promtool into the PATH'
        fi
        echo 'Fetching promtool, once ...' >&2
        rm -rf "$tools/prometheus"
        mkdir -p "$tools/prometheus"
        (cd "$tools/prometheus" && apt-get -qq download prometheus 2>/dev/null) ||
            fail 'promtool cannot be fetched: apt-get update, or install Prometheus'
        dpkg-deb -x "$tools"/prometheus/prometheus_*.deb "$tools/prometheus"
        rm "$tools"/prometheus/prometheus_*.deb
    fi
fi

# --- Python's packages: schemas of Kubernetes, Grafana's own types ---
packages='PyYAML==6.0.4 kubernetes-validate==1.37.0 grafana-foundation-sdk==1769699998!10.1.0'
python=$tools/deploy-check/bin/python
if [ "$(cat "$tools/deploy-check/packages" 2>/dev/null)" != "$packages" ]; then
    echo 'Installing Python packages, once ...' >&2
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail 'Python 3.11 or newer is missing'
    rm -rf "$tools/deploy-check"
    python3 -m venv "$tools/deploy-check"
    # shellcheck disable=SC2086 # a list
    "$python" -m pip install --quiet --disable-pip-version-check $packages
    printf %s "$packages" >"$tools/deploy-check/packages"
fi

# --- kustomize ---
if has kustomize; then
    kustomize='kustomize build'
elif has kubectl; then
    kustomize='kubectl kustomize'
else
    fail 'kustomize is missing: install it, or kubectl 1.27 or newer'
fi
manifests=$(mktemp -d)
trap 'rm -rf "$manifests"' EXIT
for what in base overlays/example; do
    $kustomize "deploy/kubernetes/$what" >"$manifests/$(basename "$what").yaml"
done

# All checks run, even after one has failed.
failed=0
echo '== rules'
"$promtool" check config deploy/prometheus/prometheus.yml || failed=1
"$promtool" test rules deploy/prometheus/rules_test.yml || failed=1
"$python" scripts/deploy-check.py "$promtool" "$manifests" || failed=1
exit $failed
