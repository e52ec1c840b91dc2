"""Exports trained weights for Paddle Inference: `python export_model.py --help`."""

from __future__ import annotations

import sys
from pathlib import Path

from utils.config import EXPORT_COMMAND, parse_config
from utils.system.errors import run_command
from utils.system.runtime import start_paddle


def main() -> int:
    """Loads the weights, writes program, parameters and record, names the files."""
    config = parse_config(EXPORT_COMMAND)
    start_paddle(config.cpu_threads)
    import paddle  # what imports Paddle comes after its start

    from utils.datasets.info import read_card
    from utils.inference.encoder import identity_of
    from utils.inference.export import Record, write_exported
    from utils.training import checkpoint
    from utils.training.common import build_network, default_weights

    network = build_network(config.bit)
    weights = checkpoint.load_weights(default_weights(config), network)
    print(f"----- Pretrained: Load model state from {weights}")
    record = Record(
        bit=config.bit,
        input=config.input,
        output=config.output,
        resize=read_card(config.dataset).resize,
        resize_size=config.resize_size,
        crop_size=config.crop_size,
        fast_decode=config.fast_decode,
        paddle=paddle.__version__,
        **identity_of(weights),
    )
    for path in write_exported(network, record, Path(config.save_inference_dir)):
        print(f"----- Save exported model: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
