"""Runs a function in a process of its own, with Paddle started in one of two ways.

As a program: `python -m scripts.benchmarks.isolated tuned|default MODULE FUNCTION`, the arguments
as a JSON list on stdin.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from utils.system.runtime import start_paddle

ROOT = Path(__file__).resolve().parent.parent.parent
TUNING = ("OMP_NUM_THREADS", "MKL_DEBUG_CPU_TYPE", "KMP_BLOCKTIME")


def in_a_process(module: str, function: str, *arguments: Any, tuned: bool) -> Any:
    """What `module.function(*arguments)` returns in a new process.

    Args:
        module: importable from the repository's root; it may import Paddle.
        function: its name.
        arguments: and its result: JSON values.
        tuned: Paddle started as the commands start it; else as `import paddle` does.

    Raises:
        RuntimeError: the process failed; the message is what it wrote on stderr.
    """
    environment = {key: value for key, value in os.environ.items() if tuned or key not in TUNING}
    words = ["tuned" if tuned else "default", module, function]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks.isolated", *words],
        cwd=ROOT,
        env=environment,
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module}.{function} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Runs the function and prints its result as JSON, in the last line."""
    how, module, function = sys.argv[1:]
    arguments = json.load(sys.stdin)
    if how == "tuned":
        start_paddle()
    work = getattr(importlib.import_module(module), function)
    print(json.dumps(work(*arguments)))


if __name__ == "__main__":
    main()
