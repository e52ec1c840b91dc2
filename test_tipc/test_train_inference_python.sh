#!/usr/bin/env bash
# Trains, evaluates, exports and infers as a configuration says, and checks the answers:
# bash test_tipc/test_train_inference_python.sh CONFIG MODE
set -uo pipefail
cd "$(dirname "$0")/.."
. test_tipc/common_func.sh
[ $# -eq 2 ] || die "usage: bash test_tipc/test_train_inference_python.sh CONFIG MODE; modes: $MODES"
read_config "$1" "$2"

model_name=$(value_at 2)
python=${PYTHON:-$(value_at 3)}
IFS='|' read -ra devices <<<"$(value_at 4)"
IFS='|' read -ra device_use_gpu <<<"$(value_at 5)"
epoch=$(flag "$(key_at 6)" "$(value_of_mode 6)")
output=$(value_at 7)/$MODE
batch=$(flag "$(key_at 8)" "$(value_of_mode 8)")
pretrained=$(flag "$(key_at 9)" "$(value_at 9)")
train_model_name=$(value_at 10)
train_data="$(flag "$(key_at 11)" "$(value_of_mode 11)") $(flag "$(key_at 12)" "$(value_of_mode 12)")"
trainer=$(value_at 15)
eval_command=$(value_at 18)
dataset=$(flag "$(key_at 19)" "$(value_of_mode 19)")
save_inference=$(key_at 22)
export_weights=$(key_at 23)
norm_export=$(value_at 24)
train_model=$(value_at 25)
infer_export=$(value_at 26)
inference=$(value_at 27)
IFS='|' read -ra infer_use_gpu <<<"$(value_at 28)"
IFS='|' read -ra infer_batches <<<"$(value_at 29)"
model_dir=$(key_at 30)
picture=$(value_of_mode 31)
benchmark=$(flag "$(key_at 32)" "$(value_at 32)")
bit=${model_name##*_}

begin_results "$output"
gpus=$(count_gpus)

# infer_all NAME WEIGHTS EXPORT: export, inference on each device, and its answers compared.
infer_all() {
    local name=$1 weights=$2 export=$3 use_gpu size step command
    local folder=$output/$name/inference
    if ! run_step "export" "$python $export $export_weights $weights $save_inference $folder $dataset"; then
        give_up_step "inference" "the export failed"
        return
    fi
    for use_gpu in "${infer_use_gpu[@]}"; do
        for size in "${infer_batches[@]}"; do
            step="inference $([ "$use_gpu" = True ] && echo gpu || echo cpu)"
            command="$python $inference $(key_at 28) $use_gpu $(key_at 29) $size $model_dir $folder"
            command="$command $(key_at 31) $picture $benchmark $dataset --save-path $folder/found --json"
            command="$command > $folder/infer.json"
            if [ "$use_gpu" = True ] && [ "$gpus" -eq 0 ]; then
                skip_step "$step" "$command"
                continue
            fi
            run_step "$step" "$command" || continue
            compare "$weights" "$folder"
        done
    done
}

# compare WEIGHTS FOLDER: the exported model's answers are those of predict.py.
compare() {
    local predict="$python predict.py --bit $bit --pretrained $1 --img $picture $dataset"
    predict="$predict --save-path $2/found --output-dir $2/network --device cpu --json > $2/predict.json"
    run_step "same answers" "$predict && $python test_tipc/compare_answers.py $2/predict.json $2/infer.json"
}

# train_and_infer NUMBER: the chain on one entry of gpu_list.
train_and_infer() {
    local entry=${devices[$1]} use_gpu=${device_use_gpu[$1]:-True} device=cpu command start needed
    local name=norm_train_gpus_${entry//,/_}
    [ "$use_gpu" = True ] && device=gpu
    local run="$output/$name" weights="$output/$name/$train_model_name"
    needed=$(($(echo "$entry" | tr -cd , | wc -c) + 1))
    start="$python $trainer"
    if [ "$needed" -gt 1 ]; then
        start="$python -m paddle.distributed.launch --gpus=$entry ${trainer/main_single_gpu/main_multi_gpu}"
    elif [ "$device" = gpu ]; then
        start="CUDA_VISIBLE_DEVICES=$entry $start"
    fi
    command="$start $epoch $batch $pretrained $train_data --device $device --output-dir $run"
    [[ $MODE == lite_train* ]] && command="$command --backbone-weights none"
    if [ "$device" = gpu ] && [ "$gpus" -lt "$needed" ]; then
        skip_step "train $entry" "$command"
        return
    fi
    if ! run_step "train $entry" "$command"; then
        give_up_step "eval" "the training failed"
        return
    fi
    run_step "eval" "$python $eval_command --pretrained $weights $dataset --device $device --output-dir $run"
    infer_all "$name" "$weights" "$norm_export"
}

if [ "$MODE" = whole_infer ]; then
    infer_all trained "$train_model" "$infer_export"
else
    for number in "${!devices[@]}"; do
        train_and_infer "$number"
    done
fi

if [ "$FAILURES" -gt 0 ]; then
    echo "$FAILURES step(s) failed; $RESULTS/results_python.log"
    exit 1
fi
