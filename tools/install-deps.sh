#!/bin/sh
# Installs the Debian packages that are missing. `install-deps.sh ci` adds those of the CI run.
set -eu
want="gcc libc6-dev make meson ninja-build pkg-config python3 libjpeg-dev libpng-dev libwebp-dev libexpat1-dev libsqlite3-dev libsodium-dev libpq-dev libmicrohttpd-dev libjansson-dev libdnnl-dev"
# Either flavour of libcurl does; they exclude each other.
pkg-config --exists libcurl 2>/dev/null || want="$want libcurl4-gnutls-dev"
if [ "${1:-}" = ci ]; then
    want="$want git clang clang-format libclang-rt-14-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user python3-venv groff postgresql-15 postgresql-server-dev-15 dpkg-dev strace prometheus chromium openssl python3-yaml"
fi
if [ "${1:-}" = bench ]; then want="$want python3-venv"; fi
# Headers of the python3 that builds the wheel; another one than Debian's brings its own.
if [ "${1:-}" = wheel ] && ! python3 -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'; then
    want="$want python3-dev"
fi
missing=""
for package in $want; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "installing:$missing"
if [ "$(id -u)" = 0 ]; then sudo=""; else sudo="sudo"; fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
