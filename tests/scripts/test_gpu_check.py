"""scripts/gpu_check.sh: on the CPU as it is, and with stand-ins where GPUs would answer."""

from __future__ import annotations

import re
import sys

import pytest
from helpers import run_shell

from utils.system.runtime import usable_gpus

STAND_IN = """\
#!/bin/sh
case "$*" in
    -c*usable_gpus*) printf '2\\ngpu:0 (A card)\\nPaddle 3\\n' ;;
    -c*) exec "$REAL_PYTHON" "$@" ;;
    *check_gpu.py*) echo "error: libcudnn.so.9 is missing" >&2; exit 2 ;;
    *main_single_gpu.py*) exit 3 ;;
    *pytest*) echo "== 5 passed in 1.00s ==" ;;
    *"benchmark.py encode"*) echo '{"results": [{"way": "ours fp32", "img/s": 123.44}]}' ;;
    *"benchmark.py train"*) echo "no memory" >&2; exit 1 ;;
esac
"""


def checked(folder, **settings):
    """What the script has said, its lines and the cells of its table."""
    done = run_shell("sh", "scripts/gpu_check.sh", OUTPUT_DIR=str(folder), SHORT="1", **settings)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("== Using ")]
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    assert rows[0] == ["what", "result"] and lines[0] == "== Looking for Python and its packages"
    assert max(map(len, lines)) <= 80
    return done, lines, dict(rows[2:])


@pytest.mark.skipif(usable_gpus() > 0, reason="a GPU answers: nothing is left out")
def test_on_a_cpu_it_runs_says_what_it_leaves_out_and_ends_with_a_table(tmp_path):
    done, lines, table = checked(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    left_out = [line for line in lines if "left out" in line and line.startswith("==")]
    assert left_out == [
        "== proof: left out, no GPU answers",
        "== tests: left out, they need a GPU (tests/test_gpu.py)",
        "== two GPUs against one: left out, 0 answer",
    ]
    assert table["device"] == "cpu" and table["libraries"].startswith("Paddle ")
    assert table["GPU: proof, tests, --amp"] == "left out, no GPU"
    found = table["`quickstart.sh`: MAP"]
    assert re.fullmatch(r"Chance 0\.205, before training 0\.\d+, best 0\.\d+", found)
    for name in ("encode`: ours fp32", "encode`: plain", "train`: ours", "train`: default"):
        assert float(table[f"`benchmark.py {name}"].removesuffix(" img/s")) > 0
    assert (tmp_path / "gpu_check/quickstart/weights_64.pdparams").is_file()


def test_where_gpus_answer_all_is_tried_and_a_failure_is_told(tmp_path):
    python = tmp_path / "python"
    python.write_text(STAND_IN, encoding="utf-8")
    python.chmod(0o755)
    done, lines, table = checked(tmp_path, PYTHON=str(python), REAL_PYTHON=sys.executable)
    assert done.returncode == 1
    assert "  | error: libcudnn.so.9 is missing" in lines and "  | no memory" in lines
    assert not [line for line in lines if "left out" in line]
    assert table == {
        "device": "gpu:0 (A card)",
        "libraries": "Paddle 3",
        "`scripts/check_gpu.py`": "failed",
        "`pytest tests/test_gpu.py`": "5 passed in 1.00s",
        "`quickstart.sh`: MAP": "failed",
        "`benchmark.py encode`: ours fp32": "123.4 img/s",
        "`benchmark.py train`": "failed",
    }
