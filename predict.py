"""Searches the database with images: `python predict.py --help`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

import json

from utils.system.errors import run_command


def main() -> int:
    """Encodes the queries, finds their nearest database images, shows them."""
    from utils.config import PREDICT_COMMAND, parse_config  # here Ctrl-C is told in a line
    from utils.system.runtime import choose_device, setup_paddle

    config = parse_config(PREDICT_COMMAND)
    setup_paddle(config.cpu_threads, config.tf32, config.device)
    from models.hashnet import load_network  # what imports Paddle comes after its start
    from utils.inference.backends import build_backend
    from utils.inference.encoder import Encoder
    from utils.search import run_search, start_search

    queries = start_search(config)
    choose_device(config.device)
    name = config.info.name
    network, weights, _ = load_network(config.weights, config.bit, config.backbone, name)
    backend = build_backend(network, config.crop_size, config.encoder, config.precision)
    transform = config.transform()
    options = config.loader_options(transform)
    encoder = Encoder(backend, transform, config.batch_size, options, weights)
    codes_file = config.paths.database_codes
    found = run_search(config, encoder, queries, config.searched_splits(), codes_file)
    if config.json:
        print(json.dumps({"bit": config.bit, "results": found}, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
