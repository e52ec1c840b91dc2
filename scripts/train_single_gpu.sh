#!/bin/sh
# Trains 16, 32, 48 and 64 bits one after the other on one device, as the published script for one
# device does: batches of 128, which is what two GPUs take together, and the published seeds.
# Settings: see scripts/four_bits.sh. Example: sh scripts/train_single_gpu.sh --num-workers 8
. "$(dirname "$0")/four_bits.sh"
four_bits train single --batch-size 128 "$@"
