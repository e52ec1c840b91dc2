#!/bin/sh
# Trains 16, 32, 48 and 64 bits one after the other on all visible GPUs, as the published numbers were
# made (on two): each GPU walks the whole training set in an order of its own (--sampling replicate),
# with the published seeds 0, 2000, 200 and 2000.
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
    echo "No GPU answers here. On GPUs this would train $BITS bits on $DATASET with main_multi_gpu.py."
    echo "On the CPU, with two processes: NPROCS=2 DATASET=coco_lite sh scripts/train_multi_gpu.sh" \
        "--backbone-weights none"
    exit 0
fi
choose_python
run_packages
for bit in $BITS; do
    case $bit in
        16) seed=0 ;;
        48) seed=200 ;;
        *) seed=2000 ;;
    esac
    echo "== Training $bit bits on $DATASET, seed $seed"
    "$PYTHON" main_multi_gpu.py --bit "$bit" --seed "$seed" --dataset "$DATASET" \
        --sampling replicate ${NPROCS:+--nprocs "$NPROCS"} \
        ${DATA_PATH:+--data-path "$DATA_PATH"} --output-dir "$OUTPUT_DIR" "$@"
done
