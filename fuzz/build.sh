#!/usr/bin/env bash
# Builds the targets and a program that calls them. Only what changed of the core is compiled again.
#
#     fuzz/build.sh asan       libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer, a program for each target
#     fuzz/build.sh fast       libFuzzer alone
#     fuzz/build.sh replay     no fuzzer and no sanitizer: `replay` (see replay.c), over the installed package as it is
#
# All of it goes to build/fuzz/KIND, or to FUZZ_CACHE/KIND; tests/instrument.sh builds the core for the first two. Needs
# clang for these and cc for the last, and PYTHON (python by default) with the packages of `pip install '.[dev]'`.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-}
python=${PYTHON:-python}
out=${FUZZ_CACHE:-build/fuzz}/$kind
main=libfuzzer
case $kind in
asan) . tests/instrument.sh address ;;
fast) . tests/instrument.sh coverage ;;
replay)
    flags="" site=""
    main=replay
    ;;
*)
    echo "usage: fuzz/build.sh asan|fast|replay" >&2
    exit 2
    ;;
esac
mkdir -p "$out/cimport/auth_diameter"
out=$(cd "$out" && pwd)

# Cython looks for `auth_diameter._core.x` in a folder tree of that name.
touch "$out/cimport/auth_diameter/__init__.pxd"
ln -sfn "$PWD/src/_core" "$out/cimport/auth_diameter/_core"

read -r executable include library version < <("$python" -c 'import sys, sysconfig as s
print(sys.executable, s.get_path("include"), s.get_config_var("LIBDIR"), s.get_python_version())')
# shellcheck disable=SC2206 # flags are words
compile=("${CC:-cc}" $flags -O2 -g1 -Wall -Wextra "-I$include")
rm -rf "$out/targets" && mkdir "$out/targets" && cp fuzz/targets/__init__.py "$out/targets"
build_targets() { # SOURCE: compiles those of one file
    local made
    made=$out/targets/$(basename "$1" .pyx)
    "$python" -m cython -3 -X cdivision=True -I "$out/cimport" -I fuzz -o "$made.c" "$1"
    "${compile[@]}" -Isrc/_core -fPIC -shared -o "$made.so" "$made.c"
}
jobs=()
for source in fuzz/targets/*.pyx; do
    build_targets "$source" &
    jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
[[ $main == libfuzzer ]] && compile+=(-fsanitize=fuzzer)
"${compile[@]}" "-DPYTHON=\"$executable\"" "-DMODULES=\"$out${site:+:$site}\"" "-DSITE=$((${#site} == 0))" \
    -rdynamic -o "$out/$main" "fuzz/$main.c" fuzz/harness.c "-L$library" "-Wl,-rpath,$library" "-lpython$version"

if [[ $main == libfuzzer ]]; then
    sed -n 's/^    "\(.*\)": <uintptr_t>.*/\1/p' fuzz/targets/*.pyx | while read -r target; do
        ln -sf libfuzzer "$out/$target"
    done
fi
