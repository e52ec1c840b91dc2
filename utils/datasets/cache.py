"""Resized images on disk, one .npy each, so that each is decoded and resized once.

    CACHE_DIR/images_<what they were made with>/4f/4f0c….npy        uint8 [h, w, 3]

A file is written beside and renamed, so that processes share the folder. Behind the array stands
a checksum; a file that is damaged is made again.
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import threading
import zlib
from pathlib import Path

import numpy as np
from PIL import __version__ as pillow_version
from PIL import features

from utils.datasets.transforms import Resize
from utils.system.errors import UserError, reason
from utils.system.files import check_writable, open_untrusted, write_bytes

MAX_IMAGE = 1 << 30
_HEADER = 128
"""Bytes of an .npy header, as NumPy pads it."""
_log = logging.getLogger(__name__)
_ONE_THREAD = threading.Lock()


def cache_folder(cache_dir: str, resize: Resize) -> Path:
    """The folder of images that were resized so, by this Pillow and JPEG library.

    Raises:
        UserError: it cannot be made or written.
    """
    jpeg = features.version("libjpeg_turbo") or features.version("jpg")
    made_with = f"{resize}, Pillow {pillow_version}, JPEG {jpeg}"
    folder = Path(cache_dir, f"images_{hashlib.sha256(made_with.encode()).hexdigest()[:16]}")
    check_writable(folder)
    return folder


def read_cached(folder: Path, key: str) -> np.ndarray | None:
    """The resized image of a key, [h, w, 3] uint8; None where it is not there, or damaged."""
    try:
        with open_untrusted(_path(folder, key), "a resized image", MAX_IMAGE) as file:
            content = file.read()
            array, checksum = memoryview(content)[:-4], content[-4:]
            if _checksum(array) != checksum:
                return None
            return np.frombuffer(array[_HEADER:], np.uint8).reshape(_shape(content[:_HEADER]))
    except UserError:
        return None


def write_cached(folder: Path, key: str, pixels: np.ndarray) -> None:
    """Keeps a resized image; where it cannot be written, that is said once, and all goes on."""
    content = io.BytesIO()  # NumPy's own writing to a file does not say why it failed
    np.save(content, pixels, allow_pickle=False)
    content.write(_checksum(content.getbuffer()))
    try:
        write_bytes(_path(folder, key), content.getvalue(), durable=False)
    except UserError as error:
        with _ONE_THREAD:  # else two might find that nothing was said yet
            _warn_once(f"Image cache: images are not kept in {folder}: {reason(error.__cause__)}")


@functools.lru_cache
def _warn_once(message: str) -> None:
    _log.warning(message)


def _checksum(array: memoryview) -> bytes:
    return zlib.crc32(array).to_bytes(4, "big")


@functools.lru_cache(maxsize=4096)
def _shape(header: bytes) -> tuple[int, int, int]:
    """What NumPy needs a fifth of the time of reading an image for."""
    file = io.BytesIO(header)
    np.lib.format.read_magic(file)
    return np.lib.format.read_array_header_1_0(file)[0]


def _path(folder: Path, key: str) -> Path:
    return folder / key[:2] / f"{key}.npy"
