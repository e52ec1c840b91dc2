"""Where a training begins: a saved state, trained weights, ImageNet's or random ones."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import paddle

from models import HashNet
from models.initialization import initialize_from_data
from models.pretrained import load_backbone
from utils import checkpoint, distributed
from utils.checkpoint import Progress
from utils.loss import HashNetLoss
from utils.lr_scheduler import scaled_learning_rate
from utils.options import Config
from utils.state_files import with_ending

START_PICTURES = 64
"""How many training pictures a random start is normalised on."""


def begin_training(
    config: Config,
    log: logging.Logger,
    network: HashNet,
    optimizer: paddle.optimizer.Optimizer,
    criterion: HashNetLoss,
    first_pictures: Callable[[int], paddle.Tensor],
) -> Progress:
    """Sets the parts of a training to where it begins; the same on every rank.

    Args:
        config: the run's settings.
        log: the run's log.
        network: changed in place.
        optimizer: changed in place where a training goes on.
        criterion: its bank is changed in place where a training goes on.
        first_pictures: count → that many training pictures, [count, 3, h, w] float32.

    Returns:
        How far the training has come.

    Raises:
        UserError: weights or state are missing, broken or of another network.
    """
    if config.resume:
        _say_what_changes(config, log)
        progress = checkpoint.load_training(
            config.resume, network, optimizer, criterion, config.last_epoch, distributed.rank()
        )
        path = with_ending(config.resume, checkpoint.WEIGHTS)
        log.info(f"----- Resume: Load model, optimizer and state from {path}")
        return _without_lost_best(progress, config, log)
    if config.pretrained:
        path = checkpoint.load_weights(config.pretrained, network)
        log.info(f"----- Pretrained: Load model state from {path}")
    elif config.backbone_weights == "none":
        pictures = first_pictures(START_PICTURES)
        initialize_from_data(network, pictures)
        log.info(f"----- Random weights, normalised on {len(pictures)} training pictures")
    else:
        with distributed.first_goes_first():
            load_backbone(network, config.backbone_weights)
        log.info(f"----- Backbone: Load ImageNet weights from {config.backbone_weights}")
    return Progress(epoch=config.last_epoch)


def step_of(config: Config) -> tuple[int, float]:
    """Pictures that all ranks see in a step, and the rate of the first epoch."""
    pictures = config.batch_size * distributed.world_size()
    return pictures, scaled_learning_rate(config.learning_rate, pictures)


def _without_lost_best(progress: Progress, config: Config, log: logging.Logger) -> Progress:
    best = Path(config.output_dir, f"weights_{config.bit}{checkpoint.WEIGHTS}")
    if progress.best_epoch == 0 or best.is_file():
        return progress
    log.warning(f"{best} is not there: the best MAP is sought anew from here")
    return Progress(epoch=progress.epoch)


def _say_what_changes(config: Config, log: logging.Logger) -> None:
    saved = checkpoint.saved_settings(config.resume)
    for difference in checkpoint.changed_settings(saved, asdict(config)):
        log.warning(f"Another setting than before: {difference}")
    if "sampling" not in saved:
        return
    before = (saved["ranks"], saved["sampling"])
    now = (distributed.world_size(), config.sampling)
    if before == now or before[0] == now[0] == 1:  # of one rank, both samplings are the same
        return
    pictures, rate = step_of(config)
    pictures_before = saved["batch_size"] * saved["ranks"]
    rate_before = scaled_learning_rate(saved["learning_rate"], pictures_before)
    log.warning(
        f"The saved state is of {before[0]} rank(s) ({before[1]}), this run has {now[0]} "
        f"({now[1]}): pictures a step {pictures_before} → {pictures}, base rate "
        f"{rate_before:g} → {rate:g}; {_order_and_banks(before, now)}"
    )


def _order_and_banks(before: tuple[int, str], now: tuple[int, str]) -> str:
    ranks, sampling = now
    if sampling == "shard" or ranks == 1:
        return "pictures come in the order of the seed, dropout draws otherwise, one bank"
    kept = before[0] if before[1] == "replicate" else 1
    banks = "every rank has its bank" if kept >= ranks else f"ranks from {kept} begin with rank 0's"
    return f"each rank walks the whole training set in an order of its own, {banks}"
