"""Training loop: epochs, logging, checkpoints, graceful stop."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import paddle

from models import build_network
from models.layers import MixedPrecision, Normalize
from models.pretrained import load_backbone
from utils.config import TRAIN_COMMAND, Config, command_to_resume, next_command
from utils.datasets import Split
from utils.datasets.loader import BadImageReport, BatchLoader, first_images
from utils.engine import EpochResult, train_one_epoch
from utils.loss import HashNetLoss
from utils.lr_scheduler import (
    continuation_scale,
    halving_schedule,
    scaled_learning_rate,
    start_epoch,
)
from utils.metrics.plots import draw_training, read_epochs
from utils.optimizer import build_optimizer
from utils.system import distributed
from utils.system.errors import EXIT_SIGNAL, Interrupted, UserError, signals_handled_by
from utils.system.files import locked
from utils.system.runtime import check_mixed_precision, has_launcher
from utils.training.checkpoint import CheckpointSaver, Progress
from utils.training.curves import Curves
from utils.training.evaluator import (
    Evaluator,
    build_encoder,
    start_run,
    tell_sizes,
    warn_of_pairs_that_teach_nothing,
)
from utils.training.preemption import StopRequest
from utils.training.published import describe_recipe, read_published
from utils.training.resume import resume

START_IMAGES = 64
"""How many training images a random start is fitted to."""
_log = logging.getLogger(__name__)


def train(config: Config) -> int:
    """Trains a network; returns 0, or the status of a training that a signal has stopped."""
    own_seed = config.seed + (distributed.rank() if config.sampling == "replicate" else 0)
    lock = locked(config.paths.lock, f"a training of {config.bit} bits")
    with lock if distributed.is_main_process() else contextlib.nullcontext():
        start_run(config, config.paths.train_log, own_seed)
        if config.amp:
            check_mixed_precision()
        status = Trainer(config, own_seed).run()
        distributed.barrier()  # no rank leaves while another is at work
        return status


class Trainer:
    """One training run: its parts, and what happens in an epoch.

    `seed` is of this rank's order and augmentation.
    """

    def __init__(self, config: Config, seed: int):
        self.config, self.paths = config, config.paths
        self.started = time.strftime("%Y-%m-%dT%H:%M:%S")
        self.stop, self.bad_images = StopRequest(60 * config.save_minutes), BadImageReport()
        self.saving_seconds = 0.0
        self.curves = Curves(config.curves)
        ranks, is_shared = distributed.world_size(), config.sampling == "shard"
        train_set, queries, database = config.splits("train", "test", "database")
        num_train, num_class = train_set.labels.shape
        self.batches = BatchLoader(
            train_set,
            config.transform(train=True),
            config.batch_size,
            config.loader_options(config.transform()),
            (distributed.rank(), ranks) if is_shared else (0, 1),
            seed,
        )
        _log.info(f"train_set {num_train}")
        tell_sizes(config, queries, database)
        _log.info(f"----- Total # of train batch: {len(self.batches)}")
        warn_of_pairs_that_teach_nothing(train_set.labels)
        self.published = read_published(config.info.folder, config.bit)
        if config.variant != config.model:  # an ablation has no published run to stand beside
            self.published = {}
        self.network = build_network(config.backbone, config.bit)
        self.criterion = HashNetLoss(
            config.bit, num_train, config.alpha, num_class, is_shared, not config.no_weighting
        )
        rate = scaled_learning_rate(config.learning_rate, config.batch_size * ranks)
        self.schedule = halving_schedule(rate, config.de_step)
        _log.info(describe_recipe(config, ranks, len(self.batches), rate))
        self.optimizer = build_optimizer(
            config.optimizer,
            self.network.backbone_parameters(),
            self.network.hash_parameters(),
            self.schedule,
            config.momentum,
            config.weight_decay,
        )
        encoder = build_encoder(config, self.network, weights={})
        self.evaluator = Evaluator(config, encoder, queries, database)
        # What decides what a training computes: saved with it, compared where it goes on.
        splits = train_set, queries, database
        data = {f"{split.name} list": split.origin["list_sha256"] for split in splits}
        data.update({"resize of the data set": config.info.resize, "data set": config.info.name})
        settings = {**config.settings(), "ranks": ranks, "data": data}
        saved = (settings, self.network, self.optimizer, self.criterion)
        self.saver = CheckpointSaver(self.paths, *saved)
        if config.resume:
            self.progress = resume(config, *saved)
        else:
            self._load_start(train_set)
            self.progress = Progress(epoch=config.last_epoch)
        pixels_to_z = paddle.nn.Sequential(Normalize(), self.network)
        self.pixels_to_z = distributed.synchronized(
            MixedPrecision(pixels_to_z) if config.amp else pixels_to_z
        )

    def _load_start(self, train_set: Split) -> None:
        """Sets the weights that a new training begins with."""
        config = self.config
        if config.pretrained:
            self.network.load_weights(config.pretrained)
        elif config.backbone_weights == "none":
            options = config.loader_options(config.transform())
            pixels = first_images(train_set, config.transform(), START_IMAGES, options)
            _log.info(f"Fitting random weights to {len(pixels)} training images...")
            how = self.network.initialize(Normalize()(paddle.to_tensor(pixels)))
            _log.info(f"----- Random weights, {how}")
        else:
            load_backbone(self.network, config.backbone_weights)
            known = config.backbone_weights in ("paddle", Config.backbone_weights)
            what = "ImageNet weights" if known else "weights"
            _log.info(f"----- Backbone: Load {what} from {config.backbone_weights}")

    def run(self) -> int:
        """Trains to the last epoch: 0; or until a signal stops it, saves: 130 or 143."""
        if self.progress.epoch >= self.config.epoch:
            done = f"{self.progress.epoch} epochs are done already"
            _log.info(f"Nothing to train: {done}, --epoch asks for {self.config.epoch}")
            return 0
        self.saver.prepare(self.config.as_yaml(), self.progress)
        if self.config.curves and distributed.is_main_process():
            goes_on = self.config.resume and self.paths.epochs.is_file()
            earlier = read_epochs(self.paths.epochs) if goes_on else ()
            self.curves.begin(self.paths.scalars, earlier)
        begun = self.progress
        with signals_handled_by(self.stop.note):
            with contextlib.suppress(Interrupted):  # in the middle of an evaluation
                self._train()
            if self.stop.number:
                self._save_stopped(begun)
                return EXIT_SIGNAL + self.stop.number
        return 0

    def _train(self) -> None:
        config = self.config
        chance = self.evaluator.chance()
        _log.info(f"Chance-level MAP (mean share of relevant database images): {chance:.3f}")
        before = self._evaluate_start(chance) if config.eval_first else None
        within = f" at step {self.progress.step}" if self.progress.step else ""
        _log.info(f"Start training from epoch {self.progress.epoch + 1}{within}.")
        begin, done_before = time.perf_counter(), self._epochs_done()
        for epoch in range(self.progress.epoch + 1, config.epoch + 1):
            self._run_epoch(epoch)
            if self.stop.number:
                return
            done = self._epochs_done() - done_before
            if done and epoch < config.epoch:  # else an evaluation alone was left
                an_epoch = (time.perf_counter() - begin) / done
                left = timedelta(seconds=round(an_epoch * (config.epoch - epoch)))
                _log.info(f"About {left} to go, {an_epoch:.1f} s an epoch")
        _log.info(f"Training completed for {config.variant}({config.bit}).")
        best = self.progress
        _log.info(f"Best MAP(e{best.best_epoch}): {best.best_map:.3f}")
        if before is not None:
            _log.info(
                f"Chance {chance:.3f}, before training {before:.3f}, best {best.best_map:.3f}"
            )
        distributed.compute_on_main_process(self._draw, chance)
        evaluation = next_command(config, "main_single_gpu.py", TRAIN_COMMAND, "--eval")
        _log.info(f"Next, evaluate: {evaluation}")

    def _epochs_done(self) -> float:
        return self.progress.epoch + self.progress.step / len(self.batches)

    def _draw(self, chance: float) -> None:
        name = f"{self.config.variant}, {self.config.bit} bits"
        try:
            runs = {name: read_epochs(self.paths.epochs)}
            title = f"{self.config.info.name}: {name}"
            draw_training(runs, self.paths.training, title, [chance])
            _log.info(f"Figure: {self.paths.training}")
        except UserError as error:  # an extra
            _log.info(f"No figure: {error}")

    def _run_epoch(self, epoch: int) -> None:
        config = self.config
        rate = start_epoch(self.schedule, epoch)
        self.criterion.scale = continuation_scale(
            epoch, config.step_continuation, not config.no_continuation
        )
        result = self._take_steps(epoch)
        while self.progress.step < len(self.batches) and not self.stop.number:
            self._save_last()  # the clock wants it
            result += self._take_steps(epoch)
        if self.stop.number:
            return
        values = self._epoch_values(epoch, rate, result)
        is_last = epoch == config.epoch
        if is_last or epoch % config.eval_epoch == 0:
            _log.info(f"----- Validation after Epoch: {epoch}")
            values.update(self.evaluator.evaluate(self.stop))
            self._keep_best(epoch, values["map"])
            values["best_map"] = self.progress.best_map
            values["best_epoch"] = self.progress.best_epoch
        self.progress = Progress(epoch, self.progress.best_map, self.progress.best_epoch)
        values["saving_seconds"], self.saving_seconds = self.saving_seconds, 0.0
        self.saver.append_metrics(values)
        self.curves.add(values)
        asked_for = config.save_epoch and epoch % config.save_epoch == 0
        if "map" in values or asked_for or self.stop.save_due:
            self._save_last()

    def _take_steps(self, epoch: int) -> EpochResult:
        """Takes the steps of an epoch that are left, or those before a stop or a save."""
        self.batches.set_epoch(epoch, self.progress.step)
        self.network.train()
        result = train_one_epoch(
            self.pixels_to_z,
            self.criterion,
            self.optimizer,
            self.batches,
            f"Epoch[{epoch:03d}/{self.config.epoch:03d}]",
            self.config.debug_steps,
            self.stop,
        )
        self.progress = replace(
            self.progress,
            step=self.progress.step + len(result.losses),
            losses=self.progress.losses + result.losses,
            counts=self.progress.counts + result.counts,
        )
        return result

    def _save_last(self) -> None:
        self._save(self.saver.save_last)
        self.stop.saved()

    def _save(self, write: Callable[[Progress], None]) -> None:
        begin = time.perf_counter()
        write(self.progress)
        self.saving_seconds += time.perf_counter() - begin

    def _epoch_values(self, epoch: int, rate: float, result: EpochResult) -> dict[str, Any]:
        """What an epoch came to: logged, and a line of the metrics file."""
        losses, counts = self.progress.losses, self.progress.counts
        loss = float(np.multiply(losses, counts).sum() / np.sum(counts))
        _log.info(
            f"{self.config.variant}[{epoch:2d}/{self.config.epoch}] bit:{self.config.bit}, "
            f"lr:{rate:.9f}, scale:{self.criterion.scale:.3f}, train loss:{loss:.3f}"
        )
        published = {}
        if epoch in self.published:
            figures = self.published[epoch]
            published = {"published_loss": figures.loss, "published_map": figures.map}
            _log.info(f"Published run, epoch {epoch}: loss {figures.loss:.3f}, here {loss:.3f}")
        # θ = 0 for every pair: ln 2 a pair, of which the weighted loss has two means.
        says_nothing = math.log(2) * (1 if self.config.no_weighting else 2)
        if loss > 1.05 * says_nothing:
            _log.warning(
                f"The loss has climbed to {loss:.3f}, above {says_nothing:.3f}, the loss of codes "
                "that say nothing: codes of dissimilar images are becoming equal; "
                "a lower --learning-rate may help"
            )
        replaced = list(distributed.merged(self.batches.bad).values())
        self.bad_images.warn(replaced, "training images are bad, others take their places")
        return {
            "run": self.started,
            "epoch": epoch,
            "lr": rate,
            "scale": self.criterion.scale,
            "loss": loss,
            "pictures": sum(counts),
            "seconds": result.seconds,
            "reader_seconds": result.reader_seconds,
            "batch_seconds": result.seconds / max(1, len(result.losses)),
            "pictures_per_second": sum(result.counts) / result.seconds,
            "replaced": replaced,
            **published,
        }

    def _evaluate_start(self, chance: float) -> float:
        _log.info("----- Validation before training")
        values = self.evaluator.evaluate(self.stop)
        _log.info(f"Before training: MAP:{values['map']:.3f}, chance:{chance:.3f}")
        row = {"run": self.started, "epoch": self.progress.epoch, **values, "chance": chance}
        if not self.config.resume:  # else the epoch has its line
            self.saver.append_metrics(row)
            self.curves.add(row)
        return values["map"]

    def _keep_best(self, epoch: int, value: float) -> None:
        is_best = value > self.progress.best_map
        if is_best:
            self.progress = replace(self.progress, best_map=value, best_epoch=epoch)
        best = self.progress
        _log.info(
            f"{self.config.variant} epoch:{epoch}, bit:{self.config.bit}, "
            f"dataset:{self.config.info.name}, MAP:{value:.3f}, "
            f"Best MAP(e{best.best_epoch}): {best.best_map:.3f}"
        )
        figures = self.published.get(epoch)
        if figures and figures.map is not None:
            _log.info(f"Published run, epoch {epoch}: MAP {figures.map:.3f}, here {value:.3f}")
        _log.info(f"Max mAP so far: {best.best_map:.4f} at epoch_{best.best_epoch}")
        if is_best:
            self._save(self.saver.save_best)

    def _save_stopped(self, begun: Progress) -> None:
        """Saves the state between two steps of an epoch, or before its evaluation."""
        if self.progress not in (begun, self.saver.newest):
            self._save_last()
        state = str(self.paths.last) if self.saver.newest else self.config.resume
        saved = f"state: {state}" if state else "nothing was trained yet"
        _log.info(
            f"Stopped in epoch {self.progress.epoch + 1} after {self.progress.step} of "
            f"{len(self.batches)} steps; {saved}"
        )
        how = " (under the same launcher)" if has_launcher() else ""
        _log.info(f"To go on{how}: {command_to_resume(state)}")
