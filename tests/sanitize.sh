#!/usr/bin/env bash
# Builds the compiled core with AddressSanitizer and UndefinedBehaviorSanitizer into a temporary
# folder, and runs its tests there: one byte read or written too far, a signed overflow or a
# misaligned access ends the run with a stack trace.
#
#     tests/sanitize.sh [PYTEST ARGUMENT ...]          by default: the tests of src/_core/*.pyx
#     CC=clang tests/sanitize.sh                       with another compiler than gcc
#
# tests/test_md5.py is not among them: it builds md5.c with the sanitizers itself.
#
# Needs the packages of `pip install '.[dev]'` (PYTHON names the interpreter that has them; python by
# default) and the compiler's libasan. Nothing of the checkout or of the environment is changed.
# Leaks are not looked for: the interpreter itself leaves memory to the end of the process. Memory goes
# through malloc, not Python's arenas, so that each object has its own bounds.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python}
export CC=${CC:-gcc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -U_FORTIFY_SOURCE"
library() { # a sanitizer's run-time library, by its full path
    local path
    path=$("$CC" -print-file-name="$1")
    [[ $path == /* ]] && echo "$path"
}
if [[ $CC == *clang* ]]; then
    # One library has both sanitizers in it. Cython's own code adds 0 to null pointers, which only clang minds.
    flags+=" -shared-libsan -fno-sanitize=pointer-overflow"
    preload=$(library "libclang_rt.asan-$(uname -m).so")
else
    preload="$(library libasan.so) $(library libubsan.so)"
fi

"$python" -m pip install --quiet --no-build-isolation --no-deps --target "$work/site" . \
    -C build-dir="$work/build" -C cmake.build-type=Debug -C "cmake.define.CMAKE_C_FLAGS=$flags"

if [[ $# -eq 0 ]]; then
    set -- -q
    for module in src/_core/*.pyx src/_core/errors.py; do
        test=tests/test_$(basename "${module%.*}").py
        [[ -e $test ]] && set -- "$@" "$test"
    done
fi
export PYTHONPATH="$work/site" PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1
export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1:allocator_may_return_null=1"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
where=$("$python" -P -c 'import importlib.util as u; print(u.find_spec("auth_diameter").origin)')
[[ $where == "$work"/* ]] || { echo "tests would run against $where"; exit 1; }
LD_PRELOAD="$preload" "$python" -P -m pytest -p no:cacheprovider -p no:benchmark -o addopts= --import-mode=importlib "$@"
