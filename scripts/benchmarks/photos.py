"""Pictures of COCO's size to measure with: the real photos, or drawn ones of 640 × 480."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

DRAWN = 12


def photos(folder: Path, count: int) -> tuple[list[str], str]:
    """Paths of `count` JPEG files of COCO's size, the same few over and over.

    Args:
        folder: where drawn ones are written.
        count: how many paths.

    Returns:
        The paths, and in words what they are: the photos of `coco_photos` in HASHNET_TEST_DATA,
        or drawn ones where it is not set.
    """
    data = os.environ.get("HASHNET_TEST_DATA")
    files = sorted(Path(data, "coco_photos").rglob("*.jpg")) if data else []
    origin = f"{len(files)} COCO photos, repeated"
    if not files:
        files, origin = draw(folder), f"{DRAWN} drawn pictures of 640 x 480, repeated"
    return [str(files[number % len(files)]) for number in range(count)], origin


def draw(folder: Path) -> list[Path]:
    """Writes soft random pictures, which take as long to decode as photographs do."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(DRAWN):
        rng = np.random.default_rng(number)
        soft = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        soft = np.asarray(soft.resize((640, 480), Image.BICUBIC), dtype=np.int16)
        grain = rng.normal(0, 9, soft.shape).astype(np.int16)
        path = folder / f"drawn_{number:02d}.jpg"
        Image.fromarray(np.clip(soft + grain, 0, 255).astype(np.uint8)).save(path, quality=93)
        paths.append(path)
    return paths
