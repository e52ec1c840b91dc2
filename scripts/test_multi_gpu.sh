#!/bin/sh
# Evaluates the weights of 16, 32, 48 and 64 bits (OUTPUT_DIR/weights_BIT) on all visible GPUs.
# Settings: see scripts/four_bits.sh.
. "$(dirname "$0")/four_bits.sh"
four_bits test multi "$@"
