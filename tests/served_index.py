"""An index of coco_lite that needs no network, and a server of it, for tests."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from helpers import COCO_LITE

from deploy.search.serve import Server
from utils.datasets.transforms import build_transform
from utils.inference.encoder import Encoder
from utils.search.index import ImageIndex, folder_name, open_store

HTML_LABEL, HTML_NAME = "<img src=x onerror=boom()>", "<b onclick=boom()>&amp;'.jpg"


class AverageHash:
    """A backend of 64 bits: which of 8×8 parts of an image are brighter than their mean."""

    precision = "fp32"

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    def __call__(self, images: np.ndarray) -> np.ndarray:
        n, height, width, _ = images.shape
        parts = images.reshape(n, 8, height // 8, 8, width // 8, 3).mean((2, 4, 5)).reshape(n, 64)
        return np.packbits(parts > parts.mean(1, keepdims=True), axis=1)


def open_index(folder: Path) -> ImageIndex:
    """The index in a folder."""
    encoder = Encoder(AverageHash(), build_transform("short_side", 256, 224), 16)
    return ImageIndex(open_store(str(folder / "images.db")), encoder, {"bit": 64})


def make_index(folder: Path, images: int = 30) -> ImageIndex:
    """An index of copies of coco_lite's first images, in `folder / "images"`.

    Their label is their folder's name, and HTML the label of one, whose name is HTML, too.
    """
    for split in ("train2014", "val2014"):
        (folder / "images" / split).mkdir(parents=True)
        for path in sorted((COCO_LITE / split).iterdir())[: images // 2]:
            shutil.copy(path, folder / "images" / split)
    shutil.copy(path, folder / "images" / HTML_NAME)
    index = open_index(folder)
    index.sync(folder / "images", labels=folder_name)
    index.add(folder / "images" / HTML_NAME, labels=HTML_LABEL)
    return index


@contextlib.contextmanager
def serving(index: ImageIndex, token: str | None = None) -> Iterator[tuple[str, Server]]:
    """A server of an index, which is closed with it, and its address."""
    server = Server(("127.0.0.1", 0), index, token)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server
    finally:
        server.shutdown()
        thread.join()
        server.stop()
