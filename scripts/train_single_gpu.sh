#!/bin/sh
# Trains 16, 32, 48 and 64 bits one after the other on one device, with the published seeds.
#
# Settings, from the environment: BITS, DATASET, DATA_PATH, LIST_PATH, OUTPUT_DIR, PYTHON.
# Arguments go to main_single_gpu.py: sh scripts/train_single_gpu.sh --num-workers 8
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh
choose_python
run_packages

DATASET=${DATASET:-coco}
OUTPUT_DIR=${OUTPUT_DIR:-./output}
for bit in ${BITS:-16 32 48 64}; do
    case $bit in
        16) seed=0 ;;
        48) seed=200 ;;
        *) seed=2000 ;;
    esac
    echo "== Training $bit bits on $DATASET, seed $seed"
    "$PYTHON" main_single_gpu.py --bit "$bit" --seed "$seed" --dataset "$DATASET" \
        ${DATA_PATH:+--data-path "$DATA_PATH"} ${LIST_PATH:+--list-path "$LIST_PATH"} --output-dir "$OUTPUT_DIR" "$@"
done
