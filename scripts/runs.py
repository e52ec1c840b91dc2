"""Runs in output folders: how a sweep calls them, what each is of, and what it has come to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from utils.config import FULL_METHOD, Config
from utils.datasets.info import read_yaml_mapping
from utils.metrics.plots import MAX_METRICS
from utils.system.errors import UserError, short_repr
from utils.system.files import OutputPaths, open_untrusted
from utils.system.state_files import read_record

VARIANTS = {
    "full": (),
    "W": ("no_weighting",),
    "sgn": ("no_continuation",),
    "W-sgn": ("no_weighting", "no_continuation"),
}
"""The method and the paper's ablations of it: the settings that are switched on for each."""
_OTHER_SETTINGS = (
    *("epoch", "data_path", "list_path", "allow_outside", "num_workers", "cache_dir", "device"),
    *("nprocs", "cpu_threads", "encoder", "debug_steps", "save_minutes", "save_epoch"),
    *("output_dir", "log_path", "resume", "force_resume", "last_epoch", "eval", "eval_first"),
)
"""Settings of the machine, and of where a run begins and ends; the others are its recipe."""
_NUMBER = (int, float)
_OF_AN_EPOCH = ("loss", "map", "chance", "seconds", "evaluation_seconds", "saving_seconds")
_OF_WEIGHTS = {"settings": dict, "weights_sha256": str, "epoch": int, "map": _NUMBER}
_OF_AN_EVALUATION = {"dataset": str, "map": _NUMBER, "chance": _NUMBER, "protocol": dict}


class SavedRun:
    """What a training has left in an output folder, whatever of it there is.

    Raises a `UserError` where a file is damaged.

    Attributes:
        paths: its files.
        bit: its code length.
        has_state: whether there is a state to go on from.
        epoch: epochs trained.
        epochs: what each came to, in order; those of an earlier beginning are left out.
        weights: the record of the best weights, or empty.
        evaluation: the metrics of these weights, or, where they have no record, of any; or empty.
        settings: what it was trained with; empty where nothing tells.
    """

    def __init__(self, folder: Path, bit: int):
        self.paths, self.bit = OutputPaths(folder, bit), bit
        self.look()

    def look(self) -> None:
        """Reads the files again."""
        paths = self.paths
        self.epochs = _read_epochs(paths.epochs)
        self.weights = _read_json(paths.weights_record, "a record of weights", _OF_WEIGHTS)
        metrics = _read_json(paths.metrics, "an evaluation's metrics", _OF_AN_EVALUATION)
        evaluated = metrics.get("protocol", {}).get("weights_sha256")
        is_theirs = not self.weights or self.weights["weights_sha256"] == evaluated
        self.evaluation = metrics if is_theirs else {}
        self.epoch = self.epochs[-1]["epoch"] if self.epochs else 0
        self.settings = self.weights.get("settings", {})
        self.has_state = paths.last.is_file()
        if self.has_state:
            state = read_record(paths.last)
            try:
                _check(state, {"settings": dict, "progress": dict})
                _check(state["progress"], {"epoch": int})
            except ValueError as error:
                raise UserError(f"{paths.last}: not a training state: {error}") from error
            self.epoch, self.settings = state["progress"]["epoch"], state["settings"]
        elif not self.weights and paths.settings.is_file() and not metrics:
            self.settings = read_yaml_mapping(paths.settings, "a training's settings")

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings that decide what it comes to; {} where they are not known."""
        return recipe_of(self.settings) if self.settings else {}

    @property
    def variant(self) -> str:
        """'HashNet', 'HashNet-W', …; 'unknown' where nothing tells."""
        if "variant" in self.evaluation:
            return str(self.evaluation["variant"])
        if not self.settings:
            return "unknown"
        switches = {name: bool(self.settings.get(name)) for name in FULL_METHOD}
        return replace(Config(), model=self.recipe["model"], **switches).variant

    @property
    def seed(self) -> int | None:
        """Its seed; None where nothing tells."""
        return self.evaluation.get("seed", self.settings.get("seed"))

    @property
    def map(self) -> float | None:
        """MAP of the best weights: evaluated, or as the training had it; None: there is none."""
        of_epochs = [epoch["map"] for epoch in self.epochs if "map" in epoch]
        in_training = self.weights.get("map", max(of_epochs, default=None))
        return self.evaluation.get("map", in_training)


def recipe_of(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide what a run comes to; what is not among them has its default."""
    names = [name for name in Config().settings() if name not in _OTHER_SETTINGS]
    return {name: settings.get(name, getattr(Config, name)) for name in names}


def _read_json(path: Path, expected: str, kinds: dict[str, Any]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    with open_untrusted(path, expected, MAX_METRICS) as file:
        content = json.loads(file.read())
        _check(content, kinds)
        return content


def _read_epochs(path: Path) -> list[dict[str, Any]]:
    epochs: list[dict[str, Any]] = []
    if path.is_file():
        with open_untrusted(path, "a training's metrics", MAX_METRICS) as file:
            for line in file.read().splitlines():
                epoch = json.loads(line)
                _check(epoch, {"epoch": int})
                _check(epoch, {name: _NUMBER for name in _OF_AN_EPOCH if name in epoch})
                while epochs and epochs[-1]["epoch"] >= epoch["epoch"]:  # it was begun again
                    epochs.pop()
                epochs.append(epoch)
    return epochs


def _check(content: Any, kinds: dict[str, Any]) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, found {short_repr(content)}")
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind) or isinstance(content[key], bool):
            raise ValueError(f"{key} is {short_repr(content.get(key))}")
