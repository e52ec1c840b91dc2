"""Picture files, each read, decoded and hashed once, by several processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from utils.datasets.images import open_picture
from utils.system.errors import UserError
from utils.system.files import sha256_of_file

FILES_AT_ONCE = 32
"""Handed to a process at a time: about 0.1 s of work."""

MISSING, NOT_A_PICTURE, TRUNCATED, DAMAGED = "missing", "not-a-picture", "truncated", "damaged"


@dataclass(frozen=True)
class Scanned:
    """What a picture file is.

    Attributes:
        fault: '' where training would accept the file, else `MISSING`, `NOT_A_PICTURE`,
            `TRUNCATED` or `DAMAGED`.
        message: what the training would say of it.
        digest: of the file's bytes (SHA-256); empty where it cannot be read.
        form: the picture's format, such as 'JPEG', where it can be decoded.
    """

    fault: str = ""
    message: str = ""
    digest: bytes = b""
    form: str = ""


def scan_file(path: str) -> Scanned:
    """Hashes and decodes one file; what can be decoded is `open_picture`'s to say.

    The disk is read once: what follows the hash finds the file in the system's cache.
    """
    try:
        digest = bytes.fromhex(sha256_of_file(path))
    except (UserError, ValueError):  # `open_picture` has the words for it
        digest = b""
    try:
        open_picture(Path(path))
    except UserError as error:
        return Scanned(_kind(error), str(error), digest)
    return Scanned(digest=digest, form=_form(path))


def _form(path: str) -> str:
    try:
        with Image.open(path) as picture:
            return picture.format or ""
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""  # `open_picture` knows better


def _kind(error: UserError) -> str:
    cause = error.__cause__
    if isinstance(cause, FileNotFoundError):
        return MISSING
    if isinstance(cause, UnidentifiedImageError):
        return NOT_A_PICTURE
    return TRUNCATED if "truncated" in str(error) else DAMAGED


def scan_files(paths: Sequence[str], workers: int) -> list[Scanned]:
    """Scans files, with a progress bar on a terminal.

    Args:
        paths: the files.
        workers: processes that share the work; 0 or 1: this one does it.

    Returns:
        What each file is, in the order of `paths`.

    Raises:
        UserError: a process was killed from outside, as where the memory ran out.
    """
    if workers < 2 or len(paths) <= FILES_AT_ONCE:
        return list(bar(map(scan_file, paths), len(paths), "pictures"))
    with ProcessPoolExecutor(workers) as pool:
        try:
            found = pool.map(scan_file, paths, chunksize=FILES_AT_ONCE)
            return list(bar(found, len(paths), "pictures"))
        except BrokenProcessPool as error:
            raise UserError(
                "a process that read pictures was killed, perhaps for want of memory; "
                "--workers 1 takes the least"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def bar(items: Iterable, total: int, doing: str) -> Iterable:
    """Items with a progress bar on a terminal, elsewhere as they are."""
    return tqdm(items, desc=doing, total=total, leave=False, dynamic_ncols=True, disable=None)


def ending_fits(path: str, form: str) -> bool:
    """Whether a file's ending promises the format that it has."""
    Image.init()
    promised = Image.registered_extensions().get(Path(path).suffix.lower())
    return promised == form or (promised == "JPEG" and form == "MPO")  # cameras name those .jpg
