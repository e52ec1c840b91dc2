"""Metrics files, and figures of evaluations and trainings, for which matplotlib is needed."""

from __future__ import annotations

import glob
import json
import logging
import string
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.codes import MAX_BIT
from utils.system.errors import UserError, printable, short_repr
from utils.system.files import atomic_write, open_untrusted, set_aside, write_json

_log = logging.getLogger(__name__)
DRAWN = ("dataset", "bit", "topk", "map", "precision_within_radius_2", "by_rank", "at_n")
"""What the figure takes of an evaluation's metrics."""
OF_AN_EPOCH = ("loss", "map", "chance", "seconds", "evaluation_seconds", "saving_seconds")
"""Numbers of a training's epoch, where it has them."""
MAX_METRICS = 1 << 24
"""Bytes of a metrics file, at most."""
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which colour-blind people tell apart, but for yellow, too pale on white."""
_MARKS, _DASHES = "os^Dv*PX", ("-", "--", ":", "-.")


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
            other = str(json.loads(file.read())["dataset"])
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
            metrics = json.loads(file.read())
            run = {name: metrics[name] for name in DRAWN}
            run["variant"] = str(metrics.get("variant", "HashNet"))
            run["chance"] = metrics.get("chance")  # older files have none
            ranks, first_n = run["by_rank"], run["at_n"]
            numbers = [run["topk"], run["map"], run["precision_within_radius_2"]]
            numbers += [] if run["chance"] is None else [run["chance"]]
            curves = [ranks["recall"], ranks["precision"]], [first_n["n"], first_n["precision"]]
            kinds = {np.asarray(each).dtype.kind for each in (numbers, *curves)}
            if not kinds <= {"i", "f"} or run["bit"] not in range(1, MAX_BIT + 1):
                raise ValueError("it holds other than numbers")
        if run["dataset"] == dataset:
            runs.append(run)
    return sorted(runs, key=lambda run: run["bit"])


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a number that can be drawn: NaN and Infinity are none."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def draw_curves(runs: Sequence[dict], path: Path) -> None:
    """Draws precision-recall, P@N and P@H<=2 (HashNet, figures 2 to 4), a line for each bit count.

    Raises a `UserError` where matplotlib is not installed, or the PNG file cannot be written.
    """
    bits = [run["bit"] for run in runs]
    variants = " and ".join(dict.fromkeys(run["variant"] for run in runs))
    title = f"{runs[0]['dataset']}: {variants}, {', '.join(map(str, bits))} bits"
    figure = new_figure(14, 4.2, title)
    ball, recall, first_n = figure.subplots(1, 3)
    within = [run["precision_within_radius_2"] for run in runs]
    ball.plot(bits, within, color="black")
    for number, run in enumerate(runs):
        style = line_style(number)
        style["label"] = f"{run['variant']}, {run['bit']} bits, MAP@{run['topk']} {run['map']:.3f}"
        ball.plot(run["bit"], run["precision_within_radius_2"], **style)
        recall.plot(run["by_rank"]["recall"], run["by_rank"]["precision"], **style)
        first_n.plot(run["at_n"]["n"], run["at_n"]["precision"], **style)
    name_precisions(ball, recall, first_n, bits)
    for axes in (ball, recall, first_n):
        draw_chance(axes, [run["chance"] for run in runs])
    save_figure(figure, path)


def name_precisions(ball: Any, recall: Any, first_n: Any, bits: Sequence[int]) -> None:
    """Names three panels of precisions, P@H<=2, precision-recall and P@N, and their axes."""
    within = (-0.03, 1.03)  # marks at 0 and 1 are whole
    ball.set(xlabel="bits", title="P@H<=2", xticks=bits)
    recall.set(xlabel="recall", title="precision-recall", xlim=within)
    first_n.set(xlabel="N, images looked at", title="P@N")
    for axes in (ball, recall, first_n):
        axes.set(ylabel="precision", ylim=within)


def read_epochs(path: Path) -> list[dict]:
    """The lines of a training's `metrics_{bit}.jsonl`, epochs rising; what was begun again counts.

    Raises a `UserError` for a file that is not what a training writes.
    """
    rows: list[dict] = []
    with open_untrusted(path, "a training's metrics, a line an epoch", MAX_METRICS) as file:
        for line in file.read().rpartition(b"\n")[0].splitlines():
            row = json.loads(line)
            wrong = [key for key in OF_AN_EPOCH if not is_number(row.get(key, 0))]
            if wrong or type(row["epoch"]) is not int:
                raise ValueError(f"{[*wrong, 'epoch'][0]} is no number: {short_repr(row)}")
            while rows and rows[-1]["epoch"] >= row["epoch"]:
                rows.pop()
            rows.append(row)
    return rows


def draw_training(
    runs: Mapping[str, Sequence[dict]], path: Path, title: str, chance: Iterable[float | None] = ()
) -> None:
    """Draws mean loss and MAP by epoch, a line for each run, the published runs' behind them.

    Args:
        runs: the lines of a run (`read_epochs`), by the name that stands in the legend; published
            figures are taken from them.
        path: the PNG file.
        title: the figure's.
        chance: what random codes would score; None is passed over.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
    """
    figure = new_figure(10, 4.2, title)
    for axes, key in zip(figure.subplots(1, 2), ("loss", "map")):
        published = {tuple(_points(rows, f"published_{key}")) for rows in runs.values()} - {()}
        for points in sorted(published):
            axes.plot(*zip(*points), ".-", color="0.75", linewidth=3, label="published run")
        for number, (name, rows) in enumerate(runs.items()):
            if points := _points(rows, key):
                axes.plot(*zip(*points), label=name, **line_style(number))
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.set(xlabel="epoch", title={"loss": "mean loss", "map": "MAP"}[key])
    draw_chance(axes, chance)
    save_figure(figure, path)


def _points(rows: Sequence[dict], key: str) -> list[tuple[int, float]]:
    return [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]


def new_figure(width: float, height: float, title: str) -> Any:
    """A matplotlib figure, in inches; raises a `UserError` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise UserError("the figure needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, weight="bold")
    return figure


def line_style(number: int, dash: int = 0) -> dict[str, Any]:
    """How the line of that number is drawn: with a colour and a mark of its own."""
    colour, mark = _COLOURS[number % len(_COLOURS)], _MARKS[number % len(_MARKS)]
    dashes = _DASHES[dash % len(_DASHES)]
    return {"color": colour, "marker": mark, "markersize": 5.5, "linestyle": dashes}


def draw_chance(axes: Any, values: Iterable[float | None]) -> None:
    """Draws what random codes would score, behind the lines, where it is known."""
    for chance in sorted(set(values) - {None}):
        axes.axhline(chance, color="0.5", linestyle="--", linewidth=1, label="chance", zorder=1)


def save_figure(figure: Any, path: Path) -> None:
    """Writes a figure as PNG, with one legend; raises a `UserError` where it cannot be written."""
    legend = {}
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        handles, labels = axes.get_legend_handles_labels()
        legend.update(zip(labels, handles))  # once what several panels or lines share
        for line in axes.get_lines():
            line.set_markevery(1 + len(line.get_xdata()) // 12)
    if legend:  # below the panels, in as many columns as fit: some 15 letters an inch
        width, height = figure.get_size_inches()
        columns = max(1, int(width * 15) // (max(map(len, legend)) + 10))
        figure.set_size_inches(width, height + 0.2 * -(-len(legend) // columns))
        style = {"fontsize": "small", "ncols": columns, "loc": "outside lower center"}
        figure.legend(legend.values(), legend.keys(), **style)
    for text in figure.findobj(lambda part: hasattr(part, "set_parse_math")):
        text.set_parse_math(False)  # a $ in a name begins no formula
        text.set_text(printable(text.get_text()))
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)
