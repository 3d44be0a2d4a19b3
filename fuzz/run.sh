#!/usr/bin/env bash
# Builds the targets and fuzzes one or all of them; prints a table, and the paths of inputs that broke something.
#
#     fuzz/run.sh [-k KIND] [-j JOBS] [-r RUNS] TARGET|all [SECONDS]
#
#     KIND      asan (the default): with AddressSanitizer and UndefinedBehaviorSanitizer; fast: without
#     JOBS      how many targets run at the same time, 2 by default
#     RUNS      executions after which a target ends, if SECONDS (60 by default) have not passed before
#
# What is found goes on from run to run in build/fuzz/corpus/TARGET (FUZZ_CACHE/corpus/TARGET), and inputs that broke
# something lie in crashes/ beside it: repeat one with build/fuzz/KIND/TARGET FILE. Exit status: 0 nothing broke; 1
# something did; 2 it could not run. The package's sources must stay as they are while it builds.
set -euo pipefail

kind=asan jobs=2 runs=-1
while getopts k:j:r: option; do
    case $option in
    k) kind=$OPTARG ;;
    j) jobs=$OPTARG ;;
    r) runs=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[[ $# -ge 1 ]] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
wanted=$1 seconds=${2:-60}

cd "$(dirname "$0")/.."
python=${PYTHON:-python}
fuzz/build.sh "$kind"
cache=$(cd "${FUZZ_CACHE:-build/fuzz}" && pwd)
mapfile -t targets < <(find "$cache/$kind" -maxdepth 1 -type l -printf '%f\n' | sort)
[[ $wanted == all ]] || targets=("$wanted")

fuzz_one() { # TARGET: runs it to its end; what it said goes to its log
    local target=$1 dictionary=sip most=1024
    case $target in
    diameter | disc_session | client_answers | standard_*) dictionary=diameter ;;
    sip | request_path | local_path) most=4096 ;;
    esac
    mkdir -p "$cache/corpus/$target" "$cache/crashes" "$cache/logs"
    "$python" fuzz/seeds.py "$target" "$cache/seeds/$target"
    "$cache/$kind/$target" -dict="fuzz/dictionaries/$dictionary.dict" -max_len=$most -timeout=5 -print_final_stats=1 \
        -max_total_time="$seconds" -runs="$runs" -artifact_prefix="$cache/crashes/$target-" \
        "$cache/corpus/$target" "$cache/seeds/$target" >"$cache/logs/$target" 2>&1
}

declare -A status=() pids=()
finish() { # waits for one of those that run
    local pid code=0
    wait -n -p pid || code=$?
    status[${pids[$pid]}]=$code
    unset "pids[$pid]"
}
for target in "${targets[@]}"; do
    (( ${#pids[@]} < jobs )) || finish
    fuzz_one "$target" &
    pids[$!]=$target
done
while (( ${#pids[@]} )); do finish; done

broken=0
printf '%-15s %13s %9s %9s %13s  %s\n' target executions exec/s coverage 'new coverage' result
for target in "${targets[@]}"; do
    result=ok
    (( status[$target] == 0 )) || { result="BROKEN, see $cache/logs/$target" broken=1; }
    awk -v target="$target" -v result="$result" '
        $2 == "INITED" { before = $4 }
        $3 == "cov:" { after = $4 }
        /number_of_executed_units/ { executed = $2 }
        /average_exec_per_sec/ { speed = $2 }
        END { printf "%-15s %13d %9d %9d %13s  %s\n", target, executed, speed, after, "+" after - before, result }
    ' "$cache/logs/$target"
    grep -H "broken promise\|ERROR: \|runtime error\|Test unit written to" "$cache/logs/$target" || true
done
exit $broken
