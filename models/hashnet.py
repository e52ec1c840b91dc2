"""HashNet: AlexNet with a hash layer (Cao et al., ICCV 2017, section 3)."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import paddle
from paddle import nn

from models.alexnet import FEATURE_SIZE, convolutional_features, hidden_layers, pool_to_vector
from utils.system.errors import UserError
from utils.system.state_files import (
    TRAINING,
    WEIGHTS,
    assign_strictly,
    data_set_of,
    find_state,
    read_state,
    read_training_state,
    read_weights_record,
)

_log = logging.getLogger(__name__)


class HashNet(nn.Layer):
    """Images → z, one real number a bit.

    The binary code is sign(z); training sees tanh(βz) instead (paper, equation 6), which the
    loss applies, so that the network itself does not change while β grows.

    Parameters are named `features.{0,3,6,8,10}.{weight,bias}` and
    `classifier_plus.{1,4,6}.{weight,bias}`; the last of them is the hash layer.

    Args:
        bit: length of the codes.
        dropout: probability of dropping an input of fc6 and of fc7 in training.
    """

    def __init__(self, bit: int, dropout: float = 0.5):
        super().__init__()
        self.bit = bit
        # Paddle names optimizer states after the parameters' internal names; the guard makes them
        # the same in every process, whatever networks were built before.
        with paddle.utils.unique_name.guard():
            self.features = convolutional_features()
            hash_layer = nn.Linear(
                FEATURE_SIZE,
                bit,
                weight_attr=paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, 0.01)),
                bias_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(0.0)),
            )
            self.classifier_plus = nn.Sequential(*hidden_layers(dropout), hash_layer)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """Computes z, before tanh and before sign.

        Args:
            images: [n, 3, h, w] float32, normalized (see `models.layers.Normalize`).

        Returns:
            z: [n, bit] float32.
        """
        return self.classifier_plus(pool_to_vector(self.features(images)))

    def hash_parameters(self) -> list[paddle.Tensor]:
        """Weight [4096, bit] and bias [bit] of the hash layer, which learn 10 times faster."""
        return list(self.classifier_plus[-1].parameters())

    def backbone_parameters(self) -> list[paddle.Tensor]:
        """All parameters but the hash layer's."""
        return self.parameters()[:-2]

    def load_weights(self, prefix: str | os.PathLike, dataset: str | None = None) -> dict[str, str]:
        """Sets trained weights, strictly.

        Args:
            prefix: such as `output/weights_64` (best weights) or `output/last_64` (a training
                state), with or without its ending.
            dataset: what they will be used on: a warning tells where they are of another one.

        Returns:
            The weights' fingerprint: the file's name and its SHA-256, as it was read.

        Raises:
            UserError: the file is missing or broken, or is for another network or other bits.
        """
        path = find_state(prefix, WEIGHTS, TRAINING)
        newest = path.with_name(f"last_{self.bit}{TRAINING}")
        if not os.path.isfile(path) and newest.is_file():
            raise UserError(f"{path}: missing; but a state is there: --pretrained {newest}")
        if path.suffix == TRAINING:
            parts, record, sha256 = read_training_state(path)
            state = parts.get("network", {})
        else:
            state, sha256 = read_state(path, "a file of trained weights")
            record = read_weights_record(path, sha256)
        self.set_weights(state, path)
        trained_on = data_set_of(record)
        if dataset and trained_on not in (dataset, None):
            _log.warning(f"{path}: weights of the data set {trained_on}, used here on {dataset}")
        _log.info(f"----- Pretrained: Load model state from {path}")
        return {"weights": path.name, "weights_sha256": sha256}

    def set_weights(self, state: dict[str, Any], path: Path) -> None:
        """Sets weights that were read from a file, strictly; see `load_weights`."""
        bias = state.get("classifier_plus.6.bias")
        found = getattr(bias, "size", self.bit)
        if found != self.bit:
            raise UserError(f"{path}: weights for {found} bits, --bit {self.bit} was asked for")
        assign_strictly(self, state, str(path))
