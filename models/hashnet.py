"""HashNet (Cao et al., ICCV 2017, section 3): what its networks share, and the paper's own."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import paddle
from paddle import nn

from models import DEFAULT_BACKBONE, alexnet, build_network
from utils.system.errors import UserError
from utils.system.state_files import (
    TRAINING,
    WEIGHTS,
    assign_strictly,
    find_state,
    read_state,
    read_training_state,
    read_weights_record,
    setting_of,
    warn_of_other_data,
)

_log = logging.getLogger(__name__)
# Paddle's batch norm says at its first step what it always does.
warnings.filterwarnings("ignore", "When training, we now always track", UserWarning)


class HashingNetwork(nn.Layer):
    """Images [n, 3, h, w] float32, normalized → z [n, bit] float32, one real number a bit.

    The binary code is sign(z); training sees tanh(βz) instead (paper, equation 6), which the
    loss applies, so that the network itself does not change while β grows.

    Attributes:
        BACKBONE: its name in `models.NETWORKS`, and of Paddle's own in `paddle.vision.models`.
        HASH_LAYER: how the names of the hash layer begin; it is the last layer that is made.
        bit: length of the codes.
    """

    BACKBONE: str
    HASH_LAYER: str

    def __init__(self, bit: int):
        super().__init__()
        self.bit = bit

    def hash_parameters(self) -> list[paddle.Tensor]:
        """Weight [features, bit] and bias [bit] of the hash layer, which learn 10 times faster."""
        return self.parameters()[-2:]

    def backbone_parameters(self) -> list[paddle.Tensor]:
        """All parameters but the hash layer's."""
        return self.parameters()[:-2]

    def initialize(self, images: paddle.Tensor) -> str:
        """Draws first weights for training images, [n, 3, h, w]; returns how, for the log."""
        return "as Paddle draws them"

    def pools_evenly(self, side: int) -> bool:
        """Whether images of this side are pooled by windows of one size, as ONNX needs it."""
        return True

    def load_weights(self, prefix: str | os.PathLike) -> dict[str, str]:
        """Sets trained weights, strictly, and returns their fingerprint; see `load_network`."""
        return load_network(prefix, self.bit, network=self)[1]

    def set_weights(self, state: dict[str, Any], path: Path) -> None:
        """Sets weights that were read from a file, strictly; see `load_network`."""
        bias = state.get(f"{self.HASH_LAYER}bias")
        found = getattr(bias, "size", self.bit)
        if found != self.bit:
            raise UserError(f"{path}: weights for {found} bits, --bit {self.bit} was asked for")
        if not state.keys() & self.state_dict().keys():
            raise UserError(f"{path}: not weights of {self.BACKBONE}; --backbone names another")
        assign_strictly(self, state, str(path))


class HashNet(HashingNetwork):
    """The paper's network: AlexNet with a hash layer.

    Parameters are named `features.{0,3,6,8,10}.{weight,bias}` and
    `classifier_plus.{1,4,6}.{weight,bias}`; the last of them is the hash layer.
    """

    BACKBONE, HASH_LAYER = "alexnet", "classifier_plus.6."

    def __init__(self, bit: int):
        super().__init__(bit)
        # Paddle names optimizer states after the parameters' internal names; the guard makes them
        # the same in every process, whatever networks were built before.
        with paddle.utils.unique_name.guard():
            self.features = alexnet.convolutional_features()
            hash_layer = build_hash_layer(alexnet.FEATURE_SIZE, bit)
            self.classifier_plus = nn.Sequential(*alexnet.hidden_layers(), hash_layer)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """Computes z, before tanh and before sign."""
        return self.classifier_plus(alexnet.pool_to_vector(self.features(images)))

    def initialize(self, images: paddle.Tensor) -> str:
        """Fits random weights to images: plain ones do not learn (`models.initialization`)."""
        from models.initialization import initialize_from_data

        initialize_from_data(self, images)
        return f"normalized on {len(images)} training images"

    @paddle.no_grad()
    def pools_evenly(self, side: int) -> bool:
        """Whether the features, pooled to 6×6, are as many in each window (or but one more)."""
        features = self.features(paddle.zeros([1, 3, side, side])).shape[-1]
        return features >= 6 and features % 6 <= 1

    @staticmethod
    def backbone_state(state: dict[str, Any]) -> dict[str, Any]:
        """Names of Paddle's AlexNet, or torchvision's → the network's; no class layer."""
        return alexnet.from_paddle(state) or alexnet.from_classifier_names(state)


def build_hash_layer(features: int, bit: int) -> nn.Linear:
    """The layer [n, features] → z [n, bit]: weight N(0, 0.01), bias 0."""
    return nn.Linear(
        features,
        bit,
        weight_attr=paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, 0.01)),
        bias_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(0.0)),
    )


def load_network(
    prefix: str | os.PathLike,
    bit: int,
    backbone: str | None = None,
    dataset: str | None = None,
    network: HashingNetwork | None = None,
) -> tuple[HashingNetwork, dict[str, str], dict[str, Any]]:
    """Builds the network that trained weights are of, and sets them, strictly.

    Args:
        prefix: such as `output/weights_64` (best weights) or `output/last_64` (a training
            state), with or without its ending.
        backbone: None: what was recorded with the weights, else AlexNet.
        dataset: what they will be used on: a warning tells where they are of another one.
        network: takes the weights, instead of a new one.

    Returns:
        The network; the weights' fingerprint: the file's name and its SHA-256, as it was read; and
        what their training has recorded, where it has.

    Raises:
        UserError: the file is missing or broken, or is for another network or other bits.
    """
    path = find_state(prefix, WEIGHTS, TRAINING)
    newest = path.with_name(f"last_{bit}{TRAINING}")
    if not os.path.isfile(path) and newest.is_file():
        raise UserError(f"{path}: missing; but a state is there: --pretrained {newest}")
    if not os.path.lexists(path):
        there = sorted(other.stem for other in path.parent.glob(f"weights_*{WEIGHTS}"))
        others = f" (there are {', '.join(there)})" if there else ""
        raise UserError(f"{path}: missing{others}; a training leaves it, --pretrained names others")
    if path.suffix == TRAINING:
        parts, record, sha256 = read_training_state(path)
        state = parts.get("network", {})
    else:
        state, _, sha256 = read_state(path, "a file of trained weights")
        record = read_weights_record(path, sha256)
    recorded = setting_of(record, "backbone")
    network = network or build_network(backbone or recorded or DEFAULT_BACKBONE, bit)
    if recorded not in (network.BACKBONE, None):
        raise UserError(
            f"{path}: weights of {recorded}, not of {network.BACKBONE}; --backbone {recorded}"
        )
    network.set_weights(state, path)
    warn_of_other_data(path, setting_of(record, "data", "data set"), dataset)
    _log.info(f"----- Pretrained: Load model state from {path}")
    return network, {"weights": path.name, "weights_sha256": sha256}, record
