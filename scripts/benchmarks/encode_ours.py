"""Encoding as the commands do it, and its limits; each function runs in a process of its own."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import paddle
from PIL import Image

from models import HashNet
from utils.datasets import loose_pictures
from utils.datasets.cache_space import open_cache
from utils.datasets.loader import Loading
from utils.datasets.transforms import CenterCrop
from utils.inference.backends import InferenceCoder
from utils.inference.encoder import Encoder
from utils.inference.predictor import Machine
from utils.system.runtime import cores_for_each

BATCH = 64


def _encoder(
    paths: list[str], bit: int, precision: str, cache_dir: str | None, side: int
) -> tuple[Encoder, object]:
    paddle.seed(0)  # the same random weights in every process
    split = loose_pictures([Path(path) for path in paths], "benchmark")
    transform = CenterCrop(side * 8 // 7, side)
    cache = open_cache(cache_dir, transform.scaling, [split], lambda _: None) if cache_dir else None
    coder = InferenceCoder(HashNet(bit), side, Machine(precision=precision))
    return Encoder(coder, transform, BATCH, Loading(cores_for_each(), cache=cache)), split


def encoded(paths: list[str], bit: int, precision: str, warm: bool = False) -> dict:
    """Seconds to encode pictures with random weights, and the codes; the start is left out.

    Args:
        paths: picture files.
        bit: length of the codes.
        precision: 'fp32' or 'bf16'.
        warm: from a cache that holds all of them.
    """
    with TemporaryDirectory() as folder:
        encoder, split = _encoder(paths, bit, precision, folder if warm else None, 224)
        with encoder:
            encoder.coder(np.zeros((BATCH, 224, 224, 3), np.uint8))
            if warm:
                encoder.encode(split)
            begin = time.perf_counter()
            found = encoder.encode(split)
            seconds = time.perf_counter() - begin
    return {"seconds": seconds, "codes": found.codes.tobytes().hex()}


def forward_only(count: int, bit: int, precision: str) -> dict:
    """Seconds to run the network on that many pictures that lie ready as bytes."""
    encoder, _ = _encoder([], bit, precision, None, 224)
    pictures = np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3), np.uint8)
    batches = -(-count // BATCH)
    with encoder:
        encoder.coder(pictures)
        begin = time.perf_counter()
        for _ in range(batches):
            encoder.coder(pictures)
        seconds = time.perf_counter() - begin
    return {"seconds": seconds * count / (batches * BATCH)}


def decode_only(paths: list[str]) -> dict:
    """Processor seconds to decode, scale and crop pictures, one after the other."""
    transform = CenterCrop(256, 224)
    begin = time.process_time()
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
            transform(picture if picture.mode == "RGB" else picture.convert("RGB"))
    return {"seconds": time.process_time() - begin}


def peak_memory(paths: list[str], bit: int) -> dict:
    """The most memory in MiB that encoding has held; small pictures, so that it takes no hours."""
    with TemporaryDirectory() as folder:
        encoder, split = _encoder(paths, bit, "fp32", folder, 64)
        encoder.encode(split)
    return {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
