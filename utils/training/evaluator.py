"""Evaluation: MAP of the network that is trained, and all metrics of trained weights (--eval)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from models.hashnet import HashingNetwork, load_network
from utils.codes import warn_of_equal_codes
from utils.codes.storage import save_codes
from utils.config import EXPORT_COMMAND, FULL_METHOD, PREDICT_COMMAND, Config, next_command
from utils.datasets import Split, positions_in_database
from utils.datasets.loader import BadImageReport
from utils.engine import StopFlag
from utils.inference.backends import build_backend
from utils.inference.database import image_keys, record_of
from utils.inference.encoder import Encoded, Encoder
from utils.lr_scheduler import continuation_scale
from utils.metrics import (
    evaluate_retrieval,
    mean_average_precision,
    mean_average_precision_of_values,
)
from utils.metrics.plots import write_metrics
from utils.metrics.relevance import relevant_share
from utils.system import distributed
from utils.system.files import check_writable
from utils.system.logger import log_to_files
from utils.system.runtime import choose_device, describe_device

_log = logging.getLogger(__name__)


class Evaluator:
    """Scores a network that is trained again and again on the same queries and database."""

    def __init__(self, config: Config, encoder: Encoder, queries: Split, database: Split):
        self._config, self._encoder = config, encoder
        self._queries, self._database = queries, database
        self._bad_images = BadImageReport()
        warn_of_queries_in_database(queries, database, config.exclude_self)

    def chance(self) -> float:
        """The MAP of a random order: the mean share of relevant database images."""
        queries, database = self._queries, self._database
        exclude = positions_in_database(queries, database) if self._config.exclude_self else None
        return relevant_share(queries.labels, database.labels, exclude)

    def evaluate(self, stop: StopFlag | None = None) -> dict[str, Any]:
        """Computes MAP@K, the same on every rank; all ranks call it together.

        Returns `map`, `left_out` (what is wrong with images of each split that the score leaves
        out) and `evaluation_seconds`. Raises `Interrupted` where `stop` was agreed on.
        """
        begin = time.perf_counter()
        coded = self._encoder.encode(self._queries, self._database, stop=stop)
        left_out = report_left_out(self._bad_images, *coded)
        value = score(mean_average_precision, self._config, *coded)
        seconds = time.perf_counter() - begin
        return {"map": value, "left_out": left_out, "evaluation_seconds": seconds}


def score(
    metric: Callable[..., Any],
    config: Config,
    queries: Encoded,
    database: Encoded,
    ranked_by: Callable[[Encoded], np.ndarray] = lambda each: each.codes,
    **options: Any,
) -> Any:
    """A metric of queries and database, `ranked_by` codes or else; rank 0's, known to all."""
    splits = queries.split, database.split
    both = (ranked_by(queries), splits[0].labels, ranked_by(database), splits[1].labels)
    exclude = positions_in_database(*splits) if config.exclude_self else None
    return distributed.compute_on_main_process(
        metric, *both, config.topK, exclude=exclude, **options
    )


def warn_of_pairs_that_teach_nothing(labels: np.ndarray) -> None:
    """Warns where all pairs of training images are similar, or none is; labels [n, num_class]."""
    share = relevant_share(labels, labels, np.arange(len(labels)))
    if share in (0, 1):
        _log.warning(
            f"{'All' if share else 'No'} pairs of training images are similar: nothing can be "
            "learned; labels must be shared by some images and not by others"
        )


def warn_of_queries_in_database(queries: Split, database: Split, exclude_self: bool) -> int:
    """Warns of queries that stand in the database, where each finds itself; returns how many."""
    inside = int((positions_in_database(queries, database) >= 0).sum())
    if inside:
        does = "each is left out of its own ranking"
        if not exclude_self:
            does = "each finds itself; --exclude-self leaves it out of its own ranking"
        _log.warning(f"{inside} of {len(queries.labels)} queries stand in the database: {does}")
    return inside


def report_left_out(bad_images: BadImageReport, *encoded: Encoded) -> dict[str, list[str]]:
    """Warns of images that have no codes; returns what is wrong with them, by the split's name.

    And of codes that say nothing.
    """
    left_out = {}
    for each in encoded:
        warn_of_equal_codes(each.codes, each.split.name)
        if each.left_out:
            name, problems = each.split.name, list(each.left_out.values())
            bad_images.warn(problems, f"images of {name} are left out")
            left_out[name] = problems
    return left_out


def start_run(config: Config, log_file: Path, seed: int) -> None:
    """Opens the log and chooses the device, on every rank."""
    log_to_files(log_file)
    choose_device(config.device)
    _log.info(
        f"Device: {describe_device()}, Paddle {paddle.__version__}, seed {seed}, "
        f"rank {distributed.rank()} of {distributed.world_size()}"
    )
    changed = ", ".join(f"{name} {value}" for name, value in config.changed().items())
    _log.info(f"Settings that are not the defaults: {changed or 'none'}")
    paddle.seed(config.seed)  # one for all ranks, so that their first weights are the same


def tell_sizes(config: Config, queries: Split, database: Split) -> None:
    """Logs how many images an evaluation encodes, and in how many batches."""
    _log.info(f"test {len(queries)}")
    _log.info(f"database {len(database)}")
    images = config.batch_size * distributed.world_size()
    for name, split in (("test", queries), ("base", database)):
        _log.info(f"----- Total # of {name} batch: {-(-len(split) // images)}")


def build_encoder(config: Config, network: HashingNetwork, weights: dict[str, str]) -> Encoder:
    """The encoder that these settings ask for; `weights` is the fingerprint of the network's."""
    transform = config.transform()
    backend = build_backend(network, config.crop_size, config.encoder, config.precision)
    options = config.loader_options(transform)
    return Encoder(backend, transform, config.batch_size, options, weights)


def training_of(config: Config, record: dict[str, Any]) -> tuple[Config, dict[str, Any]]:
    """The settings that weights were trained with, by their record, or else by this run's flags.

    And variant, seed and epoch of that training; without a record, seed and epoch are None.
    """
    unknown = {"variant": config.variant, "seed": None, "epoch": None}
    try:
        epoch = record.get("progress", record)["epoch"]
        saved = {**FULL_METHOD, **record["settings"]}
        known = {name: saved[name] for name in (*FULL_METHOD, "seed", "step_continuation")}
    except (AttributeError, KeyError, TypeError):
        return config, unknown
    typed = all(type(value) is type(getattr(config, name)) for name, value in known.items())
    if typed and type(epoch) is int and 0 <= epoch < 1 << 31 and known["step_continuation"] > 0:
        config = replace(config, **known)
        return config, {"variant": config.variant, "seed": config.seed, "epoch": epoch}
    return config, unknown


def evaluate(config: Config) -> int:
    """Scores trained weights on the queries and the database, and keeps the database's codes.

    Writes `metrics_{bit}.json` and, where matplotlib is installed, `curves_{bit}.png`. Returns the
    exit status, 0.
    """
    if distributed.is_main_process():
        check_writable(config.output_dir, flag="--output-dir")
    start_run(config, config.paths.test_log, config.seed)
    queries, database = config.splits("test", "database")
    name = config.info.name
    network, weights, record = load_network(config.weights, config.bit, config.backbone, name)
    config = replace(config, backbone=network.BACKBONE)
    tell_sizes(config, queries, database)
    encoder = build_encoder(config, network, weights)
    trained, training = training_of(config, record)
    keys = image_keys(database)
    begin = time.perf_counter()
    coded = encoder.encode(queries, database, keep_z=config.continuous)
    encoded = time.perf_counter()
    queries, database = (each.split for each in coded)
    left_out = report_left_out(BadImageReport(), *coded)
    inside = warn_of_queries_in_database(queries, database, config.exclude_self)
    metrics = score(evaluate_retrieval, config, *coded, bit=config.bit)
    if config.continuous:
        training.update(_score_values(trained, training["epoch"], coded))
    results = {
        "dataset": name,
        "backbone": config.backbone,
        **training,
        **metrics.as_dict(),
        "protocol": {
            "queries": {**queries.origin, "rows": len(queries)},
            "database": {**database.origin, "rows": len(database)},
            "topK": config.topK,
            "ties": "database order",
            "exclude_self": config.exclude_self,
            "queries_in_database": inside,
            **encoder.provenance(),
        },
        "left_out": left_out,
        "versions": {"paddle": paddle.__version__, "numpy": np.__version__},
        "seconds": {"encoding": encoded - begin, "metrics": time.perf_counter() - encoded},
    }

    def write() -> None:
        codes_file, known = config.paths.database_codes, coded[1]
        made_from = record_of(encoder, database, keys, known.left_out)
        save_codes(codes_file, known.codes, made_from, config.bit)
        _log.info(f"Database codes: {codes_file}")
        write_metrics(config.paths.metrics, config.paths.curves, results)
        for line in metrics.summary():
            _log.info(line)

    distributed.compute_on_main_process(write)
    _log.info(f"EVAL-{trained.variant}, bit:{config.bit}, dataset:{name}, MAP:{metrics.map:.3f}")
    shown = ["--pretrained", config.pretrained] if config.pretrained else []
    search = next_command(config, "predict.py", PREDICT_COMMAND, *shown, "--img", "my_picture.jpg")
    export = next_command(config, "export_model.py", EXPORT_COMMAND, *shown)
    _log.info(f"Next, search: {search}")
    _log.info(f"or export: {export}")
    return 0


def _score_values(trained: Config, epoch: int | None, coded: Sequence[Encoded]) -> dict[str, float]:
    """MAP of tanh(βz), not binarized, and the β that the training had come to."""
    if epoch is None:
        epoch = trained.epoch
        _log.warning(
            f"{trained.weights} has no record: β is that of --epoch {epoch} and "
            f"--step-continuation {trained.step_continuation}"
        )
    grows, metric = not trained.no_continuation, mean_average_precision_of_values
    scale = continuation_scale(max(1, epoch), trained.step_continuation, grows)
    value = score(metric, trained, *coded, lambda each: np.tanh(np.float32(scale) * each.z))
    _log.info(f"MAP of tanh({scale:.3f} z), not binarized: {value:.4f}")
    return {"map_continuous": value, "continuous_scale": scale}
