#!/usr/bin/env bash
# Checks that what a mode needs is there: bash test_tipc/prepare.sh CONFIG MODE
set -euo pipefail
cd "$(dirname "$0")/.."
. test_tipc/common_func.sh
[ $# -eq 2 ] || die "usage: bash test_tipc/prepare.sh CONFIG MODE; modes: $MODES"
read_config "$1" "$2"

# has_data_set NAME FOLDER: or ends with what is missing.
has_data_set() {
    local split
    [ -d "$2" ] || die "$2: the images of $1 are missing; README says where they come from"
    for split in train test database; do
        [ -f "data/$1/$split.txt" ] ||
            die "data/$1/$split.txt: missing; scripts/prepare_data.py makes the lists"
    done
    echo "$1: lists in data/$1, images in $2"
}

data_path=$(mode_value_at 11)
[ "$MODE" = whole_infer ] || has_data_set "$(data_set train)" "$data_path"
case $MODE in
    lite_train_whole_infer) has_data_set coco datasets/COCO2014 ;;
    whole_infer) has_data_set coco "$data_path" ;;
esac

case $MODE in
    whole_infer) weights=$(value_at 24) advice="train first, or name other weights in line 24 of $CONFIG" ;;
    whole_*) weights=models/AlexNet_pretrained.pdparams advice="README says how to make it" ;;
    *) exit 0 ;;
esac
[ -f "$weights" ] || [ -f "$weights.pdparams" ] || die "$weights: missing; $advice"
