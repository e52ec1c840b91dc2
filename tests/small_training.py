"""Trains as the commands do, with the small network: a save takes milliseconds.

`small_training.py ARGUMENTS` is main_single_gpu.py, and with `--nprocs N` main_multi_gpu.py; the
first weights are drawn (`--pretrained small`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from utils.config import TRAIN_COMMAND, TRAIN_MULTI_COMMAND, parse_config
from utils.config.options import Config
from utils.system.errors import run_command
from utils.system.runtime import start_paddle


def main() -> int:
    """Reads the settings, starts Paddle, hands over to all ranks."""
    several = "--nprocs" in sys.argv
    config = parse_config(TRAIN_MULTI_COMMAND if several else TRAIN_COMMAND)
    start_paddle(config.cpu_threads, config.nprocs)
    from utils.system.launcher import run_on_all_ranks

    return run_on_all_ranks(run_small, config, config.nprocs or 1, "cpu")


def run_small(config: Config) -> int:
    """`utils.training.trainer.run` with the small network."""
    from small_network import SmallHashNet

    from utils.training import common as parts
    from utils.training import trainer

    parts.HashNet = SmallHashNet
    return trainer.run(config)


def draw_weights(path: Path, bit: int = 8) -> None:
    """Writes first weights, always the same."""
    import paddle
    from small_network import SmallHashNet

    paddle.seed(1)
    paddle.save(SmallHashNet(bit).state_dict(), str(path))


if __name__ == "__main__":
    sys.exit(run_command(main))
