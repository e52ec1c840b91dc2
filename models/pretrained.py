"""ImageNet weights for the backbone: loaded on request only, never by the network itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from models.hashnet import HashingNetwork
from utils.system.errors import UserError, first_line
from utils.system.state_files import assign_strictly, read_state


def load_backbone(network: HashingNetwork, source: str) -> None:
    """Sets everything but the hash layer.

    The `source` is the path of a `.pdparams` file in a layout that the network knows (its
    `backbone_state`), or 'paddle' for the weights that Paddle downloads for the network of this
    name in `paddle.vision.models`. Raises a `UserError` where the file is missing or has other
    names or shapes, or the download fails.
    """
    if source == "paddle":
        state, named = _paddle_state(network.BACKBONE), f"Paddle's {network.BACKBONE}"
    else:
        state, named = _read(Path(source), network), source
    assign_strictly(network, network.backbone_state(state), named, partial=(network.HASH_LAYER,))


def fetch_backbone(source: str, backbone: str) -> None:
    """Downloads Paddle's weights of a backbone, where `source` is 'paddle', unless they are there.

    Where a launcher's ranks call this together, Paddle lets one of each machine download it, and
    the others wait.
    """
    if source == "paddle":
        paddle.device.set_device("cpu")  # no GPU's memory for what is only fetched
        _paddle_state(backbone)


def _read(path: Path, network: HashingNetwork) -> dict[str, Any]:
    named = f"ImageNet weights of {network.BACKBONE}"
    # Path.is_file raises where a name is too long.
    state = read_state(path, f"a file of {named}")[0] if os.path.isfile(path) else {}
    if not network.backbone_state(state).keys() & network.state_dict().keys():
        make = "python scripts/convert_weights.py alexnet-owt-7be5be79.pth makes that file from "
        make = f"{make}torchvision's, " if network.BACKBONE == "alexnet" else ""
        raise UserError(
            f"{path}: the {named} are missing; ways out: {make}--backbone-weights paddle "
            "downloads Paddle's own, --backbone-weights none begins with random weights"
        )
    return state


def _paddle_state(backbone: str) -> dict[str, np.ndarray]:
    try:
        state = getattr(paddle.vision.models, backbone)(pretrained=True).state_dict()
    except Exception as error:  # the downloader raises RuntimeError, requests' and urllib's errors
        raise UserError(
            f"--backbone-weights paddle: Paddle could not get its {backbone}: "
            f"{first_line(error)}; give a file with --backbone-weights PATH instead"
        ) from error
    return {name: tensor.numpy() for name, tensor in state.items()}


def from_torchvision(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """torchvision's AlexNet, matrices [out, in] → the same names for Paddle: float32, [in, out].

    Raises a `UserError` where a name of torchvision's AlexNet is missing or another is there.
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
