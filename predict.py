"""Searches the database with pictures: `python predict.py --help`."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

from utils.config import PREDICT_COMMAND, parse_config
from utils.errors import run_command
from utils.runtime import start_paddle


def main() -> int:
    """Encodes the queries, finds their nearest database pictures, shows them."""
    config = parse_config(PREDICT_COMMAND)
    # With --json, stdout holds the document alone.
    say = functools.partial(print, file=sys.stderr if config.json else sys.stdout)
    start_paddle(config.cpu_threads)
    from utils import checkpoint  # what imports Paddle comes after its start
    from utils.cards import read_card
    from utils.datasets import loose_pictures
    from utils.encoder import stored_or_new_codes
    from utils.evaluator import (
        build_encoder,
        build_loading,
        build_network,
        default_weights,
        test_and_database,
    )
    from utils.runtime import choose_device
    from utils.search import find_pictures, known_labels, search
    from utils.search_report import report_search

    queries = loose_pictures(find_pictures(config.img), "--img")
    choose_device(config.device)
    card = read_card(config.dataset)
    labelled, database = test_and_database(config, card)
    network = build_network(config.bit)
    weights = checkpoint.load_weights(default_weights(config), network)
    say(f"----- Pretrained: Load model state from {weights}")
    encoder = build_encoder(
        config, card, network, build_loading(config, card, [queries, database], say)
    )
    asked = encoder.encode(queries)
    codes_file = Path(config.output_dir, f"database_code_{config.bit}.npy")
    known = stored_or_new_codes(codes_file, encoder, database, weights, config.bit, say)
    for problem in (*asked.left_out.values(), *known.left_out.values()):
        say(f"Left out: {problem}")
    paths = [Path(asked.split.pictures.name(row)) for row in range(len(asked.split))]
    labels = known_labels(paths, [labelled, database])
    skips = encoder.loading.skip_bad
    results = search(asked.codes, labels, known.codes, known.split, config.topk)
    sheets = [
        report_search(query, asked.split, matches, database, Path(config.save_path), say, skips)
        for query, matches in enumerate(results)
    ]
    if config.json:
        found = [
            {"query": str(path), "sheet": str(sheet), "matches": [m.as_dict() for m in matches]}
            for path, sheet, matches in zip(paths, sheets, results)
        ]
        print(json.dumps({"bit": config.bit, "results": found}, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
