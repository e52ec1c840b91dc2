"""Trains or evaluates HashNet on several devices: `python main_multi_gpu.py --help`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

from utils.system.errors import run_command


def main() -> int:
    """Reads the settings, starts Paddle, hands over to all ranks."""
    from utils.config import TRAIN_MULTI_COMMAND, parse_config  # here Ctrl-C is told in a line
    from utils.system.runtime import setup_paddle

    config = parse_config(TRAIN_MULTI_COMMAND)
    setup_paddle(config.cpu_threads, config.tf32, config.device, alone=False)
    from utils.system.launcher import run_on_all_ranks  # imports Paddle, so after its start

    if not (config.eval or config.pretrained or config.resume):
        from models.pretrained import fetch_backbone

        # Paddle starts the ranks without proxies.
        fetch_backbone(config.backbone_weights, config.backbone)
    if config.eval:
        from utils.training.evaluator import evaluate as run
    else:
        from utils.training.trainer import train as run
    return run_on_all_ranks(run, config, config.nprocs, config.device)


if __name__ == "__main__":
    sys.exit(run_command(main))
