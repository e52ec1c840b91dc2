"""The settings of a training → the parts that it needs beside those of every use of a network."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import paddle
from paddle.optimizer.lr import StepDecay

from models import HashNet
from utils.config.options import Config
from utils.datasets import Split
from utils.datasets.bad_images import Troubles
from utils.datasets.info import Card, read_card
from utils.datasets.loader import Batches
from utils.datasets.transforms import training_transform
from utils.inference.encoder import Watch
from utils.loss import HashNetLoss
from utils.lr_scheduler import halving_schedule
from utils.optimizer import build_optimizer
from utils.system import distributed
from utils.training.common import (
    build_encoder,
    build_loading,
    build_network,
    open_parts,
    rows_to_exclude,
    test_and_database,
    transform_of,
)
from utils.training.resume import step_of
from utils.training.validation import Validation


@dataclass(frozen=True)
class TrainingParts:
    """What a training works with.

    Attributes:
        dataset: the data set's name in log lines.
        settings: what decides what is computed; see `utils.training.resume.differences`.
        batches: of the training set.
        network: the network.
        criterion: the loss and its bank.
        schedule: of the learning rate.
        optimizer: over the network's parameters.
        validation: scores the network.
        troubles: says what loading has met.
        first_pictures: count → that many training pictures, [count, 3, side, side] float32.
    """

    dataset: str
    settings: dict[str, Any]
    batches: Batches
    network: HashNet
    criterion: HashNetLoss
    schedule: StepDecay
    optimizer: paddle.optimizer.Optimizer
    validation: Validation
    troubles: Troubles
    first_pictures: Callable[[int], paddle.Tensor]


def sampling_seed(config: Config) -> int:
    """The seed of this rank's order and augmentation: its own where it walks the whole set."""
    return config.seed + (distributed.rank() if config.sampling == "replicate" else 0)


def build_training(config: Config, log: logging.Logger, watch: Watch) -> TrainingParts:
    """Builds all parts; logs how large the data set is.

    Args:
        config: the run's settings.
        log: the run's log.
        watch: what the validation's batches go through, so that it may break off.

    Raises:
        UserError: a list or folder is missing or wrong.
    """
    card = read_card(config.dataset)
    (train,) = open_parts(config, card, "train")
    queries, database = test_and_database(config, card)
    transform = transform_of(config, card)
    loading = build_loading(config, transform, [train, queries, database], log.info)
    batches = Batches(
        train,
        training_transform(card.resize, config.resize_size, config.crop_size, config.fast_decode),
        config.batch_size,
        loading,
        training=True,
        seed=sampling_seed(config),
        shared=config.sampling == "shard",
    )
    log.info(f"train_set {len(train)}")
    log.info(f"test {len(queries)}")
    log.info(f"database {len(database)}")
    log.info(f"----- Total # of train batch: {len(batches)}")
    exclude = rows_to_exclude(queries, database, config.exclude_self, log)
    network = build_network(config.bit)
    encoder = build_encoder(config, network, transform, loading)
    settings = _settings(config, card, [train, queries, database])
    schedule, optimizer = _schedule_and_optimizer(config, settings, network)
    return TrainingParts(
        card.name,
        settings,
        batches,
        network,
        HashNetLoss(
            config.bit,
            len(train),
            config.alpha,
            train.labels.shape[1],
            distributed.World() if config.sampling == "shard" else None,
        ),
        schedule,
        optimizer,
        Validation(encoder, queries, database, config.topK, exclude, watch),
        Troubles(loading, log),
        functools.partial(encoder.network_input, train),
    )


def _settings(config: Config, card: Card, splits: list[Split]) -> dict[str, Any]:
    data = {f"{split.name} list": split.origin["list_sha256"] for split in splits}
    data["resize of the card"] = card.resize
    return {**asdict(config), "ranks": distributed.world_size(), "data": data}


def _schedule_and_optimizer(
    config: Config, settings: dict[str, Any], network: HashNet
) -> tuple[StepDecay, paddle.optimizer.Optimizer]:
    _, rate = step_of(settings)
    schedule = halving_schedule(rate, config.de_step)
    optimizer = build_optimizer(
        config.optimizer,
        network.backbone_parameters(),
        network.hash_parameters(),
        schedule,
        config.momentum,
        config.weight_decay,
    )
    return schedule, optimizer
