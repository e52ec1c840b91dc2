#!/usr/bin/env bash
# Exports trained weights as ONNX, infers through the model, and compares the answers:
# bash test_tipc/test_paddle2onnx.sh CONFIG paddle2onnx_infer
set -euo pipefail
cd "$(dirname "$0")/.."
. test_tipc/common_func.sh
MODES=paddle2onnx_infer CONFIG_LINES=12
[ $# -eq 2 ] || die "usage: bash test_tipc/test_paddle2onnx.sh CONFIG $MODES"
read_config "$1" "$2"

model_name=$(value_at 2)
PYTHON=${PYTHON:-$(value_at 3)}
python=$(printf %q "$PYTHON")
weights="$(key_at 5) $(value_at 5)"
folder=$(value_at 6)
data="$(flag "$(key_at 10)" "$(value_at 10)")"
files=test_tipc/output/$model_name/$MODE
query="$data $(key_at 11) $(value_at 11) --save-path $files --json"
export_command="$python $(value_at 4) $weights $(key_at 6) $folder $data"

begin_results "$files"
if ! has paddle2onnx onnxruntime; then
    skip_step "onnx: export" "$export_command" "no package of requirements-onnx.txt"
    exit
fi
if ! run_step "onnx: export" export "$export_command"; then
    give_up "the export failed" "onnx: inference"
    exit 1
fi
run_step "onnx: predict" predict "$python predict.py --bit ${model_name##*_} $weights $query \
--device cpu --encoder dygraph --output-dir $files > $files/predict.json" || true
mapfile -t choices < <(alternatives "$python $(value_at 8) $(key_at 9) $(value_at 9)")
for number in "${!choices[@]}"; do
    command="${choices[$number]} --model-dir $folder $query $(flag "$(key_at 12)" "$(value_at 12)")"
    if run_step "onnx: inference" "infer_$number" "$command > $files/infer.json"; then
        run_step "onnx: same answers" "compare_$number" \
            "$python test_tipc/compare_answers.py $files/predict.json $files/infer.json" || true
    fi
done
end_results
