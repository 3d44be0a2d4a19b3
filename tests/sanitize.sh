#!/usr/bin/env bash
# Builds the compiled core with a sanitizer and runs its tests there.
#
#     tests/sanitize.sh address [PYTEST ARGUMENT ...]    AddressSanitizer and UndefinedBehaviorSanitizer: one byte read
#                                                        or written too far, a signed overflow or a misaligned access
#     tests/sanitize.sh thread [PYTEST ARGUMENT ...]     ThreadSanitizer: two threads at the same memory at once
#     PYTHON=... tests/sanitize.sh thread                without the GIL, by an interpreter that was itself built for that
#                                                        (configure --disable-gil --with-thread-sanitizer)
#
# Any of these ends the run with a stack trace. By default: `address` runs the tests of src/_core/*/*.pyx, and `thread`
# those in which threads meet in the core. tests/_core/base/test_md5.py is not among the first: it builds md5.c with them itself.
#
# tests/instrument.sh builds the core, and says what it needs. Nothing else of the checkout or of the environment is
# changed: an editable install in it is passed over.
# Leaks are not looked for: the interpreter itself leaves memory to the end of the process. Memory goes
# through malloc, not Python's arenas, so that each object has its own bounds.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python}
kind=${1:-address}
(( $# )) && shift

library() { # a sanitizer's run-time library, by its full path
    local path
    path=$("$CC" -print-file-name="$1")
    [[ $path == /* ]] && echo "$path"
}
tests=()
run=()
case $kind in
address)
    for module in src/_core/*/*.pyx src/_core/errors.py; do
        module=${module#src/} name=$(basename "${module%.*}")
        test=tests/$(dirname "$module")/test_$name.py
        [[ -e $test ]] && tests+=("$test")
    done
    ;;
thread)
    tests=(tests/test_free_threading.py tests/client/test_sync*.py tests/test_api.py tests/_core/net/test_sockets.py tests/_core/digest/test_compute.py
        "tests/faults/test_rows.py::test_row[threads-256]")
    run=(setarch --addr-no-randomize)   # its shadow memory has fixed places
    ;;
*)
    echo "usage: tests/sanitize.sh address|thread [PYTEST ARGUMENT ...]" >&2
    exit 2
    ;;
esac
# Not those that hold times or memory against a limit: all is several times slower and larger here, and each realloc copies.
(( $# )) || set -- -q -k "not proportion and not both_disc_are_killed and not leave_nothing_behind" "${tests[@]}"

. tests/instrument.sh "$kind"
case $kind in
address) preload=$(library "libclang_rt.asan-$(uname -m).so") ;;    # has both in it
thread) preload=$(library libtsan.so) ;;
esac

# An editable install puts itself in front of every path.
cat >"$site/sitecustomize.py" <<'END'
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
END
export PYTHONPATH="$site" PYTHONDONTWRITEBYTECODE=1
# Without the GIL, Python has one allocator only.
threaded=$("${run[@]}" "$python" -c 'import sysconfig as s; print(s.get_config_var("Py_GIL_DISABLED") or "")')
[[ $threaded ]] || export PYTHONMALLOC=malloc
export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1:allocator_may_return_null=1"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
export TSAN_OPTIONS="halt_on_error=1:die_after_fork=0"     # tests fork while threads run
where=$("${run[@]}" "$python" -P -c 'import importlib.util as u; print(u.find_spec("auth_diameter").origin)')
[[ $where == "$site"/* ]] || { echo "tests would run against $where"; exit 1; }
# --capture=sys: a report goes out past pytest, which would keep it to itself when the process ends there.
LD_PRELOAD="$preload" "${run[@]}" "$python" -P -m pytest --capture=sys \
    -p no:cacheprovider -p no:benchmark -o addopts= --import-mode=importlib "$@"
