"""Trains or evaluates HashNet on one device: `python main_single_gpu.py --help`."""

from __future__ import annotations

import sys

from utils.config import TRAIN_COMMAND, parse_config
from utils.system.errors import run_command
from utils.system.runtime import start_paddle


def main() -> int:
    """Reads the settings, starts Paddle, hands over."""
    config = parse_config(TRAIN_COMMAND)
    start_paddle(config.cpu_threads)
    from utils.training.trainer import run  # imports Paddle, which reads its settings only once

    return run(config)


if __name__ == "__main__":
    sys.exit(run_command(main))
