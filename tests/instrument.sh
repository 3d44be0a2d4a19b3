# Builds the compiled core for sanitizers and fuzzers. To be read by other scripts, from the root of the project:
#
#     . tests/instrument.sh KIND
#
#     address     AddressSanitizer, UndefinedBehaviorSanitizer and what libFuzzer looks at, by clang
#     thread      ThreadSanitizer, by gcc
#     coverage    what libFuzzer looks at alone, by clang
#
# It sets `CC`; `flags`, those of the compiler; and `site`, the folder to import the package from, in build/KIND or
# INSTRUMENTED/KIND. Only what changed is compiled again. Needs the packages of `pip install '.[dev]'`: PYTHON
# (python by default) names the interpreter that has them, and `run` may have words to be put in front of it.

# Cython's own code adds 0 to null pointers, which pointer-overflow would mind.
_sanitizers="address,undefined -fno-sanitize=pointer-overflow -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
_allowlist=-fsanitize-coverage-allowlist=$PWD/fuzz/coverage.txt
_level="-O1 -g1"
case $1 in
address)
    CC=clang
    flags="-fsanitize=fuzzer-no-link,$_sanitizers $_allowlist"
    ;;
thread)
    CC=gcc
    flags="-fsanitize=thread -fno-omit-frame-pointer"
    ;;
coverage)
    CC=clang
    # Edges alone: comparisons are for the other kind to learn from.
    flags="-fsanitize-coverage=inline-8bit-counters,pc-table $_allowlist"
    _level="-O2 -g1"
    ;;
*)
    echo "tests/instrument.sh: $1 is none of address, thread, coverage" >&2
    exit 2
    ;;
esac
export CC
site=${INSTRUMENTED:-build}/$1
mkdir -p "$site"
site=$(cd "$site" && pwd)
# The interpreter itself may be one with ThreadSanitizer: nobody asks here what it finds in pip.
TSAN_OPTIONS=report_bugs=0 ${run[@]+"${run[@]}"} "${PYTHON:-python}" -m pip install --quiet --disable-pip-version-check \
    --no-build-isolation --no-deps --upgrade --target "$site" . -C build-dir="$site-build" -C cmake.build-type=Debug \
    -C "cmake.define.CMAKE_C_FLAGS=$flags" -C "cmake.define.CMAKE_C_FLAGS_DEBUG=$_level"
