#!/usr/bin/env bash
# Sourced by the other scripts of test_tipc: reads a configuration, runs steps and records them.
. scripts/environment.sh

MODES="lite_train_lite_infer lite_train_whole_infer whole_train_whole_infer whole_infer"
CONFIG_LINES=32

die() {
    echo "error: $*" >&2
    exit 2
}

# read_config FILE MODE: sets CONFIG, MODE and lines (an array), or ends with what is wrong.
read_config() {
    CONFIG=$1
    [ -f "$CONFIG" ] || die "$CONFIG: missing; expected a file of test_tipc/configs"
    case " $MODES " in
        *" $2 "*) MODE=$2 ;;
        *) die "mode '$2': expected one of $MODES" ;;
    esac
    mapfile -t lines <"$CONFIG"
    lines=("${lines[@]%$'\r'}")
    [ "${#lines[@]}" -eq "$CONFIG_LINES" ] ||
        die "$CONFIG: expected $CONFIG_LINES lines, found ${#lines[@]}"
}

# key_at LINE, value_at LINE: of the line `key:value` (lines count from 1).
key_at() { echo "${lines[$1 - 1]%%:*}"; }
value_at() { echo "${lines[$1 - 1]#*:}"; }

# mode_value_at LINE: of `key:value` the value; of `key:mode=value|mode=value` that of $MODE.
mode_value_at() {
    local value part parts
    value=$(value_at "$1")
    if [[ " $MODES " != *" ${value%%=*} "* ]]; then
        echo "$value"
        return
    fi
    IFS='|' read -ra parts <<<"$value"
    for part in "${parts[@]}"; do
        if [ "${part%%=*}" = "$MODE" ]; then
            echo "${part#*=}"
            return
        fi
    done
    die "$CONFIG, line $1: no value for $MODE"
}

# flag KEY VALUE: `KEY VALUE`, or nothing where one of them is null or empty.
flag() {
    if [ "$1" != null ] && [ "$2" != null ] && [ -n "$2" ]; then echo "$1 $2"; fi
}

# alternatives COMMAND: one line for each choice of its words; `f --a 1|2` gives `f --a 1`, `f --a 2`.
alternatives() {
    local word choice command words choices grown commands=("")
    read -ra words <<<"$1"
    for word in "${words[@]}"; do
        IFS='|' read -ra choices <<<"$word"
        grown=()
        for command in "${commands[@]}"; do
            for choice in "${choices[@]}"; do grown+=("${command:+$command }$choice"); done
        done
        commands=("${grown[@]}")
    done
    printf '%s\n' "${commands[@]}"
}

# data_set train|infer: the one that $MODE trains on, or evaluates and infers on.
data_set() {
    case $1:$MODE in
        train:lite_* | infer:*_lite_infer) echo coco_lite ;;
        *) echo coco ;;
    esac
}

# count_gpus PYTHON: how many Paddle can use.
count_gpus() {
    if gpu_answers; then
        "$1" -c 'from utils.system.runtime import setup_paddle, usable_gpus
setup_paddle()
print(usable_gpus())'
    else
        echo 0
    fi
}

# begin_results FOLDER: where steps are recorded from now on; of an earlier run nothing stays.
begin_results() {
    RESULTS=$1
    FAILURES=0
    rm -rf "$RESULTS"
    mkdir -p "$RESULTS/logs"
    touch "$RESULTS/results_python.log" "$RESULTS/steps.tsv"
}

# record STEP STATUS LINE: the line in the log of results, step and status for the table.
record() {
    echo "$3" >>"$RESULTS/results_python.log"
    printf '%s\t%s\n' "$1" "$2" >>"$RESULTS/steps.tsv"
}

# how_long STEP: about how long it takes, on two cores.
how_long() {
    case $MODE:$1 in
        *"same answers"*) echo "a second" ;;
        whole_train_*:*train) echo hours ;;
        *:*train) echo "about 30 s" ;;
        *lite_infer:* | *export | paddle2onnx_infer:*) echo "about 10 s" ;;
        *) echo "minutes where COCO is encoded" ;;
    esac
}

# run_step STEP NAME COMMAND: runs it, its output in logs/NAME.log, and records how it ended.
run_step() {
    local step=$1 log=$RESULTS/logs/$2.log command=$3 status=0 begin=$SECONDS
    printf '%s (%s) ... ' "$step" "$(how_long "$step")"
    bash -c "$command" >"$log" 2>&1 || status=$?
    if [ "$status" -eq 0 ]; then
        echo "ok, $((SECONDS - begin)) s"
        record "$step" ok "Run successfully with command - $model_name - $command - $log!"
        return
    fi
    echo "failed, exit status $status; the end of its log:"
    tail -n 5 "$log" | fold -w 76 | sed 's/^/  | /'
    record "$step" failed "Run failed with command - $model_name - $command - $log!"
    FAILURES=$((FAILURES + 1))
    return 1
}

# skip_step STEP COMMAND [REASON]: records what is missing for it, by default a GPU.
skip_step() {
    echo "$1: skipped (${3:-no GPU})"
    record "$1" skipped "Skipped (${3:-no GPU}): $model_name - $2"
}

# give_up REASON STEP...: records steps that an earlier failure has made impossible.
give_up() {
    local reason=$1 step
    shift
    for step in "$@"; do
        echo "$step: failed, not run: $reason"
        record "$step" failed "Run failed with command - $model_name - $step was not run: $reason!"
        FAILURES=$((FAILURES + 1))
    done
}

# end_results: the exit status, 1 where a step has failed.
end_results() {
    [ "$FAILURES" -gt 0 ] || return 0
    echo "$FAILURES steps failed; see"
    echo "$RESULTS/results_python.log"
    return 1
}
