#!/bin/sh
# Do the examples work? Starts the demo, runs every example whose tools are here or can be
# installed, and compares what they print: an approval, a rejection, a verification without a
# decision, a wrong secret, one behind a proxy that loses answers, and two starts of face-verify, one
# of them behind that proxy. Receivers of events get the deliveries of scripts/receiver-check.py,
# without the demo.
#
#   scripts/examples-check.sh [--installed] [LANGUAGE…]
#
# With --installed, as ./check calls it, no tools are installed: languages that are not here are skipped.
# All files go below target/examples-check. A language without its tools is skipped and reported.
set -eu
cd "$(dirname "$0")/.."
may_install=yes
if [ "${1:-}" = --installed ]; then
    may_install=
    shift
fi
[ $# -gt 0 ] || set -- curl python node php go java dotnet rust
for language in "$@"; do
    [ -d "examples/$language" ] && continue
    echo "error: there is no example for $language" >&2
    exit 2
done
scripts/prepare.sh
target=${CARGO_TARGET_DIR:-target}
room=$target/examples-check
mkdir -p "$room"
room=$(cd "$room" && pwd)
# The programs obey proxies; a demo on this machine is not behind one.
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
passed=0 failed=0 skipped=0
started=

clean_up() {
    for process in $started; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# --- Tools ---

has() { command -v "$1" >/dev/null 2>&1; }

# tool COMMAND PACKAGE: it is there, or could be installed.
tool() {
    has "$1" && return
    missing=$1
    if [ -z "$2" ] || [ -z "$may_install" ] || ! has apt-get; then return 1; fi
    if [ "$(id -u)" -eq 0 ]; then root=; else root='sudo -n'; fi
    # shellcheck disable=SC2086 # nothing, for root
    $root apt-get -q update && $root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends "$2" && has "$1"
}

# Has what an example needs; `missing` says what it lacks.
equip() {
    case $1 in
        curl) tool curl curl && tool openssl openssl && tool jq jq ;;
        rust) ;;
        python)
            missing='venv or a package of requirements.txt'
            "$room/venv/bin/python" -m pip --version >/dev/null 2>&1 || python3 -m venv "$room/venv"
            "$room/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
                -r examples/python/requirements.txt
            ;;
        node)
            tool node nodejs && tool npm npm || return 1
            missing='a package of package.json'
            # Node looks for packages beside the program.
            mkdir -p "$room/node"
            cp examples/node/package.json examples/node/*.mjs "$room/node"
            (cd "$room/node" && npm install --no-audit --no-fund --silent)
            ;;
        php) tool php php-cli ;;
        go) tool go golang-go ;;
        java) tool javac default-jdk-headless ;;
        dotnet) tool dotnet '' ;;
    esac
}

build() {
    case $1 in
        rust) cargo build --quiet --locked --example rust --example receive ;;
        go)
            (cd examples/go && export GOCACHE="$room/go-cache" GOTOOLCHAIN=local &&
                go build -o "$room/go" . && go build -o "$room/go-receive" ./receive)
            ;;
        dotnet)
            dotnet build examples/dotnet --artifacts-path "$room/dotnet" &&
                dotnet build examples/dotnet/Receive --artifacts-path "$room/dotnet"
            ;;
    esac
}

# run LANGUAGE BIZ_TYPE BIZ_ID [--start]
run() {
    language_to_run=$1
    shift
    case $language_to_run in
        curl) examples/curl/verify.sh "$@" ;;
        rust) "$target/debug/examples/rust" "$@" ;;
        python) "$room/venv/bin/python" examples/python/verify.py "$@" ;;
        node) node "$room/node/verify.mjs" "$@" ;;
        php) php examples/php/verify.php "$@" ;;
        go) "$room/go" "$@" ;;
        java) java examples/java/Verify.java "$@" ;;
        dotnet) dotnet "$room/dotnet/bin/Verify/debug/Verify.dll" "$@" ;;
    esac
}

# receive LANGUAGE: the deliveries of the check, to its receiver.
receive() {
    case $1 in
        rust) set -- "$1" "$target/debug/examples/receive" ;;
        python) set -- "$1" "$room/venv/bin/python" examples/python/receive.py ;;
        node) set -- "$1" node "$room/node/receive.mjs" ;;
        php) set -- "$1" php -S '127.0.0.1:{port}' examples/php/receive.php ;;
        go) set -- "$1" "$room/go-receive" ;;
        java) set -- "$1" java examples/java/Receive.java ;;
        dotnet) set -- "$1" dotnet "$room/dotnet/bin/Receive/debug/Receive.dll" ;;
    esac
    folder=$room/received-$1
    shift
    python3 scripts/receiver-check.py "$folder" "$@"
}

# --- The demo and the proxy ---

# told FILE PATTERN PROCESS: waits until the file has it; the part in \(\) is printed.
told() {
    for _ in $(seq 600); do
        found=$(sed -n "s|.*$2.*|\1|p" "$1" | head -1)
        [ -n "$found" ] && echo "$found" && return
        kill -0 "$3" 2>/dev/null || break
        sleep 0.1
    done
    echo "error: it did not start:" >&2
    cat "$1" >&2
    exit 1
}

scripts/build.sh
"$target/debug/verdict" demo --folder "$room/demo" >"$room/demo.log" 2>&1 &
demo=$!
started=$demo
told "$room/demo.log" '\(It stays up\)' "$demo" >/dev/null
VERDICT_URL=$(told "$room/demo.log" 'verdict on \(http://[^,]*\),' "$demo")
VERDICT_API_KEY=$(told "$room/demo.log" 'export VERDICT_API_KEY=\(.*\)' "$demo")
VERDICT_SECRET=$(sed -n 's/^secrets = \["\(.*\)"\]/\1/p' "$room/demo/verdict.toml")
export VERDICT_URL VERDICT_API_KEY VERDICT_SECRET
unset VERDICT_SOURCE

tool python3 python3 >"$room/out" 2>&1 || { echo 'error: python3 is missing' >&2 && exit 1; }
python3 scripts/faulty-proxy.py "$VERDICT_URL" >"$room/proxy.log" 2>&1 &
proxy=$!
started="$proxy $started"
faulty=$(told "$room/proxy.log" '\(http://.*\)' "$proxy")

# --- The cases ---

# check LANGUAGE WHAT EXPECTED_CODE EXPECTED_LINE BIZ_ID [BIZ_TYPE --start]
check() {
    code=0
    run "$1" "${6:-demo}" "$5" ${7:+"$7"} >"$room/out" 2>"$room/err" || code=$?
    # A refusal goes to standard error, and nothing goes to standard output.
    if [ "$3" = 0 ]; then said=$room/out quiet=$room/err; else said=$room/err quiet=$room/out; fi
    if [ $((code != 0)) = "$3" ] && [ ! -s "$quiet" ] && [ "$(wc -l <"$said")" -eq 1 ] &&
        grep -q -- "$4\$" "$said"; then
        passed=$((passed + 1))
        printf 'ok      %-8s%-22s%s\n' "$1" "$2" "$(cat "$said")"
    else
        failed=$((failed + 1))
        printf 'FAILED  %-8s%-22sexpected "%s"; exit code %s:\n' "$1" "$2" "$4" "$code"
        cat "$room/out" "$room/err"
    fi
}

# check_receiver LANGUAGE
check_receiver() {
    if receive "$1" >"$room/out" 2>&1; then
        passed=$((passed + 1))
        printf 'ok      %-8s%-22s%s\n' "$1" receiver "$(cat "$room/out")"
    else
        failed=$((failed + 1))
        printf 'FAILED  %-8s%s\n' "$1" receiver:
        cat "$room/out" "$room/received-$1/errors"
    fi
}

# A shell is no web server: curl's example reads the feed. Its position comes from before a restore,
# so it has to start at the first event of the epoch.
check_feed() {
    position=$room/events.position
    echo '1042 6f1c7f5e-0000-4000-8000-000000000001' >"$position"
    : >"$room/out"
    # An event is numbered a moment after its decision.
    for _ in $(seq 50); do
        VERDICT_EVENTS=$position VERDICT_WAIT=0 examples/curl/feed.sh >>"$room/out" 2>"$room/err" ||
            break
        grep -q ' verification.decided pass-95-curl ' "$room/out" && break
        sleep 0.1
    done
    read -r head _ <"$position"
    if grep -q ' verification.decided pass-95-curl ' "$room/out" &&
        [ "$(cut -d' ' -f1 "$room/out")" = "$(seq "$head")" ]; then
        passed=$((passed + 1))
        printf 'ok      %-8s%-22s%s events\n' curl feed "$head"
    else
        failed=$((failed + 1))
        echo 'FAILED  curl    feed: expected all events since 1, that of pass-95-curl among them:'
        cat "$room/out" "$room/err"
    fi
}

# Of an invented person, for the starts.
CERT_NAME=测试乙 CERT_NO=110101190001011009 META_INFO='{"deviceType":"h5"}'
export CERT_NAME CERT_NO META_INFO
scene=1000000006
approved='^decided approve provider-passed'
started_approved='^decided approve face-passed'
wrong="whsec_$(printf 'another secret of enough bytes..' | base64)"
for language in "$@"; do
    if ! equip "$language" >"$room/out" 2>&1; then
        skipped=$((skipped + 8))
        echo "skipped: $language: $missing is missing"
        cat "$room/out"
        continue
    fi
    if ! build "$language" >"$room/out" 2>&1; then
        failed=$((failed + 8))
        echo "FAILED  $language: it does not build"
        cat "$room/out"
        continue
    fi
    # An identifier may hold what JSON and URLs have to escape.
    check "$language" approve 0 "$approved" "pass-97_\"&+<%$language"
    check "$language" reject 0 '^decided reject face-differs-from-authority' "status-7-$language"
    check "$language" 'no decision' 0 '^failed - -' "invalidbiz-$language"
    right=$VERDICT_SECRET VERDICT_SECRET=$wrong
    check "$language" 'wrong secret' 1 'Verdict refused: 401 signature-invalid' "pass-96-$language"
    VERDICT_SECRET=$right
    direct=$VERDICT_URL VERDICT_URL=$faulty
    check "$language" 'lost answers' 0 "$approved" "pass-95-$language"
    # An order number has only letters and digits; what it begins with scripts the simulated provider.
    check "$language" 'start, lost answers' 0 "$started_approved" "pass94u$language" "$scene" --start
    VERDICT_URL=$direct
    check "$language" 'start refused' 1 'Verdict refused: 422 provider-refused' "init417u$language" \
        "$scene" --start
    if [ "$language" = curl ]; then check_feed; else check_receiver "$language"; fi
done

if grep -q -e "$CERT_NAME" -e "$CERT_NO" "$room/demo.log" "$room/demo/verdict.log"; then
    failed=$((failed + 1))
    echo 'FAILED  a log of the demo names the person of a start'
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
