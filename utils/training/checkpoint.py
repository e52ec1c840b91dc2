"""What a training leaves on disk: the best weights by MAP and the newest training state."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from utils.loss import HashNetLoss
from utils.optimizer import OPTIMIZER_SLOTS
from utils.system import distributed
from utils.system.errors import UserError
from utils.system.files import (
    OutputPaths,
    atomic_write,
    check_space,
    check_writable,
    set_aside,
    sha256_of_file,
    write_text,
)
from utils.system.logger import append_metrics, drop_later_epochs
from utils.system.state_files import TRAINING, find_state, write_training_state

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        epoch: epochs done.
        best_map: the best MAP so far; below 0 before the first evaluation.
        best_epoch: the epoch it belongs to.
        step: steps done of the next epoch; all of them, where only its evaluation is left.
        losses: of those steps, over all ranks.
        counts: how many images each of them saw.
    """

    epoch: int = 0
    best_map: float = -1.0
    best_epoch: int = 0
    step: int = 0
    losses: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()


class CheckpointSaver:
    """Saves a training; rank 0 writes, all ranks call it together.

    Attributes:
        newest: how far the newest state on disk has come; None: there is none of this training.
    """

    def __init__(
        self,
        paths: OutputPaths,
        settings: dict[str, Any],
        network: paddle.nn.Layer,
        optimizer: paddle.optimizer.Optimizer,
        criterion: HashNetLoss,
    ):
        self._paths, self._settings = paths, settings
        self._network, self._optimizer, self._criterion = network, optimizer, criterion
        self._own_banks = settings["sampling"] == "replicate"
        resumed = settings["resume"] and find_state(settings["resume"], TRAINING)
        goes_on = resumed and os.path.realpath(resumed) == os.path.realpath(paths.last)
        # What another training has left is set aside when the first of ours is written.
        self._theirs = set() if goes_on else {paths.last, paths.weights, paths.epochs}
        self.newest: Progress | None = None
        weights = _bytes_of(network)
        slots = weights * len(OPTIMIZER_SLOTS[type(optimizer).__name__])
        banks = distributed.world_size() if self._own_banks else 1
        self._sizes = {
            paths.weights: weights,
            paths.optimizer: slots,
            paths.last: weights + slots + banks * _bytes_of(criterion),
        }

    def prepare(self, settings_as_yaml: str, progress: Progress) -> None:
        """Finds out before the first step whether all will fit, and writes the run's settings.

        Lines of this training's metrics that are of epochs after `progress` go.
        """
        if not distributed.is_main_process():
            return
        # One that was stopped early and goes on may not have written all of its files yet.
        if not progress.best_epoch:
            self._theirs.add(self._paths.weights)
        if not progress.epoch:
            self._theirs.add(self._paths.epochs)
        check_writable(self._paths.folder, self._sizes, "--output-dir")
        check_space(self._sizes, self._theirs)
        write_text(self._paths.settings, settings_as_yaml)
        if self._paths.epochs not in self._theirs:
            drop_later_epochs(self._paths.epochs, progress.epoch)

    def append_metrics(self, values: dict[str, Any]) -> None:
        """Writes a line of `metrics_{bit}.jsonl`."""
        if not distributed.is_main_process():
            return
        if aside := self._make_way(self._paths.epochs):
            _log.info(f"Metrics of an earlier training: now {aside}")
        append_metrics(self._paths.epochs, values)

    def save_last(self, progress: Progress) -> None:
        """Writes `last_{bit}.npz`: all that `--resume` needs.

        No random state is among it: order, augmentation and dropout are drawn from (seed, epoch)
        and the image or step. Raises a `UserError` where a number is not finite, or the file
        cannot be written; the state on disk stays as it was.
        """
        banks = [_arrays(self._criterion.state_dict())]
        if self._own_banks:
            banks = distributed.gather_objects(banks[0])
        network, optimizer = self._states()
        parts = {f"bank_{rank}": bank for rank, bank in enumerate(banks)}
        if distributed.is_main_process():
            parts.update(network=_arrays(network), optimizer=_arrays(optimizer))
        record = {"progress": asdict(progress), "settings": self._settings}
        distributed.compute_on_main_process(self._write_last, parts, record)
        self.newest = progress

    def _write_last(self, parts: dict[str, dict], record: dict[str, Any]) -> None:
        if aside := self._make_way(self._paths.last):
            again = shlex.join(["python", sys.argv[0], "--resume", str(aside)])
            _log.warning(f"State of an earlier training: now {aside}; to go on with it: {again}")
        self._tell_of(self._paths.last)
        write_training_state(self._paths.last, parts, record)

    def save_best(self, progress: Progress) -> None:
        """Writes `weights_{bit}.pdparams`, `.pdopt` and the record of what they are."""
        distributed.compute_on_main_process(self._write_best, progress, *self._states())

    def _write_best(self, progress: Progress, network: dict, optimizer: dict) -> None:
        paths = self._paths
        if aside := self._make_way(paths.weights, paths.weights_record):
            _log.info(f"Weights of an earlier training: now {aside}")
        self._tell_of(paths.weights, paths.optimizer)
        for path, state in ((paths.optimizer, optimizer), (paths.weights, network)):
            with atomic_write(path, alone=True) as temporary:
                paddle.save(state, str(temporary))
        record = {
            "epoch": progress.best_epoch,
            "map": progress.best_map,
            "weights_sha256": sha256_of_file(paths.weights),
            "settings": self._settings,
            "versions": {"paddle": paddle.__version__, "numpy": np.__version__},
        }
        write_text(paths.weights_record, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        _log.info(f"----- Save BEST model: {paths.weights}")

    def _make_way(self, path: Path, *others: Path) -> Path | None:
        """Sets aside what another training has left; where the first file is now, or None."""
        aside = None
        if path in self._theirs and path.is_file():
            aside, *_ = set_aside(path, *filter(Path.is_file, others))
        self._theirs.discard(path)
        return aside

    def _tell_of(self, *files: Path) -> None:
        size = sum(map(self._sizes.get, files)) / 1e6
        _log.info(f"Saving {files[0]}, {size:.0f} MB")

    def _states(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The network's state and the optimizer's; refuses numbers that are not finite."""
        # What was loaded becomes the optimizer's own at its first step; Paddle 2.6 does not save
        # it before.
        held = getattr(self._optimizer, "_accumulators_holder", {})
        states = self._network.state_dict(), {**held, **self._optimizer.state_dict()}
        for state in states:
            for name, value in state.items():
                if isinstance(value, paddle.Tensor) and not bool(paddle.isfinite(value).all()):
                    raise UserError(
                        f"{name} has become infinite or no number: nothing is saved, what was "
                        "saved before is whole; a lower --learning-rate may help"
                    )
        return states


def _bytes_of(layer: paddle.nn.Layer) -> int:
    return 4 * sum(int(value.size) for value in layer.state_dict().values())


def _arrays(state: dict[str, Any]) -> dict[str, np.ndarray]:
    """The tensors of a state as arrays; what was loaded is one already, until a step is taken."""
    kinds = (paddle.Tensor, np.ndarray)
    return {name: np.asarray(value) for name, value in state.items() if isinstance(value, kinds)}
