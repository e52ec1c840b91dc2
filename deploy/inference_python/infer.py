"""Searches the database through an exported model: `python infer.py --help`."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from utils.config import INFER_COMMAND, parse_config
from utils.system.errors import run_command
from utils.system.runtime import start_paddle


def main() -> int:
    """Encodes the queries, finds their nearest database pictures, shows them, maybe timed."""
    config = parse_config(INFER_COMMAND)
    # With --json, stdout holds the document alone.
    say = functools.partial(print, file=sys.stderr if config.json else sys.stdout)
    start_paddle(config.cpu_threads)
    from utils.datasets import loose_pictures
    from utils.datasets.info import read_card  # what imports Paddle comes after its start
    from utils.inference.backends import ExportedCoder
    from utils.inference.encoder import Encoder
    from utils.inference.export import read_exported
    from utils.search import find_pictures
    from utils.search.session import answer_queries
    from utils.training.common import build_loading, machine_of, test_and_database

    queries = loose_pictures(find_pictures(config.img), "--img-path")
    program, record = read_exported(config.model_dir, config.bit)
    machine = machine_of(config)
    coder = ExportedCoder(program, record.input, record.output, machine)
    say(f"----- Exported model: {program}")
    card = read_card(config.dataset)
    labelled, database = test_and_database(config, card)
    transform = record.transform()
    loading = build_loading(config, transform, [queries, database], say)
    codes_file = Path(config.model_dir, f"database_code_{config.bit}.npy")
    found = answer_queries(
        queries,
        labelled,
        database,
        Encoder(coder, transform, config.batch_size, loading),
        record.identity(),
        codes_file,
        config.bit,
        config.topk,
        Path(config.save_path),
        say,
    )
    if config.benchmark:
        from utils.inference.benchmark import time_stages

        for line in time_stages(coder, transform, queries, codes_file, machine, config.warmup):
            say(line)
    if config.json:
        print(json.dumps({"bit": config.bit, "results": found}, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
