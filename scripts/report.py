"""Makes tables and figures of the runs in output folders: MAP by variant and code length.

FOLDERs are searched for what trainings and evaluations leave: weights_BIT.json,
test/metrics_BIT.json, train/metrics_BIT.jsonl. Only runs of one protocol (data set, lists, K,
transform, …) stand in one table, and only runs of one recipe in one line of it; what differs is
said. Means and standard deviations (of the sample) are over seeds. Below it stands a table of its
models, as README has it: MAP, what of the recipe is not as published, weights, log.

Writes report.md, report.json and, where matplotlib is, figures: loss and MAP by epoch, MAP by
bits, and the paper's curves. Where a data set has published runs (COCO), their figures stand
beside those of the full method, epoch by epoch.

Exit status: 0 made; 2 there is no run, or a file is damaged.

examples:
  python scripts/report.py output/sweep/coco_lite
  python scripts/report.py output/sweep/coco output/mine --with p_h2 \\
      --output output/report
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scripts.runs import UNKNOWN, ComparedRun
from scripts.tables import markdown_table
from utils.config.parser import Parser
from utils.metrics.plots import (
    draw_chance,
    draw_training,
    line_style,
    name_precisions,
    new_figure,
    save_figure,
)
from utils.system.errors import UserError, run_command, tell
from utils.system.files import write_json, write_text
from utils.training.published import read_published

FILES = re.compile(r"(weights|test/metrics|train/metrics)_(\d{1,3})\.jsonl?$")
"""The files that tell of a run, below its folder; the number is its code length."""
METRICS = {
    "map": "map",
    "p_h2": "precision_within_radius_2",
    "tie_averaged": "map_tie_averaged",
    "min_k": "map_min_k_relevant",
    "continuous": "map_continuous",
}
"""What tables are made of, by the word that asks for it."""
MODEL = ("bits", "MAP", "recipe", "SHA-256 of the weights", "log")
"""The columns of a table of models, README's too."""
DIGITS = 16
"""How much of a SHA-256 is shown; report.json and the weights' record have all of it."""
FULL = "HashNet"


class Table:
    """Runs of one protocol: variants (and recipes) are the lines, code lengths the columns.

    Attributes:
        cells: (line, bits) → runs, in the order of their seeds.
        notes: what a reader must know of some of them.
    """

    def __init__(self, runs: list[ComparedRun]):
        self.protocol, self.notes = runs[0].protocol, []
        self.cells: dict[tuple[str, int], list[ComparedRun]] = defaultdict(list)
        names = differing_names([run.compared for run in runs])
        labels = []
        for run in runs:
            others = [f"{name} {run.compared[name]}" for name in names if run.compared]
            others += ["settings unknown"] if not run.compared else []
            labels.append(run.variant + (f" ({', '.join(others)})" if others else ""))
        in_order = sorted(zip(labels, runs), key=lambda each: (each[0], each[1].bit, each[1].name))
        for label, run in in_order:
            cell = self.cells[label, run.bit]
            weights = {other.weights_sha256 for other in cell} - {UNKNOWN}
            if run.weights_sha256 in weights:
                self.notes.append(f"{run.name} is a copy of another run, and does not count")
                continue
            if run.seed is not None and run.seed in [other.seed for other in cell]:
                self.notes.append(f"{run.name} has the seed of another run; both count")
            if not run.evaluation:
                self.notes.append(f"\\* {run.name}: as in training, after {run.epoch} epochs")
            elif run.is_unfinished:
                epochs = run.settings["epoch"]
                self.notes.append(f"\\* {run.name}: after {run.epoch} of {epochs} epochs")
            if run.evaluation.get("left_out"):
                self.notes.append(f"{run.name}: bad images are left out")
            cell.append(run)
        self.lines = list(dict.fromkeys(label for label, _ in self.cells))
        self.bits = sorted({bit for _, bit in self.cells})

    @property
    def title(self) -> str:
        """Such as 'coco, MAP@5000'."""
        topk = self.protocol["topK"]
        return f"{self.protocol['data set']}, MAP" + ("" if topk == "-1" else f"@{topk}")

    def as_markdown(self, metric: str) -> str:
        """The table of a metric; below that of MAP stands chance."""
        rows = []
        for line in self.lines:
            cells = [self.cells.get((line, bit), []) for bit in self.bits]
            rows.append([line, *(_as_text(cell, metric) for cell in cells)])
        if metric == "map":
            of_bits = defaultdict(list)
            for (_, bit), cell in self.cells.items():
                of_bits[bit] += cell
            chance = [statistics(of_bits[bit], "chance") for bit in self.bits]
            rows.append(["chance", *(f"{each['mean']:.3f}" if each else "" for each in chance)])
        return markdown_table(["", *(f"{bit} bits" for bit in self.bits)], rows)

    def models_as_markdown(self) -> str:
        """A line for each run that counts, by code length."""
        rows = []
        runs = (run for cell in self.cells.values() for run in cell)
        for run in sorted(runs, key=lambda run: run.bit):
            score = f"{run.value('map'):.3f}{_mark([run])}"
            log = f"`{run.log.as_posix()}`" if run.log.is_file() else ""
            rows.append([str(run.bit), score, run.verdict, f"`{run.weights_sha256[:DIGITS]}`", log])
        return markdown_table(MODEL, rows)

    def as_record(self) -> dict[str, Any]:
        """The table for programs: plain JSON values."""
        cells = []
        for (line, bit), cell in self.cells.items():
            values = {metric: statistics(cell, metric) for metric in METRICS.values()}
            names = ("seed", "verdict", "weights_sha256")
            runs = [{"folder": r.name, **{name: getattr(r, name) for name in names}} for r in cell]
            published = beside_published(cell)
            cells.append({"line": line, "bit": bit, "runs": runs, **values, "published": published})
        return {"protocol": self.protocol, "cells": cells, "notes": self.notes}


def beside_published(cell: list[ComparedRun]) -> list[dict[str, Any]]:
    """For each published epoch its loss and MAP: our mean, the published one, the difference.

    Either is None where it was not measured.
    """
    rows = []
    for epoch, figures in published_of(cell[0]).items():
        row: dict[str, Any] = {"epoch": epoch, "loss": None, "map": None}
        for part in ("loss", "map"):
            published = getattr(figures, part)
            ours = [value for run in cell if (value := run.at(epoch, part)) is not None]
            if ours and published is not None:
                row[part] = [mean(ours), published, mean(ours) - published]
        if row["loss"] or row["map"]:
            rows.append(row)
    return rows


def published_of(run: ComparedRun) -> dict[int, Any]:
    """The published figures beside a run, by epoch; none beside an ablation."""
    return read_published(run.card.folder, run.bit) if run.card and run.variant == FULL else {}


def statistics(runs: Iterable[ComparedRun], metric: str) -> dict[str, Any] | None:
    """n, mean, sample standard deviation (None for one run) and values; None without a value."""
    values = {run.name: run.value(metric) for run in runs}
    values = {name: value for name, value in values.items() if value is not None}
    if not values:
        return None
    known = list(values.values())
    sd = stdev(known) if len(known) > 1 else None
    return {"n": len(known), "mean": mean(known), "sd": sd, "values": values}


def _as_text(cell: list[ComparedRun], metric: str) -> str:
    found = statistics(cell, metric)
    if not found:
        return ""
    sd = "" if found["sd"] is None else f" ± {found['sd']:.3f}"
    return f"{found['mean']:.3f}{sd} (n={found['n']}){_mark(cell)}"


def _mark(cell: list[ComparedRun]) -> str:
    return "" if all(run.evaluation and not run.is_unfinished for run in cell) else " \\*"


def differing_names(known: Sequence[dict[str, str]]) -> list[str]:
    """The keys whose values are not the same in all mappings; empty ones are left out."""
    told = [each for each in known if each]
    return [name for name in told[0] if len({each[name] for each in told}) > 1] if told else []


def find_runs(folders: Iterable[Path]) -> list[ComparedRun]:
    """The runs below folders; raises a `UserError` for a folder without any."""
    found: dict[tuple[Path, int], ComparedRun] = {}
    for folder in folders:
        places = set()
        for path in folder.rglob("*_*.json*"):
            if match := FILES.fullmatch(path.name) or FILES.fullmatch("/".join(path.parts[-2:])):
                places.add((path.parents["/" in match[1]], int(match[2])))
        if not places:
            raise UserError(f"{folder}: no run in it: no weights_BIT.json, no test/ and no train/")
        found.update({place: ComparedRun(*place) for place in sorted(places - found.keys())})
    return list(found.values())


def draw(table: Table, output: Path, number: int) -> list[str]:
    """Draws the figures of a table; returns their names.

    Raises a `UserError` where matplotlib is missing.
    """
    names = [f"report_{name}_{number}.png" for name in ("epochs", "bits", "curves")]
    of_epochs = {}
    for (line, bit), cell in table.cells.items():
        of_epochs.update({f"{line}, {bit} bits, seed {run.seed}": run.epochs for run in cell})
    chance = {run.value("chance") for cell in table.cells.values() for run in cell}
    draw_training(of_epochs, output / names[0], table.title, chance)
    for name, panels, fill in ((names[1], 1, _draw_bits), (names[2], 3, _draw_curves)):
        figure = new_figure(2.5 + 4.5 * panels, 4.2, table.title)
        axes = figure.subplots(1, panels, squeeze=False)[0]
        fill(table, *axes)
        for each in axes:
            draw_chance(each, chance)
        save_figure(figure, output / name)
    return names


def _draw_bits(table: Table, axes: Any, metric: str = "map") -> None:
    for number, line in enumerate(table.lines):
        found = {bit: statistics(table.cells.get((line, bit), []), metric) for bit in table.bits}
        found = {bit: each for bit, each in found.items() if each}
        means, sds = ([each[part] or 0 for each in found.values()] for part in ("mean", "sd"))
        style = {**line_style(number, dash=number), "color": "black"}  # colours are the bits'
        axes.errorbar(list(found), means, sds, capsize=4, label=line, **style)
    axes.set(xlabel="bits", ylabel="MAP", title="mean ± standard deviation", xticks=table.bits)


def _draw_curves(table: Table, ball: Any, recall: Any, first_n: Any) -> None:
    _draw_bits(table, ball, METRICS["p_h2"])
    for (line, bit), cell in table.cells.items():
        style = line_style(table.bits.index(bit), dash=table.lines.index(line))
        for run in cell:
            for curve, axes in (("by_rank", recall), ("at_n", first_n)):
                if curve in run.curves:
                    axes.plot(*run.curves[curve], label=f"{line}, {bit} bits", **style)
    name_precisions(ball, recall, first_n, table.bits)


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=__doc__)
    more = ", ".join(f"{word} ({metric})" for word, metric in METRICS.items() if word != "map")
    add = parser.add_argument
    add("folders", nargs="+", metavar="FOLDER", type=Path, help="searched for runs, and below it")
    add("--with", nargs="+", choices=METRICS, metavar="METRIC", default=[], dest="more", help=more)
    add("--output", type=Path, metavar="DIR", help="of the report (default: the first FOLDER)")
    return parser.parse_args(words)


def as_markdown(table: Table, more: Sequence[str]) -> str:
    """A table, its protocol before it; further metrics, notes and published figures after it."""
    protocol = "; ".join(f"{name}: {value}" for name, value in table.protocol.items())
    parts = [protocol, table.as_markdown("map")]
    for word in more:
        parts += [f"{METRICS[word]}:", table.as_markdown(METRICS[word])]
    parts += table.notes
    header = ["loss", "published", "difference", "MAP", "published", "difference"]
    for (line, bit), cell in table.cells.items():
        rows = []
        for row in beside_published(cell):
            found = [*(row["loss"] or [None] * 3), *(row["map"] or [None] * 3)]
            forms = (".3f", ".3f", "+.3f") * 2
            texts = ["" if x is None else format(x, form) for x, form in zip(found, forms)]
            rows.append([str(row["epoch"]), *texts])
        if rows:
            parts.append(f"{line}, {bit} bits, beside the published run:")
            parts.append(markdown_table(["epoch", *header], rows))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def make_report(runs: list[ComparedRun], output: Path, more: Sequence[str]) -> str:
    """Writes report.md, report.json and the figures.

    Returns the Markdown text without figures and tables of models, which are wide.
    """
    groups = defaultdict(list)
    scored = [run for run in runs if run.value("map") is not None]
    for run in scored:
        groups[tuple(run.protocol.values())].append(run)
    tables = list(map(Table, groups.values()))
    text = shown = "# Report\n"
    names = differing_names([table.protocol for table in tables])
    for number, table in enumerate(tables, 1):
        part = f"\n## {table.title}\n\n"
        if names:
            part += f"Not to be compared with the other tables: {', '.join(names)} differ\n\n"
        part += as_markdown(table, more)
        shown += part
        text += f"{part}\nThe models:\n\n{table.models_as_markdown()}"
        try:
            text += "".join(f"\n![]({name})\n" for name in draw(table, output, number))
        except UserError as error:
            text += f"\nNo figures: {error}\n"
    others = [run for run in runs if run not in scored]
    unscored = [f"{run.name}: {run.bit} bits, not evaluated yet" for run in others]
    of_others = "".join(f"\n{line}\n" for line in unscored)
    records = [table.as_record() for table in tables]
    write_text(output / "report.md", text + of_others)
    write_json(output / "report.json", {"tables": records, "not evaluated": unscored})
    return shown + of_others


def main() -> None:
    """Finds the runs, makes the report and shows it."""
    arguments = parse_arguments()
    output = arguments.output or arguments.folders[0]
    text = make_report(find_runs(arguments.folders), output, arguments.more)
    for line in text.splitlines():
        print(line) if line.startswith("|") else tell(line)
    tell(f"Report: {output / 'report.md'}, figures, models and report.json with it")


if __name__ == "__main__":
    sys.exit(run_command(main))
