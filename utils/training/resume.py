"""Resume: what a saved training must have in common with this run, and where it goes on."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from models.hashnet import HashingNetwork
from utils.config import FULL_METHOD, Config
from utils.loss import HashNetLoss
from utils.optimizer import OPTIMIZER_SCALARS, OPTIMIZER_SLOTS
from utils.system import distributed
from utils.system.errors import UserError
from utils.system.state_files import (
    OPTIMIZER,
    TRAINING,
    WEIGHTS,
    assign_strictly,
    find_state,
    read_state,
    read_training_state,
)
from utils.training.checkpoint import Progress

RECIPE = (
    *("model", "backbone", "seed", "num_class", "crop_size", "resize_size", "fast_decode"),
    *("alpha", "step_continuation", "no_weighting", "no_continuation", "learning_rate", "de_step"),
    *("optimizer", "momentum", "weight_decay", "topK", "exclude_self", "amp", "tf32"),
)
"""Settings that decide what a training computes, and which of its weights are the best.

`batch_size` and `sampling` count too, unless they come to the same (`differences`). Not so the
number of epochs, which may grow, how often is evaluated and saved, and the machine.
"""
_log = logging.getLogger(__name__)


def resume(
    config: Config,
    settings: dict[str, Any],
    network: HashingNetwork,
    optimizer: paddle.optimizer.Optimizer,
    criterion: HashNetLoss,
) -> Progress:
    """Sets network, optimizer and the bank to what `--resume` names; the same on every rank.

    `settings` are the run's as they are saved, to be compared. Returns how far the training had
    come. Raises a `UserError` where the state is missing, broken or of another network, was trained
    with other settings and `force_resume` is not set, or `--last-epoch` contradicts it.
    """
    path = find_state(config.resume, TRAINING, WEIGHTS)
    if path.suffix == WEIGHTS:
        return _resume_weights(config, path, network, optimizer)
    parts, record, _ = read_training_state(path)
    try:
        progress = _progress_of(record["progress"])
        saved = record["settings"]
        for name in ("batch_size", "learning_rate", "sampling", "ranks", "data"):
            if type(saved[name]) is not type(settings[name]):
                raise ValueError(name)
        if not (0 < saved["batch_size"] < 1 << 31 and 0 < saved["ranks"] < 1 << 31):
            raise ValueError("batch_size or ranks")
        rank = distributed.rank()
        bank = parts.get(f"bank_{rank}", parts.get("bank_0", {}))  # a loss may have none
        state, kept = parts["network"], parts["optimizer"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not a training state: {error!r} is wrong or missing") from error
    if config.last_epoch not in (0, progress.epoch):
        raise UserError(f"--last-epoch {config.last_epoch}: {path} says {progress.epoch} epochs")
    _compare(saved, settings, config)
    network.set_weights(state, path)
    same_images = saved["data"].get("train list") == settings["data"]["train list"]
    shapes = {name: tuple(value.shape) for name, value in criterion.state_dict().items()}
    same_bank = same_images and shapes == {name: array.shape for name, array in bank.items()}
    if config.force_resume and not same_bank:
        _log.warning("The bank begins empty: the saved one is of other images or labels")
    else:
        assign_strictly(criterion, bank, str(path))
    _restore_optimizer(optimizer, network, kept, path, {})
    _log.info(f"----- Resume: Load model, optimizer and state from {path}")
    _log.info(f"{progress.epoch} of {config.epoch} epochs are done")
    before, here = samples_per_step(saved), samples_per_step(settings)
    if progress.step and (before != here or not same_images):
        _log.warning(
            f"Epoch {progress.epoch + 1} begins anew: its {progress.step} steps were of "
            f"{before} images, now a step has {here}" + ("" if same_images else ", of another list")
        )
        progress = replace(progress, step=0, losses=(), counts=())
    best = config.paths.weights
    elsewhere = os.path.realpath(path) != os.path.realpath(config.paths.last)
    if progress.best_epoch and (elsewhere or not best.is_file()):
        _log.warning(f"{best} is not of this training: the best MAP is sought anew from here")
        progress = replace(progress, best_map=Progress.best_map, best_epoch=0)
    return progress


def _resume_weights(
    config: Config, path: Path, network: HashingNetwork, optimizer: paddle.optimizer.Optimizer
) -> Progress:
    """Goes on with the published code's two files, which do not tell the epoch."""
    if not config.last_epoch and path.is_file():
        raise UserError(
            f"{path.with_suffix(TRAINING)}: missing; --last-epoch N says how many epochs were "
            f"trained, where only {path.name} and its {OPTIMIZER} are there"
        )
    weights, internal_names, _ = read_state(path, "a file of trained weights")
    network.set_weights(weights, path)
    optimizer_path = path.with_suffix(OPTIMIZER)
    state, *_ = read_state(optimizer_path, "a file of the optimizer's state")
    _restore_optimizer(optimizer, network, state, optimizer_path, internal_names)
    _log.info(f"----- Resume: Load model, optimizer and state from {path}")
    return Progress(epoch=config.last_epoch)


def _progress_of(saved: dict[str, Any]) -> Progress:
    progress = Progress(**saved)
    numbers = (progress.epoch, progress.best_epoch, progress.step, *progress.counts)
    if not all(type(number) is int and 0 <= number < 1 << 31 for number in numbers):
        raise ValueError("progress in other than whole numbers from 0")
    losses, best = tuple(map(float, progress.losses)), float(progress.best_map)
    fit = len(losses) == len(progress.counts) == progress.step
    if not (fit and np.isfinite([best, *losses]).all()):
        raise ValueError("progress that does not fit together")
    return replace(progress, best_map=best, losses=losses, counts=tuple(progress.counts))


def _restore_optimizer(
    optimizer: paddle.optimizer.Optimizer,
    network: paddle.nn.Layer,
    state: dict[str, Any],
    path: Path,
    internal_names: dict[str, str],
) -> None:
    # Paddle itself would notice a missing entry at the first step, and a surplus one never. The
    # schedule's part is not read: the rate depends on the epoch alone.
    kind = type(optimizer).__name__
    scalars = OPTIMIZER_SCALARS.get(kind, ())
    restored = {"LR_Scheduler": optimizer.state_dict()["LR_Scheduler"]}
    for structured_name, parameter in network.named_parameters():
        if parameter.stop_gradient:  # running statistics, which no optimizer changes
            continue
        # The published code makes more layers: the hash layer is linear_5 there, linear_2 here.
        internal_name = internal_names.get(structured_name, parameter.name)
        for slot in (*OPTIMIZER_SLOTS[kind], *scalars):
            name = f"{internal_name}_{slot}_0"
            array, shape = state.get(name), (1,) if slot in scalars else tuple(parameter.shape)
            is_real = isinstance(array, np.ndarray) and array.dtype.kind == "f"
            if not is_real or array.shape != shape:
                raise UserError(
                    f"{path}: not the state of {kind} for this network: no {name} of the shape "
                    f"{list(shape)} in it"
                )
            restored[f"{parameter.name}_{slot}_0"] = array.astype(np.float32)
    optimizer.set_state_dict(restored)


def _compare(saved: dict[str, Any], settings: dict[str, Any], config: Config) -> None:
    changed = differences(saved, settings)
    if changed and not config.force_resume:
        raise UserError(
            f"--resume {config.resume}: another training than the saved one: "
            f"{'; '.join(changed)}; --force-resume goes on with the new settings"
        )
    for difference in changed:
        _log.warning(f"Another setting than before: {difference}")
    before, here = ((each["ranks"], each["sampling"]) for each in (saved, settings))
    if before != here and not before[0] == here[0] == 1:
        _log.warning(
            f"The saved state is of {before[0]} rank(s) ({before[1]}), this run has {here[0]} "
            f"({here[1]}); ranks without a bank of their own begin with rank 0's"
        )


def differences(saved: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Differences between this run's settings and the saved training's that change the result.

    The number of ranks is not among them: a training may go on with another one. Both are settings
    by name, with `ranks` (how many train) and `data` (what its lists are: name → text); what was
    not saved is not compared, but a training that says nothing of ablations was none. Returns a
    line for each.
    """
    saved = {**FULL_METHOD, **saved}
    names = list(RECIPE)
    if saved["ranks"] > 1 and now["ranks"] > 1:  # of one rank, both samplings are the same
        names.append("sampling")
    if samples_per_step(saved) != samples_per_step(now) or now["sampling"] == "replicate":
        names.append("batch_size")
    changed = [
        f"{name} is {now[name]}, the saved training had {saved[name]}"
        for name in names
        if name in saved and saved[name] != now[name]
    ]
    return changed + [
        f"the {name} is {value}, the saved training had {saved['data'][name]}"
        for name, value in now["data"].items()
        if name in saved["data"] and saved["data"][name] != value
    ]


def samples_per_step(settings: dict[str, Any]) -> int:
    """Images by which a step comes forward in an epoch's order.

    With `replicate` each rank walks an order of its own.
    """
    shared = settings["sampling"] == "shard"
    return settings["batch_size"] * (settings["ranks"] if shared else 1)
