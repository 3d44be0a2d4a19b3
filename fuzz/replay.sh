#!/usr/bin/env bash
# Feeds every seed, every test vector and all of ../shared/data to every target, without a fuzzer.
#
#     fuzz/replay.sh              each input and its prefixes, between unreadable pages (see replay.c)
#     fuzz/replay.sh valgrind     each input whole, under memcheck; what fuzz/run.sh has found as well
#
# The first ends at a byte read or written too far, the second at one that was never written, too. Needs cc, and
# PYTHON (python by default) with the package installed and cython.
set -euo pipefail
cd "$(dirname "$0")/.."

how=${1:-pages}
python=${PYTHON:-python}
fuzz/build.sh replay
cache=${FUZZ_CACHE:-build/fuzz}
targets=$(sed -n 's/^    "\(.*\)": <uintptr_t>.*/\1/p' fuzz/targets/*.pyx)
for target in $targets; do
    "$python" fuzz/seeds.py "$target" "$cache/seeds/$target"
done
inputs=("$cache/seeds" tests/vectors)
[[ -d ../shared/data ]] && inputs+=(../shared/data)

case $how in
pages)
    "$cache/replay/replay" "$(paste -sd, <<<"$targets")" "${inputs[@]}"
    ;;
valgrind)
    [[ -d $cache/corpus ]] && inputs+=("$cache/corpus")
    valgrind --quiet --error-exitcode=9 "$cache/replay/replay" -w "$(paste -sd, <<<"$targets")" "${inputs[@]}"
    ;;
*)
    echo "usage: fuzz/replay.sh [valgrind]" >&2
    exit 2
    ;;
esac
