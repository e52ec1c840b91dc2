"""Metrics files, and the paper's retrieval figure of them, for which matplotlib is needed."""

from __future__ import annotations

import glob
import json
import logging
import operator
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.system.errors import UserError
from utils.system.files import atomic_write, open_untrusted, set_aside, write_json

_log = logging.getLogger(__name__)
DRAWN = ("dataset", "bit", "topk", "map", "precision_within_radius_2", "by_rank", "at_n")
"""What the figure takes of an evaluation's metrics."""
MAX_METRICS = 1 << 26
"""Bytes of a metrics file, at most."""


def write_metrics(path: Path, figure: Path, record: dict[str, Any]) -> None:
    """Writes a metrics file and, where matplotlib is installed, the figure; tells where they are.

    The figure has a line for each file beside `path` whose name ends with another number, of the
    same data set. What is there of another data set is renamed first.
    """
    _keep_those_of_another_data_set(path, figure, record["dataset"])
    write_json(path, record)
    _log.info(f"Metrics: {path}")
    name = path.stem.rstrip(string.digits)
    names = glob.escape(name) + ("*" if name != path.stem else "") + path.suffix
    try:
        draw_curves(read_runs(path.parent, record["dataset"], names), figure)
        _log.info(f"Figure: {figure}")
    except UserError as error:  # the numbers are written; the figure is an extra
        _log.warning(f"No figure: {error}")


def _keep_those_of_another_data_set(metrics: Path, figure: Path, dataset: str) -> None:
    try:
        with open_untrusted(metrics, "an evaluation's metrics", MAX_METRICS) as file:
            other = json.loads(file.read())["dataset"]
    except UserError:  # none there, or none that anybody could use
        return
    if other != dataset:
        now = set_aside(*filter(Path.is_file, (metrics, figure)))
        _log.warning(f"Metrics of the data set {other}: now {now[0]}")


def read_runs(folder: Path, dataset: str, names: str = "metrics_*.json") -> list[dict]:
    """The evaluations of a data set in those files of a folder that are named so, by bits.

    Raises a `UserError` for a file that is not what an evaluation writes.
    """
    runs = []
    for path in folder.glob(names):
        with open_untrusted(path, "an evaluation's metrics", MAX_METRICS, "delete it") as file:
            run = json.loads(file.read())
            values = operator.itemgetter(*DRAWN)(run)
        if run["dataset"] == dataset:
            runs.append({**dict(zip(DRAWN, values)), "name": run.get("name", "HashNet")})
    return sorted(runs, key=operator.itemgetter("bit"))


def draw_curves(runs: Sequence[dict], path: Path) -> None:
    """Draws precision-recall, P@N and P@H<=2 (HashNet, figures 2 to 4), a line for each bit count.

    Raises a `UserError` where matplotlib is not installed, or the PNG file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise UserError("the figure needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    figure.suptitle(f"{runs[0]['name']} on {runs[0]['dataset']}")
    ball, recall, first_n = figure.subplots(1, 3)
    bits = list(map(operator.itemgetter("bit"), runs))
    within = list(map(operator.itemgetter("precision_within_radius_2"), runs))
    ball.plot(bits, within, "o-", color="black", clip_on=False)  # a point at 0 is whole
    ball.set(xlabel="bits", ylabel="precision", title="P@H<=2", xticks=bits)
    for run in runs:
        name = f"{run['bit']} bits, MAP@{run['topk']} {run['map']:.3f}"
        recall.plot(run["by_rank"]["recall"], run["by_rank"]["precision"], label=name)
        first_n.plot(run["at_n"]["n"], run["at_n"]["precision"], label=name)
    recall.set(xlabel="recall", ylabel="precision", title="precision-recall", xlim=(0, 1))
    first_n.set(xlabel="N, images looked at", ylabel="precision", title="P@N")
    for axes in (ball, recall, first_n):
        axes.set_ylim(0, 1)
        axes.grid(alpha=0.3)
    recall.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)
