"""Weights and training states on disk: `weights_{bit}.*` (best by MAP), `last_{bit}.*` (newest)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import paddle

from utils.errors import UserError
from utils.state_files import assign_strictly, read_state, with_ending, write_state

WEIGHTS, OPTIMIZER, STATES = ".pdparams", ".pdopt", ".pdstates"


RECIPE = (
    *("dataset", "seed", "batch_size", "crop_size", "resize_size", "fast_decode"),
    *("alpha", "step_continuation", "learning_rate", "de_step", "optimizer"),
    *("momentum", "weight_decay"),
)
"""Settings that decide what a training computes."""
_KEEPS = {"Momentum": "velocity", "RMSProp": "mean_square", "AdamW": "moment1"}
"""What each of Paddle's optimizers keeps for a parameter, as its state names it."""


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        epoch: epochs done.
        best_map: the best MAP so far; below 0 before the first evaluation.
        best_epoch: the epoch it belongs to.
    """

    epoch: int = 0
    best_map: float = -1.0
    best_epoch: int = 0


def save_weights(
    prefix: Path, network: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer
) -> Path:
    """Writes `prefix.pdparams` and `prefix.pdopt`; returns the path of the weights."""
    write_state(with_ending(prefix, OPTIMIZER), optimizer.state_dict())
    write_state(with_ending(prefix, WEIGHTS), network.state_dict())
    return with_ending(prefix, WEIGHTS)


def save_training(
    prefix: Path,
    network: paddle.nn.Layer,
    optimizer: paddle.optimizer.Optimizer,
    criterion: paddle.nn.Layer,
    progress: Progress,
    config: dict[str, Any],
    ranks: int = 1,
    other_banks: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes all that a training needs to go on: weights, optimizer, banks, progress, settings.

    Args:
        prefix: such as `output/last_64`.
        network: its weights are saved.
        optimizer: its state is saved.
        criterion: its bank is saved, as rank 0's.
        progress: how far the training has come.
        config: the run's settings.
        ranks: how many processes train.
        other_banks: the banks of ranks 1, 2, …, where they differ from rank 0's.
    """
    save_weights(prefix, network, optimizer)
    states = {
        "progress": asdict(progress),
        "bank": criterion.state_dict(),
        "config": config,
        "ranks": ranks,
        "other_banks": list(other_banks),
    }
    write_state(with_ending(prefix, STATES), states)


def load_weights(path: str | Path, network: paddle.nn.Layer) -> Path:
    """Sets a network's weights from a file, strictly.

    Args:
        path: the file, with or without its ending.
        network: changed in place; `network.bit` is compared for a clear message.

    Returns:
        The file's path.

    Raises:
        UserError: the file is missing or broken, or is for another network or other bits.
    """
    path = with_ending(path, WEIGHTS)
    state = read_state(path, "trained weights")
    bias = state.get("classifier_plus.6.bias")
    if bias is not None and bias.ndim == 1 and len(bias) != network.bit:
        raise UserError(f"{path}: weights for {len(bias)} bits, --bit {network.bit} was asked for")
    assign_strictly(network, state, str(path))
    return path


def load_training(
    prefix: str,
    network: paddle.nn.Layer,
    optimizer: paddle.optimizer.Optimizer,
    criterion: paddle.nn.Layer,
    last_epoch: int = 0,
    rank: int = 0,
) -> Progress:
    """Takes up a training where `save_training` left it.

    Args:
        prefix: such as `output/last_64`, with or without the ending of the weights.
        network: changed in place.
        optimizer: changed in place.
        criterion: its bank is changed in place.
        last_epoch: epochs done, for a state without `.pdstates` (the published code wrote none);
            its bank begins empty.
        rank: whose bank; a rank that had none of its own takes rank 0's.

    Returns:
        How far the training had come.

    Raises:
        UserError: a file is missing, broken or of another network or training set, or
            `last_epoch` contradicts the state.
    """
    path = load_weights(prefix, network)
    _restore_optimizer(optimizer, network, path.with_suffix(OPTIMIZER))
    states = path.with_suffix(STATES)
    if not states.is_file():
        if last_epoch:
            return Progress(epoch=last_epoch)
        raise UserError(f"{states}: missing; --last-epoch N says how many epochs were trained")
    state = read_state(states, "a training's state")
    try:
        progress = Progress(**state["progress"])
        banks = [state["bank"], *state.get("other_banks", ())]
        bank = dict(banks[rank if rank < len(banks) else 0])
    except (KeyError, TypeError) as error:
        raise UserError(f"{states}: not a training's state: {error}") from error
    if last_epoch not in (0, progress.epoch):
        raise UserError(f"--last-epoch {last_epoch}: {states} says {progress.epoch} epochs")
    assign_strictly(criterion, bank, str(states))
    return progress


def saved_settings(prefix: str) -> dict[str, Any]:
    """The settings a saved state was trained with, and its `ranks`; empty where it says none."""
    states = with_ending(prefix, WEIGHTS).with_suffix(STATES)
    if not states.is_file():
        return {}
    state = read_state(states, "a training's state")
    config = state.get("config")
    return {**config, "ranks": state.get("ranks", 1)} if isinstance(config, dict) else {}


def changed_settings(saved: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """What of the recipe differs between a saved training and the one that takes it up.

    Args:
        saved: `saved_settings` of the training.
        config: the settings of the run that goes on, by name.

    Returns:
        A line for each difference.
    """
    return [
        f"{name} is {config[name]}, the saved training had {saved[name]}"
        for name in RECIPE
        if name in saved and saved[name] != config[name]
    ]


def _restore_optimizer(
    optimizer: paddle.optimizer.Optimizer, network: paddle.nn.Layer, path: Path
) -> None:
    # Paddle itself would notice a missing entry at the first step, and a surplus one never.
    state = read_state(path, "the optimizer's state")
    kind = type(optimizer).__name__
    for parameter in network.parameters():
        kept = f"{parameter.name}_{_KEEPS[kind]}_"
        if not any(str(key).startswith(kept) for key in state):
            raise UserError(f"{path}: not the state of {kind} for this network: no {kept}* in it")
    if "LR_Scheduler" not in state:
        raise UserError(f"{path}: not an optimizer's state: no LR_Scheduler in it")
    optimizer.set_state_dict(state)
