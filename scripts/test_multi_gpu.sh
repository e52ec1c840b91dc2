#!/bin/sh
# Evaluates the weights of 16, 32, 48 and 64 bits (OUTPUT_DIR/weights_BIT) on all visible GPUs.
#
# Settings, from the environment: BITS, DATASET, DATA_PATH, OUTPUT_DIR, PYTHON, and NPROCS, which runs
# that many processes, on the CPU where there is no GPU. Arguments go to main_multi_gpu.py.
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh

DATASET=${DATASET:-coco}
OUTPUT_DIR=${OUTPUT_DIR:-./output}
BITS=${BITS:-16 32 48 64}
if [ -z "${NPROCS:-}" ] && ! gpu_answers; then
    echo "No GPU answers here. On GPUs this would evaluate $OUTPUT_DIR/weights_BIT for $BITS bits on" \
        "$DATASET with main_multi_gpu.py."
    echo "On the CPU, with two processes: NPROCS=2 DATASET=coco_lite sh scripts/test_multi_gpu.sh"
    exit 0
fi
choose_python
run_packages
for bit in $BITS; do
    echo "== Evaluating $bit bits on $DATASET"
    "$PYTHON" main_multi_gpu.py --bit "$bit" --eval --dataset "$DATASET" \
        --pretrained "$OUTPUT_DIR/weights_$bit" ${NPROCS:+--nprocs "$NPROCS"} \
        ${DATA_PATH:+--data-path "$DATA_PATH"} --output-dir "$OUTPUT_DIR" "$@"
done
