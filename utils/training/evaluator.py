"""Evaluation of trained weights: all metrics, the protocol, the database's codes."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from utils.config.options import Config
from utils.datasets import Split, own_rows
from utils.datasets.bad_images import Troubles
from utils.datasets.info import read_card
from utils.inference.encoder import identity_of, keep_codes, left_out_of, provenance
from utils.metrics import RetrievalMetrics, evaluate_retrieval
from utils.metrics.plots import draw_curves, read_runs
from utils.system import distributed
from utils.system.errors import UserError
from utils.system.files import replacing
from utils.training import checkpoint
from utils.training.common import (
    build_encoder,
    build_loading,
    build_network,
    default_weights,
    rows_to_exclude,
    test_and_database,
    transform_of,
)


def evaluate_weights(config: Config, log: logging.Logger, logs: Path) -> None:
    """Scores trained weights on the queries and the database, and keeps the database's codes.

    Writes `metrics_{bit}.json` and, where matplotlib is installed, `curves_{bit}.png`.

    Args:
        config: the run's settings.
        log: the run's log.
        logs: folder of the metrics and the figure.

    Raises:
        UserError: weights, lists or pictures are missing or wrong.
    """
    card = read_card(config.dataset)
    queries, database = test_and_database(config, card)
    network = build_network(config.bit)
    weights = checkpoint.load_weights(default_weights(config), network)
    log.info(f"----- Pretrained: Load model state from {weights}")
    log.info(f"test {len(queries)}")
    log.info(f"database {len(database)}")
    transform = transform_of(config, card)
    loading = build_loading(config, transform, [queries, database], log.info)
    encoder = build_encoder(config, network, transform, loading)
    begin = time.perf_counter()
    with encoder:
        coded_queries, coded_database = encoder.encode(queries), encoder.encode(database)
    encoded = time.perf_counter()
    queries, database = coded_queries.split, coded_database.split
    left_out = left_out_of(coded_queries, coded_database)
    Troubles(loading, log).left_out(left_out)
    exclude = rows_to_exclude(queries, database, config.exclude_self, log)
    known = (coded_queries.codes, queries.labels, coded_database.codes, database.labels)
    metrics = distributed.first_computes(
        lambda: evaluate_retrieval(*known, config.topK, exclude=exclude)
    )
    if not distributed.is_first():  # the rest is files
        return
    seconds = {"encoding": encoded - begin, "metrics": time.perf_counter() - encoded}
    made_from = provenance(encoder, database, identity_of(weights))
    codes_file = Path(config.output_dir, f"database_code_{config.bit}.npy")
    keep_codes(codes_file, coded_database, made_from)
    log.info(f"Database codes: {codes_file}")
    record = {
        "dataset": card.name,
        **metrics.as_dict(),
        "protocol": _protocol(config, queries, database, made_from),
        "left_out": left_out,
        "versions": {"paddle": paddle.__version__, "numpy": np.__version__},
        "seconds": seconds,
    }
    _write_metrics(record, logs / f"metrics_{config.bit}.json", log)
    _log_summary(metrics, log)
    log.info(f"EVAL-{config.model}, bit:{config.bit}, dataset:{card.name}, MAP:{metrics.map:.3f}")


def _protocol(
    config: Config, queries: Split, database: Split, made_from: dict[str, str]
) -> dict[str, Any]:
    """What the numbers are of, in JSON values."""
    return {
        "queries": {**queries.origin, "rows": len(queries)},
        "database": {**database.origin, "rows": len(database)},
        "topK": config.topK,
        "ties": "database order",
        "exclude_self": config.exclude_self,
        "queries_in_database": int((own_rows(queries, database) >= 0).sum()),
        **{key: made_from[key] for key in ("weights", "weights_sha256", "transform", "precision")},
    }


def _write_metrics(record: dict, path: Path, log: logging.Logger) -> None:
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    with replacing(path) as temporary:  # a line a key, since the curves are long
        temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    log.info(f"Metrics: {path}")
    figure = path.with_name(f"curves_{record['bit']}.png")
    try:
        draw_curves(read_runs(path.parent, record["dataset"]), figure)
        log.info(f"Figure: {figure}")
    except UserError as error:  # the numbers are written; the figure is an extra
        log.warning(f"No figure: {error}")


def _log_summary(metrics: RetrievalMetrics, log: logging.Logger) -> None:
    log.info(
        f"MAP@{metrics.topk}: {metrics.map:.4f} (ties averaged: {metrics.map_tie_averaged:.4f}), "
        f"chance: {metrics.chance:.4f}, P@H<=2: {metrics.precision_within_radius_2:.4f}"
    )
    if metrics.queries_without_relevant:
        log.warning(
            f"{metrics.queries_without_relevant} queries share a label with no database picture; "
            "they count 0"
        )
