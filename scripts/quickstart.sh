#!/bin/sh
# Trains 64-bit codes on coco_lite from random weights, evaluates them, and searches with an image.
# Everything it writes is in output/quickstart. Usage: sh scripts/quickstart.sh
# Settings, from the environment: EPOCHS (default: 16), OUTPUT_DIR (default: output), PYTHON.
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh
choose_python
run_packages

OUT=${OUTPUT_DIR:-output}/quickstart
QUERY=$(head -n 1 data/coco_lite/test.txt | cut -d ' ' -f 1)
QUERY=datasets/coco_lite/$QUERY

echo "== 1/3 Training on coco_lite, 128 drawn images, from random weights (a few minutes)"
"$PYTHON" main_single_gpu.py --bit 64 --dataset coco_lite --backbone-weights none --eval-first \
    --batch-size 16 --learning-rate 0.002 --epoch "${EPOCHS:-16}" --eval-epoch 4 \
    --save-epoch "${EPOCHS:-16}" --output-dir "$OUT"

echo "== 2/3 Evaluating the weights it saved"
"$PYTHON" main_single_gpu.py --bit 64 --dataset coco_lite --eval --pretrained "$OUT/weights_64" \
    --output-dir "$OUT"

echo "== 3/3 Searching the database with $QUERY"
"$PYTHON" predict.py --bit 64 --dataset coco_lite --pretrained "$OUT/weights_64" --img "$QUERY" \
    --output-dir "$OUT" --save-path "$OUT"

echo
echo "== Done. MAP on coco_lite:"
grep "Chance .*, before training .*, best" "$OUT/train/log_64.txt" | tail -n 1 | cut -d ' ' -f 3-
echo "== Files written:"
find "$OUT" -type f | sort
