#!/usr/bin/env bash
# Builds the targets and a program that calls them. Only what changed of the core is compiled again.
#
#     fuzz/build.sh asan       libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer, a program for each target
#     fuzz/build.sh fast       libFuzzer alone
#     fuzz/build.sh replay     no fuzzer and no sanitizer: `replay` (see replay.c), over the installed package as it is
#
# All of it goes to build/fuzz/KIND, or to FUZZ_CACHE/KIND. Needs clang for the first two and cc for the last, and
# PYTHON (python by default) with cython; with cython-cmake and scikit-build-core for the first two, and with the
# package installed for the last.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-}
python=${PYTHON:-python}
main=libfuzzer
allowlist=-fsanitize-coverage-allowlist=$PWD/fuzz/coverage.txt
case $kind in
asan)
    # Cython's own code adds 0 to null pointers, which pointer-overflow would mind.
    flags="-fsanitize=fuzzer-no-link,address,undefined $allowlist -fno-omit-frame-pointer"
    flags+=" -fno-sanitize=pointer-overflow -fno-sanitize-recover=undefined"
    ;;
fast)
    # Edges alone: comparisons are for the other kind to learn from.
    flags="-fsanitize-coverage=inline-8bit-counters,pc-table $allowlist"
    ;;
replay)
    flags=""
    main=replay
    ;;
*)
    echo "usage: fuzz/build.sh asan|fast|replay" >&2
    exit 2
    ;;
esac

out=${FUZZ_CACHE:-build/fuzz}/$kind
mkdir -p "$out/cimport/auth_diameter"
out=$(cd "$out" && pwd)
modules=$out
site=1
if [[ $main == libfuzzer ]]; then
    export CC=${CC:-clang}
    "$python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --upgrade \
        --target "$out/site" . -C build-dir="$out/core" -C cmake.build-type=Debug \
        -C "cmake.define.CMAKE_C_FLAGS=$flags" -C "cmake.define.CMAKE_C_FLAGS_DEBUG=-O2 -g1"
    modules+=:$out/site
    site=0
fi

# Cython looks for `auth_diameter._core.x` in a folder tree of that name.
touch "$out/cimport/auth_diameter/__init__.pxd"
ln -sfn "$PWD/src/_core" "$out/cimport/auth_diameter/_core"
"$python" -m cython -3 -X cdivision=True -I "$out/cimport" -o "$out/targets.c" fuzz/targets.pyx

read -r executable include library version < <("$python" -c 'import sys, sysconfig as s
print(sys.executable, s.get_path("include"), s.get_config_var("LIBDIR"), s.get_python_version())')
# shellcheck disable=SC2206 # flags are words
compile=("${CC:-cc}" $flags -O2 -g1 -Wall -Wextra "-I$include")
"${compile[@]}" -Isrc/_core -fPIC -shared -o "$out/targets.so" "$out/targets.c"
[[ $main == libfuzzer ]] && compile+=(-fsanitize=fuzzer)
"${compile[@]}" "-DPYTHON=\"$executable\"" "-DMODULES=\"$modules\"" "-DSITE=$site" \
    -rdynamic -o "$out/$main" "fuzz/$main.c" fuzz/harness.c "-L$library" "-Wl,-rpath,$library" "-lpython$version"

if [[ $main == libfuzzer ]]; then
    sed -n 's/^    "\(.*\)": <uintptr_t>.*/\1/p' fuzz/targets.pyx | while read -r target; do
        ln -sf libfuzzer "$out/$target"
    done
fi
