"""Runs in output folders: how a sweep calls them, what each is of, and what it has come to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models import DEFAULT_BACKBONE
from utils.config import FULL_METHOD, Config
from utils.config.parser import OF_THIS_RUN
from utils.datasets.info import DatasetInfo, read_dataset_info, read_yaml_mapping
from utils.datasets.transforms import build_transform
from utils.metrics.plots import MAX_METRICS, is_number, read_epochs
from utils.system.errors import UserError, short_repr
from utils.system.files import OutputPaths, open_untrusted
from utils.system.state_files import read_record
from utils.training.published import compare_with_published

VARIANTS = {
    "full": (),
    "W": ("no_weighting",),
    "sgn": ("no_continuation",),
    "W-sgn": ("no_weighting", "no_continuation"),
}
"""The method and the paper's ablations of it: the settings that are switched on for each."""
_ELSEWHERE = ("epoch", "data_path", "list_path", "allow_outside", "log_path")
_NO_RECIPE = {*OF_THIS_RUN, *_ELSEWHERE} - {"pretrained", "precision"}
"""Settings of the machine, and of where a run begins and ends; the others are its recipe."""
_OF_A_PROTOCOL = ("topK", "exclude_self", "transform", "precision", "ties")
_OF_A_TABLE = ("bit", "seed", "dataset", *FULL_METHOD, *_OF_A_PROTOCOL)
"""Settings of a recipe that have a place of their own in a table."""
_CURVES = {"by_rank": "recall", "at_n": "n"}
"""The curves of precision that are drawn, and across what."""
UNKNOWN = "unknown"
_OF_WEIGHTS = {"settings": dict, "weights_sha256": str, "epoch": int, "map": float}
_OF_AN_EVALUATION = {"dataset": str, "map": float, "chance": float, "protocol": dict}


class SavedRun:
    """What a training has left in an output folder, whatever of it there is.

    Raises a `UserError` where a file of it is damaged.

    Attributes:
        name: its folder.
        bit: its code length.
        epochs: what each epoch came to, in order; those of an earlier beginning are left out.
        weights: the record of the best weights, or empty.
        evaluation: the metrics of these weights (of any, where they have no record), or empty.
        has_state: whether there is a state to go on from.
        epoch: epochs trained.
        settings: what it was trained with; empty where nothing tells.
    """

    def __init__(self, folder: Path, bit: int):
        self.name, self.bit, self.paths = folder.as_posix(), bit, OutputPaths(folder, bit)
        self.look()

    def look(self) -> None:
        """Reads the files again."""
        paths = self.paths
        self.epochs = read_epochs(paths.epochs) if paths.epochs.is_file() else []
        self.epoch = self.epochs[-1]["epoch"] if self.epochs else 0
        self.weights = _read_json(paths.weights_record, "a record of weights", _OF_WEIGHTS)
        metrics = _read_json(paths.metrics, "an evaluation's metrics", _OF_AN_EVALUATION)
        evaluated = metrics.get("protocol", {}).get("weights_sha256")
        is_theirs = not self.weights or self.weights["weights_sha256"] == evaluated
        self.evaluation = metrics if is_theirs else {}
        self.settings = self.weights.get("settings", {})
        self.has_state = paths.last.is_file()
        if self.has_state:
            state = read_record(paths.last)
            try:
                _check(state, {"settings": dict, "progress": dict})
                _check(state["progress"], {"epoch": int})
            except ValueError as error:
                raise UserError(f"{paths.last}: not a training state: {error}") from error
            self.epoch = state["progress"]["epoch"]
            self.settings = self.settings or state["settings"]
        elif not self.settings and not self.evaluation and paths.settings.is_file():
            self.settings = read_yaml_mapping(paths.settings, "a training's settings")
        for each in (self.settings, metrics):
            if (bit := each.get("bit", self.bit)) != self.bit:
                told = f"files named for {self.bit} bits are of {short_repr(bit)}"
                raise UserError(f"{paths.folder}: {told}: give them their names back")

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings that decide what it comes to; empty where they are not known."""
        return recipe_of(self.settings) if self.settings else {}

    def value(self, metric: str) -> float | None:
        """A metric of the evaluation, such as 'chance'; where there is none, MAP as in training."""
        found = self.evaluation.get(metric)
        if metric == "map" and found is None:
            of_epochs = (each["map"] for each in self.epochs if "map" in each)
            found = self.weights.get("map", max(of_epochs, default=None))
        return found if is_number(found) else None

    def at(self, epoch: int, part: str) -> float | None:
        """What an epoch came to: its 'loss' or 'map'; None where it was not measured."""
        return next((each.get(part) for each in self.epochs if each["epoch"] == epoch), None)


class ComparedRun(SavedRun):
    """A run beside others.

    Attributes:
        variant: 'HashNet', 'HashNet-W' …; 'unknown' where nothing tells.
        seed: None where nothing tells.
        card: what the data set is; None where its card is not found.
        protocol: what MAP was measured on, and how: name → text.
        is_unfinished: whether it was to have more epochs than it has.
        compared: the settings that runs of one recipe share: name → text; empty: not known.
        verdict: whether its recipe is as published, and what is not; 'unknown' where nothing tells.
        weights_sha256: of the weights that were scored; 'unknown' where nothing tells.
        curves: of the evaluation, 'by_rank' and 'at_n', where it has them: recall or N, and
            precision, float64 [2, points].
        log: of the training, or else of the evaluation.
    """

    def __init__(self, folder: Path, bit: int):
        super().__init__(folder, bit)
        evaluation, settings = self.evaluation, self.settings
        try:
            switches = {name: bool(settings.get(name)) for name in FULL_METHOD}
            trained = replace(Config(), **switches).variant if settings else UNKNOWN
            self.variant = str(evaluation.get("variant", trained))
            self.seed = evaluation.get("seed", settings.get("seed"))
            data, known = settings.get("data", {}), evaluation.get("protocol", {})
            names = [settings.get("dataset"), evaluation.get("dataset"), data.get("data set")]
            name, *_ = [each for each in reversed(names) if each] or [UNKNOWN]
            self.card = _card(names[0] or name)
            lists = {
                "train": data.get("train list"),
                "queries": known.get("queries", {}).get("list_sha256", data.get("test list")),
                "database": known.get("database", {}).get("list_sha256", data.get("database list")),
            }
            lists = {part: (sha256 or UNKNOWN)[:8] for part, sha256 in lists.items()}
            if self.card and self.card.kind == "cifar10":  # other lists with each seed, of one kind
                lists = dict.fromkeys(lists, "drawn by the seed")
            recipe = self.recipe
            if recipe:
                resize = data.get("resize of the data set", "short_side")
                sizes = [recipe[key] for key in ("resize_size", "crop_size", "fast_decode")]
                recipe["transform"] = str(build_transform(resize, *sizes))
                recipe["train list"] = lists["train"]
                recipe.update({key: settings.get(key, 1) for key in ("epoch", "ranks")})
                recipe["ties"] = "database order"
            self.verdict = _verdict(settings, bit, name) if settings else UNKNOWN
            of_weights = self.weights or known
            self.is_unfinished = 0 < self.epoch < settings.get("epoch", 0)
            self.weights_sha256 = str(of_weights.get("weights_sha256", UNKNOWN))
            self.curves = {
                curve: np.array([evaluation[curve][key] for key in (across, "precision")], float)
                for curve, across in _CURVES.items()
                if curve in evaluation
            }
            how = {key: known.get(key, recipe.get(key, UNKNOWN)) for key in _OF_A_PROTOCOL}
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise UserError(
                f"{folder}: the records of {bit} bits are damaged: {error!r}"
            ) from error
        where = {"data set": name, "queries": lists["queries"], "database": lists["database"]}
        self.protocol = {key: str(value) for key, value in {**where, **how}.items()}
        self.compared = {key: str(recipe[key]) for key in recipe if key not in _OF_A_TABLE}
        has_log = self.paths.train_log.is_file()
        self.log = self.paths.train_log if has_log else self.paths.test_log


def _verdict(settings: dict[str, Any], bit: int, dataset: str) -> str:
    sizes = {"batch_size": Config.batch_size, "ranks": 1}
    _check({**sizes, **settings}, dict.fromkeys(sizes, int))  # they are multiplied
    known = {name: settings[name] for name in Config().settings() if name in settings}
    config = replace(Config(), **{**known, "bit": bit, "resume": None})
    verdict = compare_with_published(config, dataset, settings.get("ranks", 1))
    resumed = "; resumed, so --pretrained is not known" if settings.get("resume") else ""
    return verdict + resumed


def _card(dataset: str | None) -> DatasetInfo | None:
    try:
        return read_dataset_info(dataset) if dataset else None
    except UserError:
        return None


def recipe_of(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide what a run comes to; what is not among them has its default."""
    usual = {**Config().settings(), "backbone": DEFAULT_BACKBONE}
    found = {**usual, **{name: value for name, value in settings.items() if value is not None}}
    return {name: found[name] for name in usual if name not in _NO_RECIPE}


def _read_json(path: Path, expected: str, kinds: dict[str, Any]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    with open_untrusted(path, expected, MAX_METRICS) as file:
        content = json.loads(file.read())
        _check(content, kinds)
        return content


def _check(content: Any, kinds: dict[str, Any]) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, found {short_repr(content)}")
    for key, kind in kinds.items():
        value = content.get(key)
        if not (is_number(value) if kind is float else type(value) is kind):
            raise ValueError(f"{key} is {short_repr(value)}")
