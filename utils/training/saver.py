"""What a training leaves on disk: the best weights by MAP and the newest state."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import paddle

from utils.config.options import Config
from utils.loss import HashNetLoss
from utils.system import distributed
from utils.training import checkpoint
from utils.training.checkpoint import Progress


class Keeper:
    """Saves the parts of a training; rank 0 writes, all ranks call it together.

    Args:
        config: the run's settings.
        settings: what of them is saved with the state; see `utils.training.resume.differences`.
        begun: how far the training had come where it begins.
        network: whose weights are saved.
        optimizer: whose state is saved.
        criterion: whose bank is saved.
        log: the run's log.

    Attributes:
        newest: how far the newest state on disk has come.
        resumable: where it is; None: there is none yet.
    """

    def __init__(
        self,
        config: Config,
        settings: dict[str, Any],
        begun: Progress,
        network: paddle.nn.Layer,
        optimizer: paddle.optimizer.Optimizer,
        criterion: HashNetLoss,
        log: logging.Logger,
    ):
        self._config, self._settings, self._log = config, settings, log
        self.newest, self.resumable = begun, config.resume
        self._network, self._optimizer, self._criterion = network, optimizer, criterion
        self._output = Path(config.output_dir)
        self._fresh = not config.resume  # until its first best weights are saved

    def save_newest(self, progress: Progress) -> None:
        """Writes `last_{bit}`: all that `--resume` needs.

        Raises:
            UserError: a number is not finite, or a file cannot be written; the state on disk
                stays as it was.
        """
        banks = []
        if self._config.sampling == "replicate":
            state = self._criterion.state_dict()
            banks = distributed.gather_objects({name: t.numpy() for name, t in state.items()})
        prefix = self._output / f"last_{self._config.bit}"
        if distributed.is_first():
            checkpoint.save_training(
                prefix,
                self._network,
                self._optimizer,
                self._criterion,
                progress,
                self._settings,
                banks[1:],
            )
        self.newest, self.resumable = progress, str(prefix)

    def save_best(self) -> None:
        """Writes `weights_{bit}`: the weights as they are now."""
        if not distributed.is_first():
            return
        prefix = self._output / f"weights_{self._config.bit}"
        if self._fresh:
            self._set_aside_earlier(prefix.with_suffix(checkpoint.WEIGHTS))
        path = checkpoint.save_weights(prefix, self._network, self._optimizer)
        self._log.info(f"----- Save BEST model: {path}")

    def _set_aside_earlier(self, weights: Path) -> None:
        """An earlier training's best weights are kept, under another name."""
        self._fresh = False
        if weights.is_file():
            earlier = weights.with_name(f"earlier_{weights.name}")
            weights.replace(earlier)
            self._log.info(f"Weights of an earlier training: now {earlier}")
