"""Weights and training states on disk: `weights_{bit}.*` (best by MAP), `last_{bit}.*` (newest)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import paddle

from utils.system.errors import UserError
from utils.system.state_files import assign_strictly, read_state, with_ending
from utils.system.state_sets import FoundSet, find_set, write_set

WEIGHTS, OPTIMIZER, STATES = ".pdparams", ".pdopt", ".pdstates"
_KEEPS = {"Momentum": "velocity", "RMSProp": "mean_square", "AdamW": "moment1"}
"""What each of Paddle's optimizers keeps for a parameter, as its state names it."""


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        epoch: epochs done.
        best_map: the best MAP so far; below 0 before the first evaluation.
        best_epoch: the epoch it belongs to.
        step: steps done of the epoch after them; all of them, where only its evaluation is left.
        losses: what those steps came to, over all ranks.
        counts: how many pictures each of them saw.
    """

    epoch: int = 0
    best_map: float = -1.0
    best_epoch: int = 0
    step: int = 0
    losses: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()


def save_weights(
    prefix: Path, network: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer
) -> Path:
    """Writes `prefix.pdparams` and `prefix.pdopt`; returns the path of the weights.

    Raises:
        UserError: a number is not finite, or a file cannot be written.
    """
    write_set(prefix, _states(network, optimizer), None)
    return with_ending(prefix, WEIGHTS)


def save_training(
    prefix: Path,
    network: paddle.nn.Layer,
    optimizer: paddle.optimizer.Optimizer,
    criterion: paddle.nn.Layer,
    progress: Progress,
    settings: dict[str, Any],
    other_banks: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes all that a training needs to go on: weights, optimizer, banks, progress, settings.

    No random state is among it: order, augmentation and dropout are drawn from (seed, epoch) and
    the row or step. The files replace the saved ones as one (`utils.system.state_sets`).

    Args:
        prefix: such as `output/last_64`.
        network: its weights are saved.
        optimizer: its state is saved, with the schedule's.
        criterion: its bank is saved, as rank 0's.
        progress: how far the training has come.
        settings: the run's settings, with `ranks` and `data`; see `resume.differences`.
        other_banks: the banks of ranks 1, 2, …, where they differ from rank 0's.

    Raises:
        UserError: a number is not finite, or a file cannot be written; what was saved stays.
    """
    record = {
        "progress": asdict(progress),
        "bank": criterion.state_dict(),
        "config": {name: settings[name] for name in settings if name not in ("ranks", "data")},
        "ranks": settings.get("ranks", 1),
        "data": settings.get("data", {}),
        "other_banks": list(other_banks),
    }
    write_set(prefix, _states(network, optimizer), (STATES, record))


def _states(
    network: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer
) -> dict[str, dict[str, Any]]:
    # What was loaded becomes the optimizer's own at its first step; Paddle 2.6 does not save it
    # before.
    held = getattr(optimizer, "_accumulators_holder", {})
    states = {OPTIMIZER: {**held, **optimizer.state_dict()}, WEIGHTS: network.state_dict()}
    for state in states.values():
        for name, value in state.items():
            if isinstance(value, paddle.Tensor) and not bool(paddle.isfinite(value).all()):
                raise UserError(
                    f"{name} has become infinite or no number: nothing is saved, what was saved "
                    "before is whole; a lower --learning-rate may help"
                )
    return states


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
    found = _find(prefix)
    load_weights(found.paths[WEIGHTS], network)
    _restore_optimizer(optimizer, network, found.paths[OPTIMIZER])
    states, state = _states_path(prefix), found.record
    if state is None:
        if last_epoch:
            return Progress(epoch=last_epoch)
        raise UserError(f"{states}: missing; --last-epoch N says how many epochs were trained")
    try:
        progress = _progress_of(state["progress"])
        banks = [state["bank"], *state.get("other_banks", ())]
        bank = dict(banks[rank if rank < len(banks) else 0])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{states}: not a training's state: {error}") from error
    if last_epoch not in (0, progress.epoch):
        raise UserError(f"--last-epoch {last_epoch}: {states} says {progress.epoch} epochs")
    assign_strictly(criterion, bank, str(states))
    return progress


def saved_settings(prefix: str) -> dict[str, Any]:
    """The settings a saved state was trained with, its `ranks` and `data`; empty without any."""
    state = _find(prefix).record or {}
    config = state.get("config")
    if not isinstance(config, dict):
        return {}
    return {**config, "ranks": state.get("ranks", 1), "data": state.get("data", {})}


def _find(prefix: str) -> FoundSet:
    return find_set(
        with_ending(prefix, WEIGHTS).with_suffix(""),
        (WEIGHTS, OPTIMIZER),
        STATES,
        "a training's state",
    )


def _states_path(prefix: str) -> Path:
    return with_ending(prefix, WEIGHTS).with_suffix(STATES)


def _progress_of(saved: dict[str, Any]) -> Progress:
    progress = Progress(**saved)
    numbers = (progress.epoch, progress.best_epoch, progress.step, *progress.counts)
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("its progress is not in whole numbers from 0")
    losses = tuple(float(loss) for loss in progress.losses)
    if len(losses) != len(progress.counts) or type(progress.best_map) is not float:
        raise ValueError("its progress does not fit together")
    return replace(progress, losses=losses, counts=tuple(progress.counts))


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
