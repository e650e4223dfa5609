#!/usr/bin/env bash
# How much billable fuel the work of one native hour of a vCPU takes: the factors of
# crates/exchange/src/reference-prices.json. Each program runs natively five times (the best counts, in CPU time)
# and once under `jusha exec`, whose usage is the same everywhere.
#
#   guests/factors.sh JUSHA [PYTHON.wasm]
#
# JUSHA is the program; PYTHON.wasm is CPython as `cargo xtask guests` makes it, compared with the
# system's python3. Needs cc and python3.
set -euo pipefail
jusha=$(realpath "$1")
python=${2:+$(realpath "$2")}
guests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# native STDIN COMMAND…: the best CPU time of five, in microseconds
native() {
    local stdin=$1 best=0 took
    shift
    for _ in 1 2 3 4 5; do
        took=$({ TIMEFORMAT='%3U %3S'; time "$@" <"$stdin" >/dev/null; } 2>&1 |
            awk '{ print int(($1 + $2) * 1000000) }')
        if [ "$best" -eq 0 ] || [ "$took" -lt "$best" ]; then best=$took; fi
    done
    echo "$best"
}

# row KIND NAME STDIN MODULE NATIVE ARGUMENTS…
row() {
    local kind=$1 name=$2 stdin=$3 module=$4 program=$5 micros
    shift 5
    micros=$(native "$stdin" "$program" "$@")
    "$jusha" exec --usage usage.json "$module" -- "$@" <"$stdin" >/dev/null
    python3 - "$kind" "$name" "$micros" <<'PY'
import json, sys
kind, name, micros = sys.argv[1], sys.argv[2], int(sys.argv[3])
usage = json.load(open("usage.json"))
# The first tariff, without traffic, which native programs have as well.
billable = usage["fuel"] + usage["memory_page_fuel"] * 11 // 1638400 + usage["state_bytes"] * 4
tfuel = billable / micros * 3600e6 / 1e12
print(f"{kind:8}{name:12}{micros / 1e6:8.3f} s native{billable / 1e9:10.2f} Gfuel"
      f"{tfuel:8.2f} Tfuel per vCPU-hour")
open("factors", "a").write(f"{kind} {tfuel}\n")
PY
}

c() {
    cc -O2 -w -o "$1" "$guests/$1.c" -lm
    row C "$1" /dev/null "$guests/$1.wasm" "./$1" "${@:2}"
}
c fib 41
c mersenne 23209
c sha256 200
c nbody 5000000
c matmul 1200
c pointers 600000
c deep 16000 10000
if [ -n "$python" ]; then
    row Python factor.py "$guests/factor.py" "$python" python3 -
fi
python3 - <<'PY'
import math
kinds = {}
for line in open("factors"):
    kind, tfuel = line.split()
    kinds.setdefault(kind, []).append(float(tfuel))
for kind, values in kinds.items():
    mean = math.exp(sum(map(math.log, values)) / len(values))
    print(f"{kind}: {mean:.1f} Tfuel per vCPU-hour, geometric mean of {len(values)}"
          f" ({min(values):.1f} to {max(values):.1f})")
PY
