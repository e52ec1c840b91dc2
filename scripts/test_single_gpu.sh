#!/bin/sh
# Evaluates the weights of 16, 32, 48 and 64 bits (OUTPUT_DIR/weights_BIT) on one device.
# Settings: see scripts/four_bits.sh. Example: sh scripts/test_single_gpu.sh --num-workers 8
. "$(dirname "$0")/four_bits.sh"
four_bits test single "$@"
