#!/bin/sh
# Builds every guest here to wasm32-wasi with a pinned compiler (PyPI ziglang, in a virtual
# environment of its own below target/), and prints their sizes. With --check it builds
# elsewhere and says whether the committed files are what the sources give.
#
#   guests/build.sh [--check] [NAME...]
set -eu
cd "$(dirname "$0")"

version=0.17.1
venv=../target/guests-venv-$version
check=
[ "${1:-}" = --check ] && { check=yes; shift; }

if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import ziglang' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet "ziglang==$version"
fi

out=.
if [ -n "$check" ]; then
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
fi

[ $# -gt 0 ] || set -- $(ls ./*.c | sed 's|^\./||; s|\.c$||')
status=0
for name in "$@"; do
    # The path of the source isn't in the result: it is stripped.
    "$venv/bin/python" -m ziglang cc -target wasm32-wasi -O2 -s -Wall -Wextra \
        -Wno-unused-parameter -Wno-infinite-recursion -o "$out/$name.wasm" "$name.c"
    chmod 644 "$out/$name.wasm"
    if [ -z "$check" ]; then
        echo "$name.wasm $(wc -c <"$name.wasm")"
    elif cmp -s "$name.wasm" "$out/$name.wasm"; then
        echo "$name.wasm same"
    else
        echo "$name.wasm differs: run guests/build.sh $name" >&2
        status=1
    fi
done
exit $status
