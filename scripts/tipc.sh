#!/bin/sh
# Runs the TIPC chain (train, evaluate, export, infer, compare) of 16, 32, 48 and 64 bits on coco_lite,
# and ends with a table. The exit status is 1 where a step has failed.
#
# Settings, from the environment: BITS, MODE (default: lite_train_lite_infer), PYTHON.
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh
choose_python
run_packages
export PYTHON

MODE=${MODE:-lite_train_lite_infer}
BITS=${BITS:-16 32 48 64}
failed=0
for bit in $BITS; do
    config=test_tipc/configs/hashnet_$bit/train_infer_python.txt
    echo "== $bit bits, $MODE"
    bash test_tipc/prepare.sh "$config" "$MODE"
    bash test_tipc/test_train_inference_python.sh "$config" "$MODE" || failed=1
done

echo
echo "== $MODE: ok, failed or skipped (no GPU)"
for bit in $BITS; do
    sed "s/^/$bit	/" "test_tipc/output/hashnet_$bit/$MODE/steps.tsv"
done | awk -F '\t' -v bits="$BITS" '
    { if (!($2 in seen)) { seen[$2] = 1; order[++steps] = $2 }
      key = $2 SUBSEP $1
      if (status[key] != "failed") status[key] = $3 }
    END {
        count = split(bits, columns, " ")
        line = sprintf("%-16s", "step")
        for (c = 1; c <= count; c++) line = line sprintf("%12s", columns[c] " bits")
        print line
        for (s = 1; s <= steps; s++) {
            line = sprintf("%-16s", order[s])
            for (c = 1; c <= count; c++) {
                key = order[s] SUBSEP columns[c]
                line = line sprintf("%12s", (key in status) ? status[key] : "-")
            }
            print line
        }
    }'
exit $failed
