"""Console, log file, metrics lines and progress bars; ranks other than 0 are silent."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from utils import distributed
from utils.errors import UserError


class _Console(logging.Handler):
    """Writes above a progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


def open_log(path: Path) -> logging.Logger:
    """A logger that writes to the console and appends to a file, on rank 0 alone.

    Raises:
        UserError: the file cannot be written.
    """
    logger = logging.getLogger("hashnet")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    if not distributed.is_first():
        logger.addHandler(logging.NullHandler())
        return logger
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    for handler in (file, _Console()):
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(handler)
    return logger


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


def progress(items: Iterable, doing: str) -> Iterable:
    """Shows a bar over items on a terminal, on rank 0 alone; elsewhere the items as they are."""
    disable = None if distributed.is_first() else True
    return tqdm(items, desc=doing, leave=False, dynamic_ncols=True, disable=disable)
