"""Evaluation of trained weights, and the parts that every use of a network shares."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import paddle

from models import HashNet
from utils import checkpoint, distributed
from utils.cache_space import open_cache
from utils.cards import Card, read_card
from utils.coders import Coder, DygraphCoder, InferenceCoder
from utils.datasets import Split, open_splits, own_rows
from utils.encoder import Encoder, identity_of, keep_codes, left_out_of, provenance
from utils.errors import UserError
from utils.figures import draw_curves, read_runs
from utils.files import replacing
from utils.loader import Loading
from utils.metrics import RetrievalMetrics, evaluate_retrieval
from utils.options import Config
from utils.predictor import Machine
from utils.runtime import cores_for_each
from utils.transforms import Transform, evaluation_transform
from utils.troubles import Troubles

MOST_THREADS = 16
"""Loading threads where nothing is said; Python's lock leaves more of them nothing to do."""


def build_network(bit: int) -> HashNet:
    """A network whose parameters carry the same internal names in every process.

    Paddle names optimizer states after these; a network built after others would not find them.
    """
    with paddle.utils.unique_name.guard():
        return HashNet(bit)


def build_loading(
    config: Config, transform: Transform, splits: Sequence[Split], say: Callable[[str], None]
) -> Loading:
    """How the pictures of these splits are loaded; says what a cache of them holds and needs."""
    threads = config.num_workers
    if threads is None:
        threads = min(cores_for_each(distributed.world_size()), MOST_THREADS)
    cache = None
    if config.cache_dir:
        cache = open_cache(config.cache_dir, transform.scaling, splits, say)
    return Loading(threads, config.on_bad_image == "skip", cache)


def build_encoder(
    config: Config, network: HashNet, transform: Transform, loading: Loading
) -> Encoder:
    """The encoder for a data set's queries and database."""
    return Encoder(_build_coder(config, network), transform, config.batch_size, loading)


def _build_coder(config: Config, network: HashNet) -> Coder:
    """What runs the network: on a CPU Paddle Inference, unless told otherwise."""
    on_cpu = paddle.device.get_device() == "cpu"
    if config.encoder == "inference" or (config.encoder == "auto" and on_cpu):
        machine = Machine(use_gpu=not on_cpu, precision=config.precision)
        return InferenceCoder(network, config.crop_size, machine)
    if config.precision != "fp32":
        raise UserError(f"--precision {config.precision}: needs a CPU and --encoder inference")
    return DygraphCoder(network)


def machine_of(config: Config) -> Machine:
    """What an exported model is to run on.

    Raises:
        UserError: this machine cannot do it.
    """
    machine = Machine(
        config.use_gpu,
        config.precision,
        config.enable_mkldnn,
        config.use_tensorrt,
        config.cpu_threads,
        config.batch_size,
    )
    machine.check()
    return machine


def transform_of(config: Config, card: Card) -> Transform:
    """What queries and database go through."""
    return evaluation_transform(
        card.resize, config.resize_size, config.crop_size, config.fast_decode
    )


def test_and_database(config: Config, card: Card) -> list[Split]:
    """The queries and the database of a data set."""
    return open_splits(
        card,
        ["test", "database"],
        config.data_path,
        config.list_path,
        config.num_class,
        config.seed,
    )


def rows_to_exclude(
    queries: Split, database: Split, exclude_self: bool, log: logging.Logger
) -> np.ndarray | None:
    """The database row each query leaves out of its ranking; None: no query leaves any out.

    Warns where queries stand in the database, since each then finds itself first.

    Args:
        queries: n_q queries.
        database: n database pictures.
        exclude_self: whether a query leaves its own row out.
        log: the run's log.

    Returns:
        [n_q] int64, -1 for a query that does not stand in the database, or None.
    """
    own = own_rows(queries, database)
    inside = int((own >= 0).sum())
    if inside:
        does = (
            "each is left out of its own ranking"
            if exclude_self
            else "each finds itself; --exclude_self leaves it out of its own ranking"
        )
        log.warning(f"{inside} of {len(queries)} queries stand in the database: {does}")
    return own if exclude_self else None


def default_weights(config: Config) -> str:
    """`--pretrained`, or the best weights of the output folder."""
    return config.pretrained or str(Path(config.output_dir, f"weights_{config.bit}"))


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
    protocol = {
        "queries": {**queries.origin, "rows": len(queries)},
        "database": {**database.origin, "rows": len(database)},
        "topK": config.topK,
        "ties": "database order",
        "exclude_self": config.exclude_self,
        "queries_in_database": int((own_rows(queries, database) >= 0).sum()),
        **{key: made_from[key] for key in ("weights", "weights_sha256", "transform", "precision")},
    }
    record = {
        "dataset": card.name,
        **metrics.as_dict(),
        "protocol": protocol,
        "left_out": left_out,
        "versions": {"paddle": paddle.__version__, "numpy": np.__version__},
        "seconds": seconds,
    }
    _write_metrics(record, logs / f"metrics_{config.bit}.json", log)
    _log_summary(metrics, log)
    log.info(f"EVAL-{config.model}, bit:{config.bit}, dataset:{card.name}, MAP:{metrics.map:.3f}")


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
