#!/bin/sh
# Builds pgvector for the tests: build-pgvector.sh DIR makes DIR a PostgreSQL installation of its own,
# this machine's server with the extension added; packages and apt's lists stay as they are.
#
# Debian 12 has no package of pgvector; the source package of the release after it compiles with plain
# gcc. Its version is old (0.8.0): for tests only. Exit status 77: not possible here; says why.
set -eu
release=${PGVECTOR_RELEASE:-trixie}
[ $# = 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
[ ! -f "$1/ready" ] || exit 0
skip() { echo "pgvector: $1"; exit 77; }
command -v apt-get >/dev/null && command -v dpkg-source >/dev/null || skip "no apt-get and dpkg-dev"
pg_config=$(ls -d /usr/lib/postgresql/*/bin/pg_config 2>/dev/null | sort -V | tail -n 1)
[ -n "$pg_config" ] && [ -f "$("$pg_config" --pgxs)" ] || skip "no postgresql-server-dev"
bin=$("$pg_config" --bindir) library=$("$pg_config" --pkglibdir) share=$("$pg_config" --sharedir)
[ -x "$bin/postgres" ] || skip "no PostgreSQL server"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keyring" ] || skip "no debian-archive-keyring"
# The mirror is the one that this machine's apt takes Debian's packages from.
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
[ -n "$mirror" ] || skip "apt knows no list of Debian packages: run apt-get update"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$1" "$work/lists/partial" "$work/cache/archives/partial"
dir=$(cd "$1" && pwd)
echo "deb-src [signed-by=$keyring] $mirror $release main" >"$work/sources.list"
private_apt() {
    apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root \
        -o Acquire::Retries=2 -o Acquire::Languages=none "$@"
}
(cd "$work" && private_apt update && private_apt source pgvector) >"$work/log" 2>&1 ||
    skip "the source package cannot be had: $(grep -E '^[EW]:' "$work/log" | head -n 1)"

# OPTFLAGS empty: no -march=native, so that the folder may be kept for another machine.
(cd "$work"/pgvector-*/ &&
    for target in all install; do
        make -j2 PG_CONFIG="$pg_config" OPTFLAGS= with_llvm=no DESTDIR="$dir" $target || exit 1
    done) >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }

# PostgreSQL finds its files relative to its program: programs are copied, all else are links.
mkdir -p "$dir$bin"
cp "$bin/postgres" "$bin/initdb" "$bin/pg_ctl" "$dir$bin/"
cp -rsn "$library/." "$dir$library/"
cp -rsn "$share/." "$dir$share/"
echo "$bin" >"$dir/ready"
