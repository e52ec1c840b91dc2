"""Where a training begins: a saved state, trained weights, ImageNet's or random ones."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import paddle

from models import HashNet
from models.initialization import initialize_from_data
from models.pretrained import load_backbone
from utils.config.options import Config
from utils.loss import HashNetLoss
from utils.system import distributed
from utils.system.errors import UserError
from utils.system.state_files import with_ending
from utils.training import checkpoint
from utils.training import resume as recipe
from utils.training.checkpoint import Progress

START_PICTURES = 64
"""How many training pictures a random start is normalised on."""


def begin_training(
    config: Config,
    settings: dict[str, Any],
    log: logging.Logger,
    network: HashNet,
    optimizer: paddle.optimizer.Optimizer,
    criterion: HashNetLoss,
    first_pictures: Callable[[int], paddle.Tensor],
) -> Progress:
    """Sets the parts of a training to where it begins; the same on every rank.

    Args:
        config: the run's settings.
        settings: what of them is compared with a saved training's.
        log: the run's log.
        network: changed in place.
        optimizer: changed in place where a training goes on.
        criterion: its bank is changed in place where a training goes on.
        first_pictures: count → that many training pictures, [count, 3, h, w] float32.

    Returns:
        How far the training has come.

    Raises:
        UserError: weights or state are missing, broken or of another network, or the state was
            trained with other settings and `force_resume` is not set.
    """
    if config.resume:
        saved = checkpoint.saved_settings(config.resume)
        if saved:
            _compare(saved, settings, config, log)
        progress = checkpoint.load_training(
            config.resume, network, optimizer, criterion, config.last_epoch, distributed.rank()
        )
        path = with_ending(config.resume, checkpoint.WEIGHTS)
        log.info(f"----- Resume: Load model, optimizer and state from {path}")
        if saved:
            progress = _in_own_steps(progress, saved, settings, criterion.codes.shape[0], log)
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


def _without_lost_best(progress: Progress, config: Config, log: logging.Logger) -> Progress:
    best = Path(config.output_dir, f"weights_{config.bit}{checkpoint.WEIGHTS}")
    if progress.best_epoch == 0 or best.is_file():
        return progress
    log.warning(f"{best} is not there: the best MAP is sought anew from here")
    return replace(progress, best_map=Progress.best_map, best_epoch=0)


def _compare(
    saved: dict[str, Any], settings: dict[str, Any], config: Config, log: logging.Logger
) -> None:
    changed = recipe.differences(saved, settings)
    if changed and not config.force_resume:
        raise UserError(
            f"--resume {config.resume}: another training than the saved one: "
            f"{'; '.join(changed)}; --force-resume goes on with the new settings"
        )
    for difference in changed:
        log.warning(f"Another setting than before: {difference}")
    change = recipe.change_of_ranks(saved, settings)
    if change:
        log.warning(change)


def _in_own_steps(
    progress: Progress,
    saved: dict[str, Any],
    settings: dict[str, Any],
    rows: int,
    log: logging.Logger,
) -> Progress:
    before, now = map(recipe.pictures_of_a_walk, (saved, settings))
    if progress.step == 0 or before == now:
        return progress
    step = recipe.step_after(progress.step, before, now, rows)
    log.warning(f"Epoch {progress.epoch + 1} goes on at step {step}, not {progress.step}")
    return replace(progress, step=step)
