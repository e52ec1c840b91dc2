"""What `benchmark.py` measures of the network: this repository's ways, and the plain ones.

Importing it imports Paddle; what depends on how Paddle is started runs in a process of its own.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory

import numpy as np
import paddle
from paddle import nn
from paddle.vision import transforms
from PIL import Image

from models import IMAGENET_MEAN, IMAGENET_STD, HashNet
from models.layers import MixedPrecision, Normalize
from utils import engine
from utils.codes import pack_codes
from utils.datasets import Split, unlisted_images
from utils.datasets.cache import cache_folder
from utils.datasets.images import ImageArray
from utils.datasets.loader import BatchLoader, LoaderOptions
from utils.datasets.transforms import build_transform
from utils.inference.backends import DygraphBackend, InferenceBackend, build_backend
from utils.loss import HashNetLoss
from utils.lr_scheduler import halving_schedule
from utils.optimizer import build_optimizer
from utils.system.runtime import cores_for_each, usable_gpus

BATCH, SIDE, BANK = 64, 224, 10_000


def _network(bit: int) -> HashNet:
    paddle.seed(0)  # the same random weights in every process
    return HashNet(bit)


def _encoding(
    paths: list[str], bit: int, precision: str, side: int = SIDE, cache_dir: str | None = None
) -> tuple[DygraphBackend | InferenceBackend, BatchLoader]:
    """What the commands encode with: a backend, and the batches of images."""
    transform = build_transform("short_side", side * 8 // 7, side)
    cache = cache_folder(cache_dir, transform.resize) if cache_dir else None
    options = LoaderOptions(cores_for_each(), cache=cache)
    split = unlisted_images(paths, "the benchmark")
    backend = build_backend(_network(bit), side, "auto", precision)
    return backend, BatchLoader(split, transform, BATCH, options)


def has_gpu() -> bool:
    """Whether Paddle computes on one."""
    return usable_gpus() > 0


def encode_ours(
    paths: list[str], bit: int, precision: str, warm: bool = False, side: int = SIDE
) -> tuple[float, np.ndarray, float]:
    """Encodes images as the commands do, from a `warm` cache or from their files.

    Returns:
        Seconds an image, without the start; packed codes; the process's memory at its peak, in MiB.
    """
    with TemporaryDirectory() as folder:
        backend, batches = _encoding(paths, bit, precision, side, folder if warm else None)
        with backend:
            backend(np.zeros((BATCH, side, side, 3), np.uint8))
            if warm:
                engine.encode(backend, batches)
            begin = time.perf_counter()
            codes, _ = engine.encode(backend, batches)
            seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return seconds / len(paths), codes, peak


def forward(paths: list[str], bit: int, precision: str) -> tuple[float, None]:
    """Seconds an image to run the network on as many, which lie ready as bytes."""
    backend, batches = _encoding(paths, bit, precision)
    images = np.random.default_rng(0).integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)
    with backend:
        backend(images)
        begin = time.perf_counter()
        for _ in range(len(batches)):
            backend(images)
        return (time.perf_counter() - begin) / (len(batches) * BATCH), None


class _Files(paddle.io.Dataset):
    def __init__(self, paths: list[str]):
        super().__init__()
        self._paths = paths
        resize, crop = transforms.Resize(256), transforms.CenterCrop(SIDE)
        normalize = transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self._transform = transforms.Compose([resize, crop, transforms.ToTensor(), normalize])

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._transform(Image.open(self._paths[index]).convert("RGB")).numpy()


def encode_plain(paths: list[str], bit: int) -> tuple[float, np.ndarray]:
    """The same as `encode_ours` the plain way: float transforms in Paddle's loader, dygraph."""
    network = _network(bit)
    network.eval()
    options = {"batch_size": BATCH, "num_workers": 2, "use_shared_memory": False}
    loader = paddle.io.DataLoader(_Files(paths), **options)
    begin = time.perf_counter()
    with paddle.no_grad():
        codes = [np.sign(network(images).numpy()) for images in loader]
    return (time.perf_counter() - begin) / len(paths), pack_codes(np.concatenate(codes))


def seconds_a_step(labels: np.ndarray, batch: int, amp: bool = False) -> float:
    """Seconds of an optimizer step on images of these labels; without the wait for images."""
    bit = 64
    network = _network(bit)
    parameters = network.backbone_parameters(), network.hash_parameters()
    optimizer = build_optimizer("SGD", *parameters, halving_schedule(1e-4, 50), 0.9, 5e-4)
    criterion = HashNetLoss(bit, BANK, num_class=labels.shape[1])
    shape = (len(labels), SIDE, SIDE, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    split = Split("train", ImageArray(pixels, [""] * len(labels)), labels, {})
    batches = BatchLoader(split, build_transform("square", SIDE, SIDE), batch, seed=0)
    pixels_to_z = nn.Sequential(Normalize(), network)
    parts = MixedPrecision(pixels_to_z) if amp else pixels_to_z, criterion, optimizer, batches
    batches.set_epoch(1, len(batches) - 1)
    engine.train_one_epoch(*parts)  # one step that does not count
    batches.set_epoch(2)
    result = engine.train_one_epoch(*parts)
    return (result.seconds - result.reader_seconds) / len(result.losses)


class MaskedLoss(HashNetLoss):
    """The same loss with a mask for each side, as deep-hashing code commonly has it."""

    def forward(
        self, z: paddle.Tensor, labels: paddle.Tensor, index: paddle.Tensor
    ) -> paddle.Tensor:
        """The weighted loss of a batch's pairs; writes the batch into the bank."""
        u = paddle.tanh(self.scale * z)
        with paddle.no_grad():
            self.codes[index] = u.detach()
            self.labels[index] = labels
        similar = paddle.matmul(labels, self.labels, transpose_y=True) > 0
        theta = self.alpha * paddle.matmul(u, self.codes, transpose_y=True)
        loss = paddle.log(1 + paddle.exp(-paddle.abs(theta)))
        loss = loss + paddle.maximum(theta, paddle.zeros_like(theta))
        loss = loss - similar.astype("float32") * theta
        for side in (similar, paddle.logical_not(similar)):
            count = side.astype("float32").sum()
            if count > 0:
                loss[side] = loss[side] * (loss.size / count)
        return loss.mean()


def loss_form(
    kind: type[HashNetLoss], codes: np.ndarray, labels: np.ndarray
) -> Callable[..., tuple[float, np.ndarray]]:
    """A form of the loss with a full bank of its own: z, labels, index → value, gradient."""
    form = kind(codes.shape[1], len(codes), num_class=labels.shape[1])
    form.codes.set_value(codes)
    form.labels.set_value(labels)

    def value_and_gradient(z: np.ndarray, *batch: np.ndarray) -> tuple[float, np.ndarray]:
        z = paddle.to_tensor(z, stop_gradient=False)
        value = form(z, *map(paddle.to_tensor, batch))
        value.backward()
        return float(value), z.grad.numpy()

    return value_and_gradient
