#!/bin/sh
# Trains 16, 32, 48 and 64 bits one after the other on all visible GPUs, as the published numbers were
# made (on two): each GPU walks the whole training set in an order of its own, with the published
# seeds 0, 2000, 200 and 2000. Settings: see scripts/four_bits.sh.
. "$(dirname "$0")/four_bits.sh"
four_bits train multi "$@"
