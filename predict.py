"""Searches the database with pictures: `python predict.py --help`."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

from utils.config import PREDICT_COMMAND, parse_config
from utils.system.errors import run_command
from utils.system.runtime import start_paddle


def main() -> int:
    """Encodes the queries, finds their nearest database pictures, shows them."""
    config = parse_config(PREDICT_COMMAND)
    # With --json, stdout holds the document alone.
    say = functools.partial(print, file=sys.stderr if config.json else sys.stdout)
    start_paddle(config.cpu_threads)
    from utils.datasets import loose_pictures
    from utils.datasets.info import read_card
    from utils.inference.encoder import identity_of
    from utils.search import find_pictures
    from utils.search.session import answer_queries
    from utils.system.disk import check_writable
    from utils.system.runtime import choose_device
    from utils.training import checkpoint  # what imports Paddle comes after its start
    from utils.training.common import (
        build_encoder,
        build_loading,
        build_network,
        default_weights,
        test_and_database,
        transform_of,
    )

    check_writable(config.save_path)
    queries = loose_pictures(find_pictures(config.img), "--img")
    choose_device(config.device)
    card = read_card(config.dataset)
    labelled, database = test_and_database(config, card)
    network = build_network(config.bit)
    weights = checkpoint.load_weights(default_weights(config), network)
    say(f"----- Pretrained: Load model state from {weights}")
    transform = transform_of(config, card)
    loading = build_loading(config, transform, [queries, database], say)
    found = answer_queries(
        queries,
        labelled,
        database,
        build_encoder(config, network, transform, loading),
        identity_of(weights),
        Path(config.output_dir, f"database_code_{config.bit}.npy"),
        config.bit,
        config.topk,
        Path(config.save_path),
        say,
    )
    if config.json:
        print(json.dumps({"bit": config.bit, "results": found}, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
