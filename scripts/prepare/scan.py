"""Decodes and hashes image files, each once."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from scripts.prepare.draws import whole_number
from utils.datasets.images import MAX_FILE, open_image
from utils.system.errors import UserError
from utils.system.files import sha256_of_file
from utils.system.runtime import usable_cores

MISSING, NOT_AN_IMAGE, TRUNCATED, DAMAGED = "missing", "not-a-picture", "truncated", "damaged"


class Scanned(NamedTuple):
    """What an image file is; what is not known of it is empty."""

    digest: bytes  # SHA-256 of the file's bytes
    form: str = ""  # such as 'JPEG'
    fault: str = ""  # one of the four above, where training would not accept the file
    message: str = ""  # what training would say of it


def add_workers_flag(parser: argparse.ArgumentParser) -> None:
    """Adds how many threads scan."""
    workers = {"type": whole_number(1), "default": usable_cores()}
    parser.add_argument("--workers", **workers, help="threads (default: %(default)s)")


def scan_file(path: str) -> Scanned:
    """Hashes and decodes one file; what can be decoded is `open_image`'s to say.

    The disk is read once: what follows the hash finds the file in the system's cache.
    """
    digest = b""
    try:
        if os.path.isfile(path):
            digest = bytes.fromhex(sha256_of_file(path, MAX_FILE))
        image = open_image(path)
    except UserError as error:
        cause = error.__cause__
        fault = TRUNCATED if "truncated" in str(cause) else DAMAGED
        if isinstance(cause, FileNotFoundError):
            fault = MISSING
        elif isinstance(cause, ValueError) and isinstance(cause.__cause__, UnidentifiedImageError):
            fault = NOT_AN_IMAGE
        return Scanned(digest, "", fault, str(error))
    return Scanned(digest, image.format)


def scan_files(paths: Sequence[str], workers: int) -> list[Scanned]:
    """Scans files in threads, with a progress bar on a terminal; see `scan_file`."""
    with ThreadPoolExecutor(workers) as pool:
        try:
            found = pool.map(scan_file, paths)
            return list(tqdm(found, "images", len(paths), leave=False, disable=None))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def ending_fits(path: str, form: str) -> bool:
    """Whether a file's ending promises the format that it has."""
    Image.init()
    promised = Image.registered_extensions().get(Path(path).suffix.lower())
    return promised == form or (promised == "JPEG" and form == "MPO")  # cameras name those .jpg
