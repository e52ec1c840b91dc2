#!/usr/bin/env bash
# Sourced by the other scripts of test_tipc: reads the configuration, runs and records steps.

MODES="lite_train_lite_infer lite_train_whole_infer whole_train_whole_infer whole_infer"

die() {
    echo "error: $*" >&2
    exit 2
}

# read_config FILE MODE: sets lines (an array) and MODE, or ends with what is wrong.
read_config() {
    [ -f "$1" ] || die "$1: missing; expected a file of test_tipc/configs"
    case " $MODES " in
        *" $2 "*) MODE=$2 ;;
        *) die "mode '$2': expected one of $MODES" ;;
    esac
    mapfile -t lines <"$1"
    [ "${#lines[@]}" -eq 32 ] || die "$1: expected 32 lines, found ${#lines[@]}"
}

# key_at LINE, value_at LINE: of the line `key:value` (lines count from 1).
key_at() { echo "${lines[$1 - 1]%%:*}"; }
value_at() { echo "${lines[$1 - 1]#*:}"; }

# value_of_mode LINE: the value of `key:value` or, of `key:mode=value|mode=value`, that of $MODE.
value_of_mode() {
    local value part
    value=$(value_at "$1")
    case $value in
        *=*) ;;
        *)
            echo "$value"
            return
            ;;
    esac
    local parts
    IFS='|' read -ra parts <<<"$value"
    for part in "${parts[@]}"; do
        [ "${part%%=*}" = "$MODE" ] && echo "${part#*=}" && return
    done
    echo null
}

# flag KEY VALUE: `KEY VALUE`, or nothing where either is null.
flag() {
    if [ "$1" != null ] && [ "$2" != null ] && [ -n "$2" ]; then echo "$1 $2"; fi
}

# count_gpus: how many answer.
count_gpus() {
    command -v nvidia-smi >/dev/null 2>&1 || {
        echo 0
        return
    }
    nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true
}

# begin_results FOLDER: where steps are recorded from now on; of an earlier run nothing stays.
begin_results() {
    RESULTS=$1
    FAILURES=0
    mkdir -p "$RESULTS/logs"
    : >"$RESULTS/results_python.log"
    : >"$RESULTS/steps.tsv"
}

record() { # STEP STATUS LINE
    echo "$3" | tee -a "$RESULTS/results_python.log"
    printf '%s\t%s\n' "$1" "$2" >>"$RESULTS/steps.tsv"
}

# run_step STEP COMMAND: runs it, keeps its output in a log of its own, records how it ended.
run_step() {
    local step=$1 command=$2 log status=0
    log=$RESULTS/logs/$(echo "$step" | tr ' ,' '__').log
    bash -c "$command" >"$log" 2>&1 || status=$?
    if [ "$status" -eq 0 ]; then
        record "$step" ok "Run successfully with command - $command!"
    else
        record "$step" failed "Run failed with command - $command!"
        echo "  exit status $status; log: $log; its end:"
        tail -n 5 "$log" | sed 's/^/  | /'
        FAILURES=$((FAILURES + 1))
    fi
    return "$status"
}

# skip_step STEP COMMAND: records that a GPU is missing for it.
skip_step() { record "$1" skipped "Skipped (no GPU): $2"; }

# give_up_step STEP REASON: records a step that an earlier failure has made impossible.
give_up_step() {
    record "$1" failed "Run failed with command - (not run: $2)!"
    FAILURES=$((FAILURES + 1))
}
