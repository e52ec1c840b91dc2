#!/bin/sh
# Proves this repository on a machine with a GPU, measures it, and ends with a Markdown table.
# Without a GPU it runs on the CPU, and says what it leaves out. What each part has said stands in
# output/gpu_check. The exit status is 1 where a part has failed.
#
# Settings, from the environment: SHORT=1 (an epoch, a few images and steps), OUTPUT_DIR, PYTHON.
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh
echo "== Looking for Python and its packages"
choose_python
run_packages
test_packages
export PYTHON

OUT=${OUTPUT_DIR:-output}/gpu_check
export OUTPUT_DIR="$OUT" # of the quickstart
if [ -n "${SHORT:-}" ]; then
    export EPOCHS=1
    encode="--pictures 16 --plain-pictures 4 --turns 1" train="--batch 4 --steps 1 --turns 1"
else
    encode="" train="--batch 64 --steps 20"
fi
rm -rf "$OUT"
mkdir -p "$OUT"
failed=0

# part NAME TIME COMMAND...: runs it, what it says in $OUT/NAME.txt; how it ended, in a line.
part() {
    name=$1 begin=$(date +%s)
    printf '== %s (%s) ... ' "$1" "$2"
    shift 2
    if "$@" >"$OUT/$name.txt" 2>&1; then
        echo "ok, $(($(date +%s) - begin)) s"
        return
    fi
    echo "failed; its last lines:"
    tail -n 5 "$OUT/$name.txt" | fold -w 76 | sed 's/^/  | /'
    failed=1
    return 1
}

leave_out() { echo "== $1: left out, $2"; }

# row WHAT RESULT: a row of the table.
row() { printf '| %s | %s |\n' "$1" "$2" >>"$OUT/table.md"; }

"$PYTHON" -c 'from utils.system.runtime import *
setup_paddle()
import paddle
choose_device("auto")
device, cuda, libraries = describe_device().partition(", CUDA")
print(usable_gpus(), device, f"Paddle {paddle.__version__}{cuda}{libraries}", sep="\n")
' >"$OUT/device.txt"
gpus=$(sed -n 1p "$OUT/device.txt")
printf '| what | result |\n| --- | --- |\n' >"$OUT/table.md"
row device "$(sed -n 2p "$OUT/device.txt")"
row libraries "$(sed -n 3p "$OUT/device.txt")"
sed 's/^/   /' "$OUT/device.txt" | sed 1d

if [ "$gpus" -eq 0 ]; then
    leave_out proof "no GPU answers"
    leave_out tests "they need a GPU (tests/test_gpu.py)"
    row "GPU: proof, tests, --amp" "left out, no GPU"
else
    result=failed
    if part proof "up to a minute" "$PYTHON" scripts/check_gpu.py; then result=ok; fi
    row "\`scripts/check_gpu.py\`" "$result"
    part tests "some minutes" "$PYTHON" -m pytest -n 0 -rs tests/test_gpu.py || true
    row "\`pytest tests/test_gpu.py\`" "$(tail -n 1 "$OUT/tests.txt" | tr -d '=' | sed 's/^ *//; s/ *$//')"
fi
if [ "$gpus" -lt 2 ]; then
    leave_out "two GPUs against one" "$gpus answer"
    row "two GPUs against one" "left out, $gpus answer"
fi

result=failed
if part quickstart "minutes on a CPU" sh scripts/quickstart.sh; then
    result=$(grep '^Chance .*, before' "$OUT/quickstart.txt")
fi
row "\`quickstart.sh\`: MAP" "$result"

for name in encode train; do
    eval "flags=\$$name"
    if part "$name" "minutes on a CPU" "$PYTHON" scripts/benchmark.py "$name" $flags; then
        tail -n 1 "$OUT/$name.txt" | "$PYTHON" -c 'import json, sys
for row in json.load(sys.stdin)["results"]:
    print("| `benchmark.py {}`: {way} | {img/s:.1f} img/s |".format(sys.argv[1], **row))
' "$name" >>"$OUT/table.md"
    else
        row "\`benchmark.py $name\`" failed
    fi
done

echo
cat "$OUT/table.md"
exit $failed
