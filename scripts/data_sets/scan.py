"""Picture files, each read, decoded and hashed once, by several processes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from utils.errors import UserError
from utils.pictures import open_picture

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
        digest: of the file's bytes; empty where it cannot be read.
        form: the picture's format, such as 'JPEG', where it can be decoded.
    """

    fault: str = ""
    message: str = ""
    digest: bytes = b""
    form: str = ""


def scan_file(path: str) -> Scanned:
    """Reads, hashes and decodes one file; what can be decoded is `open_picture`'s to say."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError):  # `open_picture` has the words for it
        content = b""
    digest = digest_of(content) if content else b""
    try:
        open_picture(Path(path))  # just read: it comes from the system's cache
    except UserError as error:
        return Scanned(_kind(error), str(error), digest)
    with Image.open(io.BytesIO(content)) as picture:
        return Scanned(digest=digest, form=picture.format or "")


def digest_of(content: bytes) -> bytes:
    """16 bytes, the same for the same content alone."""
    return hashlib.blake2b(content, digest_size=16).digest()


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
