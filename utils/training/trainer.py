"""Training: the epochs, what is said and kept of them, and where a signal stops them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import paddle

from models.mixed_precision import MixedPrecision
from models.normalization import PictureNormalization
from utils import engine
from utils.config import TRAIN_COMMAND, config_as_yaml
from utils.config.command_line import command_to_resume
from utils.config.options import Config
from utils.datasets.loader import derived_seed
from utils.lr_scheduler import continuation_scale, start_epoch
from utils.system import distributed
from utils.system.disk import check_space, check_writable, training_files
from utils.system.files import replacing
from utils.system.logger import append_metrics, open_log, progress
from utils.system.runtime import check_mixed_precision, choose_device, has_launcher
from utils.training.builders import build_training, sampling_seed
from utils.training.checkpoint import Progress
from utils.training.evaluator import evaluate_weights
from utils.training.preemption import Interrupted, Interruption
from utils.training.saver import Keeper
from utils.training.start import begin_training

INDIFFERENT_LOSS = 2 * math.log(2)
"""The loss of codes that say nothing: θ = 0 for every pair."""


def run(config: Config) -> int:
    """Trains, or with `--eval` evaluates.

    Returns:
        The exit status: 0, or that of a training that Ctrl-C or SIGTERM has stopped.

    Raises:
        UserError: something the user can mend: data, weights, settings, a full disk.
    """
    logs = Path(config.log_path or Path(config.output_dir, "test" if config.eval else "train"))
    if distributed.is_first():
        check_writable(config.output_dir)
        check_writable(logs)
    log = open_log(logs / f"log_{config.bit}.txt")
    device = choose_device(config.device)
    if config.amp and not config.eval:
        check_mixed_precision()
    log.info(
        f"Device: {device}, Paddle {paddle.__version__}, seed {sampling_seed(config)}, "
        f"rank {distributed.rank()} of {distributed.world_size()}"
    )
    paddle.seed(config.seed)  # one for all ranks, so that their first weights are the same
    status = 0
    if config.eval:
        evaluate_weights(config, log, logs)
    else:
        status = Training(config, log, logs).run()
    distributed.barrier()  # no rank leaves while another still needs it, or rank 0 writes
    return status


class Training:
    """One training run: its parts, and what happens in an epoch.

    Args:
        config: the run's settings.
        log: the run's log.
        logs: folder of metrics and settings.
    """

    def __init__(self, config: Config, log: logging.Logger, logs: Path):
        self.config, self.log, self.logs = config, log, logs
        self.started = time.strftime("%Y-%m-%dT%H:%M:%S")
        self.interruption = Interruption()
        self.parts = parts = build_training(config, log, self.interruption.watch)
        saved_parts = (parts.network, parts.optimizer, parts.criterion)
        self.progress = begin_training(
            config, parts.settings, log, *saved_parts, parts.first_pictures
        )
        self.keeper = Keeper(config, parts.settings, self.progress, *saved_parts, log)
        self.losses = engine.StepLosses()
        pixels_to_z = paddle.nn.Sequential(PictureNormalization(), parts.network)
        self.pixels_to_z = distributed.synchronized(
            MixedPrecision(pixels_to_z) if config.amp else pixels_to_z
        )

    def run(self) -> int:
        """Trains from where it begins to the last epoch asked for.

        Returns:
            0; 130 or 143 where Ctrl-C or SIGTERM has stopped it, after saving how far it came.
        """
        if self.progress.epoch >= self.config.epoch:
            done = f"{self.progress.epoch} epochs are done already"
            self.log.info(f"Nothing to train: {done}, --epoch asks for {self.config.epoch}")
            return 0
        self._check_disk()
        self._write_settings()
        with self.interruption:
            try:
                self._train()
            except Interrupted as stop:
                self._keep_stopped()
                return stop.status
        return 0

    def _train(self) -> None:
        config = self.config
        chance = self.parts.validation.chance()
        self.log.info(f"Chance (mean share of relevant database pictures): {chance:.3f}")
        before = self._validate_start(chance) if config.eval_first else None
        within = f" at step {self.progress.step}" if self.progress.step else ""
        self.log.info(f"Start training from epoch {self.progress.epoch + 1}{within}.")
        for epoch in range(self.progress.epoch + 1, config.epoch + 1):
            self._run_epoch(epoch)
        self.log.info(f"Training completed for {config.model}({config.bit}).")
        best = self.progress
        self.log.info(f"Best MAP(e{best.best_epoch}): {best.best_map:.3f}")
        if before is not None:
            self.log.info(
                f"Chance {chance:.3f}, before training {before:.3f}, best {best.best_map:.3f}"
            )

    def _keep_stopped(self) -> None:
        """Saves the state between two steps of an epoch, or before its evaluation."""
        losses, keeper = self.losses, self.keeper
        if losses.step:
            losses.settle()
            known = (tuple(losses.losses), tuple(losses.counts))
            self.progress = replace(
                self.progress, step=losses.step, losses=known[0], counts=known[1]
            )
        if self.progress != keeper.newest:
            keeper.save_newest(self.progress)
        saved = f"state: {keeper.resumable}" if keeper.resumable else "nothing was trained yet"
        self.log.info(
            f"Stopped in epoch {self.progress.epoch + 1} after {self.progress.step} of "
            f"{len(self.parts.batches)} steps; {saved}"
        )
        how = " (under the same launcher)" if has_launcher() else ""
        self.log.info(f"To go on{how}: {command_to_resume(keeper.resumable)}")

    def _check_disk(self) -> None:
        if not distributed.is_first():
            return
        config, parts = self.config, self.parts
        banks = distributed.world_size() if config.sampling == "replicate" else 1
        files = training_files(config.bit, parts.network, parts.optimizer, parts.criterion, banks)
        check_writable(config.output_dir, files)
        check_space(config.output_dir, files)

    def _write_settings(self) -> None:
        if distributed.is_first():
            with replacing(self.logs / f"config_{self.config.bit}.yaml") as path:
                path.write_text(config_as_yaml(self.config, TRAIN_COMMAND), encoding="utf-8")

    def _run_epoch(self, epoch: int) -> None:
        config = self.config
        last = epoch == config.epoch
        begun = self.progress
        self.losses = engine.StepLosses(begun.step, begun.losses, begun.counts)
        values = self._train_epoch(epoch)
        if last or epoch % config.eval_epoch == 0:
            self.log.info(f"----- Validation after Epoch: {epoch}")
            values.update(self._validate())
            self._keep_best(epoch, values["map"])
            values["best_map"] = self.progress.best_map
            values["best_epoch"] = self.progress.best_epoch
        best = {"best_map": self.progress.best_map, "best_epoch": self.progress.best_epoch}
        self.progress, self.losses = Progress(epoch, **best), engine.StepLosses()
        append_metrics(self.logs / f"metrics_{config.bit}.jsonl", values)
        if last or epoch % config.save_epoch == 0:
            self.keeper.save_newest(self.progress)

    def _train_epoch(self, epoch: int) -> dict:
        config = self.config
        rate = start_epoch(self.parts.schedule, epoch)
        self.parts.criterion.scale = continuation_scale(epoch, config.step_continuation)
        self.parts.batches.set_epoch(epoch, self.losses.step)
        self.parts.network.train()
        of = f"Epoch[{epoch:03d}/{config.epoch:03d}], Step[{{:04d}}/{len(self.parts.batches):04d}]"
        summary = engine.train_one_epoch(
            self.pixels_to_z,
            self.parts.criterion,
            self.parts.optimizer,
            self._steps(epoch),
            config.debug_steps,
            lambda step, loss, pace: self.log.info(f"{of.format(step)}, Loss: {loss:.4f}, {pace}"),
            self.losses,
        )
        self.log.info(
            f"HashNet[{epoch:2d}/{config.epoch}] bit:{config.bit}, lr:{rate:.9f}, "
            f"scale:{self.parts.criterion.scale:.3f}, train loss:{summary.loss:.3f}"
        )
        if summary.loss > 1.05 * INDIFFERENT_LOSS:
            self.log.warning(
                f"The loss has climbed to {summary.loss:.3f}, above 2 ln 2 = 1.386, the loss of "
                "codes that say nothing: codes of dissimilar pictures are becoming equal; "
                "a lower --learning-rate may help"
            )
        return {
            "run": self.started,
            "epoch": epoch,
            "lr": rate,
            "scale": self.parts.criterion.scale,
            **asdict(summary),
            "replaced": self.parts.troubles.replaced(self.parts.batches),
        }

    def _steps(self, epoch: int) -> Iterator:
        """The batches that the epoch has left."""
        first, seed = self.losses.step, self.config.seed + distributed.rank()
        batches = progress(self.parts.batches, f"epoch {epoch}/{self.config.epoch}", first)
        for step, batch in enumerate(self.interruption.watch(batches), first):
            # Anew each step, so that dropout needs no saved state; ranks drop differently.
            paddle.seed(derived_seed(seed, epoch, step))
            yield batch

    def _validate(self) -> dict:
        begun = time.perf_counter()
        value = self.parts.validation.map()
        seconds = time.perf_counter() - begun
        left_out = self.parts.validation.left_out
        self.parts.troubles.left_out(left_out)
        return {"map": value, "left_out": left_out, "evaluation_seconds": seconds}

    def _validate_start(self, chance: float) -> float:
        self.log.info("----- Validation before training")
        found = self._validate()
        self.log.info(f"Before training: MAP:{found['map']:.3f}, chance:{chance:.3f}")
        row = {"run": self.started, "epoch": self.progress.epoch, **found, "chance": chance}
        append_metrics(self.logs / f"metrics_{self.config.bit}.jsonl", row)
        return found["map"]

    def _keep_best(self, epoch: int, value: float) -> None:
        is_best = value > self.progress.best_map
        if is_best:
            self.progress = replace(self.progress, best_map=value, best_epoch=epoch)
        best = self.progress
        self.log.info(
            f"HashNet epoch:{epoch}, bit:{self.config.bit}, dataset:{self.parts.dataset}, "
            f"MAP:{value:.3f}, Best MAP(e{best.best_epoch}): {best.best_map:.3f}"
        )
        self.log.info(f"Max mAP so far: {best.best_map:.4f} at epoch_{best.best_epoch}")
        if is_best:
            self.keeper.save_best()
