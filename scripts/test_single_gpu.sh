#!/bin/sh
# Evaluates the weights of 16, 32, 48 and 64 bits (OUTPUT_DIR/weights_BIT) on one device.
#
# Settings, from the environment: BITS, DATASET, DATA_PATH, LIST_PATH, OUTPUT_DIR, PYTHON.
# Arguments go to main_single_gpu.py: sh scripts/test_single_gpu.sh --num-workers 8
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh
choose_python
run_packages

DATASET=${DATASET:-coco}
OUTPUT_DIR=${OUTPUT_DIR:-./output}
for bit in ${BITS:-16 32 48 64}; do
    echo "== Evaluating $bit bits on $DATASET"
    "$PYTHON" main_single_gpu.py --bit "$bit" --eval --dataset "$DATASET" \
        --pretrained "$OUTPUT_DIR/weights_$bit" \
        ${DATA_PATH:+--data-path "$DATA_PATH"} ${LIST_PATH:+--list-path "$LIST_PATH"} --output-dir "$OUTPUT_DIR" "$@"
done
