#!/usr/bin/env bash
# Trains, evaluates, exports and infers as a configuration says, and compares the answers:
# bash test_tipc/test_train_inference_python.sh CONFIG MODE
set -euo pipefail
cd "$(dirname "$0")/.."
. test_tipc/common_func.sh
[ $# -eq 2 ] || die "usage: bash test_tipc/test_train_inference_python.sh CONFIG MODE; modes: $MODES"
read_config "$1" "$2"

model_name=$(value_at 2)
bit=${model_name##*_}
interpreter=${PYTHON:-$(value_at 3)}
python=$(printf %q "$interpreter")
output=$(value_at 7)/$MODE
infer_data="--dataset $(data_set infer)"
if [ "$MODE" = whole_infer ] || [ "$(data_set train)" = "$(data_set infer)" ]; then
    data_path=$(mode_value_at 11)
    infer_data="$infer_data $(flag "$(key_at 11)" "$data_path")"
fi
IFS='|' read -ra infer_use_gpu <<<"$(value_at 28)"
picture=$(mode_value_at 31)
inference="$python $(value_at 27) $(key_at 29) $(value_at 29)"
benchmark=$(flag "$(key_at 32)" "$(value_at 32)")

# train_and_infer ENTRY USE_GPU: the chain on one entry of gpu_list.
train_and_infer() {
    local label=cpu device=cpu visible="" name=$trainer_name"_gpus_${1//,/_}" start command weights
    local run=$output/$name
    start="$python $norm_train"
    if [ "$1" != -1 ] && [ "$2" = True ]; then
        label="gpu $1" device=gpu visible="CUDA_VISIBLE_DEVICES=${1%%,*} "
        start="$visible$start"
        if [[ $1 == *,* ]]; then
            start="$python -m paddle.distributed.launch --gpus=$1 --log_dir $run/launch"
            start="$start ${norm_train/main_single_gpu/main_multi_gpu}"
        fi
    fi
    command="$start $train_flags --device $device --output-dir $run"
    if [ "$device" = gpu ] && [ "$(tr , '\n' <<<"$1" | sort -n | tail -n 1)" -ge "$gpus" ]; then
        skip_step "$label: train" "$command (Paddle can use $gpus)"
        return
    fi
    if ! run_step "$label: train" "${name}_train" "$command"; then
        give_up "the training failed" "$label: eval" "$label: export" "$label: inference"
        return
    fi
    weights=$run/$train_model_name
    command="$visible$python $eval_command --pretrained $weights $infer_data --device $device"
    if run_step "$label: eval" "${name}_eval" "$command --output-dir $run"; then
        printf '%s\t%s\n' "$label: MAP" \
            "$(sed -n 's/.*EVAL-.*MAP://p' "$RESULTS/logs/${name}_eval.log")" >>"$RESULTS/steps.tsv"
    fi
    export_and_infer "$label" "$name" "$norm_export" "$weights" "$run/inference" "$visible"
}

# export_and_infer LABEL NAME EXPORT WEIGHTS FOLDER VISIBLE: on each device of line 28.
export_and_infer() {
    local label=$1 name=$2 weights=$4 folder=$5 use_gpu
    if [ "$3" != null ] && ! run_step "$label: export" "${name}_export" \
        "$python $3 $(key_at 21) $weights $(key_at 20) $folder --dataset $(data_set infer)"; then
        give_up "the export failed" "$label: inference"
        return
    fi
    mkdir -p "$folder"
    for use_gpu in "${infer_use_gpu[@]}"; do
        infer_on "$label" "$name" "$weights" "$folder" "$use_gpu" "$6"
    done
}

# infer_on LABEL NAME WEIGHTS FOLDER USE_GPU VISIBLE: each inference, its answers beside predict.py's.
infer_on() {
    local label=$1 name=$2 folder=$4 device=cpu environment="" choices choice command log predicted
    mapfile -t choices < <(alternatives "$inference")
    if [ "$5" = True ]; then
        device=gpu environment=$6 choices=("${choices[0]}")
    fi
    local step="$label: inference, $device" files=$folder/$device
    local where="$(key_at 28) $5 $(key_at 30) $folder $(key_at 31) $picture $benchmark $infer_data"
    if [ "$device" = gpu ] && [ "$gpus" -eq 0 ]; then
        skip_step "$step" "${choices[0]} $where"
        return
    fi
    mkdir -p "$files"
    predicted="$environment$python predict.py --bit $bit --pretrained $3 --img $picture $infer_data"
    predicted="$predicted --device $device --encoder dygraph --output-dir $files --save-path $files --json"
    run_step "$label: predict, $device" "${name}_predict_$device" "$predicted > $files/predict.json" || true
    for choice in "${choices[@]}"; do
        log=${name}_infer_${device}_$(tr -cs 'A-Za-z0-9\n' _ <<<"${choice##*.py --}")
        command="$environment$choice $where --save-path $files --json > $files/infer.json"
        if run_step "$step" "$log" "$command"; then
            run_step "$label: same answers, $device" "${log}_compare" \
                "$python test_tipc/compare_answers.py $files/predict.json $files/infer.json" || true
        fi
    done
}

begin_results "$output"
echo "Asking for GPUs (some seconds where there are any)"
gpus=$(count_gpus "$interpreter")
if [ "$MODE" = whole_infer ]; then
    folder=$(value_at 20)
    [ "$(value_at 25)" != null ] || folder=$(value_at 30)
    export_and_infer trained whole_infer "$(value_at 25)" "$(value_at 24)" "$folder" ""
else
    trainer_name=$(value_at 13)
    norm_train=$(value_at 14)
    eval_command=$(value_at 17)
    norm_export=$(value_at 22)
    train_model_name=$(value_at 10)
    epoch=$(mode_value_at 6)
    batch=$(mode_value_at 8)
    data_path=$(mode_value_at 11)
    train_flags="--dataset $(data_set train) $(flag "$(key_at 11)" "$data_path")"
    train_flags="$train_flags $(flag "$(key_at 6)" "$epoch") $(flag "$(key_at 8)" "$batch")"
    train_flags="$train_flags $(flag "$(key_at 9)" "$(value_at 9)")"
    [[ $MODE != lite_* ]] || train_flags="$train_flags --backbone-weights none"
    train_flags=${train_flags//  / }
    IFS='|' read -ra entries <<<"$(value_at 4)"
    IFS='|' read -ra use_gpu <<<"$(value_at 5)"
    for number in "${!entries[@]}"; do
        [[ ${entries[$number]} =~ ^(-1|[0-9]+(,[0-9]+)*)$ ]] ||
            die "$CONFIG, line 4: '${entries[$number]}': expected -1 (CPU), a GPU, or GPUs such as 0,1"
        train_and_infer "${entries[$number]}" "${use_gpu[$number]:-True}"
    done
fi

end_results
