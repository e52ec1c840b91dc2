"""ImageNet weights for the backbone: loaded on request only, never by the network itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from models.hashnet import HashNet
from utils.system.errors import UserError, first_line
from utils.system.state_files import assign_strictly, read_state

HASH_LAYER = "classifier_plus.6."
CLASS_LAYER = "classifier.6."
_FROM_PADDLE = {
    "_conv1._conv": "features.0",
    "_conv2._conv": "features.3",
    "_conv3": "features.6",
    "_conv4": "features.8",
    "_conv5._conv": "features.10",
    "_fc6": "classifier_plus.1",
    "_fc7": "classifier_plus.4",
}
_BEHIND_DROPOUT = ("_fc6", "_fc7")


def load_backbone(network: HashNet, source: str) -> None:
    """Sets everything but the hash layer.

    Args:
        network: changed in place.
        source: path of a `.pdparams` file in torchvision's AlexNet layout with transposed fully
            connected weights (see `from_torchvision`), or 'paddle' for the weights of
            `paddle.vision.models.alexnet`, which Paddle downloads.

    Raises:
        UserError: the file is missing or has other names or shapes, or the download fails.
    """
    if source == "paddle":
        state, named = from_paddle(_paddle_alexnet_state()), "Paddle's AlexNet"
    else:
        state, named = from_classifier_names(_read(Path(source))), source
    assign_strictly(network, state, named, partial=(HASH_LAYER,))


def fetch_backbone(source: str) -> None:
    """Downloads Paddle's AlexNet, where `source` is 'paddle' and it is not there yet.

    Where a launcher's ranks call this together, Paddle lets one of each machine download it, and
    the others wait.
    """
    if source == "paddle":
        paddle.device.set_device("cpu")  # no GPU's memory for what is only fetched
        _paddle_alexnet_state()


def _read(path: Path) -> dict[str, Any]:
    if not os.path.isfile(path):  # Path.is_file raises where a name is too long
        raise UserError(
            f"{path}: the ImageNet weights are missing; three ways out: "
            "(1) python scripts/convert_weights.py alexnet-owt-7be5be79.pth makes that file from "
            "torchvision's; (2) --backbone-weights paddle downloads Paddle's own; "
            "(3) --backbone-weights none begins with random weights"
        )
    return read_state(path, "a file of AlexNet weights")[0]


def _paddle_alexnet_state() -> dict[str, np.ndarray]:
    try:
        state = paddle.vision.models.alexnet(pretrained=True).state_dict()
    except Exception as error:  # the downloader raises RuntimeError, requests' and urllib's errors
        raise UserError(
            "--backbone-weights paddle: Paddle could not get its AlexNet: "
            f"{first_line(error)}; give a file with --backbone-weights PATH instead"
        ) from error
    return {name: tensor.numpy() for name, tensor in state.items()}


def from_paddle(state: dict[str, Any]) -> dict[str, Any]:
    """Renames the state of `paddle.vision.models.alexnet`; its class layer `_fc8` is left out.

    Paddle's AlexNet halves the inputs of fc6 and fc7 in evaluation (dropout of mode
    'downscale_in_infer') where ours doubles what dropout leaves in training. Halved weights give
    the same numbers in both.
    """
    renamed = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        if layer in _FROM_PADDLE:
            halve = layer in _BEHIND_DROPOUT and kind == "weight"
            renamed[f"{_FROM_PADDLE[layer]}.{kind}"] = value * 0.5 if halve else value
    return renamed


def from_classifier_names(state: dict[str, Any]) -> dict[str, Any]:
    """Renames `classifier.*` to `classifier_plus.*` and leaves the class layer out."""
    return {
        name.replace("classifier.", "classifier_plus.", 1): value
        for name, value in state.items()
        if not name.startswith(CLASS_LAYER)
    }


def from_torchvision(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """torchvision's AlexNet → the same names for Paddle: float32, matrices as [in, out].

    Args:
        state: name → array, `classifier.*` weights as [out, in], any float type.

    Raises:
        UserError: a name of torchvision's AlexNet is missing or another is there.
    """
    layers = [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]
    wanted = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    if state.keys() != wanted:
        odd = ", ".join(sorted(state.keys() ^ wanted))
        raise UserError(f"not torchvision's AlexNet: missing or unknown: {odd}")
    return {
        name: np.ascontiguousarray(a.T if a.ndim == 2 else a, dtype=np.float32)
        for name, a in ((name, np.asarray(value)) for name, value in state.items())
    }
