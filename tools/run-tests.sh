#!/bin/sh
# Builds what the chosen tests of a build folder need, runs them and adds up what they counted. Each test program ends with
# "N passed, N failed, N skipped"; one that ends without it counts as one failure.
set -u
build=$1
shift
log=$build/meson-logs/testlog.txt
meson test -C "$build" "$@" || true
[ -f "$log" ] || { echo "no test log: $log"; echo "0 passed, 1 failed"; exit 1; }
grep -E '^SKIP |^FAIL |failed: ' "$log"
awk '
    /^=+ [0-9]+\/[0-9]+ =+$/ { if (open) broken++; open = 1 }
    /^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { p += $1; f += $3; s += $5; open = 0 }
    END {
        f += broken + open
        if (p + f == 0) f = 1
        printf "%d passed, %d failed, %d skipped\n", p, f, s
        exit f > 0
    }' "$log"
