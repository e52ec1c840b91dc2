"""The settings of a run → the parts that every use of a network needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import paddle

from models import HashNet
from utils.config.options import Config
from utils.datasets import Split, open_splits, own_rows
from utils.datasets.cache_space import open_cache
from utils.datasets.info import Card
from utils.datasets.loader import Loading
from utils.datasets.transforms import Transform, evaluation_transform
from utils.inference.backends import Coder, DygraphCoder, InferenceCoder
from utils.inference.encoder import Encoder
from utils.inference.predictor import Machine
from utils.system import distributed
from utils.system.errors import UserError
from utils.system.runtime import cores_for_each

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


def open_parts(config: Config, card: Card, *names: str) -> list[Split]:
    """Parts of a data set, as the settings have it: 'train', 'test', 'database'."""
    return open_splits(
        card,
        names,
        config.data_path,
        config.list_path,
        config.num_class,
        config.seed,
        config.allow_outside,
    )


def test_and_database(config: Config, card: Card) -> list[Split]:
    """The queries and the database of a data set."""
    return open_parts(config, card, "test", "database")


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
