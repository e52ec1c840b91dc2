#!/usr/bin/env bash
# Checks that the data of a mode is there: bash test_tipc/prepare.sh CONFIG MODE
set -euo pipefail
cd "$(dirname "$0")/.."
. test_tipc/common_func.sh
[ $# -eq 2 ] || die "usage: bash test_tipc/prepare.sh CONFIG MODE; modes: $MODES"
read_config "$1" "$2"

# has_data_set NAME FOLDER: or ends with what to do.
has_data_set() {
    local split
    [ -d "$2" ] || die "$2: the pictures of $1 are missing; README says where they come from"
    for split in train test database; do
        [ -f "data/$1/$split.txt" ] || die "data/$1/$split.txt: missing; README says how to make the lists of $1"
    done
    echo "$1: lists in data/$1, pictures in $2"
}

case $MODE in
    lite_*) has_data_set coco_lite datasets/coco_lite ;;
esac
case $MODE in
    *whole_infer) has_data_set coco datasets/COCO2014 ;;
esac
if [ "$MODE" = whole_infer ]; then
    weights=$(value_at 25).pdparams
    [ -f "$weights" ] || die "$weights: missing; train first, or name other weights in line 25 of $1"
fi
mkdir -p test_tipc/output
