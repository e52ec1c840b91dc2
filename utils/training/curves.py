"""An epoch's numbers for TensorBoard or VisualDL, by packages that are extras."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from utils.system.errors import UserError

SCALARS = ("loss", "lr", "scale", "map", "pictures_per_second")
"""What is shown of a line of `metrics_{bit}.jsonl`; scale is β."""


class Curves:
    """The curves of one training; `kind` is 'tensorboard', 'visualdl', or None: there are none.

    Raises a `UserError` where the package is not installed.
    """

    def __init__(self, kind: str | None):
        self._open = self._writer = None
        try:
            if kind == "tensorboard":
                from tensorboardX import SummaryWriter

                self._open = lambda folder: SummaryWriter(folder, purge_step=0)
            elif kind == "visualdl":
                from visualdl import LogWriter

                self._open = LogWriter
        except ImportError as error:
            package = "tensorboardX" if kind == "tensorboard" else kind
            raise UserError(f"--curves {kind} needs {package}: pip install {package}") from error

    def begin(self, folder: Path, rows: Iterable[dict[str, Any]]) -> None:
        """Begins the curves in a folder with the lines that a training to go on with has left.

        They are written anew: VisualDL shows a folder's newest file alone, and `purge_step` tells
        TensorBoard to forget the earlier ones.
        """
        self._writer = self._open(str(folder))
        for row in rows:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        """Adds what an epoch's line has of `SCALARS`, on the rank that has begun."""
        if self._writer is not None:
            for name in filter(row.__contains__, SCALARS):
                self._writer.add_scalar(name, row[name], row["epoch"])
            self._writer.flush()
