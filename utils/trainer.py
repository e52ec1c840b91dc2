"""Training: builds the parts and runs the epochs."""

from __future__ import annotations

import functools
import logging
import math
import time
from dataclasses import asdict, replace
from pathlib import Path

import paddle

from models.normalization import PictureNormalization
from utils import distributed, engine
from utils.beginning import begin_training, step_of
from utils.cards import read_card
from utils.config import TRAIN_COMMAND, config_as_yaml
from utils.datasets import open_splits
from utils.evaluator import evaluate_weights
from utils.files import replacing
from utils.keeper import Keeper
from utils.loader import Batches, derived_seed
from utils.logger import append_metrics, open_log, progress
from utils.loss import HashNetLoss
from utils.lr_scheduler import (
    continuation_scale,
    halving_schedule,
    start_epoch,
)
from utils.optimizers import build_optimizer
from utils.options import Config
from utils.parts import (
    build_encoder,
    build_loading,
    build_network,
    rows_to_exclude,
    test_and_database,
    transform_of,
)
from utils.runtime import choose_device
from utils.transforms import training_transform
from utils.troubles import Troubles
from utils.validation import Validation

INDIFFERENT_LOSS = 2 * math.log(2)
"""The loss of codes that say nothing: θ = 0 for every pair."""


def run(config: Config) -> int:
    """Trains, or with `--eval` evaluates; the exit status is 0.

    Raises:
        UserError: something the user can mend: data, weights, settings, a full disk.
    """
    logs = Path(config.log_path or Path(config.output_dir, "test" if config.eval else "train"))
    log = open_log(logs / f"log_{config.bit}.txt")
    device = choose_device(config.device)
    log.info(
        f"Device: {device}, Paddle {paddle.__version__}, seed {sampling_seed(config)}, "
        f"rank {distributed.rank()} of {distributed.world_size()}"
    )
    paddle.seed(config.seed)  # one for all ranks, so that their first weights are the same
    if config.eval:
        evaluate_weights(config, log, logs)
    else:
        Training(config, log, logs).run()
    distributed.barrier()  # no rank leaves while another still needs it, or rank 0 writes
    return 0


def sampling_seed(config: Config) -> int:
    """The seed of this rank's order and augmentation: its own where it walks the whole set."""
    return config.seed + (distributed.rank() if config.sampling == "replicate" else 0)


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
        card = read_card(config.dataset)
        self.dataset = card.name
        (train,) = open_splits(
            card, ["train"], config.data_path, config.list_path, config.num_class, config.seed
        )
        queries, database = test_and_database(config, card)
        transform = transform_of(config, card)
        loading = build_loading(config, transform, [train, queries, database], log.info)
        self.troubles = Troubles(loading, log)
        self.batches = Batches(
            train,
            training_transform(
                card.resize, config.resize_size, config.crop_size, config.fast_decode
            ),
            config.batch_size,
            loading,
            training=True,
            seed=sampling_seed(config),
            shared=config.sampling == "shard",
        )
        self.network = build_network(config.bit)
        encoder = build_encoder(config, self.network, transform, loading)
        self.criterion = HashNetLoss(
            config.bit,
            len(train),
            config.alpha,
            train.labels.shape[1],
            distributed.World() if config.sampling == "shard" else None,
        )
        _, rate = step_of(config)
        self.schedule = halving_schedule(rate, config.de_step)
        self.optimizer = build_optimizer(
            config.optimizer,
            self.network.backbone_parameters(),
            self.network.hash_parameters(),
            self.schedule,
            config.momentum,
            config.weight_decay,
        )
        log.info(f"train_set {len(train)}")
        log.info(f"test {len(queries)}")
        log.info(f"database {len(database)}")
        log.info(f"----- Total # of train batch: {len(self.batches)}")
        exclude = rows_to_exclude(queries, database, config.exclude_self, log)
        self.validation = Validation(encoder, queries, database, config.topK, exclude)
        self.progress = begin_training(
            config,
            log,
            self.network,
            self.optimizer,
            self.criterion,
            functools.partial(encoder.network_input, train),
        )
        self.keeper = Keeper(config, self.network, self.optimizer, self.criterion, log)
        self.pixels_to_z = distributed.synchronized(
            paddle.nn.Sequential(PictureNormalization(), self.network)
        )

    def run(self) -> None:
        """Trains from the epoch after the last one done to the last one asked for."""
        config = self.config
        if self.progress.epoch >= config.epoch:
            done = f"{self.progress.epoch} epochs are done already"
            self.log.info(f"Nothing to train: {done}, --epoch asks for {config.epoch}")
            return
        self._write_settings()
        chance = self.validation.chance()
        self.log.info(f"Chance (mean share of relevant database pictures): {chance:.3f}")
        before = self._validate_start(chance) if config.eval_first else None
        self.log.info(f"Start training from epoch {self.progress.epoch + 1}.")
        for epoch in range(self.progress.epoch + 1, config.epoch + 1):
            self._run_epoch(epoch)
        self.log.info(f"Training completed for {config.model}({config.bit}).")
        best = self.progress
        self.log.info(f"Best MAP(e{best.best_epoch}): {best.best_map:.3f}")
        if before is not None:
            self.log.info(
                f"Chance {chance:.3f}, before training {before:.3f}, best {best.best_map:.3f}"
            )

    def _write_settings(self) -> None:
        if distributed.is_first():
            with replacing(self.logs / f"config_{self.config.bit}.yaml") as path:
                path.write_text(config_as_yaml(self.config, TRAIN_COMMAND), encoding="utf-8")

    def _run_epoch(self, epoch: int) -> None:
        config = self.config
        last = epoch == config.epoch
        values = self._train_epoch(epoch)
        self.progress = replace(self.progress, epoch=epoch)
        if last or epoch % config.eval_epoch == 0:
            self.log.info(f"----- Validation after Epoch: {epoch}")
            values["map"] = self._validate()
            values["left_out"] = self.validation.left_out
            self._keep_best(epoch, values["map"])
            values["best_map"] = self.progress.best_map
            values["best_epoch"] = self.progress.best_epoch
        append_metrics(self.logs / f"metrics_{config.bit}.jsonl", values)
        if last or epoch % config.save_epoch == 0:
            self.keeper.save_newest(self.progress)

    def _train_epoch(self, epoch: int) -> dict:
        config = self.config
        # Anew each epoch, so that dropout needs no saved state; ranks drop differently.
        paddle.seed(derived_seed(config.seed + distributed.rank(), epoch))
        rate = start_epoch(self.schedule, epoch)
        self.criterion.scale = continuation_scale(epoch, config.step_continuation)
        self.batches.set_epoch(epoch)
        self.network.train()
        of = f"Epoch[{epoch:03d}/{config.epoch:03d}], Step[{{:04d}}/{len(self.batches):04d}]"
        summary = engine.train_one_epoch(
            self.pixels_to_z,
            self.criterion,
            self.optimizer,
            progress(self.batches, f"epoch {epoch}/{config.epoch}"),
            config.debug_steps,
            lambda step, loss, pace: self.log.info(f"{of.format(step)}, Loss: {loss:.4f}, {pace}"),
        )
        self.log.info(
            f"HashNet[{epoch:2d}/{config.epoch}] bit:{config.bit}, lr:{rate:.9f}, "
            f"scale:{self.criterion.scale:.3f}, train loss:{summary.loss:.3f}"
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
            "scale": self.criterion.scale,
            **asdict(summary),
            "pictures_per_second": summary.pictures / summary.seconds,
            "replaced": self.troubles.replaced(self.batches),
        }

    def _validate(self) -> float:
        value = self.validation.map()
        self.troubles.left_out(self.validation.left_out)
        return value

    def _validate_start(self, chance: float) -> float:
        self.log.info("----- Validation before training")
        value = self._validate()
        self.log.info(f"Before training: MAP:{value:.3f}, chance:{chance:.3f}")
        row = {"run": self.started, "epoch": self.progress.epoch, "map": value, "chance": chance}
        append_metrics(self.logs / f"metrics_{self.config.bit}.jsonl", row)
        return value

    def _keep_best(self, epoch: int, value: float) -> None:
        is_best = value > self.progress.best_map
        if is_best:
            self.progress = replace(self.progress, best_map=value, best_epoch=epoch)
        best = self.progress
        self.log.info(
            f"HashNet epoch:{epoch}, bit:{self.config.bit}, dataset:{self.dataset}, "
            f"MAP:{value:.3f}, Best MAP(e{best.best_epoch}): {best.best_map:.3f}"
        )
        self.log.info(f"Max mAP so far: {best.best_map:.4f} at epoch_{best.best_epoch}")
        if is_best:
            self.keeper.save_best()
