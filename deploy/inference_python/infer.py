"""Searches the database through an exported model: `python infer.py --help`."""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

import json
from pathlib import Path

from utils.system.errors import run_command


def main() -> int:
    """Encodes the queries, finds their nearest database images, shows them, maybe timed."""
    from utils.config import INFER_COMMAND, parse_config  # here Ctrl-C is told in a line
    from utils.inference.encoder import Encoder
    from utils.inference.export import load_exported
    from utils.inference.program import PredictorOptions, is_on_paddle
    from utils.search import run_search, start_search
    from utils.system.runtime import choose_device, setup_environment, setup_paddle
    from utils.system.state_files import warn_of_other_data

    config = parse_config(INFER_COMMAND)
    device = "gpu" if config.use_gpu else "cpu"
    on_paddle = is_on_paddle(config.model_dir, config.bit)
    setup = setup_paddle if on_paddle else setup_environment
    setup(config.cpu_threads, config.tf32, device)
    queries = start_search(config)
    options = PredictorOptions(
        config.use_gpu,
        config.precision,
        config.enable_mkldnn,
        config.use_tensorrt,
        config.batch_size,
    )
    if on_paddle:
        options.check()
        choose_device(device)  # before anything computes
    backend, record = load_exported(config.model_dir, config.bit, options)
    warn_of_other_data(config.model_dir, record.data_set, config.info.name)
    transform = record.transform()
    loading = config.loader_options(transform)
    encoder = Encoder(backend, transform, config.batch_size, loading, record.fingerprint())
    codes_file = Path(config.model_dir, f"database_code_{config.bit}.npy")
    found = run_search(config, encoder, queries, config.searched_splits(), codes_file)
    if config.benchmark:
        from benchmark import time_stages

        for line in time_stages(encoder, queries, codes_file, options, config.warmup):
            print(line, file=sys.stderr if config.json else sys.stdout, flush=True)
    if config.json:
        print(json.dumps({"bit": config.bit, "results": found}, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
