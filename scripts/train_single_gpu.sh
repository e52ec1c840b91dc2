#!/bin/sh
# Trains 16, 32, 48 and 64 bits one after the other on one device, with the published seeds.
# Settings: see scripts/four_bits.sh. Example: sh scripts/train_single_gpu.sh --num-workers 8
. "$(dirname "$0")/four_bits.sh"
four_bits train single "$@"
