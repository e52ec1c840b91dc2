"""Trains or evaluates HashNet on several devices: `python main_multi_gpu.py --help`."""

from __future__ import annotations

import sys

from utils.config import TRAIN_MULTI_COMMAND, parse_config
from utils.system.errors import run_command
from utils.system.runtime import start_paddle


def main() -> int:
    """Reads the settings, starts Paddle, hands over to all ranks."""
    config = parse_config(TRAIN_MULTI_COMMAND)
    start_paddle(config.cpu_threads, config.nprocs)
    from utils.system.launcher import (
        run_on_all_ranks,  # imports Paddle, which reads its settings once
    )
    from utils.training.trainer import run

    return run_on_all_ranks(run, config, config.nprocs, config.device)


if __name__ == "__main__":
    sys.exit(run_command(main))
