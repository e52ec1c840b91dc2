"""Files: ours whole or not at all, strangers' through one door, and what a run's are called."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import platform
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from utils.system.errors import UserError, first_line, reason

MAX_TEXT = 1 << 20
"""Bytes of a settings file or a record, at most."""


class OutputPaths:
    """The files that the commands leave in an output folder.

    Logs and metrics go to `log_dir`, or to `train/` and `test/` of the folder.
    """

    def __init__(self, output_dir: str | os.PathLike, bit: int, log_dir: str | None = None):
        self.folder = folder = Path(output_dir)
        self.weights = folder / f"weights_{bit}.pdparams"
        self.optimizer = folder / f"weights_{bit}.pdopt"
        self.weights_record = folder / f"weights_{bit}.json"
        self.last = folder / f"last_{bit}.npz"
        self.lock = folder / f".training_{bit}.lock"
        self.database_codes = folder / f"database_code_{bit}.npy"
        train, test = Path(log_dir or folder / "train"), Path(log_dir or folder / "test")
        self.train_log, self.test_log = train / f"log_{bit}.txt", test / f"log_{bit}.txt"
        self.epochs = train / f"metrics_{bit}.jsonl"
        self.settings = train / f"config_{bit}.yaml"
        self.scalars = train / f"curves_{bit}"
        self.training = train / f"training_{bit}.png"
        self.metrics = test / f"metrics_{bit}.json"
        self.curves = test / f"curves_{bit}.png"


@contextlib.contextmanager
def atomic_write(
    path: str | os.PathLike, durable: bool = True, alone: bool = False
) -> Iterator[Path]:
    """Gives a temporary path beside `path`; on success it replaces `path` in one step.

    The reader of `path` sees the old file or the new one, never a part. Folders are made as
    needed. If the block raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: the file to write; the temporary one has its folder and its ending.
        durable: the new file also survives a power cut.
        alone: no other process writes `path` at the same time; what a killed one has left is then
            written over, instead of staying beside it.

    Raises:
        UserError: the folder cannot be made or the file cannot be written (full disk, rights).
    """
    path = Path(path)
    writer = "" if alone else f".{os.getpid()}.{threading.get_ident()}"
    temporary = path.with_name(f".{path.stem}{writer}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            _flush(temporary)
        os.replace(temporary, path)
        if durable:
            with contextlib.suppress(OSError):  # not every system lets a folder be flushed
                _flush(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """Writes a file of these bytes; see `atomic_write`."""
    with atomic_write(path, durable) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8; see `atomic_write`."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a JSON file, a line a key, since some values are long; see `atomic_write`."""
    lines = [
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
    ]
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


@contextlib.contextmanager
def open_untrusted(
    path: str | os.PathLike, expected: str, largest: int, hint: str = ""
) -> Iterator[BinaryIO]:
    """Opens a file that somebody else may have made, in binary: the one door for such files.

    Args:
        path: the file.
        expected: what it should be, for messages, such as 'a file of trained weights'.
        largest: bytes that such a file has at most.
        hint: what names the file, or what to do about it.

    Raises:
        UserError: the file is missing, no regular one (a pipe would be waited for, a device never
            ends), too large or unreadable, or parsing it in the block raised something else.
    """
    try:
        no_wait = getattr(os, "O_NONBLOCK", 0)  # for a pipe's other end
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | no_wait)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise UserError(f"{path}: not a regular file; expected {expected}")
            if found.st_size > largest:
                raise UserError(
                    f"{path}: {found.st_size:,} bytes; {expected} has at most {largest:,}"
                )
            yield file
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; {hint or f'expected {expected}'}") from error
    except Exception as error:  # what parsing a damaged file raises is not limited to a few kinds
        if isinstance(error, OSError) and error.errno:
            raise UserError(f"{path}: cannot be read: {reason(error)}") from error
        cause = first_line(error) + (f"; {hint}" if hint else "")
        raise UserError(f"{path}: not {expected}: {cause}") from error


def set_aside(*paths: Path) -> list[Path]:
    """Renames files of a folder so that new ones do not replace them: `earlier_NAME`.

    Where that is taken, all are called `earlier_2_NAME` and so on. Returns where they are now.
    """
    for number in itertools.count(1):
        prefix = "earlier_" if number == 1 else f"earlier_{number}_"
        aside = [path.with_name(prefix + path.name) for path in paths]
        if not any(map(os.path.lexists, aside)):
            break
    for path, new in zip(paths, aside):
        path.replace(new)
    return aside


@contextlib.contextmanager
def locked(path: Path, use: str) -> Iterator[None]:
    """Holds a lock while the block runs: a file at `path`, which says who does.

    `use` says what it is held for, such as 'a training of 64 bits'. It ends with the process,
    however that ends. Where the system or its disk knows no locks, there is none.

    Raises:
        UserError: another process holds it; the message says which.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        yield
        return
    check_writable(path.parent, flag="--output-dir")
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.readline().strip() or "another process"
            raise UserError(
                f"{path.parent}: {use} is under way there, by {holder}; wait for it, or name "
                "another folder with --output-dir"
            ) from error
        except OSError:  # some network disks
            pass
        # A holder that ended just now has removed the file: then this one locks nobody out.
        path.touch()
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            file.truncate(0)
            began = time.strftime("%Y-%m-%d %H:%M:%S")
            file.write(f"process {os.getpid()} on {platform.node()} since {began}\n")
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
    with locked(path, use):
        yield


def sha256_of_file(path: str | os.PathLike, largest: int = 1 << 36) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits; it has at most `largest`."""
    digest = hashlib.sha256()
    with open_untrusted(path, "a file", largest) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def leaves_folder(path: str) -> bool:
    """Whether a path of a list, meant to be relative, leads out of the folder it is meant for."""
    drive, rest = os.path.splitdrive(path)
    goes_up = ".." in path and os.path.normpath(path).split(os.sep)[0] == os.pardir
    return bool(drive) or os.path.isabs(rest) or goes_up


def is_path(text: str) -> bool:
    """Whether the system could take a text as a path: no NUL, each character of its encoding."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # such as half a pair of UTF-16, which JSON and YAML can write
        return False


def check_writable(folder: str | os.PathLike, files: Iterable[Path] = (), flag: str = "") -> None:
    """Finds out by writing whether files can be written in a folder, which is made as needed.

    Raises a `UserError` where not (rights, read-only, full disk), or where a file stands in its
    place or a folder in that of one of `files`; it says which `flag` names another folder.
    """
    folder, hint = Path(folder), f"; {flag} names another" if flag else ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {reason(error)}{hint}") from error
    for path in files:
        if path.is_dir():
            raise UserError(f"{path}: cannot be written: a folder has the file's name{hint}")


def check_space(sizes: dict[Path, int], aside: Collection[Path]) -> None:
    """Raises a `UserError` unless files will fit on the disk, the largest beside its old version.

    `sizes` are the bytes of each file that will be written, in folders that exist: in place of
    those that are there, but for those that will be set `aside`.
    """
    there = sum(path.stat().st_size for path in sizes if path not in aside and path.is_file())
    needed = sum(sizes.values()) + max(sizes.values()) - there
    folder = next(iter(sizes)).parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: {free / 1e6:,.0f} MB are free, the training needs {needed / 1e6:,.0f} MB "
            f"for {', '.join(path.name for path in sizes)}: make room, or name a folder elsewhere "
            "with --output-dir"
        )
