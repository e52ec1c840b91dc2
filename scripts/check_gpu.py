"""Proves that Paddle computes on this machine's GPU: a convolution and a matrix product.

Where two GPUs are visible also NCCL, by an all_reduce between them (CUDA_VISIBLE_DEVICES=0 leaves
it out). `environment.sh` runs this after it has installed Paddle for GPUs; so can you.

Exit status: 0 all work; 2 with one line that says what failed and which library or kernel is
missing.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

import re
import signal
import subprocess
from pathlib import Path
from typing import Any

from utils.system.errors import UserError, run_command
from utils.system.runtime import choose_device, setup_paddle, usable_gpus

ROOT = Path(__file__).resolve().parent.parent
PARTS = CONVOLUTION, PRODUCT, NCCL = "convolution", "matrix product", "all_reduce (NCCL)"
MAX_SECONDS = 300
"""NCCL is known to wait for ever where GPUs cannot reach each other."""
PROOF = f"import signal; signal.alarm({MAX_SECONDS}); from scripts.check_gpu import prove; prove()"


def prove() -> None:
    """Computes on the GPU; prints each part as it begins, since a fault may end the process."""
    setup_paddle()
    import paddle

    from utils.system.launcher import run_on_all_ranks

    gpus = usable_gpus()
    if gpus == 0:
        raise UserError("Paddle finds no GPU it can use")
    choose_device("gpu")
    print(CONVOLUTION, flush=True)
    images = paddle.ones([2, 3, 16, 16])
    images.stop_gradient = False
    maps = paddle.nn.functional.conv2d(images, paddle.ones([4, 3, 3, 3]))
    maps.sum().backward()
    expect(maps.max(), 3 * 3 * 3)
    expect(images.grad.max(), 4 * 3 * 3)
    print(PRODUCT, flush=True)
    square = paddle.ones([64, 64])
    expect((square @ square).min(), 64)
    if gpus > 1:
        print(NCCL, flush=True)
        run_on_all_ranks(all_reduce, "gpu", processes=2, device="gpu")


def all_reduce(device: str) -> int:
    """What each of two ranks does: a sum over both."""
    import paddle

    choose_device(device)
    total = paddle.ones([1])
    paddle.distributed.all_reduce(total)
    expect(total, 2)
    return 0


def expect(found: Any, expected: float) -> None:
    """Raises a `UserError` where a tensor of one element is another number.

    cuDNN may convolve by transforms, which are not exact.
    """
    if abs(found.item() - expected) > 1e-3 * expected:
        raise UserError(f"the result is {found.item()}, not {expected}")


def reason(said: str) -> str:
    """The line that says why: the first that names a library, else the last error."""
    lines = said.splitlines()
    causes = [line for line in lines if re.search(r"\blib(?!paddle)\w+\.so|Mismatched GPU", line)]
    errors = [line for line in lines if re.search(r"Error: \S", line)]
    line = [*causes[:1], *errors[-1:], *lines[-1:], "it ended without a message"][0]
    return re.sub(r"^[EFW]\d{4} .*?\] |^[\w. ]*Error: ", "", line.strip())


def main() -> None:
    """Runs the proof in a process of its own, which a missing library may end at once."""
    environment = {**os.environ, "GLOG_minloglevel": "1"}  # warnings name libraries, too
    done = subprocess.run(
        [sys.executable, "-c", PROOF],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    begun = [line for line in done.stdout.splitlines() if line in PARTS]
    if done.returncode:
        late = done.returncode == -signal.SIGALRM
        why = f"no answer within {MAX_SECONDS} s" if late else reason(done.stderr)
        raise UserError(f"{[*begun[-1:], 'start'][0]}: {why}")
    print(f"Paddle computes on the GPU: {', '.join(begun)}")


if __name__ == "__main__":
    sys.exit(run_command(main))
