"""The plain way to encode pictures with Paddle: float transforms in its loader, dygraph network."""

from __future__ import annotations

import time

import numpy as np
import paddle
from paddle.vision import transforms
from PIL import Image

from models import HashNet
from models.normalization import IMAGENET_MEAN, IMAGENET_STD

BATCH, WORKERS = 64, 2


class _Files(paddle.io.Dataset):
    def __init__(self, paths: list[str]):
        super().__init__()
        self._paths = paths
        self._transform = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> np.ndarray:
        return self._transform(Image.open(self._paths[row]).convert("RGB")).numpy()


def seconds_of_plain_way(paths: list[str], bit: int) -> dict:
    """Seconds to encode pictures, weights random, the start of Paddle left out.

    Args:
        paths: picture files.
        bit: length of the codes.
    """
    network = HashNet(bit)
    network.eval()
    loader = paddle.io.DataLoader(
        _Files(paths), batch_size=BATCH, num_workers=WORKERS, use_shared_memory=False
    )
    begin = time.perf_counter()
    with paddle.no_grad():
        codes = [np.sign(network(pictures).numpy()) for pictures in loader]
    seconds = time.perf_counter() - begin
    assert len(np.concatenate(codes)) == len(paths)
    return {"seconds": seconds}
