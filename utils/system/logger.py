"""Console, log files, metrics lines and progress bars; rank 0 alone speaks to the user.

Modules log with `logging.getLogger(__name__)`; here is where their lines go.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from utils.system import distributed
from utils.system.errors import UserError, printable, reason, shown_on
from utils.system.files import write_bytes


class _OneLine(logging.Formatter):
    """A record a line: names of files may hold line ends, or what a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Console(logging.Handler):
    """Writes above a progress bar instead of through it, and at once where output is piped."""

    def __init__(self, stream: TextIO):
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(shown_on(self.stream, self.format(record)), file=self.stream)
        self.stream.flush()


class _LogFile(logging.FileHandler):
    """Tells of a full disk as an error of the run, not as a traceback beside it."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            raise
        raise UserError(f"{self.baseFilename}: cannot be written: {reason(error)}") from error


def log_to_console(json: bool) -> None:
    """Lines go to the console as they are; to stderr where stdout is for a JSON document alone."""
    _use([_Console(sys.stderr if json else sys.stdout)], "%(message)s")


def log_to_files(path: Path) -> None:
    """Lines are appended to files and, on rank 0 alone, go to the console, with the time before.

    A terminal shows the time without the date. `path` is rank 0's file. Where there are several
    ranks, each also has one of its own beside it, with `_rank{r}` at the end of its name.
    """
    handlers: list[logging.Handler] = []
    if distributed.is_main_process():
        handlers += [_log_file(path), _Console(sys.stdout)]
    if distributed.world_size() > 1:
        handlers.append(_log_file(path.with_stem(f"{path.stem}_rank{distributed.rank()}")))
    _use(handlers, "%(asctime)s %(message)s")


def _log_file(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {reason(error)}") from error


def _use(handlers: list[logging.Handler], line: str) -> None:
    for handler in handlers:
        on_terminal = isinstance(handler, _Console) and handler.stream.isatty()
        handler.setFormatter(_OneLine(line, "%H:%M:%S" if on_terminal else "%Y-%m-%d %H:%M:%S"))
    for package in ("utils", "models"):
        logger = logging.getLogger(package)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        for handler in logger.handlers:
            handler.close()
        logger.handlers = list(handlers)


def append_metrics(path: Path, values: dict[str, Any]) -> None:
    """Appends one line of JSON to a file, which is replaced whole.

    A half line at its end, of a program that wrote in place, is left out.
    """
    before = path.read_bytes() if path.is_file() else b""
    whole = before[: before.rfind(b"\n") + 1]
    write_bytes(path, whole + json.dumps(values).encode() + b"\n")


def drop_later_epochs(path: Path, epoch: int) -> None:
    """Takes the lines of a metrics file out that are of later epochs, or cut off.

    A training that goes on after `epoch` writes them again.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    kept = [line for line in lines if _epoch_of(line) <= epoch]
    if kept != lines:
        write_bytes(path, b"".join(kept))


def _epoch_of(line: bytes) -> float:
    try:
        return float(json.loads(line)["epoch"])
    except Exception:  # the half line of a program that was killed
        return math.inf


def progress(items: Iterable, title: str, total: int, done: int = 0) -> Iterable:
    """Shows a bar over items on a terminal, on rank 0 alone; elsewhere the items as they are.

    `total` includes the items that were `done` before.
    """
    disable = None if distributed.is_main_process() else True
    bar = {"total": total, "initial": done, "leave": False, "dynamic_ncols": True}
    return tqdm(items, desc=title, disable=disable, **bar)


@contextlib.contextmanager
def quiet_console() -> Iterator[None]:
    """Nothing that C++ writes is seen: Paddle 2.6 reports each pass of bfloat16, for example."""
    kept = {stream: os.dup(stream) for stream in (1, 2)}
    with Path(os.devnull).open("wb") as nowhere:
        for stream in kept:
            os.dup2(nowhere.fileno(), stream)
        try:
            yield
        finally:
            for stream, copy in kept.items():
                os.dup2(copy, stream)
                os.close(copy)
