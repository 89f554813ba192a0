#!/bin/sh
# Makes sure that what `make` needs is installed, and installs it with apt where it is not.
#
# usage: tools/ensure_packages.sh build|test|lint|bench...
#
# Each line of the table below is: the set it belongs to, Debian's package, and how its presence is seen
# without asking dpkg, so that a tool which came by another way counts too:
#   command:NAME    a program on the PATH          pkgconfig:NAME   a library that pkg-config knows
#   python:NAME     a module of /usr/bin/python3   file:GLOB        a file
# What is missing is named before anything is installed. Without apt-get the names are printed and the
# script fails: they are the list of what to install by hand.
set -eu

table='
build gcc              command:cc
build make             command:make
build pkg-config       command:pkg-config
build libc6-dev        file:/usr/include/stdio.h
build libjemalloc-dev  pkgconfig:jemalloc
build libxxhash-dev    pkgconfig:libxxhash
build liburing-dev     pkgconfig:liburing
build liblzf-dev       pkgconfig:liblzf
build liblua5.1-0-dev  pkgconfig:lua5.1
build lua-bitop-dev    pkgconfig:lua5.1-bitop
build libssl-dev       pkgconfig:libcrypto
test  python3          file:/usr/bin/python3
test  python3-redis    python:redis
test  redis-server     file:/usr/bin/redis-server
test  redis-tools      command:redis-cli
test  nodejs           command:node
test  npm              command:npm
test  ca-certificates  file:/etc/ssl/certs/ca-certificates.crt
lint  python3          file:/usr/bin/python3
lint  clang-14         command:clang-14
lint  clang-format-14  command:clang-format-14
lint  clang-tidy-14    command:clang-tidy-14
lint  lld-14           command:ld.lld-14
lint  llvm-14          command:llvm-ar-14
lint  libclang-rt-14-dev file:/usr/lib/llvm-14/lib/clang/14*/lib/linux/libclang_rt.fuzzer-*.a
bench redis-tools      command:redis-benchmark
bench python3          file:/usr/bin/python3
bench python3-matplotlib python:matplotlib
'

present() {
    case $1 in
    command:*) command -v "${1#command:}" >/dev/null 2>&1 ;;
    pkgconfig:*) pkg-config --exists "${1#pkgconfig:}" >/dev/null 2>&1 ;;
    python:*) /usr/bin/python3 -c "import ${1#python:}" >/dev/null 2>&1 ;;
    file:*) ls ${1#file:} >/dev/null 2>&1 ;;
    esac
}

missing_of() {
    echo "$table" | while read -r set package probe; do
        for wanted in "$@"; do
            if [ "$set" = "$wanted" ] && ! present "$probe"; then
                echo "$package"
            fi
        done
    done | sort -u | tr '\n' ' '
}

missing=$(missing_of "$@")
[ -n "$missing" ] || exit 0

echo "Missing packages: $missing"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "This system has no apt-get. Install what corresponds to these Debian packages, then run make again:" >&2
    for package in $missing; do echo "    $package" >&2; done
    exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Not root, and there is no sudo. As root, run: apt-get install $missing" >&2
        exit 1
    fi
    as_root=sudo
fi

install() {
    # shellcheck disable=SC2086 # one word per package
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing </dev/null
}

echo "Installing them with apt-get ${as_root:+(through sudo)}"
lists_present() {
    ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1
}
fresh=no
if ! lists_present; then
    $as_root apt-get update -q
    fresh=yes
fi
if ! install; then
    # Lists that are present may still be too old to name versions that the mirror has.
    [ "$fresh" = no ] || exit 1
    $as_root apt-get update -q
    install
fi
missing=$(missing_of "$@")
if [ -n "$missing" ]; then
    echo "Installed, but these are still not found: $missing" >&2
    exit 1
fi
