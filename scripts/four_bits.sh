# Sourced by {train,test}_{single,multi}_gpu.sh: trains or evaluates 16, 32, 48 and 64 bits in turn.
#
# Settings, from the environment: BITS, DATASET, DATA_PATH, OUTPUT_DIR, PYTHON; on one device also
# LIST_PATH, on several NPROCS, which runs that many processes, on the CPU where there is no GPU.

set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh

DATASET=${DATASET:-coco}
OUTPUT_DIR=${OUTPUT_DIR:-./output}
BITS=${BITS:-16 32 48 64}

# four_bits train|test single|multi [FLAG...]: flags go to main_single_gpu.py or main_multi_gpu.py.
four_bits() {
    task=$1 devices=$2
    shift 2
    if [ "$devices" = single ]; then
        NPROCS=
    else
        LIST_PATH=
        needs_gpus
    fi
    choose_python
    run_packages
    for bit in $BITS; do
        if [ "$task" = test ]; then
            echo "== Evaluating $bit bits on $DATASET"
            run_bit --eval --pretrained "$OUTPUT_DIR/weights_$bit" "$@"
            continue
        fi
        case $bit in # the published seeds
            16) seed=0 ;;
            48) seed=200 ;;
            *) seed=2000 ;;
        esac
        echo "== Training $bit bits on $DATASET, seed $seed"
        run_bit --seed "$seed" "$@"
    done
}

run_bit() {
    "$PYTHON" "main_${devices}_gpu.py" --bit "$bit" --dataset "$DATASET" \
        --output-dir "$OUTPUT_DIR" ${DATA_PATH:+--data-path "$DATA_PATH"} \
        ${LIST_PATH:+--list-path "$LIST_PATH"} ${NPROCS:+--nprocs "$NPROCS"} "$@"
}

# Where neither a GPU answers nor NPROCS is set, says what would be done, and ends.
needs_gpus() {
    if [ -n "${NPROCS:-}" ] || gpu_answers; then
        return
    fi
    what="train" weights=" --backbone-weights none"
    [ "$task" = train ] || what="evaluate $OUTPUT_DIR/weights_BIT for" weights=""
    echo "No GPU answers here. On GPUs this would $what $BITS bits on $DATASET with main_multi_gpu.py."
    echo "On the CPU, with two processes: NPROCS=2 DATASET=coco_lite sh scripts/${task}_multi_gpu.sh$weights"
    exit 2
}
