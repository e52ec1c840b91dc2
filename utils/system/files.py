"""Whole files or none: everything is written under a temporary name, flushed, then moved."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from utils.system.errors import UserError


@contextlib.contextmanager
def replacing(path: str | os.PathLike, alone: bool = False) -> Iterator[Path]:
    """Gives a temporary path beside `path`; on success it replaces `path` in one step.

    The reader of `path` sees the old file or the new one, never a part. Folders are made as
    needed. If the block raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: the file to write.
        alone: no other process writes `path` at the same time; what a killed process has left of
            it is then written over, instead of staying beside it.

    Yields:
        The path to write to: same folder and same ending as `path`.

    Raises:
        UserError: the folder cannot be made or the file cannot be written (full disk, rights).
    """
    path = Path(path)
    writer = "" if alone else f".{os.getpid()}"
    temporary = path.with_name(f".{path.stem}{writer}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _flush_folder(folder: Path) -> None:
    """Makes the new name survive a power cut, where the system lets a folder be flushed."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256_of_file(path: str | os.PathLike) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        UserError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()
