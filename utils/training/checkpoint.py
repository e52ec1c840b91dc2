"""What a training leaves on disk: the best weights by MAP and the newest training state."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import paddle

from utils.config import Config
from utils.datasets import Split
from utils.loss import HashNetLoss
from utils.optimizer import optimizer_arrays
from utils.system import distributed
from utils.system.errors import UserError
from utils.system.files import atomic_write, sha256_of_file, write_text
from utils.system.state_files import write_training_state

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        epoch: epochs done.
        best_map: the best MAP so far; below 0 before the first evaluation.
        best_epoch: the epoch it belongs to.
        step: steps done of the epoch after them; all of them, where only its evaluation is left.
        losses: what those steps came to, over all ranks.
        counts: how many images each of them saw.
    """

    epoch: int = 0
    best_map: float = -1.0
    best_epoch: int = 0
    step: int = 0
    losses: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()


def run_settings(config: Config, splits: Sequence[Split]) -> dict[str, Any]:
    """What decides what a training computes, in JSON values; see `resume.differences`."""
    data = {f"{split.name} list": split.origin["list_sha256"] for split in splits}
    data["resize of the data set"] = config.info.resize
    return {**config.settings(), "ranks": distributed.world_size(), "data": data}


class CheckpointSaver:
    """Saves a training; rank 0 writes, all ranks call it together.

    Args:
        config: the run's settings.
        settings: the same as they are saved (`run_settings`).
        network: whose weights are saved.
        optimizer: whose state is saved.
        criterion: whose bank is saved.

    Attributes:
        newest: how far the newest state on disk has come; None: there is none of this training.
    """

    def __init__(
        self,
        config: Config,
        settings: dict[str, Any],
        network: paddle.nn.Layer,
        optimizer: paddle.optimizer.Optimizer,
        criterion: HashNetLoss,
    ):
        self._paths, self._settings, self._sampling = config.paths, settings, config.sampling
        self._network, self._optimizer, self._criterion = network, optimizer, criterion
        self._fresh = not config.resume  # until its first best weights are saved
        self.newest: Progress | None = None

    def save_last(self, progress: Progress) -> None:
        """Writes `last_{bit}.npz`: all that `--resume` needs.

        No random state is among it: order, augmentation and dropout are drawn from (seed, epoch)
        and the image or step.

        Raises:
            UserError: a number is not finite, or the file cannot be written; the state on disk
                stays as it was.
        """
        banks = [_finite_arrays(self._criterion.state_dict())]
        if self._sampling == "replicate":
            banks = distributed.gather_objects(banks[0])
        if distributed.is_main_process():
            optimizer = optimizer_arrays(self._optimizer)
            parts = {
                "network": _finite_arrays(self._network.state_dict()),
                "optimizer": _finite_arrays(optimizer),
                **{f"bank_{rank}": bank for rank, bank in enumerate(banks)},
            }
            record = {
                "progress": asdict(progress),
                "settings": self._settings,
                "schedule": optimizer["LR_Scheduler"],
            }
            write_training_state(self._paths.last, parts, record)
        self.newest = progress

    def save_best(self, progress: Progress) -> None:
        """Writes `weights_{bit}.pdparams`, `.pdopt` and the record of what they are.

        Raises:
            UserError: a number is not finite, or a file cannot be written.
        """
        if not distributed.is_main_process():
            return
        paths = self._paths
        if self._fresh:
            self._set_aside_earlier()
        network, optimizer = self._network.state_dict(), optimizer_arrays(self._optimizer)
        for path, state in ((paths.optimizer, optimizer), (paths.weights, network)):
            _finite_arrays(state)
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

    def _set_aside_earlier(self) -> None:
        """An earlier training's best weights are kept, under another name."""
        self._fresh = False
        if not self._paths.weights.is_file():
            return
        for path in (self._paths.weights_record, self._paths.weights):
            if path.is_file():
                earlier = path.with_name(f"earlier_{path.name}")
                path.replace(earlier)
        _log.info(f"Weights of an earlier training: now {earlier}")


def _finite_arrays(state: dict[str, Any]) -> dict[str, np.ndarray]:
    """The tensors of a state as arrays; refuses numbers that are not finite."""
    tensors = {n: value for n, value in state.items() if isinstance(value, paddle.Tensor)}
    for name, tensor in tensors.items():
        if not bool(paddle.isfinite(tensor).all()):
            raise UserError(
                f"{name} has become infinite or no number: nothing is saved, what was saved "
                "before is whole; a lower --learning-rate may help"
            )
    return {name: tensor.numpy() for name, tensor in tensors.items()}
