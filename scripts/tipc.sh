#!/bin/sh
# Runs the TIPC chain (train, evaluate, export, infer, compare) of 16, 32, 48 and 64 bits on coco_lite,
# then exports as ONNX, infers and compares, and ends with a table of steps and MAP. The exit status
# is 1 where a step has failed.
#
# Settings, from the environment: BITS, MODE (default: lite_train_lite_infer), PYTHON.
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh
echo "== Looking for Python and its packages"
command -v bash >/dev/null 2>&1 || {
    echo "error: bash not found; the scripts of test_tipc need it" >&2
    exit 1
}
choose_python
run_packages
export PYTHON

MODE=${MODE:-lite_train_lite_infer}
BITS=${BITS:-16 32 48 64}
begin=$(date +%s)
failed=0
for bit in $BITS; do
    config=test_tipc/configs/hashnet_$bit/train_infer_python.txt
    steps=test_tipc/output/hashnet_$bit/$MODE/steps.tsv
    rm -f "$steps"
    echo "== $bit bits, $MODE"
    if ! bash test_tipc/prepare.sh "$config" "$MODE" ||
        ! bash test_tipc/test_train_inference_python.sh "$config" "$MODE"; then
        failed=1
    fi
    # A chain that could not begin has recorded nothing; the table must not be silent about it.
    if [ ! -s "$steps" ]; then
        mkdir -p "$(dirname "$steps")"
        printf 'prepare\tfailed\n' >"$steps"
        failed=1
    elif [ "$MODE" = lite_train_lite_infer ]; then
        config=test_tipc/configs/hashnet_$bit/paddle2onnx_infer_python.txt
        bash test_tipc/test_paddle2onnx.sh "$config" paddle2onnx_infer || failed=1
        cat "test_tipc/output/hashnet_$bit/paddle2onnx_infer/steps.tsv" >>"$steps"
    fi
done

echo
echo "== $MODE, $(($(date +%s) - begin)) s (skipped: no GPU or no package)"
for bit in $BITS; do
    sed "s/^/$bit	/" "test_tipc/output/hashnet_$bit/$MODE/steps.tsv"
done | awk -F '\t' -v bits="$BITS" '
    { if (!($2 in seen)) { seen[$2] = 1; order[++steps] = $2 }
      if (length($2) > width) width = length($2)
      key = $2 SUBSEP $1
      if (status[key] != "failed") status[key] = $3 }
    END {
        count = split(bits, columns, " ")
        line = sprintf("%-*s", width, "step")
        for (c = 1; c <= count; c++) line = line sprintf("%9s", columns[c] " bits")
        print line
        for (s = 1; s <= steps; s++) {
            line = sprintf("%-*s", width, order[s])
            for (c = 1; c <= count; c++) {
                key = order[s] SUBSEP columns[c]
                line = line sprintf("%9s", (key in status) ? status[key] : "-")
            }
            print line
        }
    }'
exit $failed
