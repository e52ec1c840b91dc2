"""Console, log files, metrics lines and progress bars; rank 0 alone speaks to the user."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from utils import distributed
from utils.errors import UserError


class _Console(logging.Handler):
    """Writes above a progress bar instead of through it, and at once where output is piped."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))
        sys.stdout.flush()


def open_log(path: Path) -> logging.Logger:
    """A logger that appends to files and, on rank 0 alone, writes to the console.

    Args:
        path: rank 0's file. Where there are several ranks, each also has one of its own beside
            it, with `_rank{r}` at the end of its name.

    Raises:
        UserError: the file cannot be written.
    """
    logger = logging.getLogger("hashnet")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = []
    if distributed.is_first():
        handlers += [_log_file(path), _Console()]
    if distributed.world_size() > 1:
        handlers.append(_log_file(path.with_stem(f"{path.stem}_rank{distributed.rank()}")))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(handler)
    return logger


def _log_file(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


def append_metrics(path: Path, values: dict[str, Any]) -> None:
    """Appends one line of JSON to a file, on rank 0 alone.

    Raises:
        UserError: the file cannot be written.
    """
    if not distributed.is_first():
        return
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


def progress(items: Iterable, doing: str, done: int = 0) -> Iterable:
    """Shows a bar over items on a terminal, on rank 0 alone; elsewhere the items as they are.

    Args:
        items: what is left to do; `len(items)` counts what is done already too.
        doing: what the bar says.
        done: how many were done before.
    """
    disable = None if distributed.is_first() else True
    return tqdm(items, desc=doing, initial=done, leave=False, dynamic_ncols=True, disable=disable)
